package dnsd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Each address has a UDP and a TCP socket of its own, bound to it and not to
// the wildcard, for three reasons: an answer leaves from the address that was
// asked, without looking at each packet's; other DNS servers on the host keep
// port 53 on their addresses; and nothing is opened on addresses that nobody
// named.
//
// The sockets are bound with IP_FREEBIND, which permits an address that the
// host does not have yet or any more. An overlay's gateway comes and goes
// with the switch, after a boot it comes late, and an IPv6 address is not
// usable for its first second: with the option the socket is there before,
// and containers are answered from their first query on. The price is that an
// address which will never come is no error; Listeners tells what is open.

// listenTries is how many ports are tried where the port is 0 and must be
// free for UDP and TCP alike.
const listenTries = 10

// listener is one address that is served.
type listener struct {
	// want is the address asked for, addr the one it became: they differ
	// where the port asked for is 0.
	want, addr netip.AddrPort
	udp        *net.UDPConn
	// more are sockets of the same address for other cores.
	more []*net.UDPConn
	tcp  *net.TCPListener
}

func (l *listener) close() {
	_ = l.udp.Close()
	for _, c := range l.more {
		_ = c.Close()
	}
	_ = l.tcp.Close()
}

// Listener is the state of one address that SetListeners named.
type Listener struct {
	// Want is the address asked for, and Addr the one that is served: they
	// differ where the port asked for is 0.
	Want, Addr netip.AddrPort
	// Err is why it is not served yet, or nil.
	Err error
}

// SetListeners makes addrs, and no others, the addresses that are served over
// UDP and TCP. Addresses that are open already stay as they are, so it may be
// called with the same ones again at any time. Those that cannot be opened
// are in the error, each with its reason, and are tried again while Run runs;
// all the others are served.
func (s *Server) SetListeners(addrs []netip.AddrPort) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return ErrClosed
	}
	s.wanted = slices.Clone(addrs)
	for i, a := range s.wanted {
		s.wanted[i] = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	}
	for want, l := range s.open {
		if !slices.Contains(s.wanted, want) {
			l.close()
			delete(s.open, want)
			s.log.Info("DNS stopped listening", "addr", l.addr)
		}
	}
	clear(s.failed)
	err := s.openMissingLocked()
	s.publishSelfLocked()
	return err
}

// Listeners returns the state of every address that SetListeners named last.
func (s *Server) Listeners() []Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Listener, 0, len(s.wanted))
	for _, want := range s.wanted {
		state := Listener{Want: want, Err: s.failed[want]}
		if l := s.open[want]; l != nil {
			state.Addr = l.addr
		}
		list = append(list, state)
	}
	return list
}

// openMissingLocked opens what is wanted and not open, and returns why that
// failed.
func (s *Server) openMissingLocked() error {
	var errs []error
	for _, want := range s.wanted {
		if s.open[want] != nil {
			continue
		}
		l, err := openListener(s.ctx, want)
		if err != nil {
			errs = append(errs, err)
			if s.failed[want] == nil {
				s.log.Warn("DNS address cannot be served yet", "addr", want, "err", err)
			}
			s.failed[want] = err
			continue
		}
		delete(s.failed, want)
		s.open[want] = l
		s.wg.Go(func() { s.serveUDP(l, l.udp) })
		for _, c := range l.more {
			s.wg.Go(func() { s.serveUDP(l, c) })
		}
		s.wg.Go(func() { s.serveTCP(l) })
		s.log.Info("DNS listens", "addr", l.addr)
	}
	return errors.Join(errs...)
}

// retry opens what could not be opened before.
func (s *Server) retry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.failed) > 0 && s.ctx.Err() == nil {
		// What fails again was logged, and stands in Listeners.
		_ = s.openMissingLocked()
		s.publishSelfLocked()
	}
}

// publishSelfLocked tells the forwarder where we listen, so that a host whose
// resolv.conf names us does not make us ask ourselves. Addresses that are
// wanted count before they are open.
func (s *Server) publishSelfLocked() {
	self := make(map[netip.AddrPort]struct{}, len(s.wanted))
	for _, want := range s.wanted {
		self[want] = struct{}{}
		if l := s.open[want]; l != nil {
			self[l.addr] = struct{}{}
		}
	}
	s.self.Store(&self)
}

// openListener opens both sockets of want.
func openListener(ctx context.Context, want netip.AddrPort) (*listener, error) {
	if !want.IsValid() || want.Addr().IsUnspecified() || want.Addr().IsMulticast() {
		return nil, fmt.Errorf("%w on %s: name one address of this host, not all of them", ErrListen, want)
	}
	var err error
	for range listenTries {
		var l *listener
		if l, err = openPair(ctx, want); err == nil {
			return l, nil
		}
		if want.Port() != 0 || !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%w on %s: %w; see who holds it with \"ss -lnptu sport = :%d\" and let it leave this address, or set another for dockstack",
			ErrListen, want, err, want.Port())
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("%w on %s: %w; a port below 1024 needs root or CAP_NET_BIND_SERVICE", ErrListen, want, err)
	}
	return nil, fmt.Errorf("%w on %s: %w", ErrListen, want, err)
}

func openPair(ctx context.Context, want netip.AddrPort) (*listener, error) {
	family := "4"
	if want.Addr().Is6() {
		family = "6"
	}
	lc := net.ListenConfig{Control: freebind}
	packets, err := lc.ListenPacket(ctx, "udp"+family, want.String())
	if err != nil {
		return nil, err
	}
	udp, ok := packets.(*net.UDPConn)
	if !ok {
		_ = packets.Close()
		return nil, fmt.Errorf("unexpected socket %T", packets)
	}
	_ = udp.SetReadBuffer(recvBuffer) // the host's limit is good, too
	addr, err := netip.ParseAddrPort(udp.LocalAddr().String())
	if err != nil {
		_ = udp.Close()
		return nil, err
	}
	streams, err := lc.Listen(ctx, "tcp"+family, addr.String())
	if err != nil {
		_ = udp.Close()
		return nil, err
	}
	tcp, ok := streams.(*net.TCPListener)
	if !ok {
		_ = udp.Close()
		_ = streams.Close()
		return nil, fmt.Errorf("unexpected socket %T", streams)
	}
	l := &listener{want: want, addr: addr, udp: udp, tcp: tcp}
	l.more = openMore(ctx, "udp"+family, udp, addr)
	return l, nil
}

// maxReaders is how many sockets read one address at most: each answers some
// hundred thousand queries a second, and takes 80 KB.
const maxReaders = 8

// openMore opens sockets beside udp for the same address, so that several
// cores answer: one for each two, since whoever asks is often on this host
// too. The kernel deals the clients out by their ports (SO_REUSEPORT). The
// first socket was bound without that option, so it found nobody else at the
// address; whoever comes later as root and sets it, too, could get a share, but
// a second dockstack fails at TCP. Without more, one serves.
func openMore(ctx context.Context, network string, udp *net.UDPConn, addr netip.AddrPort) []*net.UDPConn {
	n := min(runtime.GOMAXPROCS(0)/2, maxReaders) - 1
	raw, err := udp.SyscallConn()
	if n < 1 || err != nil || reuseport(raw) != nil {
		return nil
	}
	lc := net.ListenConfig{Control: func(network, address string, c syscall.RawConn) error {
		return errors.Join(freebind(network, address, c), reuseport(c))
	}}
	var more []*net.UDPConn
	for range n {
		c, err := lc.ListenPacket(ctx, network, addr.String())
		if err != nil {
			break
		}
		conn, ok := c.(*net.UDPConn)
		if !ok {
			_ = c.Close()
			break
		}
		_ = conn.SetReadBuffer(recvBuffer) // the host's limit is good, too
		more = append(more, conn)
	}
	return more
}

func reuseport(c syscall.RawConn) error {
	return setOption(c, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
}

func setOption(c syscall.RawConn, level, option, value int) error {
	var failed error
	err := c.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), level, option, value) })
	return errors.Join(err, failed)
}

// freebind sets IP_FREEBIND on a socket before it is bound.
func freebind(network, _ string, c syscall.RawConn) error {
	if strings.HasSuffix(network, "6") {
		return setOption(c, unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1)
	}
	return setOption(c, unix.IPPROTO_IP, unix.IP_FREEBIND, 1)
}
