package dnsd

import (
	"encoding/binary"
	"strings"

	"github.com/miekg/dns"
)

const (
	// transferBytes is about how long one message of a transfer is: names are
	// compressed in the first 16 KB only, so longer ones gain little.
	transferBytes = 16 << 10
	// transfersAtOnce bounds the memory and time that secondaries take; the
	// next one waits.
	transfersAtOnce = 2
)

// transferType is the type that the query msg asks for, if it asks for a zone.
func transferType(msg []byte) uint16 {
	at := headerLen
	for at < len(msg) && msg[at] != 0 {
		if msg[at] > maxLabel {
			return 0
		}
		at += 1 + int(msg[at])
	}
	if at+3 > len(msg) {
		return 0
	}
	switch qtype := binary.BigEndian.Uint16(msg[at+1:]); qtype {
	case dns.TypeAXFR, dns.TypeIXFR:
		return qtype
	}
	return 0
}

// transfer answers a query of a secondary for a whole zone in as many messages
// as it takes, all from one picture of the names; handled is false for
// whatever is none, which is answered as ever.
func (s *Server) transfer(t *stream, msg []byte, q *query) (handled bool, err error) {
	if len(msg) < headerLen || transferType(msg) == 0 || !s.access.secondary(q.client.Addr()) {
		return false, nil
	}
	req := new(dns.Msg)
	if req.Unpack(msg) != nil || req.Response || req.Opcode != dns.OpcodeQuery || len(req.Question) != 1 ||
		req.Question[0].Qclass != dns.ClassINET || req.IsTsig() != nil {
		return false, nil
	}
	select {
	case s.transfers <- struct{}{}:
		defer func() { <-s.transfers }()
	case <-s.ctx.Done():
		return true, s.ctx.Err()
	}
	x := &transfer{s: s, send: t.write, q: q, req: req, l: s.lookup(), seen: map[string]struct{}{}}
	x.name = strings.ToLower(strings.TrimSuffix(req.Question[0].Name, "."))
	if fault, ok := x.find(); !ok {
		buf := make([]byte, minUDP)
		n := s.pack(buf, fault, q, req)
		return true, t.write(buf[:n])
	}
	s.count.transfers.Add(1)
	return true, x.run()
}

// transfer is one zone on its way to a secondary.
type transfer struct {
	s    *Server
	send func([]byte) error
	q    *query
	req  *dns.Msg
	l    *lookup
	// name is the zone's, without a dot at its end.
	name string
	soa  *dns.SOA

	// c makes records from verdicts, batch and bytes are the message to come.
	c     *composer
	batch []dns.RR
	bytes int
	err   error
	// seen are the names that are done.
	seen map[string]struct{}
}

// find looks for the zone; if there is none, fault is the answer.
func (x *transfer) find() (fault *dns.Msg, ok bool) {
	// Nobody in particular asks, so that everybody's addresses are in it.
	nobody := &query{local: x.q.local, stream: true}
	x.c = newComposer(x.l, x.req, nobody)
	x.c.q.id, x.c.q.qtype = 0, dns.TypeSOA
	v := x.c.judge(x.req.Question[0].Name)
	switch v.kind {
	case kindNotReady:
		return x.s.failure(x.req, notReadyReason), false
	case kindSOA:
		x.soa = x.l.zone.soa(x.name+".", v.serial)
		return nil, true
	default:
		return x.s.refusal(x.req, dns.RcodeNotAuth), false
	}
}

// run sends the zone, the SOA record first and last. Who has it already gets
// the SOA record alone, and IXFR is answered with all, as RFC 1995 permits.
func (x *transfer) run() error {
	x.put(x.soa)
	if !x.isCurrent() {
		for _, rr := range x.l.zone.nameservers(x.name + ".") {
			x.put(rr)
		}
		if x.name == x.l.zone.name {
			x.forwardZone()
		} else {
			x.reverseZone()
		}
		x.put(x.soa)
	}
	x.flush()
	return x.err
}

// isCurrent tells whether the secondary said that it has this zone, or a newer
// one, as serials are compared (RFC 1982).
func (x *transfer) isCurrent() bool {
	if x.req.Question[0].Qtype != dns.TypeIXFR || len(x.req.Ns) != 1 {
		return false
	}
	theirs, ok := x.req.Ns[0].(*dns.SOA)
	return ok && int32(x.soa.Serial-theirs.Serial) <= 0
}

// put adds a record to the message to come.
func (x *transfer) put(rr dns.RR) {
	x.batch = append(x.batch, rr)
	if x.bytes += dns.Len(rr); x.bytes >= transferBytes {
		x.flush()
	}
}

// flush sends what put collected.
func (x *transfer) flush() {
	if len(x.batch) == 0 || x.err != nil {
		x.batch, x.bytes = x.batch[:0], 0
		return
	}
	m := new(dns.Msg).SetReply(x.req)
	m.Authoritative, m.Compress, m.Answer = true, true, x.batch
	if opt, _ := ednsOf(x.req); opt != nil {
		m.Extra = []dns.RR{newOPT()}
	}
	packed, err := m.Pack()
	if err == nil {
		err = x.send(packed)
	}
	if err == nil {
		err = x.s.ctx.Err()
	}
	x.err, x.batch, x.bytes = err, x.batch[:0], 0
}
