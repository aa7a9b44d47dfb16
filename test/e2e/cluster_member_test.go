package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestHostsJoinAndLeave: a host comes late, moves to another address and
// leaves, and no other is restarted for it.
func TestHostsJoinAndLeave(t *testing.T) {
	c := newCluster(t)
	c.h3.docker("plugin", "disable", "-f", pluginName)
	on := true
	t.Cleanup(func() {
		if on {
			return
		}
		c.h3.docker("plugin", "enable", pluginName)
	})
	on = false
	for _, h := range c.hosts[:2] {
		h.create("ext", "--ipv6", "--subnet", "172.29.0.0/24", "--subnet", "fd00:29::/64")
		h.serve("web-"+h.Name, "ext")
	}
	before := c.picture("ext")
	pids := fmt.Sprint(c.h1.PluginPID(), c.h2.PluginPID())

	c.h3.docker("plugin", "enable", pluginName)
	on = true
	c.h3.create("ext", "--ipv6", "--subnet", "172.29.0.0/24", "--subnet", "fd00:29::/64")
	began := time.Now()
	c.h3.serve("web-h3", "ext")
	for _, h := range c.hosts[:2] {
		c.h3.reaches("web-h3", "web-"+h.Name, h.ipv4("web-"+h.Name, "ext"), 5*time.Second)
		h.reaches("web-"+h.Name, "web-h3", c.h3.ipv4("web-h3", "ext"), 5*time.Second)
	}
	t.Logf("h3's first container and h1's and h2's reach each other after %.1f s", time.Since(began).Seconds())
	all := c.picture("ext")
	c.answers(all)

	// It gets another address on the underlay.
	old := c.h3.Addr
	c.check(c.h3.Readdress(c.h3.ctx(), "192.0.2.77"))
	t.Cleanup(func() { c.check(c.h3.Readdress(c.h3.ctx(), old)) })
	began = time.Now()
	for _, h := range c.hosts[:2] {
		h.reaches("web-"+h.Name, "web-h3", c.h3.ipv4("web-h3", "ext"), 30*time.Second)
		h.forgets(old, 30*time.Second)
	}
	c.h3.reaches("web-h3", "web-h1", c.h1.ipv4("web-h1", "ext"), 30*time.Second)
	t.Logf("h3's other tunnel address is followed after %.1f s", time.Since(began).Seconds())
	c.reachable(all, "ext")

	// It leaves.
	c.h3.remove("web-h3")
	c.h3.docker("plugin", "disable", "-f", pluginName)
	on = false
	for _, h := range c.hosts[:2] {
		h.forgets("192.0.2.77", 90*time.Second)
		h.follows("web-h3", 5*time.Second)
	}
	c.h3.docker("plugin", "enable", pluginName)
	on = true
	if now := fmt.Sprint(c.h1.PluginPID(), c.h2.PluginPID()); now != pids {
		t.Errorf("plugins of h1 and h2 are now %s, were %s", now, pids)
	}
	c.h3.serve("web-h3", "ext")
	now := c.picture("ext")
	for _, line := range all.Changed(now) {
		t.Error(line)
	}
	for _, line := range before.Changed(now) {
		t.Error(line)
	}
	c.reachable(now, "ext")
}

// TestPluginAwayForAWhile: what an upgrade of the plugin is to the others. Its
// containers go on running, so nobody may take their names.
func TestPluginAwayForAWhile(t *testing.T) {
	c := newCluster(t)
	c.create("ext", "--ipv6", "--subnet", "172.29.0.0/24", "--subnet", "fd00:29::/64")
	c.h1.docker(c.h1.ofName("web", "ext")...)
	c.h3.serve("client", "ext")
	before := c.picture("ext")
	c.h1.docker("plugin", "disable", "-f", pluginName)
	off := time.Now()
	for time.Since(off) < 20*time.Second { // far longer than a dead host's mark lives
		if _, err := c.h2.try(c.h2.ofName("web", "ext")...); err == nil || !strings.Contains(err.Error(), "on host h1 since") {
			t.Fatalf("web is started on h2: %v; want that it runs on h1", err)
		}
		c.h2.remove("web")
		time.Sleep(2 * time.Second)
	}
	c.h1.docker("plugin", "enable", pluginName)
	c.h3.reaches("client", "web-h1", c.h1.ipv4("web", "ext"), 10*time.Second)
	c.same("after the plugin was away", before, "ext")
	c.answers(before)
}
