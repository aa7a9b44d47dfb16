package engine

import (
	"slices"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

// A container that is down is on no network, and is known to belong to those that
// it will be on: by their ids, or by their names where it never ran.
func TestNetworksOfContainersThatAreDown(t *testing.T) {
	p := Picture{Networks: map[string]string{"n1": "internal", "n2": "ext"}}
	for _, state := range []container.ContainerState{container.StateCreated, container.StateExited, container.StateRunning} {
		p.add(&container.Summary{ID: string(state), State: state, Names: []string{"/" + string(state)}, NetworkSettings: &container.NetworkSettingsSummary{
			Networks: map[string]*network.EndpointSettings{"internal": {NetworkID: "n1", EndpointID: "e1"}, "ext": {}, "gone": nil},
		}})
	}
	for _, c := range p.Containers {
		slices.Sort(c.Networks)
		if !slices.Equal(c.Networks, []string{"n1", "n2"}) {
			t.Errorf("%s: networks %v", c.Name, c.Networks)
		}
		if on := len(c.On) == 1; on != c.Running {
			t.Errorf("%s: it is on %v", c.Name, c.On)
		}
	}
	if len(p.Endpoints) != 1 || p.Endpoints[0].Container != "running" {
		t.Errorf("endpoints %v", p.Endpoints)
	}
}

// What a container was made on is known by its id, whatever its user wrote.
func TestHome(t *testing.T) {
	p := Picture{Networks: map[string]string{"n1": "internal", "n2": "host"}}
	for mode, want := range map[string]string{"internal": "n1", "n1": "n1", "gone": "", "": "", "container:c1": "", "host": "n2"} {
		var s container.Summary
		s.HostConfig.NetworkMode = mode
		p.add(&s)
		if got := p.Containers[len(p.Containers)-1].Home; got != want {
			t.Errorf("%q: %q, want %q", mode, got, want)
		}
	}
}
