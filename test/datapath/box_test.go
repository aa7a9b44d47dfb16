package datapath

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/dockstack/dockstack/internal/fabric"
)

func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// box stands for a container: a network namespace.
type box struct {
	tb testing.TB
	ns netns.NsHandle
	nl *netlink.Handle
	ep fabric.Endpoint
}

// newBox makes a network namespace without a name; it goes with its handle.
func newBox(tb testing.TB) *box {
	tb.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = home.Close() }()
	ns, err := netns.New()
	if err != nil {
		tb.Fatal(err)
	}
	if err := loopbackUp(); err != nil {
		tb.Fatal(err)
	}
	if err := netns.Set(home); err != nil {
		panic(fmt.Sprintf("lost the way back to the test's namespace: %v", err))
	}
	nl, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		tb.Fatal(err)
	}
	b := &box{tb: tb, ns: ns, nl: nl}
	tb.Cleanup(b.close)
	return b
}

// close lets the kernel remove the namespace and what is in it.
func (b *box) close() {
	if b.ns.IsOpen() {
		b.nl.Close()
		_ = b.ns.Close()
	}
}

// do runs fn inside. Sockets that it makes stay inside when it has returned.
func (b *box) do(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		// Not unlocked: the thread ends with the goroutine, and with it the stay.
		runtime.LockOSThread()
		if err := netns.Set(b.ns); err != nil {
			done <- err
			return
		}
		done <- fn()
	}()
	return <-done
}

// must runs fn inside and ends the test when it fails.
func (b *box) must(fn func() error) {
	b.tb.Helper()
	if err := b.do(fn); err != nil {
		b.tb.Fatal(err)
	}
}

// take moves a link in as eth0, as the engine does, and gives it addresses.
func (b *box) take(from *netlink.Handle, src string, n fabric.Network, ep fabric.Endpoint) {
	b.tb.Helper()
	b.ep = ep
	l, err := from.LinkByName(src)
	if err != nil {
		b.tb.Fatalf("the link that Attach named: %v", err)
	}
	if err := from.LinkSetNsFd(l, int(b.ns)); err != nil {
		b.tb.Fatal(err)
	}
	in, err := b.nl.LinkByName(src)
	if err != nil {
		b.tb.Fatal(err)
	}
	if err := b.nl.LinkSetName(in, "eth0"); err != nil {
		b.tb.Fatal(err)
	}
	for _, a := range ep.Addrs {
		b.addAddr("eth0", netip.PrefixFrom(a, prefixLen(n, a)))
	}
	if err := b.nl.LinkSetUp(in); err != nil {
		b.tb.Fatal(err)
	}
}

func prefixLen(n fabric.Network, a netip.Addr) int {
	for _, g := range n.Gateways {
		if g.Addr().Is4() == a.Is4() {
			return g.Bits()
		}
	}
	if a.Is4() {
		return 24
	}
	return 64
}

func (b *box) addAddr(dev string, p netip.Prefix) {
	b.tb.Helper()
	l, err := b.nl.LinkByName(dev)
	if err != nil {
		b.tb.Fatal(err)
	}
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
	if p.Addr().Is6() {
		addr.Flags = unix.IFA_F_NODAD
	}
	if err := b.nl.AddrAdd(l, addr); err != nil {
		b.tb.Fatalf("add %s: %v", p, err)
	}
}

func (b *box) delAddr(dev string, p netip.Prefix) {
	b.tb.Helper()
	l, err := b.nl.LinkByName(dev)
	if err != nil {
		b.tb.Fatal(err)
	}
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
	if err := b.nl.AddrDel(l, addr); err != nil {
		b.tb.Fatalf("remove %s: %v", p, err)
	}
}

// neighbour is the MAC that the box believes an address to have, nil when it
// knows none.
func (b *box) neighbour(a netip.Addr) net.HardwareAddr {
	b.tb.Helper()
	family := netlink.FAMILY_V4
	if a.Is6() {
		family = netlink.FAMILY_V6
	}
	l, err := b.nl.LinkByName("eth0")
	if err != nil {
		b.tb.Fatal(err)
	}
	list, err := b.nl.NeighList(l.Attrs().Index, family)
	if err != nil {
		b.tb.Fatal(err)
	}
	for _, n := range list {
		if got, _ := netip.AddrFromSlice(n.IP); got.Unmap() == a && len(n.HardwareAddr) == 6 {
			return n.HardwareAddr
		}
	}
	return nil
}

// mustNS is the namespace of the test itself.
func mustNS(tb testing.TB) netns.NsHandle {
	tb.Helper()
	ns, err := netns.Get()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = ns.Close() })
	return ns
}
