package e2e

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// ofName is the start of a stand-in that says where it runs.
func (h *host) ofName(name, network string, args ...string) []string {
	all := []string{"run", "-d", "--name", name, "--network", network, "--hostname", name + "-" + h.Name, "-e", "PORTS=" + port}
	return append(append(all, args...), standin)
}

// refusedSince is refused where the error also has to say since when.
func (h *host) refusedSince(args []string, words ...string) {
	h.t.Helper()
	if why := h.refused(args, words...); !regexp.MustCompile(stamp).MatchString(why) {
		h.t.Errorf("the error does not say since when: %s", why)
	}
}

// TestNameIsLiveOnce: a name that runs on one host is refused on another; once
// it has let go, it moves with its address and MAC, and everybody finds it.
func TestNameIsLiveOnce(t *testing.T) {
	c := newCluster(t)
	c.create("ext", "--ipv6", "--subnet", "172.29.0.0/24", "--subnet", "fd00:29::/64")
	c.h1.docker(c.h1.ofName("web", "ext")...)
	c.h3.run("client", "ext")
	before := c.picture("ext")
	web, web6 := c.h1.ipv4("web", "ext"), c.h1.ipv6("web", "ext")
	c.h3.reaches("client", "web-h1", web, 5*time.Second)

	create := append([]string{"create"}, c.h2.ofName("web", "ext")[2:]...)
	c.h2.docker(create...)
	c.h2.refusedSince([]string{"start", "web"}, `"web"`, "h1")
	c.h3.meets("client", "web-h1", web)

	for i, move := range []struct {
		what     string
		from, to *host
		letGo    func()
		start    func()
	}{
		{"stopped on h1, started on h2", c.h1, c.h2, func() { c.h1.stop("web") }, func() { c.h2.docker("start", "web") }},
		{"stopped on h2, started on h1", c.h2, c.h1, func() { c.h2.stop("web") }, func() { c.h1.docker("start", "web") }},
		{"killed on h1, run on h2", c.h1, c.h2, func() { c.h1.docker("kill", "web") }, func() { c.h2.remove("web"); c.h2.docker(c.h2.ofName("web", "ext")...) }},
		{"removed on h2, started on h1", c.h2, c.h1, func() { c.h2.remove("web") }, func() { c.h1.docker("start", "web") }},
	} {
		move.letGo()
		began := time.Now()
		move.start()
		started := time.Since(began)
		gap := c.h3.reaches("client", "web-"+move.to.Name, web, 5*time.Second)
		t.Logf("%s: started in %s, reached from h3 %s later", move.what, started.Round(time.Millisecond), gap.Round(time.Millisecond))
		c.h3.reaches("client", "web-"+move.to.Name, web6, 5*time.Second)
		c.same(move.what, before, "ext")
		c.answers(before)
		if i%2 == 0 {
			move.from.refusedSince([]string{"start", "web"}, `"web"`, move.to.Name)
		}
	}
}

// TestStartedOnAllAtOnce: of one name started on three hosts at the same
// time, one runs.
func TestStartedOnAllAtOnce(t *testing.T) {
	c := newCluster(t)
	c.create("ext", "--subnet", "172.29.0.0/24", "--ipv6", "--subnet", "fd00:29::/64")
	for round := range 5 {
		name := fmt.Sprintf("one%d", round)
		ran := make(chan string, len(c.hosts))
		for _, h := range c.hosts {
			go func() {
				if _, err := h.try(h.ofName(name, "ext")...); err != nil {
					ran <- ""
					return
				}
				ran <- h.Name
			}()
		}
		var winners []string
		for range c.hosts {
			if w := <-ran; w != "" {
				winners = append(winners, w)
			}
		}
		if len(winners) != 1 {
			t.Errorf("%s runs on %v, want one host", name, winners)
		}
	}
	distinct(t, c.picture("ext"))
}

// TestManyOnAllAtOnce: hosts that start new names at the same time give none
// of them an address of another.
func TestManyOnAllAtOnce(t *testing.T) {
	c := newCluster(t)
	c.create("ext", "--subnet", "172.29.0.0/24", "--ipv6", "--subnet", "fd00:29::/64")
	const each = 8
	errs := make(chan error, each*len(c.hosts))
	for _, h := range c.hosts {
		for i := range each {
			go func() {
				_, err := h.try("run", "-d", "--name", fmt.Sprintf("%s-%d", h.Name, i), "--network", "ext", standin)
				errs <- err
			}()
		}
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	p := c.picture("ext")
	if len(p) != each*len(c.hosts) {
		t.Errorf("%d attachments, want %d", len(p), each*len(c.hosts))
	}
	distinct(t, p)
	c.answers(p)
	c.reachable(p, "ext")
}

// TestNamesPerHost: with the option, each host has its own of a name.
func TestNamesPerHost(t *testing.T) {
	c := newCluster(t)
	c.create("monitor", "--subnet", "172.30.5.0/24", "-o", "dockstack.names=host")
	before := map[string]attachment{}
	for _, h := range c.hosts {
		h.docker(h.ofName("node-exporter", "monitor")...)
		before[h.Name] = h.picture("monitor")["node-exporter monitor"]
	}
	c.h3.run("client", "monitor")
	seen := map[string]string{}
	var all []string
	for _, h := range c.hosts {
		a := before[h.Name]
		if other := seen[a.IPv4]; other != "" {
			t.Errorf("%s and %s both have %s", other, h.Name, a.IPv4)
		}
		seen[a.IPv4] = h.Name
		all = append(all, a.IPv4)
		c.h3.reaches("client", "node-exporter-"+h.Name, netip.MustParseAddr(a.IPv4), 5*time.Second)
	}
	slices.Sort(all)
	c.each(func(h *host) {
		h.docker("restart", "-t", "1", "node-exporter")
		h.remove("node-exporter")
	})
	for _, h := range []*host{c.h3, c.h1, c.h2} {
		h.docker(h.ofName("node-exporter", "monitor")...)
	}
	for _, h := range c.hosts {
		if now := h.picture("monitor")["node-exporter monitor"]; now != before[h.Name] {
			t.Errorf("node-exporter on %s was %v, is %v", h.Name, before[h.Name], now)
		}
		own := before[h.Name].IPv4
		h.eventually(5*time.Second, func() string {
			got := addresses(h.ask(hostDNS, "node-exporter.dockstack", dns.TypeA))
			if !slices.Equal(got, all) && !slices.Equal(got, []string{own}) {
				return fmt.Sprintf("DNS on %s says node-exporter is %v; its own is %s, all are %v", h.Name, got, own, all)
			}
			return ""
		})
	}
}
