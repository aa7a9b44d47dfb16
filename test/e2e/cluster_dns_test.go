package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/dockstack/dockstack/test/stall"
)

// follows waits until the host's DNS says that a name is these addresses, and
// returns how long that took.
func (h *host) follows(name string, limit time.Duration, want ...string) time.Duration {
	h.t.Helper()
	began := time.Now()
	for {
		got := addresses(h.ask(hostDNS, name+".dockstack", dns.TypeA))
		if slices.Equal(got, want) {
			return time.Since(began)
		}
		if stall.Took(began) > limit {
			h.t.Errorf("after %s DNS on %s says %s is %v, want %v", limit, h.Name, name, got, want)
			return limit
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestDNSOfTheCluster: every host answers for all hosts' names, and follows
// what changes elsewhere.
func TestDNSOfTheCluster(t *testing.T) {
	c := newCluster(t)
	c.each(func(h *host) { h.networks() })
	c.each(func(h *host) {
		h.run("in-"+h.Name, "internal")
		h.run("both-"+h.Name, "internal", "--network", "ext")
	})
	p := c.picture("internal", "ext")
	c.answers(p)
	addr := p["in-h1 internal"].IPv4
	for _, change := range []struct {
		what string
		do   func()
		want []string
	}{
		{"stopped", func() { c.h1.stop("in-h1") }, nil},
		{"started", func() { c.h1.docker("start", "in-h1") }, []string{addr}},
		{"disconnected", func() { c.h1.docker("network", "disconnect", "internal", "in-h1") }, nil},
		{"connected", func() { c.h1.docker("network", "connect", "internal", "in-h1") }, []string{addr}},
		{"removed", func() { c.h1.remove("in-h1") }, nil},
		{"run on another host", func() { c.h2.run("in-h1", "internal") }, []string{addr}},
	} {
		change.do()
		said := change.what
		for _, h := range c.hosts {
			said += fmt.Sprintf(", %s follows after %s", h.Name, h.follows("in-h1", 5*time.Second, change.want...).Round(time.Millisecond))
		}
		t.Log(said)
	}
	// A rename is a name's end and another's beginning.
	c.h2.docker("rename", "both-h2", "renamed")
	both := []string{p["both-h2 internal"].IPv4, p["both-h2 ext"].IPv4}
	slices.Sort(both)
	for _, h := range c.hosts {
		h.follows("renamed", 10*time.Second, both...)
		h.follows("both-h2", 10*time.Second)
	}
}
