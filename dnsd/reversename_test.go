package dnsd

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func TestReverseZonesOfSubnets(t *testing.T) {
	for prefix, want := range map[string][]string{
		"10.0.0.0/8":        {"10.in-addr.arpa"},
		"172.16.0.0/16":     {"16.172.in-addr.arpa"},
		"192.168.1.0/24":    {"1.168.192.in-addr.arpa"},
		"10.8.0.0/22":       {"0.8.10.in-addr.arpa", "1.8.10.in-addr.arpa", "2.8.10.in-addr.arpa", "3.8.10.in-addr.arpa"},
		"10.254.0.0/15":     {"254.10.in-addr.arpa", "255.10.in-addr.arpa"},
		"10.1.0.0/31":       {"0.0.1.10.in-addr.arpa", "1.0.1.10.in-addr.arpa"},
		"10.1.0.7/32":       {"7.0.1.10.in-addr.arpa"},
		"fd00::/16":         {"0.0.d.f.ip6.arpa"},
		"fd00:16::/64":      {"0.0.0.0.0.0.0.0.6.1.0.0.0.0.d.f.ip6.arpa"},
		"fd00:16:0:fe::/63": {"e.f.0.0.0.0.0.0.6.1.0.0.0.0.d.f.ip6.arpa", "f.f.0.0.0.0.0.0.6.1.0.0.0.0.d.f.ip6.arpa"},
	} {
		if got := reverseZones(netip.MustParsePrefix(prefix)); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", prefix, got, want)
		}
	}
}

// Each zone that we say is ours has its SOA, and every address of a subnet lies
// in one of its zones, whatever its length.
func TestEverySubnetHasItsReverseZones(t *testing.T) {
	for bits := 8; bits <= 32; bits++ {
		p := netip.PrefixFrom(netip.MustParseAddr("10.77.77.77"), bits).Masked()
		checkReverse(t, p)
	}
	for bits := 20; bits <= 128; bits++ {
		checkReverse(t, netip.PrefixFrom(netip.MustParseAddr("fd00:16:77:77:77:77:77:77"), bits).Masked())
	}
}

func checkReverse(t *testing.T, p netip.Prefix) {
	t.Helper()
	h := Host{Name: "db", Network: "n", Addr: p.Addr().Next(), Pool: p}
	if !p.Contains(h.Addr) {
		h.Addr = p.Addr()
	}
	s := newServer(t, Config{}, newTable(h))
	s.SetServed([]netip.Prefix{p})
	for _, zone := range s.zones()[1:] {
		if got := say(t, s, local, new(dns.Msg).SetQuestion(zone+".", dns.TypeSOA)); !strings.HasPrefix(got, "NOERROR aa ra | "+zone+". 1 SOA ") {
			t.Errorf("%s: %s SOA: %s", p, zone, got)
		}
	}
	name := reverseOf(h.Addr)
	if want, _ := dns.ReverseAddr(h.Addr.String()); want != name+"." {
		t.Errorf("the reverse name of %s is %s, want %s", h.Addr, name, want)
	}
	if got := say(t, s, local, new(dns.Msg).SetQuestion(name+".", dns.TypePTR)); got != "NOERROR aa ra | "+name+". 5 PTR db.dockstack." {
		t.Errorf("%s: %s PTR: %s", p, name, got)
	}
	if !slices.ContainsFunc(s.zones(), func(z string) bool { return name == z || strings.HasSuffix(name, "."+z) }) {
		t.Errorf("%s: %s lies in none of %q", p, name, s.zones())
	}
}
