package e2e

import (
	"slices"
	"testing"
	"time"
)

// TestIntoEtcdAndBack: hosts take their leases along from their own stores to
// etcd, and back; what clashes is said.
func TestIntoEtcdAndBack(t *testing.T) {
	c := newCluster(t)
	subnet := []string{"--subnet", "172.31.0.0/24"}
	// Each alone at first, with a fresh store of its own.
	c.each(func(h *host) { h.set("DOCKSTACK_STORE=") })
	t.Cleanup(c.clean)
	for _, h := range c.hosts[:2] {
		h.create("moving", subnet...)
		h.docker(h.ofName("both", "moving")...) // the same name on each
		h.serve("only-"+h.Name, "moving")       // the same address on each
		h.serve("parked-"+h.Name, "moving")
		h.remove("parked-" + h.Name)
	}
	// One and the same prefix, which no test had before.
	join := func(h *host) mark {
		m := h.logged()
		h.away(func() { h.docker("plugin", "set", pluginName, "DOCKSTACK_STORE="+c.lab.EtcdURL()+"/moved") })
		return m
	}
	first := c.h1.picture("moving")
	join(c.h1)
	c.h1.docker("restart", "-t", "1", "both", "only-h1")
	for _, line := range first.Changed(c.h1.picture("moving")) {
		t.Errorf("from its own store into etcd, on h1: %s", line)
	}
	m := join(c.h2)
	c.h2.warned(m, "level=WARN", "both", "h1")
	c.h2.says(20*time.Second, "both", "h1")
	c.h2.says(20*time.Second, "only-h2")
	c.h2.refused([]string{"restart", "-t", "1", "both"}, `"both"`, "h1")
	c.h2.docker("restart", "-t", "1", "only-h2") // its address is only-h1's
	c.h3.away(func() {
		c.h3.docker("plugin", "set", pluginName, "DOCKSTACK_STORE="+c.lab.EtcdURL()+"/moved")
	})
	c.h3.create("moving", subnet...)
	c.h3.serve("client", "moving")
	p := c.picture("moving")
	distinct(t, p)
	for _, line := range first.Changed(p) {
		t.Errorf("after all joined: %s", line)
	}
	c.h3.reaches("client", "only-h1", c.h1.ipv4("only-h1", "moving"), 5*time.Second)
	c.h3.reaches("client", "only-h2", c.h2.ipv4("only-h2", "moving"), 5*time.Second)
	c.answers(p)
	// A parked name found its old address too, and is known elsewhere.
	parked := c.h3.newName("parked-h1", "moving")
	if slices.ContainsFunc([]string{"both", "only-h1", "only-h2", "client"}, func(n string) bool { return p[n+" moving"].IPv4 == parked }) {
		t.Errorf("parked-h1 got %s, which another name has", parked)
	}

	// And back.
	p = c.picture("moving")
	c.each(func(h *host) {
		h.away(func() { h.docker("plugin", "set", pluginName, "DOCKSTACK_STORE=") })
	})
	c.h1.docker("restart", "-t", "1", "both", "only-h1")
	c.h2.docker("restart", "-t", "1", "only-h2")
	c.h3.docker("restart", "-t", "1", "client", "parked-h1")
	c.same("back in the hosts' own stores", p, "moving")
}

// newName starts a stand-in and returns its address.
func (h *host) newName(name, network string) string {
	h.t.Helper()
	h.serve(name, network)
	return h.ipv4(name, network).String()
}
