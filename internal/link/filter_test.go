package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/dockstack/dockstack/internal/fabric"
)

// pairOf joins two hosts, one of which filters.
func pairOf(t *testing.T) (from, to *space, m *Manager) {
	t.Helper()
	from, to = newSpace(t), newSpace(t)
	from.wire(t, "wan", to, "wan")
	for last, s := range map[string]*space{"1": from, "2": to} {
		s.addr(t, "wan", "192.0.2."+last+"/24")
		s.addr(t, "wan", "2001:db8::"+last+"/64")
	}
	return from, to, to.manager(t)
}

// at listens on a UDP port, on all addresses of both families.
func at(t *testing.T, s *space, port int) net.PacketConn {
	t.Helper()
	var pc net.PacketConn
	s.in(t, func() (err error) {
		pc, err = (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", fmt.Sprintf(":%d", port))
		return err
	})
	t.Cleanup(func() { _ = pc.Close() })
	return pc
}

// say sends datagrams from a host.
func say(t *testing.T, s *space, to netip.AddrPort, words ...string) {
	t.Helper()
	s.in(t, func() error {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "udp", to.String())
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		for _, w := range words {
			_, _ = c.Write([]byte(w)) // refusals come back as errors here
		}
		return nil
	})
}

// heard is whether a word arrives.
func heard(t *testing.T, pc net.PacketConn, word string, want bool) bool {
	t.Helper()
	within := mustNot
	if want {
		within = arrives
	}
	must(t, pc.SetReadDeadline(time.Now().Add(within)))
	buf := make([]byte, 64)
	for {
		n, _, err := pc.ReadFrom(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return false
		}
		must(t, err)
		if string(buf[:n]) == word {
			return true
		}
	}
}

func TestTunnelFilter(t *testing.T) {
	from, to, m := pairOf(t)
	four, six := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	other4, other6 := netip.MustParseAddr("192.0.2.99"), netip.MustParseAddr("2001:db8::99")
	tunnel, beside := at(t, to, tunnelPort), at(t, to, tunnelPort+1)
	for i, tc := range []struct {
		name         string
		filter       fabric.TunnelFilter
		want4, want6 bool
	}{
		{"no filter", fabric.TunnelFilter{}, true, true},
		{"nobody", fabric.TunnelFilter{Port: tunnelPort}, false, false},
		{"others", fabric.TunnelFilter{Port: tunnelPort, Peers: []netip.Addr{other4, other6}}, false, false},
		{"IPv4 peer", fabric.TunnelFilter{Port: tunnelPort, Peers: []netip.Addr{other4, four, four}}, true, false},
		{"IPv6 peer", fabric.TunnelFilter{Port: tunnelPort, Peers: []netip.Addr{six}}, false, true},
		{"the same written otherwise", fabric.TunnelFilter{Port: tunnelPort, Peers: []netip.Addr{netip.MustParseAddr("::ffff:192.0.2.1")}}, true, false},
		{"both", fabric.TunnelFilter{Port: tunnelPort, Peers: []netip.Addr{six, four}}, true, true},
		{"another port", fabric.TunnelFilter{Port: tunnelPort + 7}, true, true},
		{"removed", fabric.TunnelFilter{}, true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for range 2 { // again changes nothing
				must(t, m.PutTunnelFilter(t.Context(), tc.filter))
			}
			for addr, want := range map[string]bool{"192.0.2.2": tc.want4, "2001:db8::2": tc.want6} {
				word := fmt.Sprint(addr, i)
				dst := netip.MustParseAddr(addr)
				say(t, from, netip.AddrPortFrom(dst, tunnelPort), word, word, word)
				if got := heard(t, tunnel, word, want); got != want {
					t.Errorf("to %s: arrived %v, want %v", addr, got, want)
				}
				say(t, from, netip.AddrPortFrom(dst, tunnelPort+1), word)
				if !heard(t, beside, word, true) {
					t.Errorf("another port of %s is filtered", addr)
				}
			}
		})
	}
	to.in(t, func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		tables, err := c.ListTables()
		if len(tables) > 0 {
			t.Errorf("left: %v", tables)
		}
		return err
	})
}

// Fragments can't get around the filter: the kernel puts IPv4 packets together
// before it, and without its first fragment no IPv6 packet is whole.
func TestTunnelFilterSeesFragments(t *testing.T) {
	from, to, m := pairOf(t)
	must(t, m.PutTunnelFilter(t.Context(), fabric.TunnelFilter{Port: tunnelPort}))
	pc := at(t, to, tunnelPort)
	long := make([]byte, 4000)
	for _, addr := range []string{"192.0.2.2", "2001:db8::2"} {
		say(t, from, netip.AddrPortFrom(netip.MustParseAddr(addr), tunnelPort), string(long), string(long))
	}
	must(t, pc.SetReadDeadline(time.Now().Add(mustNot)))
	if n, who, err := pc.ReadFrom(make([]byte, 5000)); err == nil {
		t.Errorf("%d bytes from %s arrived", n, who)
	}
}

// Thousands of peers fit, and what the dropped packets' counter says is seen.
func TestTunnelFilterWithManyPeers(t *testing.T) {
	from, to, m := pairOf(t)
	pc := at(t, to, tunnelPort)
	f := fabric.TunnelFilter{Port: tunnelPort}
	for i := range 5000 {
		f.Peers = append(f.Peers,
			netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}),
			netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 1, 14: byte(i >> 8), 15: byte(i)}))
	}
	began := time.Now()
	must(t, m.PutTunnelFilter(t.Context(), f))
	t.Logf("10,000 peers: %s", time.Since(began).Round(time.Millisecond))
	dst := netip.MustParseAddrPort("192.0.2.2:14789")
	say(t, from, dst, "a", "b", "c")
	if heard(t, pc, "c", false) {
		t.Error("somebody who is none of 10,000 got in")
	}
	if n := dropped(t, to); n != 3 {
		t.Errorf("counted %d dropped packets, want 3", n)
	}
	f.Peers = append(f.Peers, netip.MustParseAddr("192.0.2.1"))
	must(t, m.PutTunnelFilter(t.Context(), f))
	say(t, from, dst, "d")
	if !heard(t, pc, "d", true) {
		t.Error("the last of 10,001 doesn't get in")
	}
}

// dropped is what the filter counted.
func dropped(t *testing.T, s *space) (n uint64) {
	t.Helper()
	s.in(t, func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		n, err = tunnelDrops(c)
		return err
	})
	return n
}

// While peers come and go, not one packet of a peer that stays is lost, and not
// one of a stranger passes.
func TestTunnelFilterChangesWithoutLoss(t *testing.T) {
	from, to, m := pairOf(t)
	stays := netip.MustParseAddr("192.0.2.1")
	from.addr(t, "wan", "192.0.2.66/24")
	pc := at(t, to, tunnelPort)
	must(t, m.PutTunnelFilter(t.Context(), fabric.TunnelFilter{Port: tunnelPort, Peers: []netip.Addr{stays}}))
	var got, foreign atomic.Int64
	go func() {
		buf := make([]byte, 64)
		for {
			_, who, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			if ua, ok := who.(*net.UDPAddr); ok && ua.AddrPort().Addr().Unmap() == stays {
				got.Add(1)
			} else {
				foreign.Add(1)
			}
		}
	}()
	ctx, stop := context.WithCancel(t.Context())
	sent := make(chan int64)
	from.in(t, func() error {
		var conns []net.Conn
		for _, local := range []string{"192.0.2.1:0", "192.0.2.66:0"} {
			d := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.MustParseAddrPort(local))}
			c, err := d.Dial("udp4", "192.0.2.2:14789")
			if err != nil {
				return err
			}
			conns = append(conns, c)
		}
		go func() {
			n := int64(0)
			for ctx.Err() == nil {
				for _, c := range conns {
					_, _ = c.Write([]byte("x"))
				}
				n++
				time.Sleep(100 * time.Microsecond) // the receiver's buffer must not be what loses
			}
			for _, c := range conns {
				_ = c.Close()
			}
			sent <- n
		}()
		return nil
	})
	peers := []netip.Addr{stays}
	for i := range 200 {
		peers = append(peers, netip.AddrFrom4([4]byte{198, 18, 0, byte(i)}))
		if i%10 == 9 {
			peers = slices.Clone(peers[:1])
		}
		must(t, m.PutTunnelFilter(t.Context(), fabric.TunnelFilter{Port: tunnelPort, Peers: peers}))
	}
	stop()
	n := <-sent
	for deadline := time.Now().Add(arrives); got.Load() < n && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if got.Load() != n || foreign.Load() != 0 {
		t.Errorf("of %d packets %d arrived during 200 changes, and %d of a stranger", n, got.Load(), foreign.Load())
	}
	t.Logf("%d packets during 200 changes", n)
}

// The kernel without nftables is only told of: nothing here can take it away.
func TestFilterErrors(t *testing.T) {
	for err, want := range map[error]bool{unix.EOPNOTSUPP: true, unix.ENOENT: true, unix.EPROTONOSUPPORT: true, unix.EPERM: false} {
		got := filterError(fabric.TunnelFilter{Port: tunnelPort}, err)
		if errors.Is(got, ErrNoFilter) != want || !errors.Is(got, err) {
			t.Errorf("%v became %v", err, got)
		}
	}
}

// Redirections and filters are put side by side, by different parts of the daemon.
func TestFilterBesideRedirect(t *testing.T) {
	s := newSpace(t)
	m := s.manager(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 20 {
				f := fabric.TunnelFilter{Port: tunnelPort, Peers: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})}}
				if err := m.PutTunnelFilter(t.Context(), f); err != nil {
					t.Error(err)
				}
			}
		})
	}
	s.in(t, func() error {
		for i := range 20 {
			if err := PutRedirect(Redirect{Addrs: []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, byte(i)})}, From: 53, To: 15053}); err != nil {
				return err
			}
		}
		return nil
	})
	wg.Wait()
}
