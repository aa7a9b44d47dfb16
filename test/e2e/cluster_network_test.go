package e2e

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestOneNetwork: the same `docker network create` on each host is one
// layer-2 network of both families.
func TestOneNetwork(t *testing.T) {
	c := newCluster(t)
	c.each(func(h *host) { h.hostResolvers(hostDNS) })
	c.create("ext", "--ipv6", "--subnet", "172.29.0.0/24", "--subnet", "fd00:29::/64")
	var names []string
	for i, h := range c.hosts {
		names = append(names, fmt.Sprintf("web%d", i+1))
		h.serve(names[i], "ext")
	}
	p := c.picture("ext")
	distinct(t, p)
	c.answers(p)
	c.reachable(p, "ext")
	for i, h := range c.hosts {
		for _, to := range names {
			if to == names[i] {
				continue
			}
			a := p[to+" ext"]
			h.reaches(names[i], to, netip.MustParseAddr(a.IPv4), 5*time.Second)
			h.meets(names[i], to, netip.MustParseAddr(a.IPv6))
			h.does(names[i], "ping", "-c", "2", "-i", "0.2", "-w", "20", a.IPv4)
			// Its largest packet, whole.
			h.does(names[i], "ping", "-c", "1", "-i", "0.2", "-w", "20", "-M", "do", "-s", "1422", a.IPv4)
			h.does(names[i], "ping", "-c", "1", "-i", "0.2", "-w", "20", "-M", "do", "-s", "1402", a.IPv6)
			for _, by := range []string{to, to + ".ext", to + ".dockstack"} {
				if got, err := h.get(names[i], by+":"+port); err != nil || got != to {
					t.Errorf("%s on %s asks %s for its name: %q, %v", names[i], h.Name, by, got, err)
				}
			}
		}
	}
	// The switch answers for addresses, and by what it knows: the MAC is right.
	dev := c.h1.device("web1", netip.MustParseAddr(p["web1 ext"].IPv4)).Name
	neighbours := c.h1.does("web1", "ip", "neigh", "show", "dev", dev)
	for _, to := range names[1:] {
		if a := p[to+" ext"]; !strings.Contains(neighbours, a.IPv4+" lladdr "+strings.ToLower(a.MAC)) {
			t.Errorf("web1 believes %s, %s is %v", neighbours, to, a)
		}
	}
}

// TestFullSizeAcrossHosts: TCP and UDP at the size that programs really send.
func TestFullSizeAcrossHosts(t *testing.T) {
	c := newCluster(t)
	c.create("ext", "--ipv6", "--subnet", "172.29.0.0/24", "--subnet", "fd00:29::/64")
	c.h1.run("server", "ext")
	c.h2.run("client", "ext")
	c.h1.docker("exec", "-d", "server", "/standin", "tcp-serve", "5001")
	c.h1.docker("exec", "-d", "server", "/standin", "udp-serve", "5002")
	for _, addr := range []netip.Addr{c.h1.ipv4("server", "ext"), c.h1.ipv6("server", "ext")} {
		c.h2.listens("client", netip.AddrPortFrom(addr, 5001))
		t.Logf("TCP: %s", c.h2.exec("client", "tcp-send", netip.AddrPortFrom(addr, 5001).String(), "67108864"))
		for _, how := range []string{"", "gso"} {
			const count = 400
			args := append([]string{"udp-send", netip.AddrPortFrom(addr, 5002).String(), fmt.Sprint(count), "1400"}, strings.Fields(how)...)
			got := arrived(t, c.h2.exec("client", args...))
			t.Logf("UDP to %s %s: %d of %d datagrams arrived", addr, how, got, count)
			// A burst may overrun a socket's buffer on its way through two
			// switches. A switch that can't segment loses all.
			if want := map[string]int{"": count, "gso": count / 2}[how]; got < want {
				t.Errorf("to %s %s: %d of %d datagrams arrived", addr, how, got, count)
			}
		}
	}
}

// TestOverlaysApart: two overlays with one subnet, named by the option, share
// a host and nothing else.
func TestOverlaysApart(t *testing.T) {
	c := newCluster(t)
	named := func(h *host, overlay string) {
		h.create(overlay, "--subnet", "172.30.0.0/24", "-o", "dockstack.overlay="+overlay, "--ipam-opt", "dockstack.overlay="+overlay)
	}
	named(c.h1, "red")
	named(c.h2, "red")
	named(c.h3, "blue")
	c.h1.serve("red1", "red")
	c.h2.serve("red2", "red")
	c.h3.serve("blue1", "blue", "--ip", "172.30.0.99")
	c.h2.reaches("red2", "red1", c.h1.ipv4("red1", "red"), 5*time.Second)
	for _, try := range []struct {
		from string
		h    *host
		to   string
	}{
		{"blue1", c.h3, c.h1.ipv4("red1", "red").String()},
		{"red1", c.h1, "172.30.0.99"},
	} {
		// The blue container's address may be the red one's as well.
		if got, err := try.h.get(try.from, try.to+":"+port); err == nil && got != try.from {
			t.Errorf("%s got to %s at %s, in another overlay", try.from, got, try.to)
		}
	}
}

// TestAutomaticSubnetsAcrossHosts: networks without a subnet get one that no
// other host's has.
func TestAutomaticSubnetsAcrossHosts(t *testing.T) {
	c := newCluster(t)
	seen := map[netip.Prefix]string{}
	c.each(func(h *host) {
		for _, name := range []string{"one", "two"} {
			h.create(name, "--ipv6")
			for _, subnet := range h.subnets(name) {
				for other, where := range seen {
					if subnet.Overlaps(other) {
						t.Errorf("%s of %s on %s overlaps %s of %s", subnet, name, h.Name, other, where)
					}
				}
				seen[subnet] = name + " on " + h.Name
			}
		}
	})
	if want := 2 * 2 * len(c.hosts); len(seen) != want {
		t.Errorf("%d subnets, want %d: %v", len(seen), want, seen)
	}
}

var vxlanID = regexp.MustCompile(`vxlan id (\d+)`)

// vnis are the overlays that the host has a tunnel for.
func (h *host) vnis() []string {
	h.t.Helper()
	var out []string
	for _, m := range vxlanID.FindAllStringSubmatch(h.onHost("ip", "-d", "link", "show", "type", "vxlan"), -1) {
		out = append(out, m[1])
	}
	slices.Sort(out)
	return out
}

// TestStrangerOnTheUnderlay: a machine that is no host of the cluster can't
// send into an overlay, even if it knows all about it.
func TestStrangerOnTheUnderlay(t *testing.T) {
	c := newCluster(t)
	c.create("net", "--subnet", "172.30.0.0/24", "-o", "dockstack.vni=4711")
	c.h1.serve("web", "net", "--cap-add", "NET_ADMIN")
	c.h2.serve("client", "net")
	web := c.h1.ipv4("web", "net")
	c.h2.reaches("client", "web", web, 5*time.Second)
	if got := c.h1.vnis(); !slices.Equal(got, []string{"4711"}) {
		t.Fatalf("h1 has tunnels for the overlays %v, want 4711", got)
	}
	heard := func() string { return c.h1.does("web", "cat", "/proc/net/snmp") }
	icmp := func(text string) string {
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "Icmp: ") && !strings.Contains(line, "InMsgs") {
				return strings.Fields(line)[1]
			}
		}
		return text
	}
	out := func(args ...string) { c.h1.inUnderlay(args...) }
	out("ip", "link", "add", "stranger", "type", "vxlan", "id", "4711", "remote", c.h1.Addr, "dstport", "14789", "dev", "underlay")
	t.Cleanup(func() { out("ip", "link", "del", "stranger") })
	out("ip", "addr", "add", "172.30.0.250/24", "dev", "stranger")
	out("ip", "link", "set", "stranger", "up")
	out("ip", "neigh", "add", web.String(), "lladdr", c.h1.mac("web", "net"), "dev", "stranger")
	before := icmp(heard())
	_, _ = c.h1.underlay("ping", "-c", "5", "-i", "0.2", "-W", "1", web.String()) // no answer is what is wanted
	if after := icmp(heard()); after != before {
		t.Errorf("web heard %s ICMP messages before a stranger's, and %s after", before, after)
	}
	// The same from a peer arrives: what is counted is counted rightly.
	c.h2.does("client", "ping", "-c", "3", "-i", "0.2", "-W", "2", web.String())
	if after := icmp(heard()); after == before {
		t.Error("web heard no ICMP message from its peer either")
	}
}
