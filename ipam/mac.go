package ipam

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
)

// The hardware addresses that follow from an address begin with these bytes:
// locally administered, unicast, and not Docker's 02:42, so that a capture
// tells whose container it shows.
const (
	macPrefix4 = 0x0ad5
	macPrefix6 = 0x0e
)

type mac [6]byte

func (m mac) String() string { return net.HardwareAddr(m[:]).String() }

// ours tells whether m is one that macOf makes.
func (m mac) ours() bool {
	return binary.BigEndian.Uint16(m[:]) == macPrefix4 || m[0] == macPrefix6
}

// macOf is the hardware address that goes with addr. IPv4: the address itself
// behind our prefix, so two addresses never share one. IPv6: the low 40 bits,
// mixed with a hash of the rest; addresses handed out one after another differ
// in those bits, only hand-picked ones can clash.
func macOf(addr netip.Addr) mac {
	var m mac
	if addr.Is4() {
		binary.BigEndian.PutUint16(m[:], macPrefix4)
		b := addr.As4()
		copy(m[2:], b[:])
		return m
	}
	b := addr.As16()
	h := fnv.New64a()
	_, _ = h.Write(b[:11])
	mix := h.Sum(nil)
	m[0] = macPrefix6
	for i := range 5 {
		m[1+i] = b[11+i] ^ mix[3+i]
	}
	return m
}

// parseMAC reads the hardware address that a user named.
func parseMAC(s string) (mac, error) {
	hw, err := net.ParseMAC(s)
	if err != nil || len(hw) != 6 {
		return mac{}, fmt.Errorf("%w: %q is no MAC address: want six bytes such as 0a:00:00:00:00:01", ErrNotUsable, s)
	}
	m := mac(hw)
	if m[0]&1 != 0 || m == (mac{}) {
		return mac{}, fmt.Errorf("%w: MAC address %s is a group's or empty: the first byte must be even, and not all be zero", ErrNotUsable, m)
	}
	return m, nil
}

// MAC is the hardware address that goes with an address where the user named
// none: every host derives the same one.
func MAC(addr netip.Addr) net.HardwareAddr {
	m := macOf(addr)
	return m[:]
}
