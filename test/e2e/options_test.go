package e2e

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// TestSubnetOptions makes a network, starts containers on it, and looks at
// their addresses and at whether they reach each other.
func TestSubnetOptions(t *testing.T) {
	h := newHost(t)
	for _, c := range []struct {
		what string
		// create is what `docker network create` is told.
		create []string
		// containers are as many.
		containers int
		// within are where addresses must lie, by family; except where they
		// must not.
		within, except []string
		// gateways are what the network must have.
		gateways []string
	}{
		{
			"range, gateway and excluded addresses",
			[]string{
				"--subnet", "172.30.0.0/16", "--ip-range", "172.30.5.0/29", "--gateway", "172.30.0.9",
				"--aux-address", "printer=172.30.5.1", "--aux-address", "router=172.30.77.7",
			},
			3,
			[]string{"172.30.5.0/29"},
			[]string{"172.30.5.1/32"},
			[]string{"172.30.0.9"},
		},
		{
			"gateway within the range",
			[]string{"--subnet", "172.30.7.0/24", "--gateway", "172.30.7.2"},
			2,
			[]string{"172.30.7.0/24"},
			[]string{"172.30.7.0/32", "172.30.7.2/32", "172.30.7.255/32"},
			[]string{"172.30.7.2"},
		},
		{
			"both families",
			[]string{"--ipv6", "--subnet", "172.30.0.0/24", "--subnet", "fd00:30::/64", "--gateway", "fd00:30::99"},
			2,
			[]string{"172.30.0.0/24", "fd00:30::/64"},
			[]string{"fd00:30::99/128"},
			[]string{"172.30.0.1", "fd00:30::99"},
		},
		{
			"IPv6 alone",
			[]string{"--ipv4=false", "--ipv6", "--subnet", "fd00:31::/64"},
			2,
			[]string{"fd00:31::/64"},
			nil,
			[]string{"fd00:31::1"},
		},
		{"a /30", []string{"--subnet", "172.30.0.4/30"}, 1, []string{"172.30.0.6/32"}, nil, []string{"172.30.0.5"}},
		{"a /31", []string{"--subnet", "172.30.0.8/31"}, 1, []string{"172.30.0.8/31"}, nil, nil},
		{"a million addresses", []string{"--subnet", "10.96.0.0/12"}, 2, []string{"10.96.0.0/12"}, nil, []string{"10.96.0.1"}},
	} {
		t.Run(strings.ReplaceAll(c.what, " ", "-"), func(t *testing.T) {
			h := h.in(t)
			defer h.clean()
			h.create("net", c.create...)
			if got := fmt.Sprint(h.gateways("net")); c.gateways != nil && got != fmt.Sprint(c.gateways) {
				t.Errorf("gateways %s, want %s", got, c.gateways)
			}
			var names []string
			for i := range c.containers {
				names = append(names, fmt.Sprintf("c%d", i))
				h.serve(names[i], "net")
			}
			p := h.picture("net")
			distinct(t, p)
			for key, a := range p {
				h.lies(key, a, c.within, c.except)
			}
			h.reachable(p)
			first, last := p[names[0]+" net"], names[len(names)-1]
			for _, text := range []string{first.IPv4, first.IPv6} {
				if text != "" {
					h.meets(last, names[0], netip.MustParseAddr(text))
				}
			}
		})
	}
}

// lies fails unless an attachment has one address in each of within and none
// in except, nor a gateway's.
func (h *host) lies(who string, a attachment, within, except []string) {
	h.t.Helper()
	var addrs []netip.Addr
	for _, text := range []string{a.IPv4, a.IPv6} {
		if text != "" {
			addrs = append(addrs, netip.MustParseAddr(text))
		}
	}
	if len(addrs) != len(within) {
		h.t.Errorf("%s has %v, want one in each of %v", who, addrs, within)
	}
	for _, addr := range addrs {
		in := func(prefix string) bool { return netip.MustParsePrefix(prefix).Contains(addr) }
		if !slices.ContainsFunc(within, in) || slices.ContainsFunc(except, in) || slices.Contains(h.gateways("net"), addr) {
			h.t.Errorf("%s has %s, want one in %v, not in %v, and no gateway", who, addr, within, except)
		}
	}
}

// TestAutomaticSubnet: a network without a subnet gets one that is free, and
// gets it again when it is removed and made anew, with its names' addresses.
func TestAutomaticSubnet(t *testing.T) {
	h := newHost(t)
	h.create("one", "--ipv6")
	h.create("two", "--ipv6")
	h.run("aa", "one")
	h.run("bb", "two")
	before := h.picture("one", "two")
	distinct(t, before)
	subnets := append(h.subnets("one"), h.subnets("two")...)
	if len(subnets) != 4 {
		t.Fatalf("subnets %v, want two of each family", subnets)
	}
	h.clean()

	h.create("one", "--ipv6")
	h.create("two", "--ipv6")
	h.run("bb", "two")
	h.run("aa", "one")
	for _, c := range before.Changed(h.picture("one", "two")) {
		t.Error(c)
	}
	h.clean()

	// Now something else on the host has the first subnet.
	h.onHost("ip", "route", "add", subnets[0].String(), "dev", "eth0")
	defer h.onHost("ip", "route", "del", subnets[0].String(), "dev", "eth0")
	h.create("one")
	now := h.subnets("one")[0]
	if now.Overlaps(subnets[0]) {
		t.Errorf("%s overlaps the host's route to %s", now, subnets[0])
	}
	for line := range strings.Lines(h.onHost("ip", "-4", "route")) {
		to, err := netip.ParsePrefix(strings.Fields(line)[0])
		if err == nil && to.Overlaps(now) && to != now {
			t.Errorf("%s overlaps the host's route %s", now, line)
		}
	}
}

// TestSeveralNetworks: each attachment of a container has an address of its
// own, also those that come and go while it runs.
func TestSeveralNetworks(t *testing.T) {
	h := newHost(t)
	h.create("front", "--subnet", "172.30.1.0/24")
	h.create("back", "--ipv6", "--subnet", "172.30.2.0/24", "--subnet", "fd00:30:2::/64")
	h.serve("in-front", "front")
	h.serve("in-back", "back")
	h.serve("both", "front", "--network", "back")
	h.meets("both", "in-front", h.ipv4("in-front", "front"))
	h.meets("both", "in-back", h.ipv6("in-back", "back"))

	h.docker("network", "connect", "front", "in-back")
	h.meets("in-front", "in-back", h.ipv4("in-back", "front"))
	h.meets("both", "in-back", h.ipv4("in-back", "back"))
	before := h.picture("front", "back")
	distinct(t, before)
	gone := h.ipv4("in-back", "front")

	h.docker("network", "disconnect", "front", "in-back")
	if h.has("in-back", gone.String()) {
		t.Errorf("in-back has %s after it left front", gone)
	}
	h.meets("both", "in-back", h.ipv6("in-back", "back"))
	h.run("new", "front")
	if got := h.ipv4("new", "front"); got == gone {
		t.Errorf("new got %s, which is kept for in-back", got)
	}
	h.docker("network", "connect", "front", "in-back")
	h.docker("restart", "-t", "1", "both", "in-back")
	for _, c := range before.Changed(h.picture("front", "back")) {
		t.Error(c)
	}
	h.meets("in-front", "in-back", gone)
}

// TestMTU: what the network says, else the uplink's less VXLAN's headers.
func TestMTU(t *testing.T) {
	h := newHost(t)
	for _, c := range []struct {
		network string
		create  []string
		want    int
	}{
		{"plain", nil, 1450},
		{"small", []string{"-o", "com.docker.network.driver.mtu=1400"}, 1400},
		{"jumbo", []string{"-o", "com.docker.network.driver.mtu=9000"}, 9000},
	} {
		h.create(c.network, c.create...)
		h.run(c.network+"-c", c.network)
		if i := h.device(c.network+"-c", h.ipv4(c.network+"-c", c.network)); i.MTU != c.want {
			t.Errorf("on %s %s has MTU %d, want %d", c.network, i.Name, i.MTU, c.want)
		}
	}
}

// TestMAC: it stays with the name, the user's as well as ours.
func TestMAC(t *testing.T) {
	h := newHost(t)
	h.networks()
	const mine = "02:42:ac:10:aa:01"
	h.run("given", "internal", "--mac-address", mine)
	h.run("derived", "internal")
	before := h.picture("internal")
	if got := before["given internal"].MAC; got != mine {
		t.Errorf("--mac-address %s gave %s", mine, got)
	}
	for _, name := range []string{"given", "derived"} {
		if inside := h.device(name, h.ipv4(name, "internal")).MAC; inside != h.mac(name, "internal") {
			t.Errorf("%s has MAC %s, docker says %s", name, inside, h.mac(name, "internal"))
		}
	}
	h.docker("restart", "-t", "1", "given", "derived")
	for _, c := range before.Changed(h.picture("internal")) {
		t.Errorf("after a restart: %s", c)
	}
	h.remove("given", "derived")
	h.run("between", "internal")
	h.run("derived", "internal")
	h.run("given", "internal", "--mac-address", mine)
	for _, c := range before.Changed(h.picture("internal")) {
		t.Errorf("after rm and run: %s", c)
	}
}

// TestNames: any name that the engine allows has an address, a DNS name that
// is a host name, and a reverse name that leads back.
func TestNames(t *testing.T) {
	h := newHost(t)
	h.networks()
	h.serve("asker", "internal")
	label := regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	for _, c := range []struct{ name, found string }{
		{"my_app", "my-app"},
		{"A.b-", "a-b"},
		{"00", "00"},
		{"UPPER.Case_9", "upper-case-9"},
		{strings.Repeat("n", 63), strings.Repeat("n", 63)},
		{strings.Repeat("n", 64), ""},
		{strings.Repeat("long-", 200), ""}, // 1,000 bytes
	} {
		h.run(c.name, "internal", "-e", "PORTS="+port, "--hostname", "named")
		addr := h.ipv4(c.name, "internal")
		h.meets("asker", "named", addr)
		arpa, err := dns.ReverseAddr(addr.String())
		h.check(err)
		m := h.ask(hostDNS, arpa, dns.TypePTR)
		if len(m.Answer) != 1 {
			t.Errorf("%.80s has PTRs %v, want one", c.name, m.Answer)
			continue
		}
		found := m.Answer[0].(*dns.PTR).Ptr
		if got, _, _ := strings.Cut(found, "."); !label.MatchString(got) || c.found != "" && got != c.found {
			t.Errorf("%.80s is found under %s, want %s", c.name, found, c.found)
		}
		if got := addresses(h.ask(hostDNS, found, dns.TypeA)); !slices.Equal(got, []string{addr.String()}) {
			t.Errorf("%s is %v, want %s", found, got, addr)
		}
	}
	distinct(t, h.picture("internal"))
}

// TestRename: a container that is renamed while it runs keeps its address
// under the new name, and whoever comes under the old name gets another.
func TestRename(t *testing.T) {
	h := newHost(t)
	h.networks()
	h.serve("web", "internal")
	old := h.picture("internal")["web internal"]
	h.docker("rename", "web", "web-old")
	h.serve("web", "internal")
	h.serve("client", "internal")
	distinct(t, h.picture("internal"))
	h.meets("client", "web", h.ipv4("web", "internal"))
	before := h.picture("internal")
	if got := before["web-old internal"]; got != old {
		t.Errorf("web was %v, and is %v as web-old", old, got)
	}
	h.docker("restart", "-t", "1", "web-old", "web")
	for _, c := range before.Changed(h.picture("internal")) {
		t.Error(c)
	}
	h.stop("web-old", "web")
	h.docker("start", "web", "web-old")
	for _, c := range before.Changed(h.picture("internal")) {
		t.Error(c)
	}
}
