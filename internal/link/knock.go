package link

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Hosts that answer no ICMP echo may still say that nobody has a UDP port: what
// traceroute lives on. They say so once a second at most (icmp_ratelimit), so
// this is no way for a search among all sizes.

const (
	// knockPorts are traceroute's, on which nobody listens.
	firstKnock, knockPorts = 33434, 90
	// knockWait is how long the answer may take, knockTries how often it's asked
	// for.
	knockWait, knockTries = 600 * time.Millisecond, 2
	udpHeader             = 8
)

// commonMTUs are those that links and tunnels have.
var commonMTUs = []int{
	576, 1280, 1300, 1350, 1380, 1400, 1412, 1420, 1430, 1436, 1440, 1450, 1454, 1460, 1462, 1472, 1476, 1480, 1488, 1492, 1496, 1500,
	1504, 1550, 1600, 2000, 4000, 4470, 8000, 8500, 8900, 8950, 8981, 9000, 9001, 9100, 9216,
}

// knock finds out by UDP what gets to a host, among the common sizes.
func knock(ctx context.Context, from, to netip.Addr, size int) (Path, error) {
	arrives := func(n int) (bool, error) {
		for range knockTries {
			ok, err := knockOnce(ctx, from, to, n)
			if ok || err != nil {
				return ok, err
			}
		}
		return false, nil
	}
	if ok, err := arrives(smallest); !ok || err != nil {
		return Path{}, err
	}
	if ok, err := arrives(size); ok || err != nil {
		return Path{Answers: true, Fits: ok, MTU: size}, err
	}
	sizes := slices.DeleteFunc(slices.Clone(commonMTUs), func(n int) bool { return n >= size })
	fits := smallest
	for len(sizes) > 0 {
		i := len(sizes) / 2
		ok, err := arrives(sizes[i])
		if err != nil {
			return Path{}, err
		}
		if ok {
			fits, sizes = sizes[i], sizes[i+1:]
		} else {
			sizes = sizes[:i]
		}
	}
	return Path{Answers: true, MTU: fits}, nil
}

// knockOnce is whether a datagram makes the other host say that nobody is there.
func knockOnce(ctx context.Context, from, to netip.Addr, size int) (bool, error) {
	d := net.Dialer{
		LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)),
		Control:   func(_, _ string, c syscall.RawConn) error { return control(c, to.Is6()) },
	}
	at := netip.AddrPortFrom(to, firstKnock+uint16(rand.N(knockPorts))) //nolint:gosec // no secret
	c, err := d.DialContext(ctx, "udp", at.String())
	if err != nil {
		return false, err
	}
	defer func() { _ = c.Close() }()
	header := ip4Header
	if to.Is6() {
		header = ip6Header
	}
	if _, err := c.Write(make([]byte, max(size-header-udpHeader, 1))); errors.Is(err, unix.EMSGSIZE) {
		return false, nil
	} else if err != nil {
		return false, ctx.Err() // a filter, or an error about an earlier one
	}
	deadline := time.Now().Add(knockWait)
	if end, ok := ctx.Deadline(); ok && end.Before(deadline) {
		deadline = end
	}
	if err := c.SetReadDeadline(deadline); err != nil {
		return false, err
	}
	_, err = c.Read(make([]byte, 1))
	return err == nil || errors.Is(err, unix.ECONNREFUSED), ctx.Err()
}
