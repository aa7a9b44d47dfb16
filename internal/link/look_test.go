package link

import (
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/dockstack/dockstack/internal/fabric"
)

func TestBound(t *testing.T) {
	s := newSpace(t)
	s.bridge(t, "wan")
	s.addr(t, "wan", "192.0.2.1/24")
	s.addr(t, "wan", "2001:db8::1/64")
	bound := func(protocol string, port uint16) string {
		t.Helper()
		var got []netip.Addr
		s.in(t, func() (err error) {
			got, err = Bound(protocol, port)
			return err
		})
		text := make([]string, len(got))
		for i, a := range got {
			text[i] = a.String()
		}
		return strings.Join(text, " ")
	}
	listen(t, s, "udp4", "192.0.2.1:5000")
	listen(t, s, "udp6", "[2001:db8::1]:5000")
	listen(t, s, "udp6", "[::]:5001")
	listen(t, s, "tcp4", "0.0.0.0:5000")
	m := s.manager(t)
	must(t, m.PutVXLAN(t.Context(), fabric.VXLANSpec{Name: "dsv7", Alias: "dockstack:1:vxlan 7", VNI: 7, Local: netip.MustParseAddr("192.0.2.1"), Port: 14789, MTU: 1450}))
	for _, c := range []struct {
		protocol string
		port     uint16
		want     string
	}{
		{"udp", 5000, "192.0.2.1 2001:db8::1"}, {"udp", 5001, "::"}, {"tcp", 5000, "0.0.0.0"}, {"udp", 5002, ""}, {"tcp", 5001, ""}, {"udp", 14789, "0.0.0.0"},
	} {
		if got := bound(c.protocol, c.port); got != c.want {
			t.Errorf("%s %d: %q, want %q", c.protocol, c.port, got, c.want)
		}
	}
	a := netlink.NewLinkAttrs()
	a.Name = "theirs"
	must(t, s.LinkAdd(&netlink.Vxlan{LinkAttrs: a, FlowBased: true, Port: 14790, VtepDevIndex: 0}))
	for port, want := range map[uint16]VXLANDevice{
		14789: {Name: "dsv7", Alias: "dockstack:1:vxlan 7", VNI: 7, Up: true},
		14790: {Name: "theirs", External: true},
	} {
		if got, err := m.VXLANs(t.Context(), port); err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("vxlan devices on %d: %+v, %v", port, got, err)
		}
	}
}

func TestSupports(t *testing.T) {
	s := newSpace(t)
	m := s.manager(t)
	before, err := s.LinkList()
	must(t, err)
	for kind, want := range map[string]bool{"vxlan": true, "veth": true, "nosuchkind": false} {
		if got, err := m.Supports(kind); err != nil || got != want {
			t.Errorf("%s: %v, %v", kind, got, err)
		}
	}
	after, err := s.LinkList()
	must(t, err)
	if len(before) != len(after) {
		t.Errorf("asking made a link: %v", after)
	}
}

func TestOverlaps(t *testing.T) {
	s := newSpace(t)
	for name, addr := range map[string]string{"wan": "192.0.2.1/24", "o-dsgate": "172.16.0.1/16", "vpn": "10.0.0.1/24"} {
		s.bridge(t, name)
		s.addr(t, name, addr)
	}
	s.route(t, "0.0.0.0/0", "192.0.2.254")
	s.route(t, "172.16.5.0/24", "10.0.0.9")
	m := s.manager(t)
	got, err := m.Overlaps(t.Context(), netip.MustParsePrefix("172.16.0.0/16"), "o-ds")
	must(t, err)
	if want := []HostRoute{{To: netip.MustParsePrefix("172.16.5.0/24"), Link: "vpn"}}; !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, err := m.Overlaps(t.Context(), netip.MustParsePrefix("fd00::/64"), "o-ds"); err != nil || len(got) > 0 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestPeerMTUs(t *testing.T) {
	host, box := newSpace(t), newSpace(t)
	m := host.manager(t)
	v := spec("dsva", "dsca")
	must(t, m.AddVeth(t.Context(), v))
	must(t, m.AddVeth(t.Context(), spec("dsvb", "dscb")))
	box.take(t, host, "dsca", "eth0")
	must(t, box.LinkSetMTU(box.link(t, "eth0"), 1300))
	got, err := m.PeerMTUs(t.Context(), "dsv")
	if err != nil || len(got) != 1 || got["dsva"] != 1300 {
		t.Errorf("got %v, %v", got, err)
	}
}

// Whoever flushes the host's rules takes ours along, and that shows.
func TestGuardsThatAreMissing(t *testing.T) {
	s := newSpace(t)
	m := s.manager(t)
	redirect := Redirect{Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.153"), netip.MustParseAddr("fd00::1")}, From: 53, To: 15053}
	filter := fabric.TunnelFilter{Port: 14789, Peers: []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")}}
	gate := fabric.GatewaySpec{
		Host: "dsga", Inner: "o-dsa", MAC: []byte{2, 0x42, 10, 0, 0, 1}, Alias: "dockstack:1:gateway n", MTU: 1450, Offloads: fabric.OffloadAll,
		Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24"), netip.MustParsePrefix("fd00::1/64")},
	}
	put := func() {
		s.in(t, func() error { return PutRedirect(redirect) })
		must(t, m.PutTunnelFilter(t.Context(), filter))
		must(t, m.PutGateway(t.Context(), gate))
	}
	look := func() string {
		t.Helper()
		var out []string
		s.in(t, func() error {
			missing, err := RedirectMissing(redirect)
			out = append(out, missing)
			return err
		})
		missing, err := m.FilterMissing(filter)
		must(t, err)
		rules, err := m.GatewayMissing(t.Context(), gate.Inner, gate.Addrs)
		must(t, err)
		return strings.Trim(strings.Join(append(append(out, missing), rules...), "; "), "; ")
	}
	if got := look(); !strings.Contains(got, "table ip dockstack is not there") || !strings.Contains(got, "dockstack_tunnels is not there") || !strings.Contains(got, "interface o-dsa") {
		t.Errorf("before: %s", got)
	}
	put()
	if got := look(); got != "" {
		t.Fatalf("all is there, but: %s", got)
	}
	for what, c := range map[string]struct{ do, says string }{
		"all rules flushed":  {"flush ruleset", "table ip dockstack is not there"},
		"a chain flushed":    {"flush chain ip6 dockstack sent", "has 0 rules in the chain sent"},
		"an address removed": {"delete element ip dockstack addresses { 127.0.0.153 }", "lacks 127.0.0.153"},
		"a peer removed":     {"delete element inet dockstack_tunnels peers6 { 2001:db8::7 }", "lacks 2001:db8::7"},
		"the filter's chain": {"flush chain inet dockstack_tunnels received", "has 0 rules, not 2"},
	} {
		s.nft(t, c.do)
		if got := look(); !strings.Contains(got, c.says) {
			t.Errorf("%s: got %q, want %q", what, got, c.says)
		}
		put()
	}
	rules, err := s.RuleList(netlink.FAMILY_V4)
	must(t, err)
	for i := range rules {
		if rules[i].Priority == prefTo {
			must(t, s.RuleDel(&rules[i]))
		}
	}
	if got := look(); got != "ip rule pref 4854 to 10.0.0.0/24 prohibit" {
		t.Errorf("a rule removed: %q", got)
	}
}

// listen opens a socket in a namespace for the time of the test.
func listen(t *testing.T, s *space, network, addr string) {
	t.Helper()
	var c io.Closer
	s.in(t, func() (err error) {
		if strings.HasPrefix(network, "udp") {
			c, err = (&net.ListenConfig{}).ListenPacket(t.Context(), network, addr)
		} else {
			c, err = (&net.ListenConfig{}).Listen(t.Context(), network, addr)
		}
		return err
	})
	t.Cleanup(func() { _ = c.Close() })
}
