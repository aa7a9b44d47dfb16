package dnsd

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// FuzzUpstreamAnswer gives a resolver's packet every way to its clients: it
// must be an answer to the question, and whoever gets it, in whatever size,
// letters and time, can read it.
func FuzzUpstreamAnswer(f *testing.F) {
	q := new(dns.Msg).SetQuestion("www.Example.com.", dns.TypeA)
	q.Id = 0x1234
	asked, err := q.Pack()
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range upstreamAnswers(q) {
		packet, err := seed.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packet, uint32(0))
		f.Add(packet[:len(packet)-3], uint32(7))
	}
	s := newServer(f, Config{}, theNames())
	f.Fuzz(func(t *testing.T, packet []byte, age uint32) {
		m, err := checkAnswer(asked, packet)
		if err != nil {
			return
		}
		if m.Id != q.Id || len(m.Question) != 1 || m.Question[0] != q.Question[0] {
			t.Fatalf("%x passed as an answer: %v", packet, m)
		}
		fwd := forwardOf(t, q, "udp")
		fwd.comeBack(m)
		rcode, now := m.Rcode, time.Now()
		a, err := newAnswer(m, now)
		if err != nil {
			return
		}
		if a.life > maxTTL || a.outcome == outcomeDenied && a.life > maxNegativeTTL || a.outcome == outcomeFailure && a.life > failureTTL {
			t.Fatalf("%x is kept for %d s (%d)", packet, a.life, a.outcome)
		}
		later := now.Add(time.Duration(age%(2*maxTTL)) * time.Second)
		for _, as := range []*answer{a, a.again(later, "none")} {
			for _, c := range askers(t) {
				buf := make([]byte, c.limit)
				n := s.forwards.fill(buf, c, as, later)
				if n > c.limit {
					t.Fatalf("%d bytes for who takes %d", n, c.limit)
				}
				if n > 0 {
					checkGiven(t, c, unpack(t, buf[:n]), rcode)
				}
			}
		}
	})
}

// checkGiven fails unless got is an answer as c must get it.
func checkGiven(t fataler, c *forward, got *dns.Msg, rcode int) {
	opt := got.IsEdns0()
	switch {
	case got.Id != c.req.Id || !got.Response || got.Authoritative || got.Question[0] != c.req.Question[0]:
		t.Fatalf("to %v came %v", c.req, got)
	case got.RecursionDesired != c.req.RecursionDesired || got.CheckingDisabled != c.req.CheckingDisabled:
		t.Fatalf("to %v came other flags: %v", c.req, got)
	case got.AuthenticatedData && !c.do && !c.req.AuthenticatedData:
		t.Fatalf("%v did not ask whether it is validated: %v", c.req, got)
	case (opt != nil) != c.edns || opt != nil && opt.Do() != c.do:
		t.Fatalf("to %v came EDNS %v", c.req, got)
	case got.Rcode != rcode && rcode <= 0xf, got.Rcode != rcode && c.edns:
		t.Fatalf("%s became %s", dns.RcodeToString[rcode], dns.RcodeToString[got.Rcode])
	}
	for _, section := range [][]dns.RR{got.Answer, got.Ns, got.Extra} {
		for _, rr := range section {
			if rr.Header().Rrtype != dns.TypeOPT && rr.Header().Ttl > maxTTL {
				t.Fatalf("a TTL of %d: %v", rr.Header().Ttl, got)
			}
		}
	}
}

// askers are clients of all kinds, with one question in several letters.
func askers(tb testing.TB) []*forward {
	tb.Helper()
	var list []*forward
	for i, name := range []string{"www.Example.com.", "WWW.EXAMPLE.COM.", "www.example.com."} {
		q := new(dns.Msg).SetQuestion(name, dns.TypeA)
		q.Id, q.CheckingDisabled = uint16(i), i == 1
		list = append(list, forwardOf(tb, q, "udp"), forwardOf(tb, q, "tcp"))
		for _, do := range []bool{false, true} {
			e := q.Copy()
			e.AuthenticatedData = i == 2
			e.SetEdns0(uint16(400*(i+1)), do)
			list = append(list, forwardOf(tb, e, "udp"), forwardOf(tb, e, "tcp"))
		}
	}
	return list
}

func forwardOf(tb testing.TB, req *dns.Msg, network string) *forward {
	tb.Helper()
	return newForward(req, &query{client: netip.MustParseAddrPort("127.0.0.1:4242"), stream: network == "tcp"})
}

// upstreamAnswers are what resolvers say to q, of every kind.
func upstreamAnswers(q *dns.Msg) []*dns.Msg {
	soa := &dns.SOA{
		Hdr: dns.RR_Header{Name: "example.com.", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 900},
		Ns:  "ns.example.com.", Mbox: "h.example.com.", Minttl: 30,
	}
	denied := new(dns.Msg).SetRcode(q, dns.RcodeNameError)
	denied.Ns = []dns.RR{soa}
	alias := withA(q, 1)
	alias.Answer = slices.Insert(alias.Answer, 0, dns.RR(&dns.CNAME{
		Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: 60}, Target: "a.example.com.",
	}))
	alias.AuthenticatedData = true
	text := new(dns.Msg).SetReply(q)
	text.Answer = []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 1 << 31}, Txt: []string{strings.Repeat("x", 250)}}}
	many := withA(q, 200)
	many.SetEdns0(4096, true)
	many.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: 4, ExtraText: "forged"}, &dns.EDNS0_NSID{Code: dns.EDNS0NSID, Nsid: "0102"}}
	cut := withA(q, 1)
	cut.Truncated = true
	return []*dns.Msg{
		withA(q, 1), denied, alias, text, many, cut, new(dns.Msg).SetReply(q),
		new(dns.Msg).SetRcode(q, dns.RcodeServerFailure),
		new(dns.Msg).SetRcode(q, dns.RcodeBadCookie).SetEdns0(1232, true),
	}
}
