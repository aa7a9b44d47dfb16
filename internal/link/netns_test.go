package link

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// space is a network namespace of a test. It has no name anywhere and is gone
// with the test's process, however that ends.
type space struct {
	fd netns.NsHandle
	*netlink.Handle
}

func newSpace(tb testing.TB) *space {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Fatal("these tests make network namespaces: run them as root")
	}
	var fd netns.NsHandle
	var err error
	onThread(func() {
		if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
			fd, err = netns.Get()
		}
	})
	must(tb, err)
	h, err := netlink.NewHandleAt(fd, unix.NETLINK_ROUTE)
	must(tb, err)
	tb.Cleanup(func() { h.Close(); _ = fd.Close() })
	s := &space{fd: fd, Handle: h}
	s.up(tb, "lo")
	return s
}

// onThread runs fn on a thread that is thrown away after it.
func onThread(fn func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: Go ends the thread
		fn()
	}()
	<-done
}

// in runs fn inside the namespace.
func (s *space) in(tb testing.TB, fn func() error) {
	tb.Helper()
	var err error
	onThread(func() {
		if err = netns.Set(s.fd); err == nil {
			err = fn()
		}
	})
	must(tb, err)
}

// manager opens a Manager for the namespace.
func (s *space) manager(tb testing.TB) *Manager {
	tb.Helper()
	var m *Manager
	s.in(tb, func() (err error) {
		m, err = Open(slog.New(slog.DiscardHandler))
		return err
	})
	tb.Cleanup(m.Close)
	return m
}

func (s *space) link(tb testing.TB, name string) netlink.Link {
	tb.Helper()
	l, err := s.LinkByName(name)
	must(tb, err)
	return l
}

func (s *space) has(name string) bool {
	_, err := s.LinkByName(name)
	return err == nil
}

func (s *space) up(tb testing.TB, name string) {
	tb.Helper()
	must(tb, s.LinkSetUp(s.link(tb, name)))
}

func (s *space) addr(tb testing.TB, name, prefix string) {
	tb.Helper()
	a := &netlink.Addr{IPNet: toIPNet(netip.MustParsePrefix(prefix))}
	if a.IP.To4() == nil {
		a.Flags = unix.IFA_F_NODAD
	}
	must(tb, s.AddrAdd(s.link(tb, name), a))
}

func (s *space) route(tb testing.TB, to, via string) {
	tb.Helper()
	must(tb, s.RouteAdd(&netlink.Route{Dst: toIPNet(netip.MustParsePrefix(to)), Gw: net.ParseIP(via)}))
}

func (s *space) bridge(tb testing.TB, name string) {
	tb.Helper()
	a := netlink.NewLinkAttrs()
	a.Name = name
	must(tb, s.LinkAdd(&netlink.Bridge{LinkAttrs: a}))
	s.up(tb, name)
}

func (s *space) enslave(tb testing.TB, name, bridge string) {
	tb.Helper()
	must(tb, s.LinkSetMaster(s.link(tb, name), s.link(tb, bridge)))
}

// wire joins the namespace to other with a plain veth pair.
func (s *space) wire(tb testing.TB, name string, other *space, peer string) {
	tb.Helper()
	a := netlink.NewLinkAttrs()
	a.Name = name
	v := netlink.NewVeth(a)
	v.PeerName, v.PeerNamespace = peer, netlink.NsFd(other.fd)
	must(tb, s.LinkAdd(v))
	s.up(tb, name)
	other.up(tb, peer)
}

// take moves a link here and sets it up, as the engine does.
func (s *space) take(tb testing.TB, from *space, name, as string) {
	tb.Helper()
	must(tb, from.LinkSetNsFd(from.link(tb, name), int(s.fd)))
	must(tb, s.LinkSetName(s.link(tb, name), as))
	s.up(tb, as)
}

// sysctl sets a file below /proc/sys/net of the namespace.
func (s *space) sysctl(tb testing.TB, file, value string) {
	tb.Helper()
	s.in(tb, func() error { return os.WriteFile(filepath.Join("/proc/sys/net", file), []byte(value), 0o600) })
}

func (s *space) sysctlIs(tb testing.TB, file, want string) {
	tb.Helper()
	var got []byte
	s.in(tb, func() (err error) {
		got, err = os.ReadFile(filepath.Join("/proc/sys/net", file))
		return err
	})
	if string(got) != want+"\n" {
		tb.Errorf("%s is %q, want %q", file, got, want)
	}
}

// tcp is whether a TCP connection from s to addr, where to listens, carries a
// byte both ways.
func tcp(tb testing.TB, s, to *space, addr string) error {
	tb.Helper()
	var ln net.Listener
	to.in(tb, func() (err error) {
		ln, err = (&net.ListenConfig{}).Listen(tb.Context(), "tcp", net.JoinHostPort(addr, "0"))
		return err
	})
	defer func() { _ = ln.Close() }()
	go func() {
		for c, err := ln.Accept(); err == nil; c, err = ln.Accept() {
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}
	}()
	var dialErr error
	s.in(tb, func() error {
		ctx, stop := context.WithTimeout(tb.Context(), arrives)
		defer stop()
		var c net.Conn
		if c, dialErr = (&net.Dialer{}).DialContext(ctx, "tcp", ln.Addr().String()); dialErr != nil {
			return nil
		}
		defer func() { _ = c.Close() }()
		_ = c.SetDeadline(time.Now().Add(arrives))
		if _, dialErr = c.Write([]byte("x")); dialErr == nil {
			_, dialErr = io.ReadFull(c, make([]byte, 1))
		}
		return nil
	})
	return dialErr
}

// How long a datagram may take. One that arrives ends the wait; one that must
// not is waited for as long as the others need on a busy machine.
const (
	arrives  = 5 * time.Second
	mustNot  = 500 * time.Millisecond
	attempts = 3
)

// reaches is whether a datagram from s gets to addr in to; no answer needed,
// so that a one-way leak shows as well.
func reaches(tb testing.TB, s, to *space, addr string, within time.Duration) bool {
	tb.Helper()
	var pc net.PacketConn
	to.in(tb, func() (err error) {
		pc, err = (&net.ListenConfig{}).ListenPacket(tb.Context(), "udp", net.JoinHostPort(addr, "0"))
		return err
	})
	defer func() { _ = pc.Close() }()
	s.in(tb, func() error {
		c, err := (&net.Dialer{}).DialContext(tb.Context(), "udp", pc.LocalAddr().String())
		if err != nil {
			return nil // no route is no reach
		}
		defer func() { _ = c.Close() }()
		for range attempts {
			_, _ = c.Write([]byte("x")) // refusals come back as errors here
		}
		return nil
	})
	must(tb, pc.SetReadDeadline(time.Now().Add(within)))
	_, _, err := pc.ReadFrom(make([]byte, 8))
	return err == nil
}

// wantReach fails the test unless a datagram gets there, or doesn't, as wanted.
func wantReach(tb testing.TB, what string, s, to *space, addr string, want bool) {
	tb.Helper()
	within := mustNot
	if want {
		within = arrives
	}
	if got := reaches(tb, s, to, addr, within); got != want {
		tb.Errorf("%s, to %s: arrived %v, want %v", what, addr, got, want)
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
