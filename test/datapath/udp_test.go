package datapath

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// receiver counts datagrams by size inside a box.
func (b *box) receiver(a netip.Addr) (conn *net.UDPConn, next func(time.Duration) int) {
	b.tb.Helper()
	b.must(func() (err error) {
		conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
		if err != nil {
			return err
		}
		raw, err := conn.SyscallConn()
		if err != nil {
			return err
		}
		// What comes while the machine has no time for the test is kept.
		var refused error
		err = raw.Control(func(fd uintptr) {
			refused = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
		})
		return errors.Join(err, refused)
	})
	b.tb.Cleanup(func() { _ = conn.Close() })
	buf := make([]byte, 1<<16)
	return conn, func(d time.Duration) int {
		_ = conn.SetReadDeadline(time.Now().Add(d))
		n, err := conn.Read(buf)
		if err != nil {
			return 0
		}
		return n
	}
}

// sendUDP sends one buffer from a box, cut by the kernel into segments when
// segment is not 0.
func (b *box) sendUDP(to netip.AddrPort, size, segment int) error {
	return b.do(func() error {
		c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		if segment > 0 {
			raw, err := c.SyscallConn()
			if err != nil {
				return err
			}
			var set error
			if err := raw.Control(func(fd uintptr) {
				set = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT, segment)
			}); err != nil {
				return err
			}
			if set != nil {
				return set
			}
		}
		_, err = c.Write(make([]byte, size))
		return err
	})
}

// QUIC and WireGuard send so.
func TestSegmentedAndFragmentedUDP(t *testing.T) {
	w := newWorld(t)
	n := w.network(7)
	a, b := w.container(n, "10.0.0.2", "fd00::2"), w.container(n, "10.0.0.3", "fd00::3")
	for _, to := range b.ep.Addrs {
		conn, next := b.receiver(to)
		at := conn.LocalAddr().(*net.UDPAddr).AddrPort()
		// The kernel puts a new veth's queue in place some milliseconds after its
		// other end is up, and drops what comes before: ask until it is there.
		w.await("a first datagram", func() bool { return a.sendUDP(at, 1, 0) == nil && next(100*time.Millisecond) == 1 })
		for next(silence) != 0 {
		}
		if err := a.sendUDP(at, 13000, 1300); err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			if got := next(patience); got != 1300 {
				t.Errorf("to %s: segment %d has %d bytes, want 1300", to, i, got)
			}
		}
		if err := a.sendUDP(at, 8000, 0); err != nil {
			t.Fatal(err)
		}
		if got := next(patience); got != 8000 {
			t.Errorf("to %s: fragmented datagram of %d bytes, want 8000", to, got)
		}
	}
}
