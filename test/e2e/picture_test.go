package e2e

import (
	"testing"

	"github.com/dockstack/dockstack/test/lab"
)

// What a picture has is the lab's, so that the stacks' tests compare the same.
type (
	attachment = lab.Attachment
	picture    = lab.Picture
)

// inspect returns every container, running or not.
func (h *host) inspect() []lab.Container {
	h.t.Helper()
	all, err := h.Containers(h.ctx())
	h.check(err)
	return all
}

// picture takes every container's attachments to the given networks.
func (h *host) picture(networks ...string) picture {
	h.t.Helper()
	p, err := h.Picture(h.ctx(), networks...)
	h.check(err)
	return p
}

// down lists the containers that don't run, with the reason.
func (h *host) down() []string {
	h.t.Helper()
	var out []string
	for _, c := range h.inspect() {
		if !c.State.Running {
			out = append(out, c.Name+": "+c.State.Error)
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
