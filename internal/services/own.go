package services

import (
	"bytes"
	"slices"
	"strings"

	"github.com/dockstack/dockstack/internal/engine"
)

// labelHealth is the container's label for and against leaving it out.
const labelHealth = "dockstack.health"

// Observe takes over what the engine tells of this host's containers. poolsOf
// gives the ids of the pools of a network of ours, none for another's.
func (s *Services) Observe(p engine.Picture, poolsOf func(network string) []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	want := s.wanted(p.Containers, poolsOf)
	e := s.index.edit()
	for name, value := range want {
		s.take(e, s.cfg.Host, name, value)
	}
	for name := range s.mine {
		if want[name] == nil {
			e.remove(s.cfg.Host, name)
			delete(s.mine, name)
		}
	}
	s.want = want
	s.publish(e)
	if s.lacks() {
		nudge(s.dirty)
	}
}

// wanted is what the store should have of the containers.
func (s *Services) wanted(all []engine.Container, poolsOf func(network string) []string) map[string][]byte {
	pools := map[string][]string{}
	want := map[string][]byte{}
	for i := range all {
		c := &all[i]
		if c.Name == "" || strings.Contains(c.Name, "/") {
			continue
		}
		if !c.Running || len(c.On) == 0 {
			// It comes back as it was, as far as anybody knows; one that crashes
			// again and again is not to be written as often.
			if value := s.own(c.Name); value != nil {
				want[c.Name] = value
			}
			continue
		}
		for _, on := range c.On {
			if _, known := pools[on.Network]; !known {
				pools[on.Network] = poolsOf(on.Network)
			}
		}
		if f := s.factsOf(c, pools); f != nil {
			want[c.Name] = f.encode()
		}
	}
	return want
}

// own is what is known of a container of this host, nil for nothing.
func (s *Services) own(container string) []byte {
	if s.want != nil {
		return s.want[container]
	}
	return s.have[container]
}

// factsOf are the facts of a running container, nil for one that is on none of
// our networks.
func (s *Services) factsOf(c *engine.Container, pools map[string][]string) *Facts {
	f := &Facts{Project: c.Project, Service: c.Service, Out: s.out(c)}
	for _, on := range c.On {
		if ids := pools[on.Network]; len(ids) > 0 {
			f.On = append(f.On, On{Pools: ids, Aliases: on.Aliases})
		}
	}
	if len(f.On) == 0 {
		return nil
	}
	if c.Known {
		for _, p := range c.Ports {
			f.Ports = append(f.Ports, Port(p))
		}
		return f
	}
	// Until it is looked at closely, it is what it was before.
	before, ok := s.index.now.Facts(s.cfg.Host, c.Name)
	if !ok || before.Project != f.Project || before.Service != f.Service {
		return f
	}
	f.Ports = before.Ports
	for i := range f.On {
		for _, on := range before.On {
			if slices.Equal(on.Pools, f.On[i].Pools) {
				f.On[i].Aliases = on.Aliases
			}
		}
	}
	return f
}

// out tells whether others are to stand in for the container: its check fails,
// or has not succeeded yet.
func (s *Services) out(c *engine.Container) bool {
	heeds := s.cfg.Health
	switch strings.ToLower(c.Labels[labelHealth]) {
	case "on", "true", "1":
		heeds = true
	case "off", "false", "0":
		heeds = false
	}
	return heeds && (c.Health == engine.Unhealthy || c.Health == engine.Starting)
}

// lacks tells whether the store has to be written.
func (s *Services) lacks() bool {
	return len(s.stray) > 0 || len(s.differences(1)) > 0
}

// differences are at most n of this host's containers of which the store does
// not have what it should.
func (s *Services) differences(n int) []string {
	var out []string
	for name := range s.differing {
		if out = append(out, name); len(out) >= n {
			break
		}
	}
	return out
}

func (s *Services) differing(yield func(string) bool) {
	if s.want == nil {
		return
	}
	for name, value := range s.want {
		_, unsure := s.unsure[name]
		if have, there := s.have[name]; (unsure || !there || !bytes.Equal(have, value)) && !yield(name) {
			return
		}
	}
	for name := range s.have {
		if _, wanted := s.want[name]; !wanted && !yield(name) {
			return
		}
	}
	for name := range s.unsure {
		_, wanted := s.want[name]
		if _, there := s.have[name]; !wanted && !there && !yield(name) {
			return
		}
	}
}
