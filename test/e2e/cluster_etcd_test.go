package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// outage is a way for etcd to be away.
type outage struct {
	what string
	fall func(c *cluster)
	// on are the hosts that etcd is away for.
	on func(c *cluster) []*host
}

func everywhere(c *cluster) []*host { return c.hosts }

var outages = []outage{
	{"all members stopped", func(c *cluster) { c.check(c.lab.EtcdStop(c.h1.ctx())) }, everywhere},
	{"two members of three killed", func(c *cluster) {
		c.check(c.lab.Member(1).Kill9(c.h1.ctx()))
		c.check(c.lab.Member(3).Kill9(c.h1.ctx()))
	}, everywhere},
	{"all members hang", func(c *cluster) {
		for _, m := range c.lab.Etcd {
			c.check(m.Pause())
		}
	}, everywhere},
	{"members are cut from each other", func(c *cluster) {
		for _, m := range c.lab.Etcd {
			c.check(m.Cut(c.h1.ctx()))
		}
	}, everywhere},
	{"one host is cut from etcd", func(c *cluster) { c.check(c.h1.CutEtcd(c.h1.ctx())) }, func(c *cluster) []*host { return c.hosts[:1] }},
}

// TestEtcdAway: known names start, restart and stop, new ones are refused
// with a reason, DNS answers and traffic flows; and when etcd is back, all
// agree.
func TestEtcdAway(t *testing.T) {
	c := newCluster(t)
	c.create("ext", "--ipv6", "--subnet", "172.29.0.0/24", "--subnet", "fd00:29::/64")
	for _, h := range c.hosts {
		h.serve("on-"+h.Name, "ext")
		h.serve("idle-"+h.Name, "ext")
		h.serve("gone-"+h.Name, "ext")
	}
	before := c.picture("ext")
	c.reachable(before, "ext")
	for i, o := range outages {
		t.Run(strings.ReplaceAll(o.what, " ", "-"), func(t *testing.T) {
			c := c.in(t)
			c.each(func(h *host) { h.stop("idle-" + h.Name) })
			o.fall(c)
			for _, h := range o.on(c) {
				c.awayOn(h, before, fmt.Sprintf("new%d-%s", i, h.Name))
			}
			// Of what started while etcd is away other hosts can't know yet.
			known := maps.Clone(before)
			rest := c.among(o.on(c))
			maps.DeleteFunc(known, func(key string, _ attachment) bool {
				return strings.HasPrefix(key, "idle-") || !slices.ContainsFunc(rest.hosts, func(h *host) bool { return strings.HasSuffix(key, "-"+h.Name+" ext") })
			})
			rest.reachable(known, "ext")
			c.mend()
			back := time.Now()
			// New names are taken again, on every host, and all hosts agree.
			for _, h := range c.hosts {
				name := fmt.Sprintf("late%d-%s", i, h.Name)
				h.eventually(30*time.Second, func() string {
					if _, err := h.try("run", "-d", "--name", name, "--network", "ext", standin); err != nil {
						_, _ = h.try("rm", "-f", name)
						return err.Error()
					}
					return ""
				})
			}
			t.Logf("%s: new names on every host %.1f s after the end", o.what, time.Since(back).Seconds())
			c.each(func(h *host) { h.revive() })
			now := c.same(o.what, before, "ext")
			c.answers(now)
			c.reachable(now, "ext")
			c.each(func(h *host) { h.remove(fmt.Sprintf("late%d-%s", i, h.Name)) })
		})
	}
}

// among are the hosts that go on reaching each other: all for which etcd is
// away or, where only some are, the others, who soon take those for dead.
func (c *cluster) among(away []*host) *cluster {
	if len(away) == len(c.hosts) {
		return c
	}
	rest := *c
	rest.hosts = slices.DeleteFunc(slices.Clone(c.hosts), func(h *host) bool { return slices.Contains(away, h) })
	return &rest
}

// awayOn is what a host must do without etcd.
func (c *cluster) awayOn(h *host, before picture, fresh string) {
	c.t.Helper()
	// That it is away is not known at once. The daemon's own word ends this.
	h.says(30*time.Second, "AWAY since")
	began := time.Now()
	h.docker("restart", "-t", "1", "on-"+h.Name)
	h.docker("start", "idle-"+h.Name)
	h.stop("gone-" + h.Name)
	h.docker("start", "gone-"+h.Name)
	c.t.Logf("without etcd a restart, a start, a stop and a start on %s took %.1f s", h.Name, time.Since(began).Seconds())
	began = time.Now()
	h.refused([]string{"run", "-d", "--name", fresh, "--network", "ext", standin}, fresh, "etcd")
	c.t.Logf("a new name was refused after %.1f s", time.Since(began).Seconds())
	h.remove(fresh)
	own := picture{}
	for key, a := range h.picture("ext") {
		if own[key] = a; a != before[key] {
			c.t.Errorf("without etcd %s on %s was %v, is %v", key, h.Name, before[key], a)
		}
	}
	h.answers(own)
	h.reachable(own)
}

// TestEtcdLeaderKilled: one member less is no outage.
func TestEtcdLeaderKilled(t *testing.T) {
	c := newCluster(t)
	c.create("ext", "--subnet", "172.29.0.0/24", "--ipv6", "--subnet", "fd00:29::/64")
	c.each(func(h *host) { h.serve("web-"+h.Name, "ext") })
	before := c.picture("ext")
	for round := range 3 {
		leader, err := c.lab.EtcdLeader(c.h1.ctx())
		c.check(err)
		c.check(leader.Kill9(c.h1.ctx()))
		began := time.Now()
		for _, h := range c.hosts {
			name := fmt.Sprintf("new%d-%s", round, h.Name)
			h.eventually(30*time.Second, func() string {
				if _, err := h.try("run", "-d", "--name", name, "--network", "ext", standin); err != nil {
					_, _ = h.try("rm", "-f", name)
					return err.Error()
				}
				return ""
			})
			h.docker("restart", "-t", "1", "web-"+h.Name)
		}
		t.Logf("%s, the leader, was killed; a new name and a restart on every host took %.1f s", leader.Name, time.Since(began).Seconds())
		now := c.same("after a leader's death", before, "ext")
		c.answers(now)
		c.reachable(now, "ext")
		c.check(c.lab.EtcdStart(c.h1.ctx()))
	}
}

// TestBootWithoutEtcd: a host that boots while etcd is away starts what it
// knows.
func TestBootWithoutEtcd(t *testing.T) {
	c := newCluster(t)
	c.create("ext", "--subnet", "172.29.0.0/24", "--ipv6", "--subnet", "fd00:29::/64")
	c.h1.serve("always", "ext", "--restart", "always")
	c.h2.serve("web", "ext")
	before := c.picture("ext")
	c.check(c.lab.EtcdStop(c.h1.ctx()))
	c.check(c.h1.Reboot(c.h1.ctx()))
	c.h1.alwaysUp()
	c.h1.docker("restart", "-t", "1", "always")
	c.h1.answers(picture{"always ext": before["always ext"]})
	c.h2.reaches("web", "always", c.h1.ipv4("always", "ext"), 10*time.Second)
	c.mend()
	c.same("after etcd came back", before, "ext")
	c.answers(before)
	c.reachable(before, "ext")
}
