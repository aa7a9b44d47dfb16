package datapath

import (
	"context"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// host is the test's own namespace as a box: the host of the containers.
func (w *world) host() *box {
	w.tb.Helper()
	return &box{tb: w.tb, ns: mustNS(w.tb)}
}

func TestHostAndContainersReachEachOther(t *testing.T) {
	w := newWorld(t)
	n := w.network(7, withGateways("10.0.0.1/16", "fd00::1/64"))
	a := w.container(n, "10.0.0.2", "fd00::2")
	w.await("the gateway's port", func() bool { return len(w.picture().ports) == 2 })
	host := w.host()
	for i, to := range a.ep.Addrs {
		if err := exchange(host, a, to, 1<<20); err != nil {
			t.Errorf("from the host to %s: %v", to, err)
		}
		gw := n.Gateways[i].Addr()
		// As DNS on the gateway's address is reached.
		if err := exchange(a, host, gw, 1<<20); err != nil {
			t.Errorf("from the container to %s: %v", gw, err)
		}
		if got := a.neighbour(gw); got.String() != macOf(n.Gateways[0].Addr()).String() {
			t.Errorf("the gateway %s is at %s, want the MAC that every host has", gw, got)
		}
	}
}

// A container has a way out through the host (docker_gwbridge). It must not lead
// into another network.
func TestHostIsNoWayBetweenNetworks(t *testing.T) {
	w := newWorld(t)
	seven := w.network(7, withGateways("10.7.0.1/16"))
	eight := w.network(8, withGateways("10.8.0.1/16"))
	a, b := w.container(seven, "10.7.0.2"), w.container(eight, "10.8.0.2")
	w.await("both gateways' ports", func() bool { return len(w.picture().ports) == 4 })
	forwarding := "/proc/sys/net/ipv4/ip_forward"
	if err := os.WriteFile(forwarding, []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.WriteFile(forwarding, []byte("0"), 0o600) })
	a.wayOut("out7", "172.18.0.1", "172.18.0.2")
	b.wayOut("out8", "172.19.0.1", "172.19.0.2")

	// The way out works: the other container's end of it is reached.
	if err := exchange(a, b, netip.MustParseAddr("172.19.0.2"), 1000); err != nil {
		t.Fatalf("the host doesn't forward at all, so the test would prove nothing: %v", err)
	}
	conn, next := b.receiver(netip.MustParseAddr("10.8.0.2"))
	at := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	for range 3 {
		// Refused sends are as good as lost ones.
		_ = a.sendUDP(at, 10, 0)
	}
	if next(silence) != 0 {
		t.Error("a datagram went from one network to another through the host")
	}
	if err := exchange(w.host(), b, netip.MustParseAddr("10.8.0.2"), 1000); err != nil {
		t.Errorf("the host itself: %v", err)
	}
}

// wayOut gives a box a second interface with its default route through the host.
func (b *box) wayOut(name, host, inside string) {
	b.tb.Helper()
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name + "p"}
	if err := netlink.LinkAdd(veth); err != nil {
		b.tb.Fatal(err)
	}
	b.tb.Cleanup(func() { _ = netlink.LinkDel(veth) })
	addr, err := netlink.ParseAddr(host + "/24")
	if err != nil {
		b.tb.Fatal(err)
	}
	if err := netlink.AddrAdd(veth, addr); err != nil {
		b.tb.Fatal(err)
	}
	if err := netlink.LinkSetUp(veth); err != nil {
		b.tb.Fatal(err)
	}
	peer, err := netlink.LinkByName(name + "p")
	if err != nil {
		b.tb.Fatal(err)
	}
	if err := netlink.LinkSetNsFd(peer, int(b.ns)); err != nil {
		b.tb.Fatal(err)
	}
	if peer, err = b.nl.LinkByName(name + "p"); err != nil {
		b.tb.Fatal(err)
	}
	b.addAddr(name+"p", netip.PrefixFrom(netip.MustParseAddr(inside), 24))
	if err := b.nl.LinkSetUp(peer); err != nil {
		b.tb.Fatal(err)
	}
	if err := b.nl.RouteAdd(&netlink.Route{LinkIndex: peer.Attrs().Index, Gw: net.ParseIP(host)}); err != nil {
		b.tb.Fatal(err)
	}
}

func TestDetachedContainerIsForgotten(t *testing.T) {
	w := newWorld(t)
	n := w.network(7)
	a, b := w.container(n, "10.0.0.2"), w.container(n, "10.0.0.3")
	if err := exchange(a, b, b.ep.Addrs[0], 1000); err != nil {
		t.Fatal(err)
	}
	out := a.wire()
	if err := w.fab.Detach(t.Context(), b.ep.ID); err != nil {
		t.Fatal(err)
	}
	w.await("its port and link to go", func() bool { return len(w.picture().ports) == 1 && len(w.hostLinks()) == 1 })
	out.send(eth(broadcast, a.ep.MAC, typeARP, arp{op: 1, sha: a.ep.MAC, spa: "10.0.0.2", tpa: "10.0.0.3"}.bytes()))
	if out.sees(silence, func(f []byte) bool { return f[12] == 8 && f[13] == 6 && f[21] == 2 }) != nil {
		t.Error("the switch still answers for it")
	}
	// The address goes on with another container at once.
	c := w.container(n, "10.0.0.3")
	if err := exchange(a, c, c.ep.Addrs[0], 1000); err != nil {
		t.Error(err)
	}
}

func TestSwitchIsAway(t *testing.T) {
	w := newWorld(t)
	n := w.network(7)
	a := w.container(n, "10.0.0.2")
	w.stopSw()
	ep := w.endpoint(n, "10.0.0.3")
	if _, err := w.fab.Attach(t.Context(), ep); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err := w.fab.Settle(ctx, ep.ID)
	if err == nil {
		t.Fatal("settled without a switch")
	}
	t.Logf("after %s: %v", time.Since(began).Round(time.Millisecond), err)
	if err := w.fab.Detach(t.Context(), a.ep.ID); err != nil {
		t.Errorf("detach: %v", err)
	}
	if err := w.fab.Detach(t.Context(), ep.ID); err != nil {
		t.Errorf("detach: %v", err)
	}
}
