package dnsd

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/miekg/dns"
)

// asker is what of a query stands in its answer.
type asker struct {
	id uint16
	// flags are those of RD, CD and AD that the query had.
	flags uint16
	// name is the question's, as it stands in the packet, in the asker's letters.
	name  []byte
	edns  bool
	do    bool
	limit int
}

// write writes a into buf, where c's query may stand, and returns its length;
// 0 when it is longer than c takes. Then only the long way is left.
func (a *answer) write(buf []byte, c *asker, now time.Time) int {
	size := len(a.wire)
	if c.edns {
		size += optLen + len(a.options)
	}
	body := headerLen + len(c.name)
	if size > min(c.limit, cap(buf)) || body > len(a.wire) {
		return 0
	}
	b := buf[:size]
	// The name first: it may stand in buf already.
	copy(b[headerLen:], c.name)
	copy(b[:headerLen], a.wire)
	copy(b[body:], a.wire[body:])
	binary.BigEndian.PutUint16(b, c.id)
	flags := binary.BigEndian.Uint16(a.wire[2:])&^(flagAD|0xf) | c.flags&(flagRD|flagCD)
	if c.do || c.flags&flagAD != 0 {
		// Told only to who knows what it means (RFC 6840, 5.7).
		flags |= binary.BigEndian.Uint16(a.wire[2:]) & flagAD
	}
	rcode := a.rcode
	if rcode > 0xf && !c.edns {
		rcode = dns.RcodeServerFailure // its upper bits stand in the record that c can't read
	}
	binary.BigEndian.PutUint16(b[2:], flags|rcode&0xf)
	age := a.age(now)
	for _, at := range a.ttls {
		ttl := binary.BigEndian.Uint32(b[at:])
		binary.BigEndian.PutUint32(b[at:], ttl-min(ttl, age))
	}
	if c.edns {
		binary.BigEndian.PutUint16(b[10:], binary.BigEndian.Uint16(b[10:])+1)
		a.writeOPT(b[len(a.wire):len(a.wire)], c)
	}
	return size
}

// writeOPT appends a's EDNS record to b, which has room for it.
func (a *answer) writeOPT(b []byte, c *asker) {
	b = append(b, 0)
	b = binary.BigEndian.AppendUint16(b, dns.TypeOPT)
	b = binary.BigEndian.AppendUint16(b, maxUDP)
	ttl := uint32(a.rcode>>4) << 24
	if c.do {
		ttl |= ednsDO
	}
	b = binary.BigEndian.AppendUint32(b, ttl)
	b = binary.BigEndian.AppendUint16(b, uint16(len(a.options)))
	_ = append(b, a.options...)
}

// message is a as c gets it, whole, for who has to cut it.
func (a *answer) message(c *asker, now time.Time) (*dns.Msg, error) {
	whole := *c
	whole.limit = dns.MaxMsgSize + optLen + len(a.options)
	buf := make([]byte, len(a.wire)+optLen+len(a.options))
	m := new(dns.Msg)
	if err := m.Unpack(buf[:a.write(buf, &whole, now)]); err != nil {
		return nil, err
	}
	return m, nil
}

// again is a, which has expired, for another staleTTL seconds.
func (a *answer) again(now time.Time, why string) *answer {
	b := *a
	b.wire = bytes.Clone(a.wire)
	for _, at := range a.ttls {
		binary.BigEndian.PutUint32(b.wire[at:], staleTTL)
	}
	b.options, _ = packOptions([]dns.EDNS0{&dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeStaleAnswer, ExtraText: why}})
	b.stale, b.born, b.life, b.note = true, now, staleTTL, why
	return &b
}
