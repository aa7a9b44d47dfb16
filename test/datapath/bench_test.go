package datapath

import (
	"cmp"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/dockstack/dockstack/internal/fabric"
	"github.com/dockstack/dockstack/internal/ovs"
)

// round is how long one measurement of a throughput takes.
const round = 500 * time.Millisecond

// stream measures how many bytes a second one TCP connection carries.
func stream(from, to *box, a netip.Addr) (float64, error) {
	l := to.listen(a)
	defer func() { _ = l.Close() }()
	got := make(chan float64, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			got <- 0
			return
		}
		defer func() { _ = c.Close() }()
		buf := make([]byte, 1<<17)
		var n int
		var began time.Time
		for {
			m, err := c.Read(buf)
			if began.IsZero() {
				began = time.Now()
			}
			n += m
			if err != nil {
				got <- float64(n) / time.Since(began).Seconds()
				return
			}
		}
	}()
	c, err := from.dial(l.Addr().String())
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close() }()
	buf := make([]byte, 1<<17)
	_ = c.SetWriteDeadline(time.Now().Add(round))
	for err == nil {
		_, err = c.Write(buf)
	}
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		return 0, err
	}
	_ = c.Close()
	return <-got, nil
}

// bothWays is the mean of a stream there and one back. A switch in userspace
// favours one of two ports, by the order in which it polls them, and whose
// favour it is differs from switch to switch.
func bothWays(from, to *box, fromAddr, toAddr netip.Addr) (float64, error) {
	there, err := stream(from, to, toAddr)
	if err != nil {
		return 0, err
	}
	back, err := stream(to, from, fromAddr)
	return (there + back) / 2, err
}

// BenchmarkTCP compares dockstack's network with the same switch set up by hand
// and with a Linux bridge, round by round.
func BenchmarkTCP(b *testing.B) {
	w := newWorld(b)
	n := w.network(7, withGateways("10.0.0.1/16"))
	// First those by hand: their sockets get dockstack's buffers then, so that only
	// the pipeline makes a difference.
	handFrom, handTo := w.byHand("10.0.0.2"), w.byHand("10.0.0.3")
	peers := []struct {
		name     string
		from, to *box
		rates    []float64
	}{
		{name: "dockstack", from: w.container(n, "10.0.0.2"), to: w.container(n, "10.0.0.3")},
		{name: "hand", from: handFrom, to: handTo},
		{name: "bridge", from: w.onBridge("10.0.0.2"), to: w.onBridge("10.0.0.3")},
	}
	fromAddr, toAddr := netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")
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

func middle[T cmp.Ordered](v []T) T {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// byHand is a container on a second bridge of the same switch, as a person would
// make it: a learning bridge without flows.
func (w *world) byHand(addr string) *box {
	w.tb.Helper()
	kind := "system"
	if w.cfg.Datapath == ovs.DatapathUserspace {
		kind = "netdev"
	}
	host, b := w.handmade("hv"+addr[len(addr)-1:], addr)
	if _, err := w.cfg.Run(w.tb.Context(), "ovs-vsctl", "--may-exist", "add-br", "hand0",
		"--", "set", "Bridge", "hand0", "datapath_type="+kind, "--", "add-port", "hand0", host); err != nil {
		w.tb.Fatal(err)
	}
	return b
}

// onBridge is a container on a Linux bridge, with all that its kernel offloads.
func (w *world) onBridge(addr string) *box {
	w.tb.Helper()
	br, err := netlink.LinkByName("lbr0")
	if err != nil {
		br = &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "lbr0"}}
		if err := netlink.LinkAdd(br); err != nil {
			w.tb.Fatal(err)
		}
		w.tb.Cleanup(func() { _ = netlink.LinkDel(br) })
		if err := netlink.LinkSetUp(br); err != nil {
			w.tb.Fatal(err)
		}
	}
	host := "bv" + addr[len(addr)-1:]
	b := newBox(w.tb)
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: host, MTU: 1500}, PeerName: host + "p"}
	if err := netlink.LinkAdd(veth); err != nil {
		w.tb.Fatal(err)
	}
	w.tb.Cleanup(func() { _ = netlink.LinkDel(veth) })
	if err := netlink.LinkSetMaster(veth, br); err != nil {
		w.tb.Fatal(err)
	}
	if err := netlink.LinkSetUp(veth); err != nil {
		w.tb.Fatal(err)
	}
	b.take(&netlink.Handle{}, host+"p", fabric.Network{}, fabric.Endpoint{Addrs: []netip.Addr{netip.MustParseAddr(addr)}})
	return b
}

// handmade makes a veth as dockstack does, with the same offloads, and moves it
// into a new box.
func (w *world) handmade(host, addr string) (string, *box) {
	w.tb.Helper()
	st, _ := w.sw.State()
	ep := fabric.Endpoint{Addrs: []netip.Addr{netip.MustParseAddr(addr)}}
	spec := fabric.VethSpec{Host: host, Peer: host + "p", PeerMAC: macOf(ep.Addrs[0]), MTU: 1500, Offloads: st.Offloads}
	if err := w.links.AddVeth(w.tb.Context(), spec); err != nil {
		w.tb.Fatal(err)
	}
	w.tb.Cleanup(func() { _ = w.links.DeleteVeth(w.tb.Context(), host) })
	b := newBox(w.tb)
	b.take(w.handle(), host+"p", fabric.Network{}, ep)
	return host, b
}
