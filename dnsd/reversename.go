package dnsd

import (
	"net/netip"
	"strconv"
	"strings"
)

// reverseOf is the reverse name of addr, without a dot at its end.
func reverseOf(addr netip.Addr) string {
	const digits = "0123456789abcdef"
	var room [80]byte
	b := room[:0]
	if addr.Is4() {
		v4 := addr.As4()
		for i := 3; i >= 0; i-- {
			b = append(strconv.AppendUint(b, uint64(v4[i]), 10), '.')
		}
		return string(b) + arpa4[1:]
	}
	v6 := addr.As16()
	for i := 15; i >= 0; i-- {
		b = append(b, digits[v6[i]&15], '.', digits[v6[i]>>4], '.')
	}
	return string(b) + arpa6[1:]
}

// reverseZones are the names of the reverse zones of a subnet.
func reverseZones(p netip.Prefix) []string {
	step := 4
	if p.Addr().Is4() {
		step = 8
	}
	digits := (p.Bits() + step - 1) / step
	var zones []string
	last := p.Masked().Addr().As16()
	for range 1 << (digits*step - p.Bits()) {
		addr := netip.AddrFrom16(last)
		if p.Addr().Is4() {
			addr = addr.Unmap()
		}
		// The labels of what the zone does not spell go.
		name := reverseOf(addr)
		for range addr.BitLen()/step - digits {
			_, name, _ = strings.Cut(name, ".")
		}
		zones = append(zones, name)
		// The next one: count up at the last digit of the zone.
		bit := 128 - addr.BitLen() + digits*step
		for i := (bit - 1) / 8; i >= 0; i-- {
			add := byte(1)
			if i == (bit-1)/8 && bit%8 != 0 {
				add = 1 << (8 - bit%8)
			}
			if last[i] += add; last[i] >= add {
				break
			}
		}
	}
	return zones
}

// reverseName is a name in a reverse zone as the address, or the leading part
// of one, that it spells.
type reverseName struct {
	// addr has zeros where the name says nothing.
	addr netip.Addr
	// digits is how many octets or nibbles were read, from the right.
	digits int
	// clean is false when there is something before them that is none.
	clean bool
	// starts holds where each of them begins in the name.
	starts [33]uint8
	tail   uint8
}

// digitBits is how many bits of the address one label spells.
func (r *reverseName) digitBits() int {
	if r.addr.Is4() {
		return 8
	}
	return 4
}

func (r *reverseName) bits() int { return r.digits * r.digitBits() }

func (r *reverseName) whole() bool { return r.clean && r.bits() == r.addr.BitLen() }

// apex is where in the name the zone of a subnet of that many bits begins.
func (r *reverseName) apex(bits int) int {
	n := (bits + r.digitBits() - 1) / r.digitBits()
	if n == 0 {
		return int(r.tail)
	}
	return int(r.starts[n-1])
}

func parseReverse(name string) reverseName {
	var bytes [16]byte
	r := reverseName{clean: true}
	rest, v4 := strings.CutSuffix(name, arpa4)
	limit := 4
	if !v4 {
		rest = strings.TrimSuffix(name, arpa6)
		limit = 32
	}
	r.tail = uint8(len(rest) + 1)
	for rest != "" {
		start := strings.LastIndexByte(rest, '.') + 1
		value, ok := reverseDigit(rest[start:], v4)
		if !ok || r.digits == limit {
			r.clean = false
			break
		}
		if v4 {
			bytes[r.digits] = value
		} else {
			bytes[r.digits/2] |= value << (4 * (1 - r.digits%2))
		}
		r.starts[r.digits] = uint8(start)
		r.digits++
		rest = rest[:max(start-1, 0)]
	}
	r.addr = netip.AddrFrom16(bytes)
	if v4 {
		r.addr = netip.AddrFrom4([4]byte(bytes[:4]))
	}
	return r
}

// reverseDigit reads one label of a reverse name: an octet as it is written,
// without leading zeros, or a nibble.
func reverseDigit(label string, v4 bool) (byte, bool) {
	if !v4 {
		if len(label) != 1 {
			return 0, false
		}
		i := strings.IndexByte("0123456789abcdef", label[0])
		return byte(max(i, 0)), i >= 0
	}
	if label == "" || len(label) > 3 || label[0] == '0' && len(label) > 1 {
		return 0, false
	}
	value := 0
	for i := range len(label) {
		if label[i] < '0' || label[i] > '9' {
			return 0, false
		}
		value = value*10 + int(label[i]-'0')
	}
	return byte(value), value <= 255
}
