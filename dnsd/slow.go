package dnsd

import (
	"encoding/binary"
	"net/netip"
	"strings"

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
	case !s.access.allowedNow(q.client.Addr()):
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
	case question.Qtype == dns.TypeAXFR || question.Qtype == dns.TypeIXFR, question.Qclass != dns.ClassINET:
		return s.refusal(req, dns.RcodeRefused), nil
	case question.Qtype != dns.TypeANY && isMeta(question.Qtype):
		return s.refusal(req, dns.RcodeNotImplemented), nil
	}
	v, ok := s.judge(req, q)
	switch {
	case !ok:
		return s.refusal(req, dns.RcodeServerFailure), nil
	case v.kind != kindForward:
		return s.zone.compose(req, &v), nil
	case !req.RecursionDesired:
		// It asks what we know ourselves, which is nothing.
		return s.refusal(req, dns.RcodeRefused), nil
	}
	return nil, newForward(req, q)
}

// judge decides about req's question; false when the names are not read yet.
func (s *Server) judge(req *dns.Msg, q *query) (verdict, bool) {
	name := req.Question[0].Name
	if strings.ContainsRune(name, '\\') {
		// No container's name has such bytes. In our zone it does not exist,
		// and elsewhere it is not ours.
		if !dns.IsSubDomain(s.zone.name+".", strings.ToLower(name)) {
			return verdict{kind: kindForward}, true
		}
		n := s.names()
		if n == nil {
			return verdict{}, false
		}
		return verdict{kind: kindNXDomain, owner: -1, serial: n.Serial()}, true
	}
	l := s.lookup()
	v := l.decide(&question{
		name:   strings.ToLower(strings.TrimSuffix(name, ".")),
		qtype:  req.Question[0].Qtype,
		id:     req.Id,
		client: q.client.Addr(),
		local:  q.local,
	})
	return v, v.kind != kindNotReady
}

// compose makes the message that says v.
func (z *zone) compose(req *dns.Msg, v *verdict) *dns.Msg {
	m := new(dns.Msg).SetReply(req)
	m.Authoritative, m.RecursionAvailable = true, true
	name := req.Question[0].Name
	owner := z.name + "."
	if v.owner >= 0 {
		owner = dns.Fqdn(strings.TrimSuffix(name, ".")[v.owner:])
	}
	head := dns.RR_Header{Name: name, Class: dns.ClassINET, Ttl: answerTTL}
	soa := &dns.SOA{
		Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: negativeTTL},
		Ns:  z.name + ".", Mbox: hostmaster + z.dotted + ".", Serial: v.serial,
		Refresh: soaRefresh, Retry: soaRetry, Expire: soaExpire, Minttl: negativeTTL,
	}
	switch v.kind {
	case kindAddrs:
		for _, a := range v.addrs {
			m.Answer = append(m.Answer, addrRecord(head, a))
		}
	case kindPTR:
		head.Rrtype = dns.TypePTR
		m.Answer = []dns.RR{&dns.PTR{Hdr: head, Ptr: v.target + "."}}
	case kindSOA:
		m.Answer = []dns.RR{soa}
	case kindNS:
		head.Rrtype = dns.TypeNS
		m.Answer = []dns.RR{&dns.NS{Hdr: head, Ns: z.name + "."}}
	case kindHINFO:
		head.Rrtype = dns.TypeHINFO
		m.Answer = []dns.RR{&dns.HINFO{Hdr: head, Cpu: "RFC8482"}}
	case kindNoData:
		m.Ns = []dns.RR{soa}
	default:
		m.Ns = []dns.RR{soa}
		m.Rcode = dns.RcodeNameError
	}
	return m
}

func addrRecord(head dns.RR_Header, a netip.Addr) dns.RR {
	if a.Is4() {
		head.Rrtype = dns.TypeA
		return &dns.A{Hdr: head, A: a.AsSlice()}
	}
	head.Rrtype = dns.TypeAAAA
	return &dns.AAAA{Hdr: head, AAAA: a.AsSlice()}
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
	if opt, _ := ednsOf(req); opt != nil {
		reply := newOPT()
		if opt.Version() == 0 && opt.Do() {
			reply.SetDo()
		}
		if m.Rcode == dns.RcodeServerFailure {
			reply.Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: edeNotReady, ExtraText: "the names are not read yet"}}
		}
		m.Extra = append(m.Extra, reply)
	}
	return s.write(buf, m, limitOf(req, q))
}

// write packs m into buf in at most limit bytes.
func (s *Server) write(buf []byte, m *dns.Msg, limit int) int {
	m.Compress = true
	m.Truncate(min(limit, cap(buf)))
	packed, err := m.PackBuffer(buf[:cap(buf)])
	if err != nil || len(packed) > min(limit, cap(buf)) {
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
