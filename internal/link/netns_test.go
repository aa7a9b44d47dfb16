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

func newSpace(t *testing.T) *space {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("these tests make network namespaces: run them as root")
	}
	var fd netns.NsHandle
	var err error
	onThread(func() {
		if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
			fd, err = netns.Get()
		}
	})
	must(t, err)
	h, err := netlink.NewHandleAt(fd, unix.NETLINK_ROUTE)
	must(t, err)
	t.Cleanup(func() { h.Close(); _ = fd.Close() })
	s := &space{fd: fd, Handle: h}
	s.up(t, "lo")
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
func (s *space) in(t *testing.T, fn func() error) {
	t.Helper()
	var err error
	onThread(func() {
		if err = netns.Set(s.fd); err == nil {
			err = fn()
		}
	})
	must(t, err)
}

// manager opens a Manager for the namespace.
func (s *space) manager(t *testing.T) *Manager {
	t.Helper()
	var m *Manager
	s.in(t, func() (err error) {
		m, err = Open(slog.New(slog.DiscardHandler))
		return err
	})
	t.Cleanup(m.Close)
	return m
}

func (s *space) link(t *testing.T, name string) netlink.Link {
	t.Helper()
	l, err := s.LinkByName(name)
	must(t, err)
	return l
}

func (s *space) has(name string) bool {
	_, err := s.LinkByName(name)
	return err == nil
}

func (s *space) up(t *testing.T, name string) {
	t.Helper()
	must(t, s.LinkSetUp(s.link(t, name)))
}

func (s *space) addr(t *testing.T, name, prefix string) {
	t.Helper()
	a := &netlink.Addr{IPNet: toIPNet(netip.MustParsePrefix(prefix))}
	if a.IP.To4() == nil {
		a.Flags = unix.IFA_F_NODAD
	}
	must(t, s.AddrAdd(s.link(t, name), a))
}

func (s *space) route(t *testing.T, to, via string) {
	t.Helper()
	must(t, s.RouteAdd(&netlink.Route{Dst: toIPNet(netip.MustParsePrefix(to)), Gw: net.ParseIP(via)}))
}

func (s *space) bridge(t *testing.T, name string) {
	t.Helper()
	a := netlink.NewLinkAttrs()
	a.Name = name
	must(t, s.LinkAdd(&netlink.Bridge{LinkAttrs: a}))
	s.up(t, name)
}

func (s *space) enslave(t *testing.T, name, bridge string) {
	t.Helper()
	must(t, s.LinkSetMaster(s.link(t, name), s.link(t, bridge)))
}

// wire joins the namespace to other with a plain veth pair.
func (s *space) wire(t *testing.T, name string, other *space, peer string) {
	t.Helper()
	a := netlink.NewLinkAttrs()
	a.Name = name
	v := netlink.NewVeth(a)
	v.PeerName, v.PeerNamespace = peer, netlink.NsFd(other.fd)
	must(t, s.LinkAdd(v))
	s.up(t, name)
	other.up(t, peer)
}

// take moves a link here and sets it up, as the engine does.
func (s *space) take(t *testing.T, from *space, name, as string) {
	t.Helper()
	must(t, from.LinkSetNsFd(from.link(t, name), int(s.fd)))
	must(t, s.LinkSetName(s.link(t, name), as))
	s.up(t, as)
}

// sysctl sets a file below /proc/sys/net of the namespace.
func (s *space) sysctl(t *testing.T, file, value string) {
	t.Helper()
	s.in(t, func() error { return os.WriteFile(filepath.Join("/proc/sys/net", file), []byte(value), 0o600) })
}

func (s *space) sysctlIs(t *testing.T, file, want string) {
	t.Helper()
	var got []byte
	s.in(t, func() (err error) {
		got, err = os.ReadFile(filepath.Join("/proc/sys/net", file))
		return err
	})
	if string(got) != want+"\n" {
		t.Errorf("%s is %q, want %q", file, got, want)
	}
}

// tcp is whether a TCP connection from s to addr, where to listens, carries a
// byte both ways.
func tcp(t *testing.T, s, to *space, addr string) error {
	t.Helper()
	var ln net.Listener
	to.in(t, func() (err error) {
		ln, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort(addr, "0"))
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
	s.in(t, func() error {
		ctx, stop := context.WithTimeout(t.Context(), arrives)
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
func reaches(t *testing.T, s, to *space, addr string, within time.Duration) bool {
	t.Helper()
	var pc net.PacketConn
	to.in(t, func() (err error) {
		pc, err = (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", net.JoinHostPort(addr, "0"))
		return err
	})
	defer func() { _ = pc.Close() }()
	s.in(t, func() error {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "udp", pc.LocalAddr().String())
		if err != nil {
			return nil // no route is no reach
		}
		defer func() { _ = c.Close() }()
		for range attempts {
			_, _ = c.Write([]byte("x")) // refusals come back as errors here
		}
		return nil
	})
	must(t, pc.SetReadDeadline(time.Now().Add(within)))
	_, _, err := pc.ReadFrom(make([]byte, 8))
	return err == nil
}

// wantReach fails the test unless a datagram gets there, or doesn't, as wanted.
func wantReach(t *testing.T, what string, s, to *space, addr string, want bool) {
	t.Helper()
	within := mustNot
	if want {
		within = arrives
	}
	if got := reaches(t, s, to, addr, within); got != want {
		t.Errorf("%s, to %s: arrived %v, want %v", what, addr, got, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
