package datapath

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/fabric"
	"github.com/dockstack/dockstack/internal/ovs"
	"github.com/dockstack/dockstack/internal/ovs/ovstest"
)

// underlays are those to test with the datapath that is there: each tunnel that
// works with it, over IPv4 and over IPv6.
func underlays() []underlay {
	flow, kernel := fabric.TunnelFlow, fabric.TunnelKernel
	if ovstest.Datapath() == ovs.DatapathKernel {
		return []underlay{
			{name: "flow tunnel over IPv4", tunnels: []string{flow}},
			{name: "flow tunnel over IPv6", tunnels: []string{flow}, six: true},
			{name: "kernel tunnel over IPv4", tunnels: []string{kernel}},
			// Hosts with and without the kernel's datapath.
			{name: "both tunnels over IPv6", tunnels: []string{flow, kernel}, six: true},
		}
	}
	return []underlay{
		{name: "kernel tunnel over IPv4", tunnels: []string{kernel}},
		{name: "kernel tunnel over IPv6", tunnels: []string{kernel}, six: true},
	}
}

// big is how much is sent to see that nothing changes on the way.
func big() int {
	if ovstest.Datapath() == ovs.DatapathKernel {
		return 8 << 20 // software emulation makes hashes slow
	}
	return 64 << 20
}

// TestTunnel has one set of hosts for each kind of underlay; each part has
// networks of its own on them.
func TestTunnel(t *testing.T) {
	for _, u := range underlays() {
		t.Run(u.name, func(t *testing.T) {
			hs := newHosts(t, u, 3)
			for _, part := range []struct {
				name string
				run  func()
			}{
				{"carries TCP", hs.carriesTCP},
				{"carries datagrams of every size", hs.carriesDatagrams},
				{"sends to where the container is", hs.sendsToOne},
				{"floods to who takes part", hs.floodsToWhoTakesPart},
				{"answers for neighbours itself", hs.answersForNeighbours},
				{"keeps networks apart", hs.keepsNetworksApart},
				{"keeps the gateway at home", hs.keepsGatewayAtHome},
				{"keeps strangers out", hs.keepsStrangersOut},
				{"follows a container", hs.followsContainer},
				{"follows a VIP", hs.followsVIP},
				{"follows a virtual MAC", hs.followsVirtualMAC},
				{"carries keepalived", func() { hs.carriesKeepalived(23, "") }},
				{"carries keepalived with virtual MACs", func() { hs.carriesKeepalived(24, "use_vmac vrrp51") }},
				{"loses nothing while others change", hs.losesNothing},
				{"survives its switch", hs.survivesSwitch},
				{"survives its fabric", hs.survivesFabric},
				{"follows a host", hs.followsHost},
				{"leaves nothing", hs.leavesNothing},
			} {
				t.Run(part.name, func(t *testing.T) {
					hs.during(t)
					part.run()
				})
			}
		})
	}
}

// during lets what fails fail this part of the test.
func (hs *hosts) during(tb testing.TB) {
	tb.Helper()
	before := hs.tb
	hs.failFor(tb)
	tb.Cleanup(func() { hs.failFor(before) })
}

func (hs *hosts) failFor(tb testing.TB) {
	tb.Helper()
	hs.tb = tb
	for _, h := range hs.list {
		h.tb = tb
	}
}

func (hs *hosts) carriesTCP() {
	t := hs.tb
	n := hs.network(10)
	a, b := hs.container(0, n, "10.0.0.2", "fd00::2"), hs.container(1, n, "10.0.0.3", "fd00::3")
	local := hs.container(0, n, "10.0.0.4", "fd00::4")
	hs.reach(a, b)
	for _, to := range []*box{b, local} {
		for _, addr := range to.ep.Addrs {
			if err := exchange(a, to, addr, 1<<20); err != nil {
				t.Errorf("to %s: %v", addr, err)
			}
		}
	}
	began := time.Now()
	if err := exchange(a, b, b.ep.Addrs[0], big()); err != nil {
		t.Error(err)
	}
	t.Logf("%d MiB both ways in %s", big()>>20, time.Since(began).Round(time.Millisecond))
}

func (hs *hosts) carriesDatagrams() {
	t := hs.tb
	n := hs.network(11)
	a, b := hs.container(0, n, "10.0.0.2", "fd00::2"), hs.container(1, n, "10.0.0.3", "fd00::3")
	hs.reach(a, b)
	for _, to := range b.ep.Addrs {
		most := n.MTU - 28
		if to.Is6() {
			most = n.MTU - 48
		}
		conn, next := b.receiver(to)
		at := conn.LocalAddr().(*net.UDPAddr).AddrPort()
		before := hs.list[0].fragments()
		for _, size := range []int{1, 17, 100, 512, 1000, 1280, most - 1, most} {
			if err := a.sendUDP(at, size, 0); err != nil {
				t.Fatal(err)
			}
			if got := next(patience); got != size {
				t.Errorf("to %s: %d bytes of %d arrived", to, got, size)
			}
		}
		if made := hs.list[0].fragments() - before; made != 0 {
			t.Errorf("to %s: the underlay needed %d fragments", to, made)
		}
		if err := a.sendUDP(at, 8000, 0); err != nil {
			t.Fatal(err)
		}
		if got := next(patience); got != 8000 {
			t.Errorf("to %s: a fragmented datagram of 8000 bytes came as %d", to, got)
		}
		if err := a.sendUDP(at, 10*1200, 1200); err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			if got := next(patience); got != 1200 {
				t.Errorf("to %s: segment %d has %d bytes", to, i, got)
			}
		}
	}
}

func (hs *hosts) sendsToOne() {
	t := hs.tb
	n := hs.network(12)
	a, b := hs.container(0, n, "10.0.0.2"), hs.container(1, n, "10.0.0.3")
	c := hs.container(2, n, "10.0.0.4")
	hs.reach(a, b)
	hs.reach(a, c)
	wires := hs.underlayWires()
	in := b.wire()
	out := a.wire()
	out.send(eth(b.ep.MAC, a.ep.MAC, typeIPv4, ip4("10.0.0.2", "10.0.0.3", "to one")))
	if in.sees(patience, bears("to one")) == nil {
		t.Error("it didn't arrive")
	}
	if n := wires[1].count(silence, hs.list[1].arriving(12, "to one")); n != 1 {
		t.Errorf("its host got it %d times", n)
	}
	if n := wires[2].count(silence, hs.list[2].arriving(12, "to one")); n != 0 {
		t.Errorf("another host got it %d times", n)
	}
	out.send(eth(net.HardwareAddr{2, 0, 0, 0, 0, 99}, a.ep.MAC, typeIPv4, ip4("10.0.0.2", "10.0.0.99", "to nobody")))
	for i, w := range wires[1:] {
		if n := w.count(silence, hs.list[i+1].arriving(12, "to nobody")); n != 0 {
			t.Errorf("a frame to a MAC that nobody has went to host %d, %d times", i+1, n)
		}
	}
}

func (hs *hosts) floodsToWhoTakesPart() {
	t := hs.tb
	n := hs.network(13)
	a, b := hs.container(0, n, "10.0.0.2", "fd00::2"), hs.container(1, n, "10.0.0.3", "fd00::3")
	b2, local := hs.container(1, n, "10.0.0.4", "fd00::4"), hs.container(0, n, "10.0.0.5", "fd00::5")
	hs.reach(a, b)
	hs.reach(a, b2)
	wires := hs.underlayWires()
	flood := func(mark string, want ...int) {
		t.Helper()
		out := a.wire()
		ins := map[string]*wire{"on the other host": b.wire(), "on the other host, the second": b2.wire(), "on the same host": local.wire()}
		for _, dst := range []net.HardwareAddr{broadcast, {0x01, 0, 0x5e, 0, 0, 18}, {0x33, 0x33, 0, 0, 0, 1}} {
			word := mark + " to " + dst.String()
			out.send(eth(dst, a.ep.MAC, typeIPv4, ip4("10.0.0.2", "10.0.0.255", word)))
			for who, in := range ins {
				if in.sees(patience, bears(word)) == nil {
					t.Errorf("%s: not delivered %s", word, who)
				} else if n := in.count(50*time.Millisecond, bears(word)); n != 0 {
					t.Errorf("%s: delivered %d times more %s", word, n, who)
				}
			}
			if out.sees(time.Millisecond, bears(word)) != nil {
				t.Errorf("%s: it came back", word)
			}
			for i, w := range wires[1:] {
				if n := w.count(silence, hs.list[i+1].arriving(13, word)); n != want[i] {
					t.Errorf("%s: host %d got it %d times, want %d", word, i+2, n, want[i])
				}
			}
		}
	}
	flood("two hosts", 1, 0) // the third has the network, but no container in it
	c := hs.container(2, n, "10.0.0.6", "fd00::6")
	hs.reach(a, c)
	flood("three hosts", 1, 1)
	hs.stop(c, n, 2)
	hs.list[0].await("floods to leave out the third host", func() bool {
		a.wire().send(eth(broadcast, a.ep.MAC, typeIPv4, ip4("10.0.0.2", "10.0.0.255", "is it gone")))
		return wires[2].count(silence, hs.list[2].arriving(13, "is it gone")) == 0
	})
	flood("two hosts again", 1, 0)
}

// The switch answers for containers elsewhere, so that no host hears of it.
func (hs *hosts) answersForNeighbours() {
	t := hs.tb
	n := hs.network(14)
	a, b := hs.container(0, n, "10.0.0.2", "fd00::2"), hs.container(1, n, "10.0.0.3", "fd00::3")
	hs.reach(a, b)
	out, far := a.wire(), hs.underlayWires()[1]
	out.send(eth(broadcast, a.ep.MAC, typeARP, arp{op: 1, sha: a.ep.MAC, spa: "10.0.0.2", tpa: "10.0.0.3"}.bytes()))
	want := arp{op: 2, sha: b.ep.MAC, spa: "10.0.0.3", tha: a.ep.MAC, tpa: "10.0.0.2"}
	if out.sees(patience, bears(string(eth(a.ep.MAC, b.ep.MAC, typeARP, want.bytes())))) == nil {
		t.Error("ARP: no answer")
	}
	if n := far.count(silence, hs.list[1].arriving(14, string(broadcast)+string(a.ep.MAC))); n != 0 {
		t.Errorf("ARP: the question went to the other host %d times", n)
	}
	group := net.HardwareAddr{0x33, 0x33, 0xff, 0, 0, 3}
	out.send(eth(group, a.ep.MAC, typeIPv6, icmp6("fd00::2", "ff02::1:ff00:3", 135, neighbourMsg(0, "fd00::3", 1, a.ep.MAC, ""))))
	if out.sees(patience, isND(136, "fd00::3")) == nil {
		t.Error("ND: no answer")
	}
}

func (hs *hosts) keepsNetworksApart() {
	t := hs.tb
	one, two := hs.network(15), hs.network(16)
	a1, b1 := hs.container(0, one, "10.0.0.2", "fd00::2"), hs.container(1, one, "10.0.0.3", "fd00::3")
	a2, b2 := hs.container(0, two, "10.0.0.2", "fd00::2"), hs.container(1, two, "10.0.0.3", "fd00::3")
	if a1.ep.MAC.String() != a2.ep.MAC.String() {
		t.Fatal("the test wants equal MACs")
	}
	for _, p := range [][2]*box{{a1, b1}, {a2, b2}} {
		hs.reach(p[0], p[1])
		for _, to := range p[1].ep.Addrs {
			if err := exchange(p[0], p[1], to, 1<<20); err != nil {
				t.Errorf("%s to %s: %v", p[0].ep.Network, to, err)
			}
		}
	}
	out, in, other := a1.wire(), b1.wire(), b2.wire()
	for _, dst := range []net.HardwareAddr{broadcast, {0x01, 0, 0x5e, 0, 0, 18}, b1.ep.MAC} {
		mark := "only here, to " + dst.String()
		out.send(eth(dst, a1.ep.MAC, typeIPv4, ip4("10.0.0.2", "10.0.0.255", mark)))
		if in.sees(patience, bears(mark)) == nil {
			t.Errorf("%s: not delivered", mark)
		}
		if other.sees(silence, bears(mark)) != nil {
			t.Errorf("%s: seen in another network", mark)
		}
	}
}

// The gateway has the same address and MAC on every host, and is always one's own.
func (hs *hosts) keepsGatewayAtHome() {
	t := hs.tb
	n := hs.network(17, withGateways("10.17.0.1/16", "fd17::1/64"))
	a, b := hs.container(0, n, "10.17.0.2", "fd17::2"), hs.container(1, n, "10.17.0.3", "fd17::3")
	hs.reach(a, b)
	wires := hs.underlayWires()
	for i, from := range []*box{a, b} {
		host := &box{tb: t, ns: hs.list[i].home.ns}
		for _, g := range n.Gateways {
			if err := exchange(from, host, g.Addr(), 1<<16); err != nil {
				t.Errorf("host %d's gateway %s: %v", i+1, g.Addr(), err)
			}
		}
		for _, own := range from.ep.Addrs {
			if err := exchange(host, from, own, 1<<16); err != nil {
				t.Errorf("host %d to its container %s: %v", i+1, own, err)
			}
		}
	}
	gateway := macOf(n.Gateways[0].Addr())
	for i, w := range wires {
		if n := w.count(silence, hs.list[i].arriving(17, string(gateway))); n != 0 {
			t.Errorf("host %d got %d frames of or for another's gateway", i+1, n)
		}
	}
}

// Frames that no peer sent don't come in, and a peer can't take the place of
// another's container.
func (hs *hosts) keepsStrangersOut() {
	t := hs.tb
	n := hs.network(18)
	a, b := hs.container(0, n, "10.0.0.2"), hs.container(1, n, "10.0.0.3")
	c := hs.container(2, n, "10.0.0.4")
	hs.reach(a, b)
	hs.reach(c, b)
	who := hs.stranger(200)
	in := b.wire()
	frame := func(src net.HardwareAddr, mark string) []byte {
		return eth(b.ep.MAC, src, typeIPv4, ip4("10.0.0.2", "10.0.0.3", mark))
	}
	unknown := net.HardwareAddr{2, 0, 0, 0, 0, 77}
	for i := range 5 {
		who.inject(hs.list[1].vtep, 18, frame(unknown, fmt.Sprintf("stranger %d", i)))
		who.inject(hs.list[1].vtep, 18, frame(a.ep.MAC, fmt.Sprintf("stranger %d", i)))
	}
	if in.sees(silence, bears("stranger")) != nil {
		t.Error("a frame of a stranger came in")
	}
	// A peer that sends under another's MAC changes nothing for that one.
	for i := range 5 {
		hs.list[2].home.inject(hs.list[1].vtep, 18, frame(a.ep.MAC, fmt.Sprintf("poison %d", i)))
	}
	if err := exchange(b, a, a.ep.Addrs[0], 1<<16); err != nil {
		t.Errorf("after frames under its MAC from another host: %v", err)
	}
	// The same stranger as a peer: that nothing came was not for another reason.
	hs.tellHosts(who.addr)
	hs.list[1].await("a peer's frame", func() bool {
		who.inject(hs.list[1].vtep, 18, frame(unknown, "now a peer"))
		return in.sees(50*time.Millisecond, bears("now a peer")) != nil
	})
	hs.tellHosts()
	hs.list[1].await("the peer to be a stranger again", func() bool {
		for in.sees(time.Millisecond, bears("no more")) != nil {
		}
		who.inject(hs.list[1].vtep, 18, frame(unknown, "no more"))
		return in.sees(silence, bears("no more")) == nil
	})
	if err := exchange(a, b, netip.MustParseAddr("10.0.0.3"), 1<<16); err != nil {
		t.Errorf("peers afterwards: %v", err)
	}
}
