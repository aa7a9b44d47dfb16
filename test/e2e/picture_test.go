package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// attachment is what must stay of a container in one of our networks.
type attachment struct {
	IPv4, IPv6, MAC string
}

// picture is every container's attachments, by "container network".
type picture map[string]attachment

// inspected is the part of `docker inspect` that a picture is taken of.
type inspected struct {
	Name  string
	State struct {
		Running bool
		Error   string
	}
	NetworkSettings struct {
		Networks map[string]struct {
			NetworkID         string
			IPAddress         string
			GlobalIPv6Address string
			MacAddress        string
		}
	}
}

// inspect returns every container, running or not.
func (h *host) inspect() []inspected {
	h.t.Helper()
	ids := strings.Fields(h.docker("ps", "-aq", "--no-trunc"))
	if len(ids) == 0 {
		return nil
	}
	var all []inspected
	if err := json.Unmarshal([]byte(h.docker(append([]string{"inspect"}, ids...)...)), &all); err != nil {
		h.t.Fatal(err)
	}
	return all
}

// picture takes every container's attachments to the given networks.
func (h *host) picture(networks ...string) picture {
	h.t.Helper()
	p := picture{}
	for _, c := range h.inspect() {
		for name, n := range c.NetworkSettings.Networks {
			if slices.Contains(networks, name) {
				p[strings.TrimPrefix(c.Name, "/")+" "+name] = attachment{n.IPAddress, n.GlobalIPv6Address, n.MacAddress}
			}
		}
	}
	return p
}

// changed lists what of before is otherwise now, a line each.
func (before picture) changed(now picture) []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(before)) {
		if got, ok := now[key]; !ok {
			out = append(out, key+": gone")
		} else if got != before[key] {
			out = append(out, fmt.Sprintf("%s: was %v, is %v", key, before[key], got))
		}
	}
	return out
}

// down lists the containers that don't run, with the reason.
func (h *host) down() []string {
	h.t.Helper()
	var out []string
	for _, c := range h.inspect() {
		if !c.State.Running {
			out = append(out, strings.TrimPrefix(c.Name, "/")+": "+c.State.Error)
		}
	}
	return out
}

// distinct fails the test if two attachments of a picture share an address.
func distinct(t *testing.T, p picture) {
	t.Helper()
	seen := map[string]string{}
	for key, a := range p {
		for _, addr := range []string{a.IPv4, a.IPv6} {
			if addr == "" {
				continue
			}
			if other, ok := seen[addr]; ok {
				t.Errorf("%s and %s both have %s", other, key, addr)
			}
			seen[addr] = key
		}
	}
}
