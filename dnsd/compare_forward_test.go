package dnsd

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// What is not ours comes from the same resolvers through all three servers:
// one for everything, and one for a domain of its own. Each question is asked
// twice, the second time of what the servers keep.

// theSite answers as resolvers do: names by what they begin with.
func theSite(server string) func(string, *dns.Msg) *dns.Msg {
	return func(network string, q *dns.Msg) *dns.Msg {
		m := new(dns.Msg).SetReply(q)
		m.RecursionAvailable = true
		name := q.Question[0].Name
		record := func(text string) { m.Answer = append(m.Answer, mustRR(text)) }
		switch kind, _, _ := strings.Cut(strings.ToLower(name), "."); {
		case kind == "alias":
			record(name + " 300 IN CNAME host." + strings.SplitN(name, ".", 2)[1])
			record("host." + strings.SplitN(name, ".", 2)[1] + " 200 IN A 192.0.2.7")
		case kind == "gone":
			m.Rcode = dns.RcodeNameError
			m.Ns = []dns.RR{mustRR("example. 30 IN SOA ns.example. h.example. 1 2 3 4 30")}
		case kind == "fails":
			m.Rcode = dns.RcodeServerFailure
		case kind == "refuses":
			m.Rcode = dns.RcodeRefused
		case kind == "long":
			for i := range 60 {
				record(fmt.Sprintf("%s 300 IN TXT %q", name, strings.Repeat("x", 60)+fmt.Sprint(i)))
			}
			if network == "udp" {
				m.Answer, m.Truncated = nil, true
			}
		case q.Question[0].Qtype == dns.TypeA:
			record(name + " 300 IN A " + server)
		case q.Question[0].Qtype == dns.TypeMX:
			record(name + " 300 IN MX 10 mail.example.")
		case q.Question[0].Qtype == 65280:
			record(name + ` 300 IN TYPE65280 \# 3 010203`)
		default:
			m.Ns = []dns.RR{mustRR("example. 30 IN SOA ns.example. h.example. 1 2 3 4 30")}
		}
		if q.IsEdns0() != nil {
			m.SetEdns0(1232, q.IsEdns0().Do())
		}
		return m
	}
}

func mustRR(text string) dns.RR {
	rr, err := dns.NewRR(text)
	if err != nil {
		panic(err)
	}
	return rr
}

const corpDomain = "corp.example"

func forwardPeers(t *testing.T, usual, corp *upstream) (netip.AddrPort, []peer) {
	t.Helper()
	cfg := Config{
		Forwarders: func() []netip.AddrPort { return []netip.AddrPort{usual.addr} },
		Routes: func() []Route {
			return []Route{{Domain: corpDomain, Resolvers: []netip.AddrPort{corp.addr}}, {Domain: "local.test"}}
		},
		UpstreamTimeout: 20 * time.Second, ForwardBudget: 40 * time.Second,
	}
	_, ours := serve(t, cfg, theNames())
	at := func(a netip.AddrPort) string { return fmt.Sprintf("%s#%d", a.Addr(), a.Port()) }
	return ours, []peer{
		startDnsmasq(t, "probe.example A", "--server="+at(usual.addr), "--server=/"+corpDomain+"/"+at(corp.addr), "--local=/local.test/", "--all-servers"),
		startCoreDNS(t, "probe.example A", func(addr netip.AddrPort) string {
			block := "%s:%d {\n\tbind %s\n\tcache 3600\n\tforward . %s\n}\n"
			return fmt.Sprintf(block, ".", addr.Port(), addr.Addr(), usual.addr) +
				fmt.Sprintf(block, corpDomain, addr.Port(), addr.Addr(), corp.addr)
		}),
	}
}

func TestForwardsAsDnsmasqAndCoreDNSDo(t *testing.T) {
	usual, corp := startUpstream(t, theSite("192.0.2.1")), startUpstream(t, theSite("10.1.1.1"))
	ours, peers := forwardPeers(t, usual, corp)
	var queries []comparedQuery
	for _, domain := range []string{"example", corpDomain, "sub." + corpDomain} {
		for _, kind := range []string{"host", "HOST", "alias", "gone", "fails", "refuses", "long"} {
			for _, qtype := range []string{"A", "MX", "TXT", "TYPE65280"} {
				for _, network := range []string{"udp", "tcp"} {
					for _, how := range []string{"plain", "edns", "do"} {
						q := comparedQuery{kind + "." + domain, qtype, network, how}
						queries = append(queries, q, q)
					}
				}
			}
		}
	}
	compare(t, ours, peers, queries, forwardDifferences)
}
