package datapath

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/dockstack/dockstack/internal/fabric"
	"github.com/dockstack/dockstack/internal/ovs"
)

// UDP ports of the tunnels that a person makes. Open vSwitch's and the kernel's
// own can't share one.
const (
	handPort   = 14791
	bridgePort = 14792
)

// BenchmarkTCPAcrossHosts compares dockstack's network between two hosts with
// the same switches and tunnels set up by hand, and with what Docker's overlay
// is: Linux bridges and the kernel's VXLAN.
func BenchmarkTCPAcrossHosts(b *testing.B) {
	hs := newHosts(b, underlay{name: "IPv4"}, 2)
	fromAddr, toAddr := netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")
	// First those by hand: their sockets get dockstack's buffers then, so that only
	// the pipeline makes a difference.
	handFrom, handTo := hs.byHand(0, fromAddr), hs.byHand(1, toAddr)
	n := hs.network(7, withGateways("10.0.0.1/16"))
	peers := []struct {
		name     string
		from, to *box
		rates    []float64
	}{
		{name: "dockstack", from: hs.container(0, n, fromAddr.String()), to: hs.container(1, n, toAddr.String())},
		{name: "hand", from: handFrom, to: handTo},
		{name: "bridge", from: hs.onBridge(0, fromAddr), to: hs.onBridge(1, toAddr)},
	}
	for _, p := range peers {
		hs.reach(p.from, p.to)
	}
	for b.Loop() {
		for i := range peers {
			p := &peers[i]
			rate, err := bothWays(p.from, p.to, fromAddr, toAddr)
			if err != nil {
				b.Fatalf("%s: %v", p.name, err)
			}
			p.rates = append(p.rates, rate)
		}
	}
	for _, p := range peers {
		b.ReportMetric(middle(p.rates)*8/1e9, p.name+"-Gbit/s")
	}
	b.ReportMetric(middle(ratios(peers[0].rates, peers[1].rates)), "of-hand")
	b.ReportMetric(middle(ratios(peers[0].rates, peers[2].rates)), "of-bridge")
}

// ratios are of each round, because what else the machine does changes from
// round to round.
func ratios(ours, peer []float64) []float64 {
	out := make([]float64, len(ours))
	for i := range ours {
		out[i] = ours[i] / peer[i]
	}
	return out
}

// byHand is a container on a second bridge of a host's switch, as a person would
// make it: learning bridges without flows, and the tunnel that is best on the
// datapath: the switch's own in the kernel, the kernel's in userspace.
func (hs *hosts) byHand(on int, addr netip.Addr) *box {
	hs.tb.Helper()
	h := hs.list[on]
	box, port := h.handmadeBox(hs, "hv0", addr)
	args := []string{"add-br", "hand0", "--", "set", "Bridge", "hand0", "datapath_type=" + bridgeType(h.cfg), "--", "add-port", "hand0", port}
	other := hs.list[1-on].vtep
	if h.cfg.Datapath == ovs.DatapathUserspace {
		h.vxlanTo(hs, "hx0", other, handPort)
		args = append(args, "--", "add-port", "hand0", "hx0")
	} else {
		args = append(args, "--", "add-port", "hand0", "hx0", "--", "set", "Interface", "hx0", "type=vxlan",
			"options:key=99", "options:remote_ip="+other.String(), fmt.Sprintf("options:dst_port=%d", handPort))
	}
	if _, err := h.cfg.Run(hs.tb.Context(), "ovs-vsctl", args...); err != nil {
		hs.tb.Fatal(err)
	}
	return box
}

// handmadeBox makes a veth as dockstack does, with the same offloads, and moves
// it into a new box. The other end's name comes back as well.
func (h *host) handmadeBox(hs *hosts, name string, addr netip.Addr) (*box, string) {
	hs.tb.Helper()
	st, _ := h.sw.State()
	ep := fabric.Endpoint{Addrs: []netip.Addr{addr}}
	spec := fabric.VethSpec{Host: name, Peer: name + "p", PeerMAC: macOf(addr), MTU: hs.mtu(), Offloads: st.Offloads}
	if err := h.links.AddVeth(hs.tb.Context(), spec); err != nil {
		hs.tb.Fatal(err)
	}
	b := newBox(hs.tb)
	b.take(h.handle(), name+"p", fabric.Network{}, ep)
	return b, name
}

// vxlanTo makes a device of the kernel's that leads to one other host.
func (h *host) vxlanTo(hs *hosts, name string, other netip.Addr, port int) netlink.Link {
	hs.tb.Helper()
	nl := h.handle()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = name, hs.mtu()
	if err := nl.LinkAdd(&netlink.Vxlan{
		LinkAttrs: attrs, VxlanId: 99, SrcAddr: h.vtep.AsSlice(), Port: port, Learning: true, UDPCSum: true,
	}); err != nil {
		hs.tb.Fatal(err)
	}
	l, err := nl.LinkByName(name)
	if err != nil {
		hs.tb.Fatal(err)
	}
	if err := nl.NeighAppend(&netlink.Neigh{
		LinkIndex: l.Attrs().Index, Family: unix.AF_BRIDGE, State: unix.NUD_PERMANENT | unix.NUD_NOARP, Flags: netlink.NTF_SELF,
		IP: other.AsSlice(), HardwareAddr: make([]byte, 6),
	}); err != nil {
		hs.tb.Fatal(err)
	}
	if err := nl.LinkSetUp(l); err != nil {
		hs.tb.Fatal(err)
	}
	return l
}

// onBridge is a container on a Linux bridge with a device of the kernel's to the
// other host, with all that its kernel offloads.
func (hs *hosts) onBridge(on int, addr netip.Addr) *box {
	hs.tb.Helper()
	h := hs.list[on]
	nl := h.handle()
	must := func(err error) {
		hs.tb.Helper()
		if err != nil {
			hs.tb.Fatal(err)
		}
	}
	br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "lbr0", MTU: hs.mtu()}}
	must(nl.LinkAdd(br))
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "bv0", MTU: hs.mtu()}, PeerName: "bv0p", PeerMTU: uint32(hs.mtu())}
	must(nl.LinkAdd(veth))
	for _, l := range []netlink.Link{veth, h.vxlanTo(hs, "bx0", hs.list[1-on].vtep, bridgePort)} {
		must(nl.LinkSetMaster(l, br))
		must(nl.LinkSetUp(l))
	}
	must(nl.LinkSetUp(br))
	b := newBox(hs.tb)
	b.take(nl, "bv0p", fabric.Network{}, fabric.Endpoint{Addrs: []netip.Addr{addr}})
	return b
}
