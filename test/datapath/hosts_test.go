package datapath

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/dockstack/dockstack/internal/fabric"
	"github.com/dockstack/dockstack/internal/link"
)

// tunnelPort is the tunnels' UDP port.
const tunnelPort = 14789

// underlay is what hosts reach each other by.
type underlay struct {
	name string
	// tunnels are those of the hosts, in turn; none is the datapath's.
	tunnels []string
	six     bool
}

// tunnel is that of a host.
func (u underlay) tunnel(i int) string {
	if len(u.tunnels) == 0 {
		return ""
	}
	return u.tunnels[i%len(u.tunnels)]
}

// address is one of the underlay's, by its last number.
func (u underlay) address(last int) netip.Addr {
	if u.six {
		return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 15: byte(last)})
	}
	return netip.AddrFrom4([4]byte{192, 0, 2, byte(last)})
}

// mtu is that of the networks: the underlay's less what a frame grows by.
func (u underlay) mtu() int { return 1500 - link.Overhead(u.address(1)) }

// hosts are several hosts on one underlay, and what a store would know of them.
type hosts struct {
	underlay
	tb    testing.TB
	wires *box // a Linux bridge
	list  []*host
	// where are the containers that run, by network and address.
	where map[place]spot
	// networks that were made, for a new process.
	networks []fabric.Network
	// whole is the test that the hosts live as long as.
	whole testing.TB
}

type host struct {
	*world
	id   string
	vtep netip.Addr
}

type place struct {
	vni  uint32
	addr netip.Addr
}

type spot struct {
	host string
	mac  net.HardwareAddr
}

// newHosts starts n hosts that know of each other.
func newHosts(tb testing.TB, u underlay, n int) *hosts {
	tb.Helper()
	hs := &hosts{underlay: u, tb: tb, whole: tb, wires: newBox(tb), where: map[place]spot{}}
	br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "wires"}}
	if err := hs.wires.nl.LinkAdd(br); err != nil {
		tb.Fatal(err)
	}
	if err := hs.wires.nl.LinkSetUp(br); err != nil {
		tb.Fatal(err)
	}
	for i := range n {
		h := &host{world: &world{tb: tb, home: newBox(tb), tunnel: u.tunnel(i)}, id: fmt.Sprintf("host%d", i+1), vtep: u.address(i + 1)}
		hs.connect(h.home, h.vtep)
		h.start()
		hs.list = append(hs.list, h)
	}
	for _, h := range hs.list {
		h.awaitUp()
	}
	hs.tellHosts()
	return hs
}

// connect gives a box an interface on the underlay, with an address.
func (hs *hosts) connect(b *box, addr netip.Addr) {
	hs.tb.Helper()
	port := fmt.Sprintf("to%d", int(b.ns))
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: port, MTU: 1500}, PeerName: "wan", PeerNamespace: netlink.NsFd(int(b.ns))}
	if err := hs.wires.nl.LinkAdd(veth); err != nil {
		hs.tb.Fatal(err)
	}
	br, err := hs.wires.nl.LinkByName("wires")
	if err != nil {
		hs.tb.Fatal(err)
	}
	if err := hs.wires.nl.LinkSetMaster(veth, br); err != nil {
		hs.tb.Fatal(err)
	}
	for nl, name := range map[*netlink.Handle]string{hs.wires.nl: port, b.nl: "wan"} {
		l, err := nl.LinkByName(name)
		if err != nil {
			hs.tb.Fatal(err)
		}
		if err := nl.LinkSetUp(l); err != nil {
			hs.tb.Fatal(err)
		}
	}
	b.addAddr("wan", underlayPrefix(addr))
}

func underlayPrefix(a netip.Addr) netip.Prefix {
	if a.Is4() {
		return netip.PrefixFrom(a, 24)
	}
	return netip.PrefixFrom(a, 64)
}

// tellHosts tells every host which others there are.
func (hs *hosts) tellHosts(strangers ...netip.Addr) {
	for _, h := range hs.list {
		hs.tellHost(h, strangers...)
	}
}

func (hs *hosts) tellHost(h *host, strangers ...netip.Addr) {
	u := fabric.Underlay{VTEP: h.vtep, Port: tunnelPort}
	for _, other := range hs.list {
		if other != h {
			u.Peers = append(u.Peers, fabric.Peer{ID: other.id, VTEP: other.vtep})
		}
	}
	for i, a := range strangers {
		u.Peers = append(u.Peers, fabric.Peer{ID: fmt.Sprintf("stranger%d", i), VTEP: a})
	}
	h.fab.SetUnderlay(u)
}

// restartFabric replaces a host's process: the new one hears everything anew.
func (hs *hosts) restartFabric(h *host) {
	hs.tb.Helper()
	h.stopFa()
	h.tb = hs.whole // as long as that it shall run
	h.startFabric()
	h.tb = hs.tb
	for _, n := range hs.networks {
		if err := h.fab.PutNetwork(hs.tb.Context(), n); err != nil {
			hs.tb.Fatal(err)
		}
	}
	<-h.fab.Recalled()
	hs.tellHost(h)
	hs.tellAll(h)
}

// network makes a network on every host.
func (hs *hosts) network(vni uint32, change ...func(*fabric.Network)) fabric.Network {
	hs.tb.Helper()
	change = append([]func(*fabric.Network){func(n *fabric.Network) { n.MTU = hs.mtu() }}, change...)
	var n fabric.Network
	for _, h := range hs.list {
		n = h.network(vni, change...)
	}
	hs.networks = append(hs.networks, n)
	return n
}

// container starts a container on a host, and tells the others.
func (hs *hosts) container(on int, n fabric.Network, addrs ...string) *box {
	hs.tb.Helper()
	return hs.run(on, n, hs.list[on].endpoint(n, addrs...))
}

// run starts a container. Its lease, of which all hosts hear, comes first.
func (hs *hosts) run(on int, n fabric.Network, ep fabric.Endpoint) *box {
	hs.tb.Helper()
	h := hs.list[on]
	hs.tell(n, ep, h.id)
	b := h.run(n, ep)
	hs.tb.Cleanup(func() {
		b.close()
		if err := h.fab.Detach(context.Background(), ep.ID); err != nil {
			hs.tb.Error(err)
		}
	})
	return b
}

// move stops a container and starts it on another host, as its name does: with
// the same addresses and MAC.
func (hs *hosts) move(b *box, n fabric.Network, from, to int) *box {
	hs.tb.Helper()
	b.close()
	if err := hs.list[from].fab.Detach(hs.tb.Context(), b.ep.ID); err != nil {
		hs.tb.Fatal(err)
	}
	ep := b.ep
	ep.ID = hs.list[to].endpoint(n, ep.Addrs[0].String()).ID
	return hs.run(to, n, ep)
}

// stop ends a container for good.
func (hs *hosts) stop(b *box, n fabric.Network, on int) {
	hs.tb.Helper()
	b.close()
	if err := hs.list[on].fab.Detach(hs.tb.Context(), b.ep.ID); err != nil {
		hs.tb.Fatal(err)
	}
	hs.tell(n, b.ep, "")
}

// tell brings the news of a container's place to all hosts; "" is none.
func (hs *hosts) tell(n fabric.Network, ep fabric.Endpoint, id string) {
	for _, a := range ep.Addrs {
		delete(hs.where, place{n.VNI, a})
		if id != "" {
			hs.where[place{n.VNI, a}] = spot{id, ep.MAC}
		}
	}
	for _, h := range hs.list {
		c := fabric.RemoteChange{VNI: n.VNI}
		for _, a := range ep.Addrs {
			if id == "" || id == h.id {
				c.Gone = append(c.Gone, a)
			} else {
				c.Set = append(c.Set, fabric.Remote{Addr: a, MAC: [6]byte(ep.MAC), Host: id})
			}
		}
		h.fab.ChangeRemotes([]fabric.RemoteChange{c})
	}
}

// tellAll tells one host everything, as a new process of it hears it.
func (hs *hosts) tellAll(h *host) {
	changes := map[uint32]*fabric.RemoteChange{}
	for p, s := range hs.where {
		c := changes[p.vni]
		if c == nil {
			c = &fabric.RemoteChange{VNI: p.vni, Whole: true}
			changes[p.vni] = c
		}
		if s.host != h.id {
			c.Set = append(c.Set, fabric.Remote{Addr: p.addr, MAC: [6]byte(s.mac), Host: s.host})
		}
	}
	var all []fabric.RemoteChange
	for _, c := range changes {
		all = append(all, *c)
	}
	slices.SortFunc(all, func(a, b fabric.RemoteChange) int { return int(a.VNI) - int(b.VNI) })
	h.fab.ChangeRemotes(all)
}

// reach waits until one container has reached another.
func (hs *hosts) reach(from, to *box) {
	hs.tb.Helper()
	for _, a := range to.ep.Addrs {
		hs.list[0].await(fmt.Sprintf("%s to reach %s", from.ep.Addrs[0], a), func() bool { return exchange(from, to, a, 100) == nil })
	}
}
