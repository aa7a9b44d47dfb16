package dnsd

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/dockstack/dockstack/internal/nearest"
)

const negative = " SOA dockstack. hostmaster.dockstack. 7 60 10 86400 1"

func TestStacks(t *testing.T) {
	for name, tests := range map[string][]struct{ client, ask, want string }{
		"a service is its replicas": {
			{local, "web.dockstack A", "NOERROR aa ra | web.dockstack. 5 A 10.9.0.21 | web.dockstack. 5 A 10.9.0.22 | web.dockstack. 5 A 172.16.0.21"},
			{inFront, "web A", "NOERROR aa ra | web. 5 A 10.9.0.21 | web. 5 A 10.9.0.22"},
			{inside, "web A", "NOERROR aa ra | web. 5 A 172.16.0.21"},
			{inside, "web.front A", "NOERROR aa ra | web.front. 5 A 10.9.0.21 | web.front. 5 A 10.9.0.22"},
			{local, "web.internal.dockstack A", "NOERROR aa ra | web.internal.dockstack. 5 A 172.16.0.21"},
			{local, "web.back.dockstack A", noName},
			{local, "web.dockstack AAAA", noData},
			{local, "postgres AAAA", "NOERROR aa ra | postgres. 5 AAAA fd00:16::41"},
			{local, "web.dockstack ANY", `NOERROR aa ra | web.dockstack. 5 HINFO "RFC8482" ""`},
		},
		"underscores and hyphens": {
			{local, "mq_x.dockstack A", "NOERROR aa ra | mq_x.dockstack. 5 A 172.16.0.31"},
			{local, "mq-x.dockstack A", "NOERROR aa ra | mq-x.dockstack. 5 A 172.16.0.31"},
			{local, "my-svc A", "NOERROR aa ra | my-svc. 5 A 172.16.0.71"},
			{local, "my_svc A", "NOERROR aa ra | my_svc. 5 A 172.16.0.71"},
			{local, "my_svc.internal.dockstack A", "NOERROR aa ra | my_svc.internal.dockstack. 5 A 172.16.0.71"},
			{local, "two_ways.dockstack A", "NOERROR aa ra | two_ways.dockstack. 5 A 172.16.0.91"},
			{local, "shop_mq-x_1.dockstack A", "NOERROR aa ra | shop_mq-x_1.dockstack. 5 A 172.16.0.31"},
		},
		"the unhealthy stay out as long as somebody is well": {
			{local, "sick.dockstack A", "NOERROR aa ra | sick.dockstack. 5 A 172.16.0.51"},
			{local, "ill.dockstack A", "NOERROR aa ra | ill.dockstack. 5 A 172.16.0.61"},
			{local, "sick-2.dockstack A", "NOERROR aa ra | sick-2.dockstack. 5 A 172.16.0.52"},
		},
		"who is believed": {
			{local, "db.dockstack A", "NOERROR aa ra | db.dockstack. 5 A 172.16.0.10"},
			{local, "db.dockstack TXT", `NOERROR aa ra | db.dockstack. 5 TXT "two" "parts"`},
			{local, "shown.dockstack A", "NOERROR aa ra | shown.dockstack. 5 A 192.0.2.1"},
			{local, "noted.dockstack A", "NOERROR aa ra | noted.dockstack. 5 A 172.16.0.41"},
			{local, "noted.dockstack TXT", `NOERROR aa ra | noted.dockstack. 5 TXT "a note"`},
		},
		"services by port": {
			{inFront, "_80._tcp.web.dockstack SRV", "NOERROR aa ra | _80._tcp.web.dockstack. 5 SRV 0 1 80 shop-web-1.dockstack. | _80._tcp.web.dockstack. 5 SRV 0 1 80 shop-web-2.dockstack."},
			{local, "_443._udp.web SRV", "NOERROR aa ra | _443._udp.web. 5 SRV 0 1 443 shop-web-2.dockstack."},
			{local, "_5672._tcp.mq-x.dockstack SRV", "NOERROR aa ra | _5672._tcp.mq-x.dockstack. 5 SRV 0 1 5672 shop-mq-x-1.dockstack."},
			{local, "_5672._tcp.shop-mq_x-1 SRV", "NOERROR aa ra | _5672._tcp.shop-mq_x-1. 5 SRV 0 1 5672 shop-mq-x-1.dockstack."},
			{local, "_80._tcp.web.internal.dockstack SRV", "NOERROR aa ra | _80._tcp.web.internal.dockstack. 5 SRV 0 1 80 shop-web-1.internal.dockstack."},
			{local, "_80._tcp.sick.dockstack SRV", "NOERROR aa ra | _80._tcp.sick.dockstack. 5 SRV 0 1 80 sick-1.dockstack."},
			{local, "_5432._tcp.postgres.dockstack SRV", "NOERROR aa ra | _5432._tcp.postgres.dockstack. 5 SRV 9 9 9 nas.dockstack."},
			{local, "_ldap._tcp.dockstack SRV", "NOERROR aa ra | _ldap._tcp.dockstack. 5 SRV 0 5 389 nas.dockstack."},
			{local, "_80._tcp.web.dockstack A", noData},
			{local, "_80._tcp.web.dockstack TXT", noData},
			{local, "_tcp.web.dockstack SRV", noData},
			{local, "_udp.web.dockstack A", noData},
			{local, "_sctp.web.dockstack A", noName},
			{local, "_81._tcp.web.dockstack SRV", noName},
			{local, "_080._tcp.web.dockstack SRV", noName},
			{local, "_http._tcp.web.dockstack SRV", noName},
			{local, "_80._tcp._80._tcp.web.dockstack SRV", noName},
			{local, "_80._tcp.nobody.dockstack SRV", noName},
			{local, "_80._tcp.nobody SRV", "NXDOMAIN aa ra / . 1" + negative},
			{local, "_81._tcp.web SRV", "NXDOMAIN aa ra / . 1" + negative},
			{local, "_80._tcp.web A", "NOERROR aa ra / . 1" + negative},
			{local, "_80._tcp.web.front AAAA", "NOERROR aa ra / front. 1" + negative},
			{local, "_sip._tcp.example SRV", "forwarded"},
			{local, "_80._tcp.www.example.com SRV", "forwarded"},
			{local, "_80._tcp.shown.dockstack SRV", noName},
		},
		"the operator's hosts": {
			{local, "nas.dockstack A", "NOERROR aa ra | nas.dockstack. 5 A 172.16.9.1 | nas.dockstack. 5 A 172.16.9.2"},
			{local, "NAS.dockstack AAAA", "NOERROR aa ra | NAS.dockstack. 5 AAAA fd00:16::9:1"},
			{local, "nas A", "NOERROR aa ra | nas. 5 A 172.16.9.1 | nas. 5 A 172.16.9.2"},
			{local, "nas.dockstack MX", noData},
			{local, "1.9.16.172.in-addr.arpa PTR", "NOERROR aa ra | 1.9.16.172.in-addr.arpa. 5 PTR nas.dockstack."},
			{local, "1.9.16.172.in-addr.arpa A", "NOERROR aa ra / 16.172.in-addr.arpa. 1" + negative},
			{local, "7.100.51.198.in-addr.arpa PTR", "NOERROR aa ra | 7.100.51.198.in-addr.arpa. 5 PTR far.example."},
			{local, "7.100.51.198.in-addr.arpa TXT", "NOERROR aa ra / 7.100.51.198.in-addr.arpa. 1" + negative},
			{local, "8.100.51.198.in-addr.arpa PTR", "forwarded"},
			{local, "1.9.17.172.in-addr.arpa PTR", "NOERROR aa ra | 1.9.17.172.in-addr.arpa. 5 PTR named.example."},
			{local, "10.0.16.172.in-addr.arpa PTR", "NOERROR aa ra | 10.0.16.172.in-addr.arpa. 5 PTR db.dockstack."},
			{
				local, "1.0.0.0.9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.1.0.0.0.0.d.f.ip6.arpa PTR",
				"NOERROR aa ra | 1.0.0.0.9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.1.0.0.0.0.d.f.ip6.arpa. 5 PTR nas.dockstack.",
			},
		},
		"other names for the same": {
			{local, "files.dockstack A", "NOERROR aa ra | files.dockstack. 5 CNAME nas.dockstack. | nas.dockstack. 5 A 172.16.9.1 | nas.dockstack. 5 A 172.16.9.2"},
			{local, "files A", "NOERROR aa ra | files. 5 CNAME nas.dockstack. | nas.dockstack. 5 A 172.16.9.1 | nas.dockstack. 5 A 172.16.9.2"},
			{local, "files.dockstack CNAME", "NOERROR aa ra | files.dockstack. 5 CNAME nas.dockstack."},
			{inFront, "www.dockstack A", "NOERROR aa ra | www.dockstack. 5 CNAME web.dockstack. | web.dockstack. 5 A 10.9.0.21 | web.dockstack. 5 A 10.9.0.22"},
			{local, "files.dockstack MX", "NOERROR aa ra | files.dockstack. 5 CNAME nas.dockstack. / dockstack. 1" + negative},
			{local, "dead.dockstack A", "NXDOMAIN aa ra | dead.dockstack. 5 CNAME nobody.dockstack. / dockstack. 1" + negative},
			{local, "ext.dockstack A", "forwarded"},
			{local, "round.dockstack A", "SERVFAIL ra"},
			{local, "bad.dockstack A", "SERVFAIL ra"},
			{local, "x.to.dockstack AAAA", "NOERROR aa ra | x.to.dockstack. 5 CNAME web.dockstack. / dockstack. 1" + negative},
		},
		"wildcards": {
			{local, "a.apps.dockstack A", "NOERROR aa ra | a.apps.dockstack. 5 A 192.0.2.10"},
			{local, "a.b.apps.dockstack A", "NOERROR aa ra | a.b.apps.dockstack. 5 A 192.0.2.10"},
			{local, "a.apps.dockstack TXT", `NOERROR aa ra | a.apps.dockstack. 5 TXT "wild"`},
			{local, "a.apps.dockstack AAAA", noData},
			{local, "*.apps.dockstack A", "NOERROR aa ra | *.apps.dockstack. 5 A 192.0.2.10"},
			{local, "apps.dockstack A", noData},
			{local, "own.apps.dockstack A", "NOERROR aa ra | own.apps.dockstack. 5 A 192.0.2.11"},
			{local, "own.apps.dockstack TXT", noData},
			{local, "x.own.apps.dockstack A", noName},
			{local, "er.apps.dockstack A", noData},
			{local, "x.er.apps.dockstack A", noName},
			{local, "_5._tcp.a.apps.dockstack TXT", `NOERROR aa ra | _5._tcp.a.apps.dockstack. 5 TXT "wild"`},
			{local, "a.apps A", "forwarded"},
		},
		"names of others that the operator declares": {
			{local, "intra.corp.example A", "NOERROR aa ra | intra.corp.example. 5 A 192.0.2.20"},
			{local, "intra.corp.example AAAA", "NOERROR aa ra / intra.corp.example. 1" + negative},
			{local, "x.intra.corp.example A", "forwarded"},
			{local, "corp.example A", "forwarded"},
			{local, "any.lab.example A", "NOERROR aa ra | any.lab.example. 5 A 192.0.2.21"},
			{local, "any.lab.example AAAA", "NOERROR aa ra / lab.example. 1" + negative},
			{local, "lab.example A", "forwarded"},
			{local, "y.x.lab.example A", "forwarded"},
		},
		"the zone's own": {
			{local, "dockstack MX", "NOERROR aa ra | dockstack. 5 MX 10 nas.dockstack."},
			{local, "dockstack A", "NOERROR aa ra | dockstack. 5 A 127.0.0.153"},
			{local, "dockstack TXT", noData},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, Config{}, theStack())
			for _, tt := range tests {
				m := query1(t, tt.ask)
				m.Id = 0
				if got := say(t, s, tt.client, m); got != tt.want {
					t.Errorf("%s from %s:\n got %s\nwant %s", tt.ask, tt.client, got, tt.want)
				}
			}
		})
	}
}

func TestReplicasTakeTurns(t *testing.T) {
	s := newServer(t, Config{}, theStack())
	first := map[string]int{}
	for id := range uint16(300) {
		m := query1(t, "web.dockstack A")
		m.Id = id
		got := strings.Split(say(t, s, local, m), " A ")
		if len(got) != 4 {
			t.Fatalf("not all three: %v", got)
		}
		addr, _, _ := strings.Cut(got[1], " ")
		first[addr]++
	}
	for addr, n := range first {
		if n != 100 {
			t.Errorf("%s came first %d times of 300", addr, n)
		}
	}
}

func TestAddressesStandBesideServices(t *testing.T) {
	s := newServer(t, Config{}, theStack())
	for question, want := range map[string][]string{
		"_80._tcp.web.dockstack SRV":    {"shop-web-1.dockstack. 5 IN A 10.9.0.21", "shop-web-2.dockstack. 5 IN A 10.9.0.22"},
		"_5432._tcp.shop-db-1 SRV":      {"shop-db-1.dockstack. 5 IN A 172.16.0.41", "shop-db-1.dockstack. 5 IN AAAA fd00:16::41"},
		"_ldap._tcp.dockstack SRV":      {"nas.dockstack. 5 IN A 172.16.9.1", "nas.dockstack. 5 IN A 172.16.9.2", "nas.dockstack. 5 IN AAAA fd00:16::9:1"},
		"_81._tcp.web.dockstack SRV":    nil,
		"_80._tcp.sick-2.dockstack SRV": {"sick-2.dockstack. 5 IN A 172.16.0.52"},
	} {
		name, qtype, _ := strings.Cut(question, " ")
		e, err := s.Explain(t.Context(), Query{Name: name, Type: dns.StringToType[qtype], Client: netip.MustParseAddr(inFront)})
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(e.Additional)
		if !slices.Equal(e.Additional, want) {
			t.Errorf("%s: beside it %q, want %q", question, e.Additional, want)
		}
	}
}

func TestExplanations(t *testing.T) {
	names := theStack()
	names.machine = "h1"
	s := newServer(t, Config{Suggest: nearest.Hint, Nameservers: []Nameserver{{Name: "ns1.dockstack", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}}}, names)
	for _, tt := range []struct{ client, ask, want string }{
		{local, "db.dockstack A", "container db on network internal, host h1"},
		{local, "db.dockstack AAAA", "container db on network internal, host h1; there are no AAAA records of it"},
		{inFront, "shop-web-1 A", "container shop-web-1 on network front, where 10.9.0.200 is, host h1"},
		{local, "shop-web-1 A", "container shop-web-1 on networks front, internal, host h1"},
		{inFront, "web A", "compose service web: 2 replicas"},
		{inside, "web A", "compose service web: 1 of 2 replicas (shop-web-2 is not on a network of 172.16.9.9)"},
		{local, "sick.dockstack A", "compose service sick: 1 of 2 replicas (sick-2 is unhealthy)"},
		{local, "ill.dockstack A", "compose service ill: 1 replica"},
		{local, "nas.dockstack A", "operator's record nas.dockstack"},
		{local, "x.apps.dockstack A", "operator's record *.apps.dockstack"},
		{local, "files.dockstack A", "operator's record files.dockstack; operator's record nas.dockstack"},
		{local, "1.9.16.172.in-addr.arpa PTR", "operator's record nas.dockstack A 172.16.9.1"},
		{local, "10.0.16.172.in-addr.arpa PTR", "container db on network internal, host h1 holds 172.16.0.10"},
		{local, "99.0.16.172.in-addr.arpa PTR", "no live container and no record has 172.16.0.99, in a subnet of ours"},
		{local, "shop-web1.dockstack A", "no such name in zone dockstack; did you mean `shop-web-1`, `shop-web-2` or `shop-db-1`?"},
		{local, "postgers A", "nobody is called so, and names without a dot are not forwarded; did you mean `postgres`?"},
		{local, "_81._tcp.web.dockstack SRV", "web exposes and publishes 80/tcp, 443/tcp, 443/udp only"},
		{local, "_81._tcp.nas.dockstack SRV", "no such name in zone dockstack; did you mean `nas`?"},
		{local, "_80._tcp.web.dockstack SRV", "compose service web: 2 replicas"},
		{local, "internal.dockstack A", "empty: names stand below it"},
		{local, "localhost A", "localhost is fixed (RFC 6761)"},
		{local, "dockstack SOA", "the zone itself"},
		{local, "dockstack A", "this server itself: nobody is called like the zone"},
		{local, "ns1.dockstack A", "a server of the zone, by DOCKSTACK_DNS_NAMESERVERS"},
		{outsider, "db.dockstack A", "192.0.2.77 is not served: it is neither this host nor on one of its overlays, and no subnet in DOCKSTACK_DNS_CLIENTS has it"},
	} {
		name, qtype, _ := strings.Cut(tt.ask, " ")
		e, err := s.Explain(context.Background(), Query{Name: name, Type: dns.StringToType[qtype], Client: netip.MustParseAddr(tt.client)})
		if err != nil {
			t.Errorf("%s: %v", tt.ask, err)
			continue
		}
		if e.Source != tt.want {
			t.Errorf("%s from %s:\n got %s\nwant %s", tt.ask, tt.client, e.Source, tt.want)
		}
	}
	e, err := s.Explain(t.Context(), Query{Name: "round.dockstack"})
	if err != nil || e.Rcode != "SERVFAIL" || !strings.HasSuffix(e.Source, "CNAME records lead in a circle: round.dockstack. leads to more than 8 others") {
		t.Errorf("a circle: %+v, %v", e, err)
	}
	if _, err := s.Explain(t.Context(), Query{Name: strings.Repeat("x", 70)}); err == nil {
		t.Error("a label of 70 characters passed")
	}
}
