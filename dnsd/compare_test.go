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

// compared is what the three have in common.
type compared struct {
	containers []string
	// services are names with several containers' addresses.
	services map[string][]string
	// ports are what containers listen on.
	ports map[string][]Port
	// records are the operator's, the names below the zone.
	records []string
}

var theCompared = compared{
	containers: []string{
		"db internal 172.16.0.10/16", "web-1 internal 172.16.0.11/16", "web-1 internal fd00:16::11/64",
		"web-2 internal 172.16.0.12/16", "my_app internal 172.16.0.20/16", "six internal fd00:16::6/64",
	},
	services: map[string][]string{
		"web": {"web-1 internal 172.16.0.11/16", "web-1 internal fd00:16::11/64", "web-2 internal 172.16.0.12/16"},
	},
	ports: map[string][]Port{"db": {{5432, "tcp"}}},
	records: []string{
		"nas A 192.0.2.1", "nas AAAA 2001:db8::1",
		"files CNAME nas.dockstack.", "chain CNAME files.dockstack.", "dead CNAME nobody.dockstack.", "alias CNAME web.dockstack.",
		"*.apps A 192.0.2.10", "own.apps A 192.0.2.11", "deep.er.apps A 192.0.2.12",
		"_ldap._tcp SRV 0 5 389 nas.dockstack.", `note TXT "hello"`, "mail MX 10 nas.dockstack.",
	},
}

// ours serves c by this server.
func (c *compared) ours(tb testing.TB) netip.AddrPort {
	tb.Helper()
	names := hosts(c.containers...)
	for name, list := range c.services {
		names.service(name, list...)
	}
	for name, list := range c.ports {
		names.ports[name] = list
	}
	for _, r := range c.records {
		name, rest, _ := strings.Cut(r, " ")
		names.declare(name + ".dockstack " + rest)
	}
	s, addr := serve(tb, Config{}, names)
	s.SetServed([]netip.Prefix{netip.MustParsePrefix("172.16.0.0/16"), netip.MustParsePrefix("fd00:16::/64")})
	return addr
}

// zones are c as files of three zones, in the form that our answers have:
// CoreDNS serves them.
func (c *compared) zones(tb testing.TB) (forward, reverse4, reverse6 string) {
	tb.Helper()
	const head = "$TTL 5\n@ 1 IN SOA dockstack. hostmaster.dockstack. 7 60 10 86400 1\n@ IN NS dockstack.\n"
	forward, reverse4, reverse6 = head+"@ IN A 127.0.0.1\n", head, head
	for _, line := range c.containers {
		h := host(line)
		forward += fmt.Sprintf("%s IN %s %s\n", h.Name, familyType(h), h.Addr)
		reverse, err := dns.ReverseAddr(h.Addr.String())
		if err != nil {
			tb.Fatal(err)
		}
		ptr := fmt.Sprintf("%s IN PTR %s.dockstack.\n", reverse, Label(h.Name))
		if h.Addr.Is4() {
			reverse4 += ptr
		} else {
			reverse6 += ptr
		}
	}
	for name, list := range c.services {
		for _, line := range list {
			h := host(line)
			forward += fmt.Sprintf("%s IN %s %s\n", name, familyType(h), h.Addr)
		}
	}
	for name, list := range c.ports {
		for _, p := range list {
			forward += fmt.Sprintf("_%d._%s.%s IN SRV 0 1 %d %s.dockstack.\n", p.Number, p.Proto, name, p.Number, name)
		}
	}
	for _, r := range c.records {
		name, rest, _ := strings.Cut(r, " ")
		forward += name + " IN " + rest + "\n"
	}
	return forward, reverse4, reverse6
}

func familyType(h Host) string {
	if h.Addr.Is4() {
		return "A"
	}
	return "AAAA"
}

const (
	reverse4Zone = "16.172.in-addr.arpa"
	reverse6Zone = "0.0.0.0.0.0.0.0.6.1.0.0.0.0.d.f.ip6.arpa"
)

func (c *compared) coreDNS(tb testing.TB) peer {
	tb.Helper()
	dir := tb.TempDir()
	forward, reverse4, reverse6 := c.zones(tb)
	files := map[string]string{
		"dockstack":  writeFile(tb, dir, "forward", []byte(forward)),
		reverse4Zone: writeFile(tb, dir, "reverse4", []byte(reverse4)),
		reverse6Zone: writeFile(tb, dir, "reverse6", []byte(reverse6)),
	}
	return startCoreDNS(tb, "db.dockstack A", func(addr netip.AddrPort) string {
		conf := ""
		for zone, file := range files {
			conf += fmt.Sprintf("%s:%d {\n\tbind %s\n\tany\n\tloadbalance\n\tfile %s\n}\n", zone, addr.Port(), addr.Addr(), file)
		}
		return conf
	})
}

// dnsmasq serves c in the ways that its manual has for each.
func (c *compared) dnsmasq(tb testing.TB) peer {
	tb.Helper()
	var file strings.Builder
	for _, line := range c.containers {
		h := host(line)
		fmt.Fprintf(&file, "%s %s.dockstack\n", h.Addr, h.Name)
	}
	for name, list := range c.services {
		for _, line := range list {
			fmt.Fprintf(&file, "%s %s.dockstack\n", host(line).Addr, name)
		}
	}
	args := []string{"--local=/dockstack/", "--local=/" + reverse4Zone + "/", "--local=/" + reverse6Zone + "/"}
	for name, list := range c.ports {
		for _, p := range list {
			args = append(args, fmt.Sprintf("--srv-host=_%d._%s.%s.dockstack,%s.dockstack,%d,0,1", p.Number, p.Proto, name, name, p.Number))
		}
	}
	for _, r := range c.records {
		f := strings.SplitN(r, " ", 3)
		name, data := f[0]+".dockstack", strings.TrimSuffix(f[2], ".")
		switch below, wild := strings.CutPrefix(name, "*."); {
		case wild:
			args = append(args, "--address=/"+below+"/"+data)
		case f[1] == "A" || f[1] == "AAAA":
			fmt.Fprintf(&file, "%s %s\n", data, name)
		case f[1] == "CNAME":
			args = append(args, "--cname="+name+","+data)
		case f[1] == "TXT":
			args = append(args, "--txt-record="+name+","+strings.Trim(data, `"`))
		case f[1] == "MX":
			mx := strings.Fields(data)
			args = append(args, "--mx-host="+name+","+strings.TrimSuffix(mx[1], ".")+","+mx[0])
		case f[1] == "SRV":
			srv := strings.Fields(data)
			args = append(args, fmt.Sprintf("--srv-host=%s,%s,%s,%s,%s", name, strings.TrimSuffix(srv[3], "."), srv[2], srv[0], srv[1]))
		}
	}
	args = append(args, "--addn-hosts="+writeFile(tb, tb.TempDir(), "hosts", []byte(file.String())))
	return startDnsmasq(tb, "db.dockstack A", args...)
}

// names is every name that c has something to say about, and some that it
// must deny.
func (c *compared) names(tb testing.TB) []string {
	tb.Helper()
	list := []string{
		"dockstack", "nobody.dockstack", "a.b.nobody.dockstack", "below.db.dockstack", "DB.Dockstack", "Files.DockStack",
		"apps.dockstack", "x.apps.dockstack", "X.Y.Apps.dockstack", "er.apps.dockstack", "deep.er.apps.dockstack", "x.own.apps.dockstack",
		"_tcp.dockstack", "_tcp.db.dockstack", "_5432._tcp.db.dockstack", "_udp.db.dockstack", "my-app.dockstack",
		"99.0.16.172.in-addr.arpa", "0.16.172.in-addr.arpa", reverse4Zone, "x.10.0.16.172.in-addr.arpa", reverse6Zone,
		"7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0." + reverse6Zone, "0.0.0." + reverse6Zone,
	}
	for _, line := range c.containers {
		h := host(line)
		reverse, err := dns.ReverseAddr(h.Addr.String())
		if err != nil {
			tb.Fatal(err)
		}
		list = append(list, h.Name+".dockstack", strings.TrimSuffix(reverse, "."))
	}
	for name := range c.services {
		list = append(list, name+".dockstack")
	}
	for _, r := range c.records {
		name, _, _ := strings.Cut(r, " ")
		if !strings.HasPrefix(name, "*") {
			list = append(list, name+".dockstack")
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

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
func try(tb testing.TB, addr netip.AddrPort, q comparedQuery) *dns.Msg {
	tb.Helper()
	patience := 10 * time.Second
	if q.how == "notify" {
		patience = 200 * time.Millisecond
	}
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
			mine, theirs := aspects(try(t, ours, q), q.msg(t)), aspects(try(t, p.addr, q), q.msg(t))
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
