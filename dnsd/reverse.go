package dnsd

import (
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

const (
	arpa4 = ".in-addr.arpa"
	arpa6 = ".ip6.arpa"
)

func isReverse(name string) bool {
	return strings.HasSuffix(name, arpa4) || strings.HasSuffix(name, arpa6)
}

// reverse answers for a name in a reverse zone. Ours are the zones of the
// served subnets, cut at the next whole octet or nibble (a /20 is sixteen /24
// zones), and every address that somebody holds; the rest is forwarded.
func (l *lookup) reverse(q *question) verdict {
	v := verdict{kind: kindForward}
	r := parseReverse(q.name)
	if l.names == nil {
		if _, ok := l.pool(r); ok {
			v.kind = kindNotReady
		}
		return v
	}
	v.serial = l.names.Serial()
	host, held := Host{}, false
	if r.whole() {
		host, held = l.names.ByAddr(r.addr)
	}
	pool, ours := l.pool(r)
	if !ours && !held {
		return v
	}
	if !ours {
		pool = host.Pool
	}
	v.owner = r.apex(pool.Bits())
	switch {
	case held && q.qtype == dns.TypePTR:
		v.kind, v.target = kindPTR, l.pointer(q, host)
	case held && q.qtype == dns.TypeANY:
		v.kind = kindHINFO
	case v.owner == 0 && q.qtype == dns.TypeSOA:
		v.kind = kindSOA
	case v.owner == 0 && q.qtype == dns.TypeNS:
		v.kind = kindNS
	case held || r.clean && !r.whole():
		// Part of an address: names may stand below it.
		v.kind = kindNoData
	case v.owner == 0:
		// A zone of one address that nobody holds still has its apex.
		v.kind = kindNoData
	default:
		v.kind = kindNXDomain
	}
	return v
}

// pool returns the served subnet that r lies in.
func (l *lookup) pool(r reverseName) (netip.Prefix, bool) {
	for _, p := range l.served {
		if r.addr.BitLen() == p.Addr().BitLen() && r.bits() >= p.Bits() && p.Contains(r.addr) {
			return p, true
		}
	}
	return netip.Prefix{}, false
}

// pointer is the name of the container at h.Addr, as the one that leads back
// to this address and to nobody else for the client that asks: the label, the
// name's exact spelling where another container's label or name is in the
// way, and either with the network where the client is sent to another of the
// container's addresses.
func (l *lookup) pointer(q *question, h Host) string {
	raw := strings.ToLower(h.Name)
	label := Label(h.Name)
	names := []string{label, raw}
	for _, network := range []string{h.Network, h.Overlay} {
		if network != "" {
			names = append(names, label+"."+strings.ToLower(network), raw+"."+strings.ToLower(network))
		}
	}
	for _, name := range names {
		if nameable(name) && len(name)+len(l.zone.dotted) < 253 && l.leadsTo(q, name, h) {
			return name + l.zone.dotted
		}
	}
	return label + l.zone.dotted
}

// leadsTo tells whether name gives q's client h's address and no other
// container's.
func (l *lookup) leadsTo(q *question, name string, h Host) bool {
	m, ok := find(l.names, name)
	if !ok {
		return false
	}
	forward := question{qtype: dns.TypeA, client: q.client}
	if h.Addr.Is6() {
		forward.qtype = dns.TypeAAAA
	}
	var room [4]netip.Addr
	found := false
	for _, a := range m.pick(&forward, room[:0]) {
		found = found || a == h.Addr
	}
	for _, o := range m.hosts {
		if m.has(o) && !strings.EqualFold(o.Name, h.Name) {
			return false
		}
	}
	return found
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
