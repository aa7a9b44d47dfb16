package dnsd

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"github.com/miekg/dns"
)

// The short way from packet to answer, for what nearly every query is: one
// question of plain labels, with or without a bare EDNS record. The answer is
// written over the query, behind its question, so that nothing is copied or
// allocated but the name. Whatever is out of the ordinary is left to slow.go,
// which gives the same answers (fast_test.go compares the two).

const (
	headerLen = 12
	// maxUDP is the largest answer sent over UDP: what fits an Ethernet frame
	// with IPv6 and a tunnel's overhead around it, as in the DNS flag day of
	// 2020. It is the advertised EDNS size also.
	maxUDP = 1232
	// minUDP is what every client takes.
	minUDP = dns.MinMsgSize

	flagQR = 1 << 15
	flagAA = 1 << 10
	flagTC = 1 << 9
	flagRD = 1 << 8
	flagRA = 1 << 7
	flagZ  = 1 << 6
	flagCD = 1 << 4

	opcodeMask = 0xf << 11
	ednsDO     = 1 << 15
	optLen     = 11
)

// SOA timers in seconds. Secondaries are told of changes, and a zone's serial
// is asked for cheaply, so they look every minute; without us they serve what
// they have for a day, since containers run on.
const (
	soaRefresh = 60
	soaRetry   = 10
	soaExpire  = 86400
)

// plain is a query that the short way understands.
type plain struct {
	question
	// text is what the question's name stands in.
	text  [256]byte
	flags uint16
	// end is where the question ends in the packet.
	end  int
	edns bool
	do   bool
	// limit is how long the answer may be.
	limit int
}

// parsePlain reads msg into p, or tells that it is not plain.
func parsePlain(msg []byte, p *plain) bool {
	if len(msg) < headerLen+5 {
		return false
	}
	p.id = binary.BigEndian.Uint16(msg)
	p.flags = binary.BigEndian.Uint16(msg[2:])
	arcount := binary.BigEndian.Uint16(msg[10:])
	if p.flags&(flagQR|opcodeMask|flagAA|flagTC|flagRA|flagZ) != 0 ||
		binary.BigEndian.Uint32(msg[4:]) != 1<<16 || // QDCOUNT 1, ANCOUNT 0
		binary.BigEndian.Uint16(msg[8:]) != 0 || arcount > 1 {
		return false
	}
	end, ok := parsePlainName(msg, p)
	if !ok || len(msg) < end+4 {
		return false
	}
	p.qtype = binary.BigEndian.Uint16(msg[end:])
	if isMeta(p.qtype) || binary.BigEndian.Uint16(msg[end+2:]) != dns.ClassINET {
		return false
	}
	p.end = end + 4
	p.limit, p.edns, p.do = minUDP, false, false
	if arcount == 0 {
		return len(msg) == p.end
	}
	return parsePlainOPT(msg[p.end:], p)
}

// parsePlainName reads the question's name, which must be labels of letters,
// digits, hyphens and underscores, and returns where it ends.
func parsePlainName(msg []byte, p *plain) (int, bool) {
	name := &p.text
	n, i := 0, headerLen
	for {
		if i >= len(msg) {
			return 0, false
		}
		length := int(msg[i])
		i++
		if length == 0 {
			break
		}
		if length > maxLabel || i+length > len(msg) || n+length+1 > 254 {
			return 0, false
		}
		for _, c := range msg[i : i+length] {
			c = lowerTable[c]
			if c == 0 {
				return 0, false
			}
			name[n] = c
			n++
		}
		name[n] = '.'
		n++
		i += length
	}
	if n == 0 {
		return 0, false
	}
	// Good until the next query: nobody keeps it.
	p.name = unsafe.String(&name[0], n-1) //nolint:gosec // see above
	return i, true
}

// parsePlainOPT reads an EDNS record of version 0 without options.
func parsePlainOPT(opt []byte, p *plain) bool {
	if len(opt) != optLen || opt[0] != 0 || binary.BigEndian.Uint16(opt[1:]) != dns.TypeOPT {
		return false
	}
	ttl := binary.BigEndian.Uint32(opt[5:])
	if ttl&^ednsDO != 0 || binary.BigEndian.Uint16(opt[9:]) != 0 {
		return false
	}
	p.edns, p.do = true, ttl&ednsDO != 0
	p.limit = clampUDP(binary.BigEndian.Uint16(opt[3:]))
	return true
}

// clampUDP is the size of answer for a client that advertises size.
func clampUDP(size uint16) int { return min(max(int(size), minUDP), maxUDP) }

// isMeta tells whether qtype asks for something else than records of a type.
func isMeta(qtype uint16) bool {
	return qtype == 0 || qtype == dns.TypeOPT || qtype >= 128 && qtype <= dns.TypeANY
}

// writePlain writes the answer v to the query p over it, in buf, and returns
// its length. Where that takes the long way it returns 0 and leaves buf as it
// is, for the long way reads the query again.
func (z *zone) writePlain(buf []byte, p *plain, v *verdict) int {
	size := p.end + z.size(v)
	if p.edns {
		size += optLen
	}
	if size == p.end || size > min(p.limit, cap(buf)) {
		return 0
	}
	w := writer{buf: buf[:p.end]}
	rcode, answers, authorities := dns.RcodeSuccess, 0, 0
	switch v.kind {
	case kindAddrs:
		for _, a := range v.addrs {
			w.addr(a, v.ttl)
		}
		answers = len(v.addrs)
	case kindPTR:
		w.pointer(v.target, v.ttl)
		answers = 1
	case kindNXDomain, kindNoData:
		w.soa(z, p, v)
		authorities = 1
		if v.kind == kindNXDomain {
			rcode = dns.RcodeNameError
		}
	default:
		return 0
	}
	if p.edns {
		w.opt(p)
	}
	b := w.buf
	flags := flagQR | flagAA | flagRA | p.flags&(flagRD|flagCD) | uint16(rcode)
	binary.BigEndian.PutUint16(b[2:], flags)
	binary.BigEndian.PutUint16(b[6:], uint16(answers))
	binary.BigEndian.PutUint16(b[8:], uint16(authorities))
	return len(b)
}

// size is an upper bound of what v's records take; 0 for what is left to the
// long way.
func (z *zone) size(v *verdict) int {
	switch v.kind {
	case kindAddrs:
		return len(v.addrs) * (recordHead + 16)
	case kindPTR:
		return recordHead + len(v.target) + 2
	case kindNXDomain, kindNoData:
		return recordHead + z.soaLen()
	default:
		return 0
	}
}

// soaLen is the length of an SOA record's data.
func (z *zone) soaLen() int { return len(z.primaryWire) + 1 + len(hostmaster) + len(z.wire) + 20 }

// recordHead is the length of a record before its data, its name a pointer.
const recordHead = 12

// writer appends records to a buffer that has room for them.
type writer struct {
	buf []byte
}

// head begins a record of the question's name.
func (w *writer) head(rtype uint16, ttl uint32, rdlen int) {
	w.buf = append(w.buf, 0xc0, headerLen)
	w.buf = binary.BigEndian.AppendUint16(w.buf, rtype)
	w.tail(ttl, rdlen)
}

// tail is the rest of a record's head, from its class.
func (w *writer) tail(ttl uint32, rdlen int) {
	w.buf = binary.BigEndian.AppendUint16(w.buf, dns.ClassINET)
	w.buf = binary.BigEndian.AppendUint32(w.buf, ttl)
	w.buf = binary.BigEndian.AppendUint16(w.buf, uint16(rdlen))
}

func (w *writer) addr(a netip.Addr, ttl uint32) {
	if a.Is4() {
		w.head(dns.TypeA, ttl, 4)
		v4 := a.As4()
		w.buf = append(w.buf, v4[:]...)
		return
	}
	w.head(dns.TypeAAAA, ttl, 16)
	v6 := a.As16()
	w.buf = append(w.buf, v6[:]...)
}

func (w *writer) pointer(target string, ttl uint32) {
	w.head(dns.TypePTR, ttl, len(target)+2)
	w.buf = appendName(w.buf, target)
}

// soa writes the SOA record of the zone that begins at v.owner of the name.
func (w *writer) soa(z *zone, p *plain, v *verdict) {
	if v.owner == len(p.name) {
		w.buf = append(w.buf, 0)
	} else {
		w.buf = binary.BigEndian.AppendUint16(w.buf, uint16(0xc000|(headerLen+v.owner)))
	}
	w.buf = binary.BigEndian.AppendUint16(w.buf, dns.TypeSOA)
	w.tail(negativeTTL, z.soaLen())
	w.buf = append(w.buf, z.primaryWire...)
	w.buf = append(w.buf, byte(len(hostmaster)))
	w.buf = append(w.buf, hostmaster...)
	w.buf = append(w.buf, z.wire...)
	for _, n := range [...]uint32{v.serial, soaRefresh, soaRetry, soaExpire, negativeTTL} {
		w.buf = binary.BigEndian.AppendUint32(w.buf, n)
	}
}

// opt writes the EDNS record.
func (w *writer) opt(p *plain) {
	w.buf = append(w.buf, 0)
	w.buf = binary.BigEndian.AppendUint16(w.buf, dns.TypeOPT)
	w.buf = binary.BigEndian.AppendUint16(w.buf, maxUDP)
	var ttl uint32
	if p.do {
		ttl = ednsDO
	}
	w.buf = binary.BigEndian.AppendUint32(w.buf, ttl)
	w.buf = append(w.buf, 0, 0)
}
