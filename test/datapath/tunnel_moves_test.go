package datapath

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"time"

	"github.com/google/nftables"

	"github.com/dockstack/dockstack/internal/fabric"
	"github.com/dockstack/dockstack/internal/ovs/ovstest"
)

// atOnce is how soon a move must be followed.
var atOnce = ovstest.Scale(time.Second)

// within checks that something becomes so in time, and says how long it took.
func (hs *hosts) within(limit time.Duration, what string, since watch, so func() bool) {
	hs.tb.Helper()
	hs.list[0].await(what, so)
	took := since.took().Round(time.Millisecond)
	if took > limit {
		hs.tb.Errorf("%s took %s, want at most %s", what, took, limit)
	} else {
		hs.tb.Logf("%s took %s", what, took)
	}
}

// talks is whether a datagram gets there and its answer back, soon.
func talks(from, to *box, a netip.Addr) bool {
	conn, next := to.receiver(a)
	defer func() { _ = conn.Close() }()
	if from.sendUDP(conn.LocalAddr().(*net.UDPAddr).AddrPort(), 10, 0) != nil {
		return false
	}
	return next(ovstest.Scale(20*time.Millisecond)) == 10
}

// A container goes to another host with its addresses and its MAC: who knew it
// needs nothing new.
func (hs *hosts) followsContainer() {
	t := hs.tb
	n := hs.network(20)
	a, b := hs.container(0, n, "10.0.0.2", "fd00::2"), hs.container(1, n, "10.0.0.3", "fd00::3")
	beside, third := hs.container(1, n, "10.0.0.4", "fd00::4"), hs.container(2, n, "10.0.0.5", "fd00::5")
	others := map[string]*box{"host 1": a, "host 2": beside, "host 3": third}
	for _, o := range others {
		hs.reach(o, b)
	}
	on := 1
	for _, to := range []int{2, 1, 0} {
		b = hs.move(b, n, on, to)
		on = to
		began := startWatch()
		for who, o := range others {
			for _, addr := range b.ep.Addrs {
				hs.within(atOnce, fmt.Sprintf("on host %d, reaching %s from %s", to+1, addr, who), began, func() bool { return talks(o, b, addr) })
			}
		}
		for who, o := range others {
			for i, addr := range b.ep.Addrs {
				if err := exchange(o, b, addr, 1<<16); err != nil {
					t.Errorf("on host %d, to %s from %s: %v", to+1, addr, who, err)
				}
				if err := exchange(b, o, o.ep.Addrs[i], 1<<16); err != nil {
					t.Errorf("on host %d, to %s from %s: %v", to+1, who, addr, err)
				}
			}
		}
	}
}

// garp announces an address under a MAC.
func (b *box) garp(mac net.HardwareAddr, addr string) {
	b.wire().send(eth(broadcast, mac, typeARP, arp{op: 1, sha: mac, spa: addr, tpa: addr}.bytes()))
}

// A VIP under the holder's own MAC: those who knew it learn from the gratuitous
// ARP that it moved.
func (hs *hosts) followsVIP() {
	t := hs.tb
	n := hs.network(21, withVIPs(vip))
	a, b := hs.container(0, n, "10.0.0.2"), hs.container(1, n, "10.0.0.3")
	c, beside := hs.container(2, n, "10.0.0.4"), hs.container(0, n, "10.0.0.5")
	hs.reach(c, a)
	hs.reach(c, b)
	addr := netip.MustParseAddr(vip)
	p := netip.PrefixFrom(addr, 24)
	holder, other := a, b
	holder.addAddr("eth0", p)
	for range 3 {
		for _, who := range []*box{c, beside} {
			hs.list[0].await("the VIP to be reached", func() bool { return talks(who, holder, addr) })
		}
		holder.delAddr("eth0", p)
		other.addAddr("eth0", p)
		began := startWatch()
		other.garp(other.ep.MAC, vip)
		froms := map[string]*box{"a third host": c, "the first host": beside}
		for who, from := range froms {
			hs.within(atOnce, "reaching the VIP's new holder from "+who, began, func() bool { return talks(from, other, addr) })
		}
		for who, from := range froms {
			if err := exchange(from, other, addr, 1<<16); err != nil {
				t.Errorf("from %s: %v", who, err)
			}
		}
		holder, other = other, holder
	}
}

// A virtual MAC goes from host to host: its frames go to where it was seen last,
// and to no other host.
func (hs *hosts) followsVirtualMAC() {
	t := hs.tb
	n := hs.network(22, withVIPs(vip))
	a, b := hs.container(0, n, "10.0.0.2"), hs.container(1, n, "10.0.0.3")
	c, near := hs.container(2, n, "10.0.0.4"), hs.container(0, n, "10.0.0.5")
	for _, from := range []*box{c, near} {
		hs.reach(from, a)
		hs.reach(from, b)
	}
	virtual := net.HardwareAddr{0, 0, 0x5e, 0, 1, 51}
	wires := hs.underlayWires()
	for i, on := range []int{0, 1, 0, 1} { // the host of the holder
		holder, other := []*box{a, b}[on], []*box{a, b}[1-on]
		in, out := holder.wire(), other.wire()
		froms := map[string]*box{"a third host": c, "the first host": near, "the other holder": other}
		send := func(from *box, mark string) {
			from.wire().send(eth(virtual, from.ep.MAC, typeIPv4, ip4(from.ep.Addrs[0].String(), vip, mark)))
		}
		began := startWatch()
		holder.garp(virtual, vip)
		for who, from := range froms {
			mark := fmt.Sprintf("round %d from %s", i, who)
			hs.within(atOnce, "the virtual MAC's move, "+mark, began, func() bool {
				send(from, mark)
				return in.sees(ovstest.Scale(20*time.Millisecond), bears(mark)) != nil
			})
		}
		for out.sees(silence, bears(fmt.Sprintf("round %d", i))) != nil {
			// Those sent before the move was learned.
		}
		for who, from := range froms {
			last := fmt.Sprintf("round %d at last from %s", i, who)
			send(from, last)
			if in.sees(patience, bears(last)) == nil || out.sees(silence, bears(last)) != nil {
				t.Errorf("%s: it didn't go to the holder alone", last)
			}
			for h, w := range wires {
				if h == on {
					continue
				}
				if n := w.count(50*time.Millisecond, hs.list[h].arriving(22, last)); n != 0 {
					t.Errorf("%s: host %d got it %d times", last, h+1, n)
				}
			}
		}
	}
}

// Debian's keepalived on two hosts, seen from a third. It needs 3 to 4 seconds
// to see that the other is gone, more on a busy machine: what is held to a limit
// is what the network adds to that.
func (hs *hosts) carriesKeepalived(vni uint32, mode string) {
	t := hs.tb
	keepalived, err := exec.LookPath("keepalived")
	if err != nil {
		if keepalived = "/usr/sbin/keepalived"; !exists(keepalived) {
			t.Fatal("keepalived is missing: run `make deps`")
		}
	}
	n := hs.network(vni, withVIPs(vip))
	a, b, c := hs.container(0, n, "10.0.0.2"), hs.container(1, n, "10.0.0.3"), hs.container(2, n, "10.0.0.4")
	hs.reach(a, b)
	hs.reach(c, a)
	hs.reach(c, b)
	addr := netip.MustParseAddr(vip)
	stopA := a.keepalived(keepalived, mode, 100)
	b.keepalived(keepalived, mode, 90)
	w := hs.list[0]
	w.await("the first to take the VIP", func() bool { return a.holds(addr) && !b.holds(addr) })
	w.await("the VIP to be reached", func() bool { return talks(c, a, addr) })
	began := time.Now()
	stopA()
	a.dropVIP(addr)
	w.await("the other to take the VIP", func() bool { return b.holds(addr) })
	t.Logf("keepalived took %s to take the VIP over", time.Since(began).Round(time.Millisecond))
	hs.within(atOnce, "reaching the VIP where it is now", startWatch(), func() bool { return talks(c, b, addr) })
	if err := exchange(c, b, addr, 1<<16); err != nil {
		t.Error(err)
	}
	// It comes back and takes over.
	a.keepalived(keepalived, mode, 100)
	w.await("the first to take the VIP back", func() bool { return a.holds(addr) && !b.holds(addr) })
	w.await("the VIP to be reached again", func() bool { return talks(c, a, addr) })
}

// The switch of one host is killed: what it forwarded is back with it.
func (hs *hosts) survivesSwitch() {
	t := hs.tb
	n := hs.network(25)
	a, b := hs.container(0, n, "10.0.0.2", "fd00::2"), hs.container(1, n, "10.0.0.3", "fd00::3")
	hs.reach(a, b)
	for _, name := range []string{"ovs-vswitchd", "ovsdb-server"} {
		hs.list[1].kill(name)
		began := startWatch()
		for _, addr := range b.ep.Addrs {
			hs.within(restored, fmt.Sprintf("reaching %s after %s was killed", addr, name), began, func() bool { return talks(a, b, addr) })
		}
		for _, addr := range b.ep.Addrs {
			if err := exchange(a, b, addr, 1<<20); err != nil {
				t.Errorf("after %s was killed, to %s: %v", name, addr, err)
			}
		}
	}
}

// A new process of ours takes over what the old one left.
func (hs *hosts) survivesFabric() {
	t := hs.tb
	n := hs.network(26)
	a, b := hs.container(0, n, "10.0.0.2"), hs.container(1, n, "10.0.0.3")
	hs.reach(a, b)
	h := hs.list[1]
	conn, next := b.receiver(b.ep.Addrs[0])
	at := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	hs.restartFabric(h)
	hs.reach(a, b)
	for range 20 {
		if err := a.sendUDP(at, 10, 0); err != nil {
			t.Fatal(err)
		}
		if next(patience) != 10 {
			t.Error("a datagram was lost after a new process took over")
		}
	}
	if err := exchange(a, b, b.ep.Addrs[0], 1<<20); err != nil {
		t.Error(err)
	}
}

// A host gets another tunnel address.
func (hs *hosts) followsHost() {
	t := hs.tb
	n := hs.network(27)
	a, b := hs.container(0, n, "10.0.0.2"), hs.container(1, n, "10.0.0.3")
	c := hs.container(2, n, "10.0.0.4")
	hs.reach(a, b)
	hs.reach(c, b)
	h := hs.list[1]
	old := h.vtep
	h.vtep = hs.address(102)
	h.home.delAddr("wan", underlayPrefix(old))
	h.home.addAddr("wan", underlayPrefix(h.vtep))
	hs.tellHosts()
	began := startWatch()
	for _, from := range []*box{a, c} {
		hs.within(atOnce, "reaching a host with another address", began, func() bool { return talks(from, b, b.ep.Addrs[0]) })
	}
	for _, from := range []*box{a, c} {
		if err := exchange(from, b, b.ep.Addrs[0], 1<<20); err != nil {
			t.Error(err)
		}
	}
	// Who has the old address now is nobody.
	who := newBox(t)
	hs.connect(who, old)
	in := a.wire()
	for range 5 {
		who.inject(hs.list[0].vtep, 27, eth(a.ep.MAC, net.HardwareAddr{2, 0, 0, 0, 0, 77}, typeIPv4, ip4("10.0.0.3", "10.0.0.2", "from the old address")))
	}
	if in.sees(silence, bears("from the old address")) != nil {
		t.Error("who has a host's old address is taken for it")
	}
}

// Hosts without others, and networks without containers, have nothing of tunnels.
func (hs *hosts) leavesNothing() {
	t := hs.tb
	for _, h := range hs.list {
		h.fab.SetUnderlay(fabric.Underlay{})
	}
	for _, h := range hs.list {
		h.await("the tunnels to go", func() bool {
			links, err := h.home.nl.LinkList()
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range links {
				if l.Type() == "vxlan" {
					return false
				}
			}
			return true
		})
		h.home.must(func() error {
			c, err := nftables.New()
			if err != nil {
				return err
			}
			tables, err := c.ListTables()
			for _, table := range tables {
				t.Errorf("%s still has the table %s", h.id, table.Name)
			}
			return err
		})
	}
}

// While hundreds of containers and hosts come and go elsewhere, those that talk
// lose nothing.
func (hs *hosts) losesNothing() {
	t := hs.tb
	n := hs.network(28)
	a, b := hs.container(0, n, "10.0.0.2"), hs.container(1, n, "10.0.0.3")
	hs.reach(a, b)
	conn, next := b.receiver(b.ep.Addrs[0])
	at := conn.LocalAddr().(*net.UDPAddr)
	got := make(chan int, 1)
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		count := 0
		for {
			done := ctx.Err() != nil // asked before: what was sent by then is there
			if next(ovstest.Scale(time.Second)) != 0 {
				count++
			} else if done {
				break
			}
		}
		got <- count
	}()
	var out *net.UDPConn
	a.must(func() (err error) {
		out, err = net.DialUDP("udp", nil, at)
		return err
	})
	defer func() { _ = out.Close() }()
	sent := make(chan int, 1)
	go func() {
		count := 0
		for ; ctx.Err() == nil; count++ {
			_, _ = out.Write(make([]byte, 100))
			time.Sleep(time.Millisecond)
		}
		sent <- count
	}()
	for round := range 10 {
		for i := range 20 {
			ep := fabric.Endpoint{Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 1, byte(20*round + i)})}}
			ep.MAC = macOf(ep.Addrs[0])
			hs.tell(n, ep, hs.list[2].id)
			if i%3 == 0 {
				hs.tell(n, ep, "")
			}
		}
		hs.tellHosts(hs.address(150+round), hs.address(170+round))
		time.Sleep(ovstest.Scale(50 * time.Millisecond))
	}
	hs.tellHosts()
	stop()
	if n, m := <-sent, <-got; m != n {
		t.Errorf("of %d datagrams %d arrived", n, m)
	} else {
		t.Logf("%d datagrams arrived", n)
	}
}
