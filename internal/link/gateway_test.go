package link

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/dockstack/dockstack/internal/fabric"
)

// town is a host with two networks, each with its gateway and one container,
// and with docker_gwbridge, to which both containers have their default route.
// Linux bridges stand in for the switch.
type town struct {
	host, boxA, boxB *space
	m                *Manager
}

func gwSpec(n, v4, v6 string) fabric.GatewaySpec {
	return fabric.GatewaySpec{
		Host: "dsgh" + n, Inner: "dsgw" + n, MAC: net.HardwareAddr{2, 0x42, 10, 0, 0, 1}, Alias: "gateway " + n,
		Addrs: []netip.Prefix{netip.MustParsePrefix(v4), netip.MustParsePrefix(v6)}, MTU: 1450, Offloads: fabric.OffloadAll,
	}
}

func newTown(t *testing.T, rpFilter string) *town {
	t.Helper()
	w := &town{host: newSpace(t), boxA: newSpace(t), boxB: newSpace(t)}
	w.m = w.host.manager(t)
	for _, s := range []*space{w.host, w.boxA, w.boxB} {
		s.sysctl(t, "ipv4/conf/all/rp_filter", "0")
		s.sysctl(t, "ipv4/conf/default/rp_filter", "0")
	}
	for file, value := range map[string]string{
		"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1", "ipv4/conf/all/rp_filter": rpFilter,
	} {
		w.host.sysctl(t, file, value)
	}
	w.host.bridge(t, "gwbridge")
	w.host.addr(t, "gwbridge", "198.51.100.1/24")
	w.host.addr(t, "gwbridge", "2001:db8:ffff::1/64")
	w.network(t, "a", gwSpec("a", "172.16.0.1/16", "fd00:a::1/64"), w.boxA, "2")
	w.network(t, "b", gwSpec("b", "172.17.0.1/16", "fd00:b::1/64"), w.boxB, "3")
	return w
}

func (w *town) network(t *testing.T, n string, gw fabric.GatewaySpec, box *space, last string) {
	t.Helper()
	for range 2 { // again changes nothing
		must(t, w.m.PutGateway(t.Context(), gw))
	}
	w.host.bridge(t, "net"+n)
	w.host.sysctl(t, "ipv4/conf/net"+n+"/arp_ignore", "8") // a switch has no stack of its own
	w.host.sysctl(t, "ipv6/conf/net"+n+"/disable_ipv6", "1")
	w.host.enslave(t, gw.Host, "net"+n)
	s := spec("dsv"+n, "dsc"+n)
	s.PeerMAC = net.HardwareAddr{2, 0x42, 10, 0, 0, n[0]}
	must(t, w.m.AddVeth(t.Context(), s))
	w.host.enslave(t, "dsv"+n, "net"+n)
	box.take(t, w.host, "dsc"+n, "eth0")
	for _, a := range gw.Addrs {
		box.addr(t, "eth0", netip.PrefixFrom(a.Addr().Next().Next(), a.Bits()).String()) // .3
	}
	w.host.wire(t, "dsx"+n, box, "eth1")
	w.host.enslave(t, "dsx"+n, "gwbridge")
	box.addr(t, "eth1", "198.51.100."+last+"/24")
	box.addr(t, "eth1", "2001:db8:ffff::"+last+"/64")
	box.route(t, "0.0.0.0/0", "198.51.100.1")
	box.route(t, "::/0", "2001:db8:ffff::1")
}

func TestGatewayServesTheHostAndForwardsNothing(t *testing.T) {
	for name, rpFilter := range map[string]string{"no rp_filter": "0", "strict rp_filter": "1", "loose rp_filter": "2"} {
		t.Run(name, func(t *testing.T) {
			w := newTown(t, rpFilter)
			for _, c := range []struct {
				what     string
				from, to *space
				addr     string
			}{
				{"host to container", w.host, w.boxA, "172.16.0.3"},
				{"host to container, IPv6", w.host, w.boxA, "fd00:a::3"},
				{"host to the other network's container", w.host, w.boxB, "172.17.0.3"},
				{"container to its gateway", w.boxA, w.host, "172.16.0.1"},
				{"container to its gateway, IPv6", w.boxA, w.host, "fd00:a::1"},
				{"the other container to its gateway", w.boxB, w.host, "172.17.0.1"},
				{"host to itself", w.host, w.host, "172.16.0.1"},
				{"host to container through docker_gwbridge", w.host, w.boxA, "198.51.100.2"},
			} {
				if err := tcp(t, c.from, c.to, c.addr); err != nil {
					t.Errorf("%s: %v", c.what, err)
				}
			}
			closed := func(how string, want bool) {
				t.Helper()
				for _, to := range []string{"172.17.0.3", "fd00:b::3"} {
					wantReach(t, "a container of another network, "+how, w.boxA, w.boxB, to, want)
				}
			}
			closed("through docker_gwbridge", false)
			w.boxA.route(t, "172.17.0.0/16", "172.16.0.1")
			w.boxA.route(t, "fd00:b::/64", "fd00:a::1")
			closed("through its own gateway", false)
			if rpFilter != "0" {
				return
			}
			// Without the rules it is open: the test can fail.
			removeAllRules(t, w.host)
			w.host.sysctl(t, "ipv4/conf/dsgwa/forwarding", "1")
			// Without a link-local address the gateway doesn't even ask for others'
			// sake who fd00:b::3 is. That's no promise to build on.
			must(t, w.host.NeighSet(&netlink.Neigh{
				LinkIndex: w.host.link(t, "dsgwb").Attrs().Index, State: netlink.NUD_PERMANENT,
				IP: net.ParseIP("fd00:b::3"), HardwareAddr: w.boxB.link(t, "eth0").Attrs().HardwareAddr,
			}))
			closed("without the rules", true)
			must(t, w.m.PutGateway(t.Context(), gwSpec("b", "172.17.0.1/16", "fd00:b::1/64")))
			closed("with the rules back", false)
		})
	}
}

func TestGatewayIsNoWayOut(t *testing.T) {
	w := newTown(t, "0")
	outside := newSpace(t)
	w.host.wire(t, "uplink", outside, "eth0")
	w.host.addr(t, "uplink", "192.0.2.1/24")
	outside.addr(t, "eth0", "192.0.2.2/24")
	outside.sysctl(t, "ipv4/conf/all/rp_filter", "0")
	outside.sysctl(t, "ipv4/conf/eth0/rp_filter", "0")
	wantReach(t, "through docker_gwbridge, or the test proves nothing", w.boxA, outside, "192.0.2.2", true)
	w.boxA.route(t, "192.0.2.0/24", "172.16.0.1")
	wantReach(t, "through the gateway", w.boxA, outside, "192.0.2.2", false)
	outside.route(t, "172.16.0.0/16", "192.0.2.1")
	wantReach(t, "from outside to a container", outside, w.boxA, "172.16.0.3", false)
}

func TestGatewayAnswersForItselfOnly(t *testing.T) {
	w := newTown(t, "0")
	for addr, want := range map[string]bool{"172.16.0.1": true, "172.17.0.1": false, "198.51.100.1": false} {
		eth0 := w.boxA.link(t, "eth0").Attrs().Index
		to := toIPNet(netip.PrefixFrom(netip.MustParseAddr(addr), 32))
		must(t, w.boxA.RouteReplace(&netlink.Route{LinkIndex: eth0, Dst: to, Scope: netlink.SCOPE_LINK, Src: net.IP{172, 16, 0, 3}}))
		wantReach(t, "asked by ARP from network a", w.boxA, w.host, addr, want)
	}
}

func TestGatewayAsAsked(t *testing.T) {
	host := newSpace(t)
	m := host.manager(t)
	gw := gwSpec("a", "172.16.0.1/16", "fd00:a::1/64")
	must(t, m.PutGateway(t.Context(), gw))
	inner, port := host.link(t, gw.Inner).Attrs(), host.link(t, gw.Host).Attrs()
	if inner.MTU != 1450 || port.MTU != 1450 || inner.HardwareAddr.String() != gw.MAC.String() || port.Alias != gw.Alias {
		t.Errorf("%+v, %+v", inner, port)
	}
	for file, want := range map[string]string{
		"ipv4/conf/dsgwa/forwarding": "0", "ipv4/conf/dsgwa/arp_ignore": "1", "ipv4/conf/dsgwa/arp_announce": "2",
		"ipv6/conf/dsgwa/addr_gen_mode": "1", "ipv6/conf/dsgha/addr_gen_mode": "1",
	} {
		host.sysctlIs(t, file, want)
	}
	gw.Addrs = []netip.Prefix{netip.MustParsePrefix("172.18.0.1/24")}
	gw.MTU = 9000
	must(t, m.PutGateway(t.Context(), gw))
	addrs, err := m.addrsOf(t.Context(), gw.Inner)
	if err != nil || !slices.Equal(addrs, gw.Addrs) {
		t.Errorf("addresses %v, %v; want %v", addrs, err, gw.Addrs)
	}
	if mtu := host.link(t, gw.Inner).Attrs().MTU; mtu != 9000 {
		t.Errorf("MTU %d", mtu)
	}
	wantRules(t, host, 2+2) // one from the gateway in each family, two to 172.18.0.0/24
}

func TestSmallSubnets(t *testing.T) {
	host := newSpace(t)
	gw := gwSpec("a", "172.16.0.0/31", "fd00:a::/127")
	must(t, host.manager(t).PutGateway(t.Context(), gw))
	wantRules(t, host, 6)
	if err := tcp(t, host, host, "172.16.0.0"); err != nil {
		t.Error(err)
	}
}

func TestRulesGoWithTheirGateway(t *testing.T) {
	host := newSpace(t)
	m := host.manager(t)
	foreign := netlink.NewRule()
	foreign.Priority, foreign.Table, foreign.Family = prefTo, unix.RT_TABLE_MAIN, unix.AF_INET
	foreign.Dst = toIPNet(netip.MustParsePrefix("172.16.0.0/16"))
	must(t, host.RuleAdd(foreign))
	for _, n := range []string{"a", "b", "c"} {
		must(t, m.PutGateway(t.Context(), gwSpec(n, "172."+map[string]string{"a": "16", "b": "17", "c": "18"}[n]+".0.1/16", "fd00:"+n+"::1/64")))
	}
	wantRules(t, host, 18)
	must(t, m.RemoveGateway(t.Context(), "dsgha"))
	must(t, m.RemoveGateway(t.Context(), "dsgha"))
	wantRules(t, host, 12)
	must(t, host.LinkDel(host.link(t, "dsghb"))) // by someone else
	wantRules(t, host, 12)
	must(t, m.RemoveGateway(t.Context(), "dsghb"))
	wantRules(t, host, 6)
	must(t, host.LinkDel(host.link(t, "dsghc"))) // and a start after a crash
	must(t, host.manager(t).SweepRules(t.Context()))
	wantRules(t, host, 0)
	rules, err := host.RuleList(unix.AF_INET)
	must(t, err)
	if !slices.ContainsFunc(rules, func(r netlink.Rule) bool { return r.Priority == prefTo && r.Protocol != ruleProto }) {
		t.Error("a foreign rule with the same priority is gone")
	}
}

func TestGatewayOnAHostWithoutIPv6(t *testing.T) {
	host := newSpace(t)
	host.sysctl(t, "ipv6/conf/all/disable_ipv6", "1")
	host.sysctl(t, "ipv6/conf/default/disable_ipv6", "1")
	m := host.manager(t)
	gw := gwSpec("a", "172.16.0.1/16", "fd00:a::1/64")
	if err := m.PutGateway(t.Context(), gw); !errors.Is(err, ErrNoIPv6) {
		t.Errorf("got %v, want %v", err, ErrNoIPv6)
	}
	if err := tcp(t, host, host, "172.16.0.1"); err != nil {
		t.Errorf("IPv4 suffered: %v", err)
	}
	gw.Addrs = gw.Addrs[:1]
	must(t, m.PutGateway(t.Context(), gw))
}

func TestGatewayRefusesAPeerElsewhere(t *testing.T) {
	host, box := newSpace(t), newSpace(t)
	m := host.manager(t)
	must(t, m.AddVeth(t.Context(), spec("dsgha", "dsgwa")))
	box.take(t, host, "dsgwa", "eth0")
	if err := m.PutGateway(t.Context(), gwSpec("a", "172.16.0.1/16", "fd00:a::1/64")); !errors.Is(err, ErrNotOurs) {
		t.Errorf("got %v, want %v", err, ErrNotOurs)
	}
}

func ourRules(t *testing.T, s *space) []netlink.Rule {
	t.Helper()
	var out []netlink.Rule
	for _, family := range families {
		list, err := s.RuleList(family)
		must(t, err)
		for _, r := range list {
			if r.Priority >= prefOwn && r.Priority <= prefFrom && r.Protocol == ruleProto {
				out = append(out, r)
			}
		}
	}
	return out
}

func wantRules(t *testing.T, s *space, n int) {
	t.Helper()
	if got := ourRules(t, s); len(got) != n {
		t.Errorf("%d rules, want %d: %v", len(got), n, got)
	}
}

func removeAllRules(t *testing.T, s *space) {
	t.Helper()
	for _, r := range ourRules(t, s) {
		must(t, s.RuleDel(&r))
	}
}
