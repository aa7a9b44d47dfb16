package dnsd

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/miekg/dns"
)

// The long way from packet to answer, through miekg/dns: everything that
// fast.go leaves over, such as EDNS options, other opcodes, broken packets,
// and what is to be forwarded.

// hostmaster is the first label of the SOA's mailbox.
const hostmaster = "hostmaster"

// query is one packet on its way to an answer.
type query struct {
	client netip.AddrPort
	local  netip.Addr
	// stream is true over TCP, where an answer may take up to 64 KB.
	stream bool
	// oursOnly: nothing is forwarded for the client, which is a secondary.
	oursOnly bool
	// told collects where the answer comes from, if somebody wants to know.
	told *[]string
}

// generic answers the query msg, writing into buf, and returns the answer's
// length, or what to forward; neither when there is nothing to say.
func (s *Server) generic(buf, msg []byte, q *query) (int, *forward) {
	if len(msg) < headerLen || binary.BigEndian.Uint16(msg[2:])&flagQR != 0 {
		// No header to answer to, or an answer: answering those makes loops.
		s.count.dropped.Add(1)
		return 0, nil
	}
	req := new(dns.Msg)
	err := req.Unpack(msg)
	switch {
	case !s.admit(q):
		// Refused without regard to what was asked, our own names included:
		// whoever is not on this host or its overlays learns nothing here.
		s.count.refused.Add(1)
		if err != nil {
			return headerOnly(buf, msg, dns.RcodeRefused), nil
		}
		return s.pack(buf, s.refusal(req, dns.RcodeRefused), q, req), nil
	case err != nil:
		s.count.malformed.Add(1)
		return headerOnly(buf, msg, dns.RcodeFormatError), nil
	}
	reply, fwd := s.respond(req, q)
	if fwd != nil {
		return 0, fwd
	}
	s.count.answered.Add(1)
	return s.pack(buf, reply, q, req), nil
}

// admit tells whether q's client is served, and notes how far.
func (s *Server) admit(q *query) bool {
	switch {
	case s.access.allowed(q.client.Addr()):
	case s.access.secondary(q.client.Addr()):
		q.oursOnly = true
	default:
		return s.access.allowedNow(q.client.Addr())
	}
	return true
}

// headerOnly is the answer to a packet of which only the header can be read.
func headerOnly(buf, msg []byte, rcode int) int {
	b := append(buf[:0], msg[:2]...)
	flags := binary.BigEndian.Uint16(msg[2:])&(opcodeMask|flagRD) | flagQR | uint16(rcode)
	b = binary.BigEndian.AppendUint16(b, flags)
	return len(append(b, 0, 0, 0, 0, 0, 0, 0, 0))
}

// respond answers a query from somebody who is served.
func (s *Server) respond(req *dns.Msg, q *query) (*dns.Msg, *forward) {
	opt, opts := ednsOf(req)
	switch {
	case req.Opcode != dns.OpcodeQuery:
		return s.refusal(req, dns.RcodeNotImplemented), nil
	case len(req.Question) != 1 || opts > 1:
		return s.refusal(req, dns.RcodeFormatError), nil
	case opt != nil && opt.Version() != 0:
		return s.refusal(req, dns.RcodeBadVers), nil
	}
	question := req.Question[0]
	switch {
	case question.Qclass != dns.ClassINET:
		return s.refusal(req, dns.RcodeRefused), nil
	case question.Qtype == dns.TypeAXFR || question.Qtype == dns.TypeIXFR:
		return s.noTransfer(req, q), nil
	case question.Qtype != dns.TypeANY && isMeta(question.Qtype):
		return s.refusal(req, dns.RcodeNotImplemented), nil
	}
	c := newComposer(s.lookup(), req, q)
	v := c.judge(question.Name)
	if q.told != nil {
		c.told, c.suggest = q.told, s.cfg.Suggest
		c.tell(&v)
	}
	switch {
	case v.kind == kindNotReady:
		return s.failure(req, notReadyReason), nil
	case v.kind != kindForward:
		return s.compose(c, &v)
	case !req.RecursionDesired || q.oursOnly:
		// It asks what we know ourselves, which is nothing.
		return s.refusal(req, dns.RcodeRefused), nil
	}
	return nil, newForward(req, q)
}

// noTransfer answers a query for a zone that is not to be given here. A
// secondary that asks over UDP what is new learns whether it is worth coming
// back over TCP: it gets the SOA record alone (RFC 1995, 2).
func (s *Server) noTransfer(req *dns.Msg, q *query) *dns.Msg {
	if req.Question[0].Qtype == dns.TypeIXFR && !q.stream && s.access.secondary(q.client.Addr()) {
		c := newComposer(s.lookup(), req, q)
		c.q.qtype = dns.TypeSOA
		if v := c.judge(req.Question[0].Name); v.kind == kindSOA {
			c.add(req.Question[0].Name, &v)
			return c.m
		}
	}
	return s.refusal(req, dns.RcodeRefused)
}

// notReadyReason is what a client is told before the names are read.
const notReadyReason = "the names are not read yet"

// compose makes the answer that v says, and what follows from it: where a
// CNAME leads beyond what we know, the rest is to be forwarded.
func (s *Server) compose(c *composer, v *verdict) (*dns.Msg, *forward) {
	beyond, err := c.follow(v)
	switch {
	case err != nil:
		return s.failure(c.req, err.Error()), nil
	case beyond == "" || !c.req.RecursionDesired || c.query.oursOnly:
		return c.m, nil
	}
	return nil, c.forward(beyond)
}

// failure is SERVFAIL, with the reason for who can read it.
func (s *Server) failure(req *dns.Msg, reason string) *dns.Msg {
	m := s.refusal(req, dns.RcodeServerFailure)
	opt := newOPT()
	opt.Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: edeNotReady, ExtraText: reason}}
	m.Extra = []dns.RR{opt}
	return m
}

// refusal is an answer without records.
func (s *Server) refusal(req *dns.Msg, rcode int) *dns.Msg {
	m := new(dns.Msg).SetRcode(req, rcode)
	m.RecursionAvailable = rcode != dns.RcodeRefused
	if len(req.Question) > 1 {
		// A second question is what is wrong; RFC 9619 has none to repeat.
		m.Question = nil
	}
	return m
}

// pack writes m into buf as the answer to req, with an EDNS record if req had
// one, cut to what the client takes.
func (s *Server) pack(buf []byte, m *dns.Msg, q *query, req *dns.Msg) int {
	reason, _ := ednsOf(m)
	if reason != nil {
		m.Extra = slices.DeleteFunc(m.Extra, func(rr dns.RR) bool { return rr == reason })
	}
	if opt, _ := ednsOf(req); opt != nil {
		reply := newOPT()
		if opt.Version() == 0 && opt.Do() {
			reply.SetDo()
		}
		if reason != nil {
			reply.Option = reason.Option
		}
		m.Extra = append(m.Extra, reply)
	}
	return s.write(buf, m, limitOf(req, q))
}

// write packs m into buf in at most limit bytes. What stands beside the answer
// is left out first, which is no truncation (RFC 2181, 9).
func (s *Server) write(buf []byte, m *dns.Msg, limit int) int {
	limit = min(limit, cap(buf))
	m.Compress = true
	if m.Len() > limit {
		m.Extra = slices.DeleteFunc(m.Extra, func(rr dns.RR) bool { return rr.Header().Rrtype != dns.TypeOPT })
	}
	m.Truncate(limit)
	packed, err := m.PackBuffer(buf[:cap(buf)])
	if err != nil || len(packed) > limit {
		s.count.dropped.Add(1)
		s.log.Debug("DNS answer could not be written", "name", questionName(m), "err", err)
		return 0
	}
	return copy(buf[:cap(buf)], packed)
}

func questionName(m *dns.Msg) string {
	if len(m.Question) == 0 {
		return ""
	}
	return m.Question[0].Name
}

// limitOf is how long an answer to req may be.
func limitOf(req *dns.Msg, q *query) int {
	if q.stream {
		return dns.MaxMsgSize
	}
	if opt, _ := ednsOf(req); opt != nil {
		return clampUDP(opt.UDPSize())
	}
	return minUDP
}

// ednsOf returns m's EDNS record and how many there are.
func ednsOf(m *dns.Msg) (*dns.OPT, int) {
	var first *dns.OPT
	n := 0
	for _, rr := range m.Extra {
		if opt, ok := rr.(*dns.OPT); ok {
			if n++; first == nil {
				first = opt
			}
		}
	}
	return first, n
}

// newOPT is our EDNS record.
func newOPT() *dns.OPT {
	opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
	opt.SetUDPSize(maxUDP)
	return opt
}
