package link

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ICMP as RFC 792 and RFC 4443 have it.
const (
	icmpHeader = 8

	icmp4Reply, icmp4Request, icmp4Unreachable = 0, 8, 3
	icmp4TooBig                                = 4 // a code of unreachable

	icmp6Unreachable, icmp6TooBig, icmp6Request, icmp6Reply = 1, 2, 128, 129

	ip4Header, ip6Header = 20, 40
)

// unreachables are the codes of unreachable, for people.
var (
	unreachables4 = map[byte]string{0: "network unreachable", 1: "host unreachable", 9: "network prohibited", 10: "host prohibited", 13: "prohibited by a filter"}
	unreachables6 = map[byte]string{0: "no route", 1: "prohibited by a filter", 3: "address unreachable", 5: "prohibited by a filter", 6: "route rejected"}
)

// echo asks one host by ICMP. One goroutine uses it.
type echo struct {
	conn *net.IPConn
	to   netip.Addr
	dst  *net.IPAddr
	id   uint16
	six  bool
	in   []byte
}

// answer is what came back about one packet.
type answer struct {
	seq uint16
	// tooBig: by says that no more than mtu bytes fit.
	tooBig bool
	by     netip.Addr
	mtu    int
	// refused is why a router, or this host, doesn't pass it on.
	refused string
}

func openEcho(ctx context.Context, from, to netip.Addr) (*echo, error) {
	if !from.IsValid() || from.Is4() != to.Is4() {
		return nil, fmt.Errorf("%w: %s and %s are not two addresses of one family", ErrBadSpec, from, to)
	}
	network := "ip4:icmp"
	if to.Is6() {
		network = "ip6:ipv6-icmp"
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return control(c, to.Is6()) }}
	pc, err := lc.ListenPacket(ctx, network, from.String())
	if err != nil {
		return nil, err
	}
	conn, ok := pc.(*net.IPConn)
	if !ok {
		_ = pc.Close()
		return nil, fmt.Errorf("unexpected socket %T", pc)
	}
	dst, err := net.ResolveIPAddr(network[:3], to.String())
	if err != nil {
		_ = pc.Close()
		return nil, err
	}
	return &echo{conn: conn, to: to, dst: dst, id: uint16(rand.N(1 << 16)), six: to.Is6(), in: make([]byte, 1<<16)}, nil //nolint:gosec // no secret
}

// control keeps the kernel from fragmenting, and from going by what it believes
// to know of the path.
func control(c syscall.RawConn, six bool) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		if six {
			failed = errors.Join(
				unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE),
				unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG, 1))
			return
		}
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
	})
	return errors.Join(err, failed)
}

func (e *echo) close() { _ = e.conn.Close() }

// header is the size of the IP header.
func (e *echo) header() int {
	if e.six {
		return ip6Header
	}
	return ip4Header
}

// send sends a packet of size bytes, and tells whether this host's own interface
// takes it.
func (e *echo) send(seq uint16, size int) (fits bool, err error) {
	msg := make([]byte, max(size-e.header(), icmpHeader))
	msg[0] = icmp4Request
	if e.six {
		msg[0] = icmp6Request
	}
	binary.BigEndian.PutUint16(msg[4:], e.id)
	binary.BigEndian.PutUint16(msg[6:], seq)
	if !e.six { // else the kernel does it
		binary.BigEndian.PutUint16(msg[2:], checksum(msg))
	}
	_, err = e.conn.WriteToIP(msg, e.dst)
	if errors.Is(err, unix.EMSGSIZE) {
		return false, nil
	}
	return err == nil, err
}

// refusal is what an error of sending says about the other host, "" if it says
// nothing about it.
func refusal(err error) string {
	for _, known := range []struct {
		err  error
		text string
	}{
		{unix.ENETUNREACH, "this host has no route to it"},
		{unix.EHOSTUNREACH, "nobody has its address on this host's link"},
		{unix.EPERM, "a filter on this host forbids sending"},
		{unix.EACCES, "a route or rule on this host prohibits sending"},
		{unix.EINVAL, "a route on this host leads nowhere"},
	} {
		if errors.Is(err, known.err) {
			return known.text
		}
	}
	return ""
}

// receive returns the next answer that is about our packets, nil when none came
// before the deadline.
func (e *echo) receive(ctx context.Context, deadline time.Time) (*answer, error) {
	if end, ok := ctx.Deadline(); ok && end.Before(deadline) {
		deadline = end
	}
	if err := e.conn.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	for ctx.Err() == nil {
		n, from, err := e.conn.ReadFromIP(e.in)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, ctx.Err()
		}
		if err != nil {
			continue // an error of an earlier packet, which came by itself too
		}
		by, _ := netip.AddrFromSlice(from.IP)
		if a := e.parse(by.Unmap(), e.in[:n]); a != nil {
			return a, nil
		}
	}
	return nil, ctx.Err()
}

// parse reads an ICMP message; nil if it isn't about our packets.
func (e *echo) parse(by netip.Addr, msg []byte) *answer {
	if len(msg) < icmpHeader {
		return nil
	}
	reply, unreachable := byte(icmp4Reply), byte(icmp4Unreachable)
	if e.six {
		reply, unreachable = icmp6Reply, icmp6Unreachable
	}
	switch kind, code := msg[0], msg[1]; {
	case kind == reply && by == e.to && binary.BigEndian.Uint16(msg[4:]) == e.id:
		return &answer{seq: binary.BigEndian.Uint16(msg[6:])}
	case !e.six && kind == unreachable && code == icmp4TooBig:
		if seq, ours := e.inner(msg[icmpHeader:]); ours {
			return &answer{seq: seq, tooBig: true, by: by, mtu: int(binary.BigEndian.Uint16(msg[6:]))}
		}
	case e.six && kind == icmp6TooBig:
		if seq, ours := e.inner(msg[icmpHeader:]); ours {
			return &answer{seq: seq, tooBig: true, by: by, mtu: int(min(binary.BigEndian.Uint32(msg[4:]), 1<<16))}
		}
	case kind == unreachable:
		text := unreachables4[code]
		if e.six {
			text = unreachables6[code]
		}
		if seq, ours := e.inner(msg[icmpHeader:]); ours && text != "" {
			return &answer{seq: seq, by: by, refused: text + ", says " + by.String()}
		}
	}
	return nil
}

// inner reads the beginning of the packet that an error is about.
func (e *echo) inner(p []byte) (seq uint16, ours bool) {
	if len(p) < e.header() {
		return 0, false
	}
	n, request, dst := int(p[0]&15)*4, byte(icmp4Request), p[16:20]
	if e.six {
		n, request, dst = ip6Header, icmp6Request, p[24:40]
	}
	to, _ := netip.AddrFromSlice(dst)
	if len(p) < n+icmpHeader || to != e.to || p[n] != request || binary.BigEndian.Uint16(p[n+4:]) != e.id {
		return 0, false
	}
	return binary.BigEndian.Uint16(p[n+6:]), true
}

// checksum is the Internet checksum (RFC 1071).
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
