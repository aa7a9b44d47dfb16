package dnsd

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// outsideWorld answers www.example.com, denies gone.example.com, fails for
// broken.example.com, and has a crowd of addresses at crowd.example.com.
func outsideWorld(network string, q *dns.Msg) *dns.Msg {
	switch strings.ToLower(q.Question[0].Name) {
	case "www.example.com.":
		return withA(q, 1)
	case "crowd.example.com.":
		a := withA(q, 200)
		if a.Truncated = network == "udp"; a.Truncated {
			a.Answer = nil
		}
		return a
	case "broken.example.com.":
		return new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)
	}
	m := new(dns.Msg).SetRcode(q, dns.RcodeNameError)
	m.Ns = []dns.RR{newRR("example.com. 60 IN SOA a. b. 1 2 3 4 60")}
	return m
}

func newRR(text string) dns.RR {
	rr, err := dns.NewRR(text)
	if err != nil {
		panic(err)
	}
	return rr
}

// A CNAME of ours that leads beyond what we know is answered with what the
// resolvers say, from the cache too.
func TestAliasesLeadOutside(t *testing.T) {
	up := startUpstream(t, outsideWorld)
	names := theStack()
	names.declare("gone.dockstack CNAME gone.example.com.", "broken.dockstack CNAME broken.example.com.",
		"far.dockstack CNAME ext.dockstack.", "many.dockstack CNAME crowd.example.com.", "*.out.dockstack CNAME www.example.com.")
	for name, size := range map[string]int{"without a cache": -1, "with one": 100} {
		cfg := forwarding(up.addr)
		cfg.CacheSize = size
		_, addr := serve(t, cfg, names)
		for question, want := range map[string]string{
			"ext.dockstack A":     "NOERROR aa ra | ext.dockstack. 5 CNAME www.example.com. | www.example.com. 300 A 192.0.2.1",
			"Ext.Dockstack A":     "NOERROR aa ra | Ext.Dockstack. 5 CNAME www.example.com. | www.example.com. 300 A 192.0.2.1",
			"far.dockstack A":     "NOERROR aa ra | far.dockstack. 5 CNAME ext.dockstack. | ext.dockstack. 5 CNAME www.example.com. | www.example.com. 300 A 192.0.2.1",
			"x.out.dockstack A":   "NOERROR aa ra | x.out.dockstack. 5 CNAME www.example.com. | www.example.com. 300 A 192.0.2.1",
			"gone.dockstack A":    "NXDOMAIN aa ra | gone.dockstack. 5 CNAME gone.example.com. / example.com. 60 SOA a. b. 1 2 3 4 60",
			"ext.dockstack CNAME": "NOERROR aa ra | ext.dockstack. 5 CNAME www.example.com.",
			"broken.dockstack A":  "SERVFAIL aa ra | broken.dockstack. 5 CNAME broken.example.com.",
		} {
			for range 2 {
				for _, network := range []string{"udp", "tcp"} {
					if got := brief(ask(t, network, addr, query1(t, question))); got != want {
						t.Errorf("%s, %s over %s:\n got %s\nwant %s", name, question, network, got, want)
					}
				}
			}
		}
		m := query1(t, "ext.dockstack A")
		m.RecursionDesired = false
		if got := brief(ask(t, "udp", addr, m)); got != "NOERROR aa ra | ext.dockstack. 5 CNAME www.example.com." {
			t.Errorf("%s, without recursion: %s", name, got)
		}
		m = query1(t, "many.dockstack A")
		m.SetEdns0(1232, true)
		if r := ask(t, "udp", addr, m); !r.Truncated || len(r.Answer) < 2 || r.IsEdns0() == nil {
			t.Errorf("%s, 200 addresses over UDP: truncated %v, %d records, EDNS %v", name, r.Truncated, len(r.Answer), r.IsEdns0())
		}
		if r := ask(t, "tcp", addr, m); r.Truncated || len(r.Answer) != 201 {
			t.Errorf("%s, 200 addresses over TCP: truncated %v, %d records", name, r.Truncated, len(r.Answer))
		}
	}
}

func TestAliasOutsideExplained(t *testing.T) {
	up := startUpstream(t, outsideWorld)
	s, _ := serve(t, forwarding(up.addr), theStack())
	e, err := s.Explain(t.Context(), Query{Name: "ext.dockstack"})
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Answers) != 2 || !strings.HasPrefix(e.Source, "operator's record ext.dockstack; ") || !strings.Contains(e.Source, up.addr.String()) {
		t.Errorf("%+v", e)
	}
}

// A secondary gets the alias, and nobody is asked for it.
func TestSecondaryGetsTheAliasAlone(t *testing.T) {
	s := newServer(t, Config{Secondaries: []netip.AddrPort{netip.MustParseAddrPort(outsider + ":53")}}, theStack())
	if got := say(t, s, outsider, query1(t, "ext.dockstack A")); got != "NOERROR aa ra | ext.dockstack. 5 CNAME www.example.com." {
		t.Error(got)
	}
}

// What stands beside an answer is left out before the answer is cut.
func TestBesideIsLeftOutFirst(t *testing.T) {
	var lines []string
	for i := range 60 {
		lines = append(lines, "w-"+string(rune('a'+i/26))+string(rune('a'+i%26))+" n 10.9.0."+strconv.Itoa(i+1)+"/24")
	}
	names := hosts(lines...)
	names.service("few", lines[:12]...)
	names.service("crew", lines...)
	for _, h := range names.byAddr {
		names.ports[h.Name] = []Port{{80, "tcp"}}
	}
	_, addr := serve(t, Config{}, names)
	for _, tt := range []struct {
		name, network    string
		answers, besides int
		truncated        bool
	}{
		{"_80._tcp.few.dockstack", "udp", 12, 0, false}, // 512 bytes hold the answer only
		{"_80._tcp.few.dockstack", "tcp", 12, 12, false},
		{"_80._tcp.crew.dockstack", "udp", -1, 0, true},
		{"_80._tcp.crew.dockstack", "tcp", 60, 60, false},
	} {
		r := ask(t, tt.network, addr, query1(t, tt.name+" SRV"))
		if r.Truncated != tt.truncated || tt.answers >= 0 && len(r.Answer) != tt.answers || len(r.Extra) != tt.besides {
			t.Errorf("%s over %s: %d records, %d beside, truncated %v", tt.name, tt.network, len(r.Answer), len(r.Extra), r.Truncated)
		}
	}
}
