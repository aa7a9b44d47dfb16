package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// healthPort is where checks look, on the network's gateway.
const healthPort = 7777

// shop is a stack with a service of three, an alias, ports, and a check that the
// test decides of. Its replicas leave the round robin by their own label.
const shop = `
networks:
  internal:
    external: true
services:
  web:
    image: dockstack-standin
    scale: 3
    expose: ["8080", "5353/udp"]
    labels: {dockstack.health: "on"}
    healthcheck:
      test: ["CMD", "/standin", "get", "172.16.0.1:7777"]
      interval: 2s
      timeout: 10s
      retries: 1
    networks:
      internal:
        aliases: [www, Front_End]
  db:
    image: dockstack-standin
    networks: [internal]
`

// clinic answers the checks of a host's containers, but for those that are sick.
type clinic struct {
	mu   sync.Mutex
	sick map[string]bool
}

func (c *clinic) set(addr string, sick bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sick[addr] = sick
}

func (c *clinic) serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		from, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
		c.mu.Lock()
		if !c.sick[from] {
			_, _ = fmt.Fprintln(conn, "well")
		}
		c.mu.Unlock()
		_ = conn.Close()
	}
}

// clinic opens one on the host's gateway address.
func (h *host) clinic() *clinic {
	h.t.Helper()
	var l net.Listener
	var err error
	h.inNet(func() { l, err = net.Listen("tcp", fmt.Sprintf("172.16.0.1:%d", healthPort)) })
	h.check(err)
	c := &clinic{sick: map[string]bool{}}
	go c.serve(l)
	h.t.Cleanup(func() {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			h.t.Error(err)
		}
	})
	return c
}

// shop brings the stack up under a project's name.
func (h *host) shop(project string) {
	h.t.Helper()
	h.check(os.WriteFile(filepath.Join(h.dir, project+".yml"), []byte(shop), 0o600))
	h.compose(project, "up", "-d", "-t", "1")
}

// is waits until the host's DNS gives a name just these addresses.
func (h *host) is(name string, want ...string) {
	h.t.Helper()
	want = slices.Sorted(slices.Values(want))
	h.eventually(time.Minute, func() string {
		if got := addresses(h.ask(hostDNS, name, dns.TypeA)); !slices.Equal(got, want) {
			return fmt.Sprintf("%s says %s is %v, not %v", h.Name, name, got, want)
		}
		return ""
	})
}

// dnsUp waits until the host's DNS can be asked.
func (h *host) dnsUp() {
	h.t.Helper()
	h.eventually(30*time.Second, func() string {
		var err error
		h.inNet(func() {
			q := new(dns.Msg).SetQuestion("dockstack.", dns.TypeSOA)
			_, _, err = (&dns.Client{Timeout: time.Second}).Exchange(q, net.JoinHostPort(hostDNS, "53"))
		})
		if err != nil {
			return err.Error()
		}
		return ""
	})
}

// replicas are the addresses of a project's containers of a service.
func (h *host) replicas(project, service string, n int) []string {
	h.t.Helper()
	var out []string
	for i := range n {
		out = append(out, h.ipv4(fmt.Sprintf("%s-%s-%d", project, service, i+1), "internal").String())
	}
	return out
}

// TestServices: what compose calls services and aliases is found on every host,
// wherever the replicas run, and leaves with them and with their health.
func TestServices(t *testing.T) {
	c := newCluster(t)
	c.create("internal", "--subnet", "172.16.0.0/16")
	well := []*clinic{c.h1.clinic(), c.h2.clinic()}
	c.h1.shop("one")
	c.h2.shop("two")
	one, two := c.h1.replicas("one", "web", 3), c.h2.replicas("two", "web", 3)
	all := append(slices.Clone(one), two...)
	dbs := append(c.h1.replicas("one", "db", 1), c.h2.replicas("two", "db", 1)...)
	c.each(func(h *host) {
		for _, name := range []string{"web", "web.internal", "web.dockstack", "WWW.dockstack", "www.internal.dockstack", "front_end.dockstack", "front-end.dockstack"} {
			h.is(name, all...)
		}
		h.is("db.dockstack", dbs...)
		h.is("one-web-1.dockstack", one[0])
	})
	t.Run("ports", func(t *testing.T) { c.in(t).ports(all) })
	t.Run("round robin", func(t *testing.T) {
		first := map[string]bool{}
		c.in(t).h3.eventually(10*time.Second, func() string {
			answer := c.h3.ask(hostDNS, "web.dockstack", dns.TypeA).Answer
			if len(answer) == 0 {
				return "web.dockstack is nowhere"
			}
			first[answer[0].(*dns.A).A.String()] = true
			return map[bool]string{true: "", false: fmt.Sprintf("only %v come first", first)}[len(first) == len(all)]
		})
	})
	t.Run("health", func(t *testing.T) {
		c := c.in(t)
		well[0].set(one[1], true)
		c.each(func(h *host) { h.is("web.dockstack", slices.Concat(one[:1], one[2:], two)...) })
		c.h3.is("one-web-2.dockstack", one[1])
		for i, addr := range all {
			well[i/3].set(addr, true)
		}
		// All of them sick, all are as good as any.
		for _, h := range c.hosts[:2] {
			h.eventually(time.Minute, func() string {
				if n := len(strings.Fields(h.docker("ps", "-q", "--filter", "health=unhealthy"))); n != 3 {
					return fmt.Sprintf("%d of %s's containers are unhealthy", n, h.Name)
				}
				return ""
			})
		}
		c.h3.is("web.dockstack", all...)
		for i, addr := range all {
			well[i/3].set(addr, false)
		}
		c.each(func(h *host) { h.is("web.dockstack", all...) })
	})
	t.Run("rename", func(t *testing.T) {
		c := c.in(t)
		c.h2.docker("rename", "two-web-1", "solo")
		c.h3.is("solo.dockstack", two[0])
		c.h3.is("web.dockstack", all...)
		c.h1.is("two-web-1.dockstack")
	})
	t.Run("restart of the plugin", func(t *testing.T) {
		c := c.in(t)
		c.h1.killPlugin()
		c.h1.dnsUp()
		c.h1.is("web.dockstack", all...)
		c.h1.is("front-end.dockstack", all...)
	})
	t.Run("stop and start", func(t *testing.T) {
		c := c.in(t)
		c.h1.stop("one-web-3")
		c.each(func(h *host) { h.is("www.dockstack", slices.Concat(one[:2], two)...) })
		c.h1.docker("start", "one-web-3")
		c.each(func(h *host) { h.is("www.dockstack", all...) })
	})
	t.Run("connect", func(t *testing.T) {
		c := c.in(t)
		c.h2.docker("run", "-d", "--name", "plain", "--network", "none", standin)
		c.h2.docker("network", "disconnect", "none", "plain")
		c.h2.docker("network", "connect", "--alias", "www", "--alias", "late", "internal", "plain")
		plain := c.h2.ipv4("plain", "internal").String()
		c.h3.is("late.dockstack", plain)
		c.h3.is("www.dockstack", append(slices.Clone(all), plain)...)
		c.h2.remove("plain")
		c.h3.is("late.dockstack")
	})
	c.h1.compose("one", "down", "-t", "1")
	c.each(func(h *host) { h.is("web.dockstack", two...) })
}

// ports looks the service's ports up, on the host that runs none of it.
func (c *cluster) ports(all []string) {
	c.t.Helper()
	for name, port := range map[string]uint16{"_8080._tcp.web.dockstack": 8080, "_5353._udp.www.dockstack": 5353} {
		c.h3.eventually(20*time.Second, func() string {
			m := c.h3.ask(hostDNS, name, dns.TypeSRV)
			var found []string
			for _, rr := range m.Answer {
				srv, ok := rr.(*dns.SRV)
				if !ok || srv.Port != port {
					return fmt.Sprintf("%s is %v", name, m.Answer)
				}
				found = append(found, addresses(c.h3.ask(hostDNS, strings.TrimSuffix(srv.Target, "."), dns.TypeA))...)
			}
			slices.Sort(found)
			if want := slices.Sorted(slices.Values(all)); !slices.Equal(found, want) {
				return fmt.Sprintf("%s leads to %v, not %v", name, found, want)
			}
			return ""
		})
	}
	if m := c.h3.ask(hostDNS, "_9999._tcp.web.dockstack", dns.TypeSRV); len(m.Answer) != 0 {
		c.t.Errorf("a port that is not exposed is %v", m.Answer)
	}
}
