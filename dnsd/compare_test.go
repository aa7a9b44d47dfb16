package dnsd

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// The same names, aliases, records and reverse zones are served by this
// server, by Debian's dnsmasq and by CoreDNS, and every question about them is
// asked of all three, over UDP and TCP, with EDNS and without. Whatever they
// say differently must be in compare_differences_test.go with its reason, and
// docs/dns-compared.md tells people.

var comparedTypes = []string{
	"A", "AAAA", "PTR", "SRV", "TXT", "MX", "CNAME", "NS", "SOA", "HINFO", "CAA", "HTTPS", "SVCB", "NAPTR", "DS", "DNSKEY", "NSEC",
	"ANY", "TYPE65280",
}

// comparedQuery is one question in one way.
type comparedQuery struct {
	name, qtype, network string
	// how is "plain", "edns", "do" or what else is special about it.
	how string
}

func (q comparedQuery) String() string { return q.name + " " + q.qtype + " " + q.how + " " + q.network }

func (q comparedQuery) msg(tb testing.TB) *dns.Msg {
	tb.Helper()
	qtype, ok := dns.StringToType[q.qtype]
	if !ok {
		if _, err := fmt.Sscanf(q.qtype, "TYPE%d", &qtype); err != nil {
			tb.Fatalf("%s is no type", q.qtype)
		}
	}
	m := new(dns.Msg).SetQuestion(dns.Fqdn(q.name), qtype)
	switch q.how {
	case "edns":
		m.SetEdns0(1232, false)
	case "do":
		m.SetEdns0(1232, true)
	case "cookie":
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0011223344556677"}}
	case "version 1":
		m.SetEdns0(1232, false)
		m.IsEdns0().SetVersion(1)
	case "no recursion":
		m.RecursionDesired = false
	case "chaos":
		m.Question[0].Qclass = dns.ClassCHAOS
	case "any class":
		m.Question[0].Qclass = dns.ClassANY
	case "status":
		m.Opcode = dns.OpcodeStatus
	case "notify":
		m.Opcode = dns.OpcodeNotify
	case "update":
		m.Opcode = dns.OpcodeUpdate
	case "two questions":
		m.Question = append(m.Question, m.Question[0])
	case "no question":
		m.Question = nil
	}
	return m
}

// queries is everything that is asked.
func (c *compared) queries(tb testing.TB) []comparedQuery {
	tb.Helper()
	var list []comparedQuery
	for _, name := range c.names(tb) {
		for _, qtype := range comparedTypes {
			for _, network := range []string{"udp", "tcp"} {
				list = append(list, comparedQuery{name, qtype, network, "plain"})
			}
			list = append(list, comparedQuery{name, qtype, "udp", "edns"}, comparedQuery{name, qtype, "udp", "do"})
		}
	}
	for _, how := range []string{"cookie", "version 1", "no recursion", "chaos", "any class", "status", "notify", "update", "two questions", "no question"} {
		for _, q := range []string{"db.dockstack A", "nobody.dockstack A", "10.0.16.172.in-addr.arpa PTR"} {
			name, qtype, _ := strings.Cut(q, " ")
			list = append(list, comparedQuery{name, qtype, "udp", how}, comparedQuery{name, qtype, "tcp", how})
		}
	}
	for _, qtype := range []string{"AXFR", "IXFR", "MAILB", "OPT", "TKEY"} {
		list = append(list, comparedQuery{"dockstack", qtype, "tcp", "plain"}, comparedQuery{"db.dockstack", qtype, "udp", "plain"})
	}
	return list
}

// aspects is an answer in parts that can differ by themselves.
func aspects(m *dns.Msg, asked *dns.Msg) map[string]string {
	if m == nil {
		return map[string]string{"rcode": "silence"}
	}
	flags := ""
	for _, f := range []struct {
		name string
		set  bool
	}{{"aa", m.Authoritative}, {"tc", m.Truncated}, {"ra", m.RecursionAvailable}, {"ad", m.AuthenticatedData}, {"rd", m.RecursionDesired}} {
		if f.set {
			flags += " " + f.name
		}
	}
	edns, extra := "", []dns.RR{}
	for _, rr := range m.Extra {
		opt, ok := rr.(*dns.OPT)
		if !ok {
			extra = append(extra, rr)
			continue
		}
		edns = fmt.Sprintf("version %d", opt.Version())
		if opt.Do() {
			edns += " do"
		}
		for _, o := range opt.Option {
			edns += fmt.Sprintf(" option %d", o.Option())
		}
	}
	question := "as asked"
	if !slices.Equal(m.Question, asked.Question) {
		question = fmt.Sprint(len(m.Question), " questions, not as asked")
	}
	rcode := dns.RcodeToString[m.Rcode]
	if m.Rcode == dns.RcodeBadVers {
		rcode = "BADVERS"
	}
	return map[string]string{
		"rcode": rcode, "flags": strings.TrimSpace(flags), "answer": section(m.Answer), "authority": section(m.Ns),
		"additional": section(extra), "edns": edns, "question": question,
	}
}

// section is records in an order of their own.
func section(list []dns.RR) string {
	lines := make([]string, len(list))
	for i, rr := range list {
		rr = dns.Copy(rr)
		switch h := rr.Header(); {
		// One of them has kept it for a moment already.
		case h.Ttl > 10 && h.Ttl <= 30:
			h.Ttl = 30
		case h.Ttl > 150 && h.Ttl <= 300:
			h.Ttl = (h.Ttl + 49) / 50 * 50
		}
		lines[i] = strings.ReplaceAll(rr.String(), "\t", " ")
	}
	slices.Sort(lines)
	return strings.Join(lines, " | ")
}

// try asks and returns nil for silence, which is what some questions get.
func try(tb testing.TB, addr netip.AddrPort, q comparedQuery, patience time.Duration) *dns.Msg {
	tb.Helper()
	c := dns.Client{Net: q.network, Timeout: patience, UDPSize: 4096}
	for range 2 {
		if m, _, err := c.ExchangeContext(tb.Context(), q.msg(tb), addr.String()); err == nil {
			return m
		}
	}
	return nil
}

func TestAnswersAsDnsmasqAndCoreDNSDo(t *testing.T) {
	c := &theCompared
	compare(t, c.ours(t), []peer{c.dnsmasq(t), c.coreDNS(t)}, c.queries(t), differences)
}

// compare asks everybody and fails for what differs and is not known, and for
// what is known and does not differ any more.
func compare(t *testing.T, ours netip.AddrPort, peers []peer, queries []comparedQuery, known []difference) {
	t.Helper()
	used := make([]int, len(known))
	alike := 0
	for _, p := range peers {
		for _, q := range queries {
			patience := 10 * time.Second
			if p.name == "CoreDNS" && q.how == "notify" {
				patience = 200 * time.Millisecond // it will be silent
			}
			mine := aspects(try(t, ours, q, 10*time.Second), q.msg(t))
			theirs := aspects(try(t, p.addr, q, patience), q.msg(t))
			if mine["rcode"] == theirs["rcode"] && mine["answer"] == theirs["answer"] {
				alike++
			}
			for what, got := range mine {
				if theirs[what] == got {
					continue
				}
				d := disparity{p.name, what, q, got, theirs[what]}
				if i := slices.IndexFunc(known, d.is); i >= 0 {
					used[i]++
					continue
				}
				t.Errorf("%s: %s: we say %q, %s says %q", q, what, got, p.name, theirs[what])
			}
		}
	}
	t.Logf("of %d answers %d have the same code and the same records", len(peers)*len(queries), alike)
	docs, err := os.ReadFile("../docs/dns-compared.md")
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range known {
		if used[i] == 0 {
			t.Errorf("this difference is none any more: %+v", d)
		}
		if !strings.Contains(string(docs), "| "+d.peer+" | "+d.why+" |") {
			t.Errorf("docs/dns-compared.md does not tell of %s: %s", d.peer, d.why)
		}
	}
}
