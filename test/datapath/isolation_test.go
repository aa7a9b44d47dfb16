package datapath

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/ovs"
)

// Two networks with the same addresses and the same MACs.
func TestNetworksNeverMeet(t *testing.T) {
	w := newWorld(t)
	seven, eight := w.network(7), w.network(8)
	a7, b7 := w.container(seven, "10.0.0.2", "fd00::2"), w.container(seven, "10.0.0.3", "fd00::3")
	a8, b8 := w.container(eight, "10.0.0.2", "fd00::2"), w.container(eight, "10.0.0.3", "fd00::3")
	if a7.ep.MAC.String() != a8.ep.MAC.String() {
		t.Fatal("the test wants equal MACs")
	}
	for _, pair := range [][2]*box{{a7, b7}, {a8, b8}} {
		for _, to := range pair[1].ep.Addrs {
			if err := exchange(pair[0], pair[1], to, 1<<20); err != nil {
				t.Errorf("%s to %s: %v", pair[0].ep.Network, to, err)
			}
		}
	}
	out := a7.wire()
	inSeven, inEight, inEightToo := b7.wire(), a8.wire(), b8.wire()
	for _, dst := range []net.HardwareAddr{
		broadcast, {0x01, 0, 0x5e, 0, 0, 18}, {0x33, 0x33, 0, 0, 0, 1}, b7.ep.MAC,
	} {
		mark := "to " + dst.String()
		kind, payload := uint16(typeIPv4), ip4("10.0.0.2", "10.0.0.255", mark)
		out.send(eth(dst, a7.ep.MAC, kind, payload))
		if inSeven.sees(patience, bears(mark)) == nil {
			t.Errorf("%s: not delivered inside the network", mark)
		}
		if inEight.sees(silence, bears(mark)) != nil || inEightToo.sees(time.Millisecond, bears(mark)) != nil {
			t.Errorf("%s: seen in another network", mark)
		}
	}
}

func TestUnknownUnicastIsDropped(t *testing.T) {
	w := newWorld(t)
	n := w.network(7)
	a, b := w.container(n, "10.0.0.2"), w.container(n, "10.0.0.3")
	in := b.wire()
	a.wire().send(eth(net.HardwareAddr{2, 0, 0, 0, 0, 99}, a.ep.MAC, typeIPv4, ip4("10.0.0.2", "10.0.0.99", "who is it for")))
	if in.sees(silence, bears("who is it for")) != nil {
		t.Error("a frame to a MAC that nobody has was flooded")
	}
}

func TestSwitchAnswersForKnownNeighbours(t *testing.T) {
	w := newWorld(t)
	n := w.network(7)
	a, b := w.container(n, "10.0.0.2", "fd00::2"), w.container(n, "10.0.0.3", "fd00::3")
	out, in, bystander := a.wire(), b.wire(), w.container(n, "10.0.0.4", "fd00::4").wire()

	t.Run("ARP", func(t *testing.T) {
		out.send(eth(broadcast, a.ep.MAC, typeARP, arp{op: 1, sha: a.ep.MAC, spa: "10.0.0.2", tpa: "10.0.0.3"}.bytes()))
		want := arp{op: 2, sha: b.ep.MAC, spa: "10.0.0.3", tha: a.ep.MAC, tpa: "10.0.0.2"}
		if out.sees(patience, bears(string(eth(a.ep.MAC, b.ep.MAC, typeARP, want.bytes())))) == nil {
			t.Error("no answer")
		}
		if in.sees(silence, func(f []byte) bool { return f[12] == 8 && f[13] == 6 }) != nil {
			t.Error("the request went to a container")
		}
	})
	t.Run("ND", func(t *testing.T) {
		out.send(eth(net.HardwareAddr{0x33, 0x33, 0xff, 0, 0, 3}, a.ep.MAC, typeIPv6,
			icmp6("fd00::2", "ff02::1:ff00:3", 135, neighbourMsg(0, "fd00::3", 1, a.ep.MAC, ""))))
		want := eth(a.ep.MAC, b.ep.MAC, typeIPv6, icmp6("fd00::3", "fd00::2", 136, neighbourMsg(0x60000000, "fd00::3", 2, b.ep.MAC, "")))
		got := out.sees(patience, isND(136, "fd00::3"))
		if got == nil || string(got) != string(want) {
			t.Errorf("answer:\n% x\nwant:\n% x", got, want)
		}
		// In userspace the switch answers; the kernel's hands on to the owner.
		asked := in.sees(silence, isND(135, "fd00::3")) != nil
		if answersItself := w.fab.Status().Datapath == ovs.DatapathUserspace; asked == answersItself {
			t.Errorf("the request went to its owner: %v", asked)
		}
		if bystander.sees(time.Millisecond, isND(135, "fd00::3")) != nil {
			t.Error("the request went to a container that it doesn't concern")
		}
	})
	t.Run("duplicate address", func(t *testing.T) {
		out.send(eth(broadcast, a.ep.MAC, typeARP, arp{op: 1, sha: a.ep.MAC, spa: "0.0.0.0", tpa: "10.0.0.3"}.bytes()))
		if out.sees(patience, func(f []byte) bool { return f[12] == 8 && f[13] == 6 && f[21] == 2 }) == nil {
			t.Error("a probe for a taken address got no answer")
		}
		out.send(eth(broadcast, a.ep.MAC, typeARP, arp{op: 1, sha: a.ep.MAC, spa: "0.0.0.0", tpa: "10.0.0.2"}.bytes()))
		if out.sees(silence, func(f []byte) bool { return f[12] == 8 && f[13] == 6 && f[21] == 2 }) != nil {
			t.Error("a probe for the own address was answered: the container would believe it taken")
		}
	})
}

// isND is whether a frame is a neighbour message of a kind about an address.
// Others are about: every interface tests its link-local address.
func isND(kind byte, target string) func([]byte) bool {
	want := netip.MustParseAddr(target).AsSlice()
	return func(f []byte) bool {
		return len(f) >= 78 && f[12] == 0x86 && f[20] == 58 && f[54] == kind && bytes.Equal(f[62:78], want)
	}
}

// spoof is a frame that a container must not send.
type spoof struct {
	name  string
	frame func(mark string) []byte
}

func TestSpoofedFramesAreDroppedAndCounted(t *testing.T) {
	w := newWorld(t)
	n := w.network(7)
	a, b := w.container(n, "10.0.0.2", "fd00::2"), w.container(n, "10.0.0.3", "fd00::3")
	c := w.container(n, "10.0.0.4", "fd00::4")
	own, other, virtual := a.ep.MAC, c.ep.MAC, net.HardwareAddr{0, 0, 0x5e, 0, 1, 51}
	allNodes, allNodesMAC := "ff02::1", net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}
	to := b.ep.MAC
	for _, s := range []spoof{
		{"another's IPv4 address", func(m string) []byte { return eth(to, own, typeIPv4, ip4("10.0.0.4", "10.0.0.3", m)) }},
		{"an address outside the network", func(m string) []byte { return eth(to, own, typeIPv4, ip4("8.8.8.8", "10.0.0.3", m)) }},
		{"a link-local IPv4 address", func(m string) []byte { return eth(to, own, typeIPv4, ip4("169.254.1.1", "10.0.0.3", m)) }},
		{"another's MAC", func(m string) []byte { return eth(to, other, typeIPv4, ip4("10.0.0.2", "10.0.0.3", m)) }},
		{"a virtual MAC", func(m string) []byte { return eth(to, virtual, typeIPv4, ip4("10.0.0.2", "10.0.0.3", m)) }},
		{"a forged ARP reply", func(m string) []byte {
			return eth(to, own, typeARP, arp{op: 2, sha: own, spa: "10.0.0.4", tha: to, tpa: "10.0.0.3", mark: m}.bytes())
		}},
		{"an ARP reply with another's MAC", func(m string) []byte {
			return eth(to, own, typeARP, arp{op: 2, sha: other, spa: "10.0.0.2", tha: to, tpa: "10.0.0.3", mark: m}.bytes())
		}},
		{"a gratuitous ARP for a VIP that isn't allowed", func(m string) []byte {
			return eth(broadcast, own, typeARP, arp{op: 1, sha: own, spa: "10.0.0.100", tpa: "10.0.0.100", mark: m}.bytes())
		}},
		{"a router advertisement", func(m string) []byte {
			return eth(allNodesMAC, own, typeIPv6, icmp6("fe80::42:aff:fe00:2", allNodes, 134, append(make([]byte, 12), m...)))
		}},
		{"an advertisement of another's IPv6 address", func(m string) []byte {
			return eth(allNodesMAC, own, typeIPv6, icmp6("fd00::2", allNodes, 136, neighbourMsg(0x20000000, "fd00::4", 2, own, m)))
		}},
		{"an advertisement with another's MAC", func(m string) []byte {
			return eth(allNodesMAC, own, typeIPv6, icmp6("fd00::2", allNodes, 136, neighbourMsg(0x20000000, "fd00::2", 2, other, m)))
		}},
		{"another's IPv6 address", func(m string) []byte {
			return eth(to, own, typeIPv6, ip6("fd00::4", "fd00::3", 59, []byte(m)))
		}},
		{"a redirect", func(m string) []byte {
			return eth(to, own, typeIPv6, icmp6("fd00::2", "fd00::3", 137, append(make([]byte, 36), m...)))
		}},
		{"a frame that is neither IP nor ARP", func(m string) []byte { return eth(to, own, typeOther, []byte(m)) }},
	} {
		t.Run(s.name, func(t *testing.T) {
			before := w.drops(a)
			in := b.wire()
			mark := fmt.Sprintf("spoof: %.40s", s.name)
			a.wire().send(s.frame(mark))
			if in.sees(silence, bears(mark)) != nil {
				t.Error("it got through")
			}
			w.await("the drop to be counted", func() bool { return w.drops(a) > before })
		})
	}
	if err := exchange(a, b, netip.MustParseAddr("10.0.0.3"), 1<<16); err != nil {
		t.Errorf("honest traffic afterwards: %v", err)
	}
}

func (w *world) drops(b *box) uint64 {
	w.tb.Helper()
	d, err := w.fab.Drops(w.tb.Context())
	if err != nil {
		w.tb.Fatal(err)
	}
	n, known := d[b.ep.ID]
	if !known {
		w.tb.Fatalf("no count for %s in %v", b.ep.ID, d)
	}
	return n
}
