package dnsd

import (
	"strings"
	"testing"

	"github.com/miekg/dns"
)

const (
	outsider = "192.0.2.77" // served nowhere
	local    = "127.0.0.1"  // the host
	inside   = "172.16.9.9" // a client on "internal"
	inside6  = "fd00:16::9" // the same, by IPv6
	inFront  = "10.9.0.200" // a client on "front"
	soaOf    = " SOA dockstack. hostmaster.dockstack. 7 60 10 86400 1"
	noName   = "NXDOMAIN aa ra / dockstack. 1" + soaOf
	noData   = "NOERROR aa ra / dockstack. 1" + soaOf
	barely   = "NXDOMAIN aa ra / . 1" + soaOf
	bareNone = "NOERROR aa ra / . 1" + soaOf
)

func TestAnswers(t *testing.T) {
	for name, tests := range map[string][]struct{ client, ask, want string }{
		"a name in all its forms": {
			{local, "db A", "NOERROR aa ra | db. 5 A 172.16.0.10"},
			{local, "db.internal A", "NOERROR aa ra | db.internal. 5 A 172.16.0.10"},
			{local, "db.dockstack A", "NOERROR aa ra | db.dockstack. 5 A 172.16.0.10"},
			{local, "db.internal.dockstack A", "NOERROR aa ra | db.internal.dockstack. 5 A 172.16.0.10"},
			{local, "Db.DockStack A", "NOERROR aa ra | Db.DockStack. 5 A 172.16.0.10"},
			{local, "six.dockstack AAAA", "NOERROR aa ra | six.dockstack. 5 AAAA fd00:16::6"},
			{local, "lonely A", "NOERROR aa ra | lonely. 5 A 192.168.77.5"},
		},
		"no such name, and a name without that type": {
			{local, "nobody.dockstack A", noName},
			{local, "db.nonet.dockstack A", noName},
			{local, "db.front.dockstack A", noName},
			{local, "db.dockstack.dockstack A", noName},
			{local, "db.dockstack AAAA", noData},
			{local, "six.dockstack A", noData},
			{local, "db.dockstack MX", noData},
			{local, "db.dockstack HTTPS", noData},
			{local, "internal.dockstack A", noData},
			{local, "db AAAA", bareNone},
			{local, "db NS", bareNone},
			{local, "db.internal AAAA", "NOERROR aa ra / internal. 1" + soaOf},
		},
		"bare names stay here, questions about top-level domains do not": {
			{local, "nobody A", barely},
			{local, "nobody AAAA", barely},
			{local, "nobody MX", barely},
			{local, "com DS", "forwarded"},
			{local, "com NS", "forwarded"},
			{local, ". NS", "forwarded"},
			{local, "www.example.com A", "forwarded"},
			{local, "nobody.internal A", "forwarded"},
			{local, "notdockstack.example A", "forwarded"},
			{local, "xdockstack A", barely},
		},
		"names that are no host names": {
			{local, "MARIADB_main A", "NOERROR aa ra | MARIADB_main. 5 A 172.16.0.30"},
			{local, "mariadb-main.dockstack A", "NOERROR aa ra | mariadb-main.dockstack. 5 A 172.16.0.30"},
			{local, "my_app A", "NOERROR aa ra | my_app. 5 A 172.16.0.20"},
			{local, "my-app A", "NOERROR aa ra | my-app. 5 A 172.16.0.21"},
			{local, "api.v1 A", "NOERROR aa ra | api.v1. 5 A 172.16.0.40"},
			{local, "api-v1 A", "NOERROR aa ra | api-v1. 5 A 172.16.0.40"},
			{local, "api.v1.internal.dockstack A", "NOERROR aa ra | api.v1.internal.dockstack. 5 A 172.16.0.40"},
			{local, `a\.b.dockstack A`, noName},
			{local, `a\.dockstack A`, "forwarded"},
			{local, `a\032b.example.com A`, "forwarded"},
		},
		"a client gets the address of its own network": {
			{inside, "web A", "NOERROR aa ra | web. 5 A 172.16.0.11"},
			{inFront, "web A", "NOERROR aa ra | web. 5 A 10.9.0.11"},
			{inFront, "web.internal A", "NOERROR aa ra | web.internal. 5 A 172.16.0.11"},
			{inside, "web AAAA", "NOERROR aa ra | web. 5 AAAA fd00:16::11"},
			{inside6, "web A", "NOERROR aa ra | web. 5 A 172.16.0.11"},
			{inFront, "db A", "NOERROR aa ra | db. 5 A 172.16.0.10"},
			{inside, "many A", "NOERROR aa ra | many. 5 A 172.16.1.1"},
		},
		"the other way round": {
			{local, "10.0.16.172.in-addr.arpa PTR", "NOERROR aa ra | 10.0.16.172.in-addr.arpa. 5 PTR db.dockstack."},
			{local, "30.0.16.172.in-addr.arpa PTR", "NOERROR aa ra | 30.0.16.172.in-addr.arpa. 5 PTR mariadb-main.dockstack."},
			{local, "20.0.16.172.in-addr.arpa PTR", "NOERROR aa ra | 20.0.16.172.in-addr.arpa. 5 PTR my_app.dockstack."},
			{local, "21.0.16.172.in-addr.arpa PTR", "NOERROR aa ra | 21.0.16.172.in-addr.arpa. 5 PTR my-app.dockstack."},
			{inside, "11.0.16.172.in-addr.arpa PTR", "NOERROR aa ra | 11.0.16.172.in-addr.arpa. 5 PTR web.dockstack."},
			{inFront, "11.0.16.172.in-addr.arpa PTR", "NOERROR aa ra | 11.0.16.172.in-addr.arpa. 5 PTR web.internal.dockstack."},
			{local, "5.77.168.192.in-addr.arpa PTR", "NOERROR aa ra | 5.77.168.192.in-addr.arpa. 5 PTR lonely.dockstack."},
			{local, "99.0.16.172.in-addr.arpa PTR", "NXDOMAIN aa ra / 16.172.in-addr.arpa. 1" + soaOf},
			{local, "10.0.16.172.in-addr.arpa A", "NOERROR aa ra / 16.172.in-addr.arpa. 1" + soaOf},
			{local, "0.16.172.in-addr.arpa PTR", "NOERROR aa ra / 16.172.in-addr.arpa. 1" + soaOf},
			{local, "16.172.in-addr.arpa SOA", "NOERROR aa ra | 16.172.in-addr.arpa. 1" + soaOf},
			{local, "16.172.in-addr.arpa NS", "NOERROR aa ra | 16.172.in-addr.arpa. 5 NS dockstack."},
			{local, "x.10.0.16.172.in-addr.arpa PTR", "NXDOMAIN aa ra / 16.172.in-addr.arpa. 1" + soaOf},
			{local, "01.0.16.172.in-addr.arpa PTR", "NXDOMAIN aa ra / 16.172.in-addr.arpa. 1" + soaOf},
			{local, "7.3.8.10.in-addr.arpa PTR", "NXDOMAIN aa ra / 3.8.10.in-addr.arpa. 1" + soaOf},
			{local, "7.16.8.10.in-addr.arpa PTR", "forwarded"},
			{local, "1.0.1.10.in-addr.arpa PTR", "NOERROR aa ra | 1.0.1.10.in-addr.arpa. 5 PTR tiny.dockstack."},
			{local, "0.0.1.10.in-addr.arpa PTR", "NOERROR aa ra / 0.0.1.10.in-addr.arpa. 1" + soaOf},
			{local, "2.0.1.10.in-addr.arpa PTR", "forwarded"},
			{local, "172.in-addr.arpa NS", "forwarded"},
			{local, "1.1.1.1.in-addr.arpa PTR", "forwarded"},
			{
				local, "6.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.1.0.0.0.0.d.f.ip6.arpa PTR",
				"NOERROR aa ra | 6.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.1.0.0.0.0.d.f.ip6.arpa. 5 PTR six.dockstack.",
			},
			{
				local, "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.1.0.0.0.0.d.f.ip6.arpa PTR",
				"NXDOMAIN aa ra / 0.0.0.0.0.0.0.0.6.1.0.0.0.0.d.f.ip6.arpa. 1" + soaOf,
			},
		},
		"the zone itself": {
			{local, "dockstack SOA", "NOERROR aa ra | dockstack. 1" + soaOf},
			{local, "dockstack NS", "NOERROR aa ra | dockstack. 5 NS dockstack."},
			{local, "dockstack A", "NOERROR aa ra | dockstack. 5 A 127.0.0.153"},
			{local, "dockstack AAAA", noData},
		},
		"what is not to be had": {
			{local, "db.dockstack ANY", `NOERROR aa ra | db.dockstack. 5 HINFO "RFC8482" ""`},
			{local, "nobody.dockstack ANY", noName},
			{local, "dockstack AXFR", "REFUSED"},
			{local, "dockstack IXFR", "REFUSED"},
			{local, "dockstack MAILB", "NOTIMP ra"},
		},
		"localhost": {
			{local, "localhost A", "NOERROR aa ra | localhost. 5 A 127.0.0.1"},
			{local, "x.localhost AAAA", "NOERROR aa ra | x.localhost. 5 AAAA ::1"},
			{local, "localhost MX", bareNone},
		},
		"strangers learn nothing": {
			{outsider, "db.dockstack A", "REFUSED"},
			{outsider, "www.example.com A", "REFUSED"},
			{outsider, "db.dockstack ANY", "REFUSED"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, Config{}, theNames())
			for _, tt := range tests {
				m := query1(t, tt.ask)
				if got := say(t, s, tt.client, m); got != tt.want {
					t.Errorf("%s from %s:\n got %s\nwant %s", tt.ask, tt.client, got, tt.want)
				}
			}
		})
	}
}

func TestZoneOfSeveralLabels(t *testing.T) {
	s := newServer(t, Config{Zone: "Endor.Lab."}, theNames())
	soa := " SOA endor.lab. hostmaster.endor.lab. 7 60 10 86400 1"
	for ask, want := range map[string]string{
		"db.endor.lab A":               "NOERROR aa ra | db.endor.lab. 5 A 172.16.0.10",
		"db.internal.endor.lab A":      "NOERROR aa ra | db.internal.endor.lab. 5 A 172.16.0.10",
		"nobody.endor.lab A":           "NXDOMAIN aa ra / endor.lab. 1" + soa,
		"endor.lab SOA":                "NOERROR aa ra | endor.lab. 1" + soa,
		"vendor.lab A":                 "forwarded",
		"lab A":                        "NXDOMAIN aa ra / . 1" + soa,
		"10.0.16.172.in-addr.arpa PTR": "NOERROR aa ra | 10.0.16.172.in-addr.arpa. 5 PTR db.endor.lab.",
	} {
		if got := say(t, s, local, query1(t, ask)); got != want {
			t.Errorf("%s:\n got %s\nwant %s", ask, got, want)
		}
	}
}

func TestContainerCalledLikeTheZone(t *testing.T) {
	s := newServer(t, Config{}, hosts("dockstack internal 172.16.0.3/16"))
	for _, ask := range []string{"dockstack A", "dockstack.dockstack A"} {
		if got := say(t, s, local, query1(t, ask)); !strings.HasSuffix(got, " 5 A 172.16.0.3") {
			t.Errorf("%s: %s", ask, got)
		}
	}
}

func TestSeveralAddressesTakeTurns(t *testing.T) {
	s := newServer(t, Config{}, theNames())
	m := query1(t, "many.dockstack A")
	for id, want := range map[uint16]string{
		0: "10.8.0.1 10.9.0.1 172.16.1.1",
		1: "10.9.0.1 172.16.1.1 10.8.0.1",
		2: "172.16.1.1 10.8.0.1 10.9.0.1",
	} {
		m.Id = id
		got := say(t, s, local, m)
		var addrs []string
		for part := range strings.SplitSeq(got, " | ") {
			if _, a, ok := strings.Cut(part, " A "); ok {
				addrs = append(addrs, a)
			}
		}
		if strings.Join(addrs, " ") != want {
			t.Errorf("ID %d: %s, want %s", id, got, want)
		}
	}
}

func TestOtherOpcodesClassesAndCounts(t *testing.T) {
	s := newServer(t, Config{}, theNames())
	for name, tt := range map[string]struct {
		change func(*dns.Msg)
		want   string
	}{
		"chaos":           {func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }, "REFUSED"},
		"any class":       {func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassANY }, "REFUSED"},
		"update":          {func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }, "NOTIMP ra"},
		"notify":          {func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }, "NOTIMP ra"},
		"status":          {func(m *dns.Msg) { m.Opcode = dns.OpcodeStatus }, "NOTIMP ra"},
		"two questions":   {func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }, "FORMERR ra"},
		"no question":     {func(m *dns.Msg) { m.Question = nil }, "FORMERR ra"},
		"an answer":       {func(m *dns.Msg) { m.Response = true }, "silence"},
		"EDNS 1":          {func(m *dns.Msg) { m.SetEdns0(4096, false).IsEdns0().SetVersion(1) }, "BADVERS ra"},
		"EDNS twice":      {func(m *dns.Msg) { m.SetEdns0(4096, false).SetEdns0(4096, true) }, "FORMERR ra"},
		"no recursion":    {func(m *dns.Msg) { m.Question[0].Name, m.RecursionDesired = "www.example.com.", false }, "REFUSED"},
		"ours, without":   {func(m *dns.Msg) { m.RecursionDesired = false }, "NOERROR aa ra | db.dockstack. 5 A 172.16.0.10"},
		"checking is off": {func(m *dns.Msg) { m.CheckingDisabled = true }, "NOERROR aa ra | db.dockstack. 5 A 172.16.0.10"},
	} {
		t.Run(name, func(t *testing.T) {
			m := query1(t, "db.dockstack A")
			tt.change(m)
			if got := say(t, s, local, m); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestNamesThatAreNotReadYet(t *testing.T) {
	s := newServer(t, Config{}, nil)
	for ask, want := range map[string]string{
		"db.dockstack A":               "SERVFAIL ra",
		"db A":                         "SERVFAIL ra",
		`a\.b.dockstack A`:             "SERVFAIL ra",
		"10.0.16.172.in-addr.arpa PTR": "SERVFAIL ra",
		"1.1.1.1.in-addr.arpa PTR":     "forwarded",
		"www.example.com A":            "forwarded",
	} {
		if got := say(t, s, local, query1(t, ask)); got != want {
			t.Errorf("%s: got %s, want %s", ask, got, want)
		}
	}
	_, addr := serve(t, Config{}, nil)
	m := query1(t, "db.dockstack A")
	m.SetEdns0(1232, false)
	if r := ask(t, "udp", addr, m); !strings.Contains(r.String(), "the names are not read yet") {
		t.Errorf("no reason in %v", r)
	}
}
