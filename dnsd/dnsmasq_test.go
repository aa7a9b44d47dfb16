package dnsd

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// TestAnswersAsDnsmasqDoes asks this server and Debian's dnsmasq with the
// same names the same questions.
func TestAnswersAsDnsmasqDoes(t *testing.T) {
	var list []Host
	for _, line := range []string{
		"db internal 172.16.0.10/16", "web internal 172.16.0.11/16", "web internal fd00:16::11/64",
		"cache internal 172.16.0.12/16", "six internal fd00:16::6/64",
	} {
		list = append(list, host(line))
	}
	s, ours := serve(t, Config{}, newTable(list...))
	s.SetServed(thePools)
	theirs := dnsmasqWith(t, list).addr
	for _, question := range []string{
		"db.dockstack A", "DB.Dockstack A", "db.dockstack AAAA", "db.dockstack MX", "db.dockstack TXT",
		"web.dockstack A", "web.dockstack AAAA", "six.dockstack A", "six.dockstack AAAA",
		"nobody.dockstack A", "nobody.dockstack AAAA", "a.b.c.dockstack A",
		"10.0.16.172.in-addr.arpa PTR", "12.0.16.172.in-addr.arpa PTR",
		"6.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.1.0.0.0.0.d.f.ip6.arpa PTR",
	} {
		for _, network := range []string{"udp", "tcp"} {
			mine, peer := ask(t, network, ours, query1(t, question)), ask(t, network, theirs, query1(t, question))
			if got, want := substance(mine), substance(peer); got != want {
				t.Errorf("%s over %s: we say %s, dnsmasq says %s", question, network, got, want)
			}
		}
	}
}

// substance is what an answer says, without how: dnsmasq gives no SOA with
// what it denies, and its order is its own.
func substance(m *dns.Msg) string {
	var list []string
	for _, rr := range m.Answer {
		list = append(list, rr.String())
	}
	slices.Sort(list)
	return dns.RcodeToString[m.Rcode] + " " + strings.Join(list, ", ")
}

// Whatever name a container has, the name that its address leads to leads
// back to the address, and to it alone.
func TestEveryAddressLeadsThereAndBack(t *testing.T) {
	list := []Host{}
	pool := netip.MustParsePrefix("172.16.0.0/16")
	addr := pool.Addr()
	for _, name := range []string{
		"plain", "my_app", "my-app", "my.app", "MY__APP", "my--app", "a.b.c", "a-b.c", "a-b-c", "_", "x_",
		strings.Repeat("long", 16), strings.Repeat("long", 40), strings.Repeat("long_", 40), "Z-1_2.3",
	} {
		addr = addr.Next()
		list = append(list, Host{Name: name, Network: "internal", Addr: addr, Pool: pool})
	}
	s := newServer(t, Config{}, newTable(list...))
	for _, h := range list {
		reverse, err := dns.ReverseAddr(h.Addr.String())
		if err != nil {
			t.Fatal(err)
		}
		_, target, ok := strings.Cut(say(t, s, inside, query1(t, reverse+" PTR")), " PTR ")
		if !ok {
			t.Errorf("%s has no name", h.Name)
			continue
		}
		got := say(t, s, inside, query1(t, target+" A"))
		if want := "NOERROR aa ra | " + target + " 5 A " + h.Addr.String(); got != want {
			t.Errorf("%q is called %s, which gives %s", h.Name, target, got)
		}
	}
}
