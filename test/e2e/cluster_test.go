package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/dockstack/dockstack/test/lab"
	"github.com/dockstack/dockstack/test/stall"
)

// cluster is three hosts that share an etcd, as one test sees them.
type cluster struct {
	t          *testing.T
	lab        *lab.Lab
	hosts      []*host
	h1, h2, h3 *host
}

// newCluster returns the hosts, all up, joined and emptied, and does so again
// after the test.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, lab: together.up(t)}
	for _, h := range c.lab.Hosts {
		c.hosts = append(c.hosts, &host{Host: h, t: t, dir: t.TempDir()})
	}
	c.h1, c.h2, c.h3 = c.hosts[0], c.hosts[1], c.hosts[2]
	c.mend()
	c.clean()
	t.Cleanup(func() {
		if t.Failed() {
			for _, h := range c.hosts {
				t.Log(h.Name)
				h.logs()
			}
		}
		c.mend()
		c.clean()
	})
	return c
}

// in is the same cluster seen by a subtest.
func (c *cluster) in(t *testing.T) *cluster {
	t.Helper()
	s := &cluster{t: t, lab: c.lab}
	for _, h := range c.hosts {
		s.hosts = append(s.hosts, h.in(t))
	}
	s.h1, s.h2, s.h3 = s.hosts[0], s.hosts[1], s.hosts[2]
	return s
}

// mend undoes whatever was done to machines and links.
func (c *cluster) mend() {
	c.t.Helper()
	for _, m := range c.lab.Etcd {
		if m.PID() != 0 {
			c.check(m.Resume())
		}
		c.check(m.Mend(c.h1.ctx()))
	}
	c.check(c.lab.EtcdStart(c.h1.ctx()))
	for _, h := range c.hosts {
		if h.EnginePID() == 0 {
			c.check(h.Reboot(h.ctx()))
		}
		c.check(h.Mend(h.ctx()))
		c.check(h.MendEtcd(h.ctx()))
	}
}

func (c *cluster) clean() {
	c.t.Helper()
	for _, h := range c.hosts {
		h.clean()
	}
}

func (c *cluster) check(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// each does something on every host, one after the other.
func (c *cluster) each(do func(h *host)) {
	c.t.Helper()
	for _, h := range c.hosts {
		do(h)
	}
}

// errGaveUp is that of a host of which a test ended before it was through.
var errGaveUp = errors.New("the test gave up")

// atOnce does something to every host at the same time.
func (c *cluster) atOnce(do func(h *host) error) {
	c.t.Helper()
	errs := make(chan error, len(c.hosts))
	for _, h := range c.hosts {
		go func() {
			err := errGaveUp
			defer func() { errs <- err }() // also of a test that ended in there
			if err = do(h); err != nil {
				err = fmt.Errorf("%s: %w", h.Name, err)
			}
		}()
	}
	for range c.hosts {
		if err := <-errs; err != nil {
			c.t.Error(err)
		}
	}
}

// create makes the same network on every host.
func (c *cluster) create(name string, args ...string) {
	c.t.Helper()
	c.each(func(h *host) { h.create(name, args...) })
}

// picture is that of all hosts. A name that has an address on two of them is
// an error.
func (c *cluster) picture(networks ...string) picture {
	c.t.Helper()
	all, where := picture{}, map[string]string{}
	for _, h := range c.hosts {
		for key, a := range h.picture(networks...) {
			if a == (attachment{}) && all[key] != a {
				continue // it does not run here, and does elsewhere
			}
			if other := where[key]; other != "" && all[key] != (attachment{}) {
				c.t.Errorf("%s has %v on %s and %v on %s", key, all[key], other, a, h.Name)
			}
			all[key], where[key] = a, h.Name
		}
	}
	return all
}

// same fails for what of before is otherwise now, or doubled.
func (c *cluster) same(what string, before picture, networks ...string) picture {
	c.t.Helper()
	now := c.picture(networks...)
	for _, line := range before.Changed(now) {
		c.t.Errorf("%s: %s", what, line)
	}
	distinct(c.t, now)
	return now
}

// answers has every host's DNS asked for every name. What changed elsewhere
// may take a moment.
func (c *cluster) answers(p picture) {
	c.t.Helper()
	c.each(func(h *host) {
		h.eventually(30*time.Second, func() string { return h.differs(p) }) // after a reboot it joins the others first
		h.answers(p)
	})
}

// differs is the first name of which the host's DNS says something else than
// the picture does.
func (h *host) differs(p picture) string {
	h.t.Helper()
	want := map[string][]string{}
	for key, a := range p {
		name, _, _ := strings.Cut(key, " ")
		if a.IPv4 != "" {
			want[name] = append(want[name], a.IPv4)
		}
	}
	for name, addrs := range want {
		slices.Sort(addrs)
		if got := addresses(h.ask(hostDNS, name+".dockstack", dns.TypeA)); !slices.Equal(got, addrs) {
			return fmt.Sprintf("DNS on %s says %s is %v, it is %v", h.Name, name, got, addrs)
		}
	}
	return ""
}

// reachable fails for every address that a container in its network can't
// reach, on whatever host that runs.
func (c *cluster) reachable(p picture, networks ...string) {
	c.t.Helper()
	for _, h := range c.hosts {
		for _, n := range networks {
			from := h.first(n)
			if from == "" {
				continue
			}
			h.inContainer(from, func() {
				for key, a := range p {
					if !strings.HasSuffix(key, " "+n) {
						continue
					}
					for _, addr := range []string{a.IPv4, a.IPv6} {
						if addr == "" {
							continue
						}
						if err := knock(addr, "9"); err != nil {
							c.t.Errorf("from %s on %s, %s at %s: %v", from, h.Name, key, addr, err)
						}
					}
				}
			})
		}
	}
}

// first is a container of a network that runs here; empty if none does.
func (h *host) first(network string) string {
	h.t.Helper()
	return strings.SplitN(h.docker("ps", "--filter", "network="+network, "--format", "{{.Names}}"), "\n", 2)[0]
}

// inContainer calls do in a container's network.
func (h *host) inContainer(container string, do func()) {
	h.t.Helper()
	pid := h.docker("inspect", "-f", "{{.State.Pid}}", container)
	h.inNamespace(h.Path("/proc/"+pid+"/ns/net"), do)
}

// reaches waits until a container, connecting to addr, is told the name of
// to, and returns how long that took.
func (h *host) reaches(from, to string, addr netip.Addr, limit time.Duration) time.Duration {
	h.t.Helper()
	began := time.Now()
	var said string
	h.inContainer(from, func() {
		for {
			got, err := greeting(at(addr), 200*time.Millisecond)
			if got == to {
				return
			}
			if said = fmt.Sprintf("%q, %v", got, err); stall.Took(began) > limit {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		h.t.Errorf("%s on %s asks %s for its name: still %s after %s; want %s", from, h.Name, addr, said, limit, to)
	})
	return time.Since(began)
}

// status is what the plugin tells of itself.
func (h *host) status() string {
	b, err := os.ReadFile(h.Path("/run/dockstack/status"))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// says waits until the status has all the words.
func (h *host) says(limit time.Duration, words ...string) {
	h.t.Helper()
	h.eventually(limit, func() string {
		text := h.status()
		for _, w := range words {
			if !strings.Contains(text, w) {
				return fmt.Sprintf("the status of %s lacks %q: %s", h.Name, w, text)
			}
		}
		return ""
	})
}

// stamp is how messages say since when something is so.
const stamp = `\d\d:\d\d:\d\d`
