package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// spread is which stack runs where.
var spread = [][]string{
	{"contrail-database", "contrail-config", "always"},
	{"contrail-control", "contrail-analytics", "contrail-webui", "always-two"},
	{"keystone", "glance", "nova", "neutron", "always-three"},
}

// copySpread gives each host the compose files and the images of all stacks.
// The stacks whose containers restart by themselves are one file under
// several names, so that their containers' names differ.
func (c *cluster) copySpread() {
	c.t.Helper()
	text, err := os.ReadFile("spread.yml")
	c.check(err)
	c.each(func(h *host) {
		h.copyStacks()
		for _, stacks := range spread[1:] {
			h.check(os.WriteFile(filepath.Join(h.dir, stacks[len(stacks)-1]+".yml"), text, 0o600))
		}
	})
}

// stacks are those of the host.
func (c *cluster) stacks(h *host) []string {
	for i, o := range c.hosts {
		if o.Host == h.Host {
			return spread[i]
		}
	}
	return nil
}

// clusterStorm is something that happens to hosts full of containers.
type clusterStorm struct {
	what string
	do   func(c *cluster)
}

// onEach lets a storm come over one host after the other.
func onEach(do func(c *cluster, h *host)) func(*cluster) {
	return func(c *cluster) {
		for _, h := range c.hosts {
			do(c, h)
		}
	}
}

var clusterStorms = []clusterStorm{
	{"restart of all", onEach(func(_ *cluster, h *host) { h.docker(append([]string{"restart", "-t", "1"}, h.owners()...)...) })},
	{"stop all, start in random order", func(c *cluster) {
		c.each(func(h *host) { h.stopAll() })
		for _, i := range shuffled([]int{0, 1, 2}) {
			c.hosts[i].startAll(shuffled(c.hosts[i].owners()))
		}
	}},
	{"kill -9 of a container with a restart policy", onEach(func(c *cluster, h *host) {
		stacks := c.stacks(h)
		h.kill9(stacks[len(stacks)-1] + "-web-1")
	})},
	{"rm -f and up in another order", func(c *cluster) {
		c.each(func(h *host) { h.removeAll() })
		for _, h := range []*host{c.h3, c.h2, c.h1} {
			h.up(reversed(c.stacks(h)))
		}
	}},
	{"down and up", func(c *cluster) {
		c.each(func(h *host) {
			for _, s := range c.stacks(h) {
				h.compose(s, "down", "-t", "1")
			}
		})
		for _, h := range []*host{c.h2, c.h3, c.h1} {
			h.up(shuffled(c.stacks(h)))
		}
	}},
	{"up --force-recreate", onEach(func(c *cluster, h *host) {
		for _, s := range reversed(c.stacks(h)) {
			h.compose(s, "up", "-d", "-t", "1", "--force-recreate")
		}
	})},
	{"scale 1, 5, 2, 5", func(c *cluster) { oneHosts("scale 1, 5, 2, 5")(c.h1) }},
	{"plugin kill -9 during starts", func(c *cluster) { oneHosts("plugin kill -9 during starts")(c.h2) }},
	{"plugin kill -9 between starts", onEach(func(_ *cluster, h *host) {
		h.stopAll()
		half := len(h.owners()) / 2
		h.startAll(h.owners()[:half])
		h.killPlugin()
		h.startAll(h.owners()[half:])
	})},
	{"plugin disable and enable", onEach(func(_ *cluster, h *host) {
		h.docker("plugin", "disable", "-f", pluginName)
		h.docker("plugin", "enable", pluginName)
		h.docker(append([]string{"restart", "-t", "1"}, h.owners()...)...)
	})},
	{"plugin upgrade", func(c *cluster) {
		h := c.h2
		ref := h.pushed("2")
		h.docker("plugin", "disable", "-f", pluginName)
		h.docker("plugin", "upgrade", "--grant-all-permissions", "--skip-remote-check", pluginName, ref)
		h.docker(append([]string{"plugin", "set", pluginName}, c.settings(h)...)...)
		h.docker("plugin", "enable", pluginName)
		h.docker(append([]string{"restart", "-t", "1"}, h.owners()...)...)
	}},
	{"plugin rm and install", func(c *cluster) {
		h := c.h3
		h.stopAll()
		ref := h.pushed("3")
		h.docker("plugin", "rm", "-f", pluginName)
		h.docker(append([]string{"plugin", "install", "--grant-all-permissions", "--alias", pluginName, ref}, c.settings(h)...)...)
		h.startAll(shuffled(h.owners()))
	}},
	{"engine restart", func(c *cluster) { c.check(c.h2.EngineRestart(c.h2.ctx())) }},
	{"engine kill -9", func(c *cluster) { oneHosts("engine kill -9")(c.h1) }},
	{"reboot of one", func(c *cluster) { c.check(c.h3.Reboot(c.h3.ctx())) }},
	{"reboot of all at once", func(c *cluster) {
		ctx := c.h1.ctx()
		c.atOnce(func(h *host) error { return h.PowerOff(ctx) })
		c.atOnce(func(h *host) error { return h.PowerOn(ctx) })
	}},
	{"reboot of all and of etcd", func(c *cluster) {
		ctx := c.h1.ctx()
		c.atOnce(func(h *host) error { return h.PowerOff(ctx) })
		c.check(c.lab.EtcdKill9(ctx))
		began := make(chan error, 1)
		go func() { began <- c.etcdLater(ctx, 5*time.Second) }()
		c.atOnce(func(h *host) error { return h.PowerOn(ctx) })
		c.check(<-began)
	}},
}

// oneHosts is a storm of those for one host.
func oneHosts(what string) func(*host) {
	for _, s := range storms {
		if s.what == what {
			return s.do
		}
	}
	panic("no storm is called " + what)
}

// settings join the host's plugin to the cluster.
func (c *cluster) settings(h *host) []string {
	c.t.Helper()
	s, err := h.StoreSettings(h.ctx())
	c.check(err)
	return s
}

// etcdLater starts etcd when the hosts have been booting for a while.
func (c *cluster) etcdLater(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
	return c.lab.EtcdStart(ctx)
}

// TestPromiseAcrossHosts spreads the upstream compose files and stacks that
// restart by themselves over three hosts, and lets one storm after the other
// come over them.
func TestPromiseAcrossHosts(t *testing.T) {
	c := newCluster(t)
	c.each(func(h *host) { h.networks() })
	c.copySpread()
	c.each(func(h *host) {
		h.up(c.stacks(h))
		h.revive()
	})
	before := c.picture("internal", "ext")
	distinct(t, before)
	if want := 14; onlyUpstream(before) < want {
		t.Fatalf("%d attachments of the upstream files, want at least %d: %v", onlyUpstream(before), want, before)
	}
	c.answers(before)
	c.reachable(before, "internal", "ext")
	for _, s := range clusterStorms {
		t.Run(strings.ReplaceAll(s.what, " ", "-"), func(t *testing.T) {
			c := c.in(t)
			began := time.Now()
			s.do(c)
			c.each(func(h *host) {
				h.alwaysUp()
				h.revive()
			})
			now := c.picture("internal", "ext")
			changed := before.Changed(now)
			t.Logf("%s: %d of %d attachments changed, %.0f s", s.what, len(changed), len(before), time.Since(began).Seconds())
			for _, line := range changed {
				t.Error(line)
			}
			distinct(t, now)
			c.answers(now)
			c.reachable(now, "internal", "ext")
		})
	}
}
