package dnsd

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"

	"github.com/miekg/dns"
	"pgregory.net/rapid"
)

// bothWays answers packet the short way and the long way and returns both;
// short is nil when the short way leaves it over.
func bothWays(t fataler, s *Server, client netip.Addr, packet []byte) (short, long *dns.Msg) {
	local := netip.MustParseAddr("127.0.0.153")
	buf := make([]byte, maxUDP)
	n, _ := s.generic(buf, packet, &query{client: netip.AddrPortFrom(client, 4242), local: local})
	if n > 0 {
		long = unpack(t, buf[:n])
	}
	look := s.lookup()
	in := append(make([]byte, 0, maxUDP), packet...)
	if n := s.quick(look, in, client, local); n > 0 {
		short = unpack(t, in[:n])
	} else if !bytes.Equal(in, packet) {
		t.Fatalf("the short way left %x as %x", packet, in)
	}
	return short, long
}

type fataler interface{ Fatalf(string, ...any) }

func unpack(t fataler, packet []byte) *dns.Msg {
	m := new(dns.Msg)
	if err := m.Unpack(packet); err != nil {
		t.Fatalf("our own answer %x: %v", packet, err)
	}
	return m
}

// sameAnswer fails unless the short way's answer says what the long one says.
func sameAnswer(t fataler, packet []byte, short, long *dns.Msg) {
	if short == nil {
		return
	}
	if long == nil {
		t.Fatalf("only the short way answers %x:\n%v", packet, short)
		return
	}
	if short.String() != long.String() {
		t.Fatalf("answers to %x differ: the short way\n%v\nthe long way\n%v", packet, short, long)
	}
}

var questionTypes = []uint16{
	dns.TypeA, dns.TypeAAAA, dns.TypePTR, dns.TypeMX, dns.TypeTXT, dns.TypeSOA, dns.TypeNS,
	dns.TypeDS, dns.TypeSRV, dns.TypeCNAME, dns.TypeANY, dns.TypeAXFR, dns.TypeHTTPS, dns.TypeOPT, 0, 65280,
}

func TestShortWayAnswersAsTheLongOne(t *testing.T) {
	for name, live := range map[string]*table{"containers": theNames(), "a stack": theStack()} {
		t.Run(name, func(t *testing.T) { compareWays(t, live) })
	}
}

func compareWays(t *testing.T, live *table) {
	t.Helper()
	live.byName["crowd"] = crowd().byName["crowd"]
	cfg := Config{Nameservers: []Nameserver{{Name: "ns1.dockstack", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}}}
	s := newServer(t, cfg, live)
	// Names as they are, and bits of them put together at random.
	names := []string{
		"db", "DB", "web", "crowd", "many", "my_app", "my-app", "mariadb-main", "MariaDB_Main", "api.v1", "api-v1", "six",
		"nobody", "internal", "front", "dockstack", "DOCKSTACK", "localhost", "www.example.com", "",
		"10.0.16.172.in-addr.arpa", "99.0.16.172.in-addr.arpa", "16.172.in-addr.arpa", "11.0.9.10.IN-ADDR.arpa",
		"6.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.1.0.0.0.0.d.f.ip6.arpa", `a\.b`, `\000x`,
		"_80._tcp", "_tcp", "_5672._tcp", "_ldap._tcp", "_5432", "mq_x", "mq-x", "postgres", "sick", "ill", "noted", "shown", "nas", "files", "www",
		"ext", "dead", "round", "apps", "own", "er", "deep", "*", "to", "ns1", "intra.corp.example", "any.lab.example", "below.x.lab.example",
		"1.9.16.172.in-addr.arpa", "7.100.51.198.in-addr.arpa", "1.9.17.172.in-addr.arpa",
	}
	short := 0
	rapid.Check(t, func(t *rapid.T) {
		name := ""
		for _, part := range rapid.SliceOfN(rapid.SampledFrom(names), 1, 3).Draw(t, "parts") {
			if part != "" {
				name += part + "."
			}
		}
		m := new(dns.Msg).SetQuestion(dns.Fqdn(name), rapid.SampledFrom(questionTypes).Draw(t, "type"))
		m.Id = rapid.Uint16().Draw(t, "id")
		m.RecursionDesired = rapid.Bool().Draw(t, "rd")
		m.CheckingDisabled = rapid.Bool().Draw(t, "cd")
		m.AuthenticatedData = rapid.Bool().Draw(t, "ad")
		if rapid.Bool().Draw(t, "edns") {
			m.SetEdns0(rapid.Uint16().Draw(t, "size"), rapid.Bool().Draw(t, "do"))
			if rapid.IntRange(0, 9).Draw(t, "version") == 0 {
				m.IsEdns0().SetVersion(1)
			}
		}
		packet, err := m.Pack()
		if err != nil {
			return // longer than a name may be
		}
		client := netip.MustParseAddr(rapid.SampledFrom([]string{local, inside, inside6, inFront, outsider}).Draw(t, "client"))
		quick, long := bothWays(t, s, client, packet)
		if quick != nil {
			short++
		}
		sameAnswer(t, packet, quick, long)
	})
	if short == 0 {
		t.Error("no query took the short way, so nothing was compared")
	}
}

// TestShortWayIsTaken holds the queries that speed is about to it.
func TestShortWayIsTaken(t *testing.T) {
	s := newServer(t, Config{}, theNames())
	for _, ask := range []string{
		"db.dockstack A", "DB A", "db.dockstack AAAA", "nobody.dockstack A", "nobody A",
		"my_app.internal.dockstack A", "10.0.16.172.in-addr.arpa PTR", "99.0.16.172.in-addr.arpa PTR",
	} {
		m := query1(t, ask)
		for range 2 {
			packet, err := m.Pack()
			if err != nil {
				t.Fatal(err)
			}
			short, long := bothWays(t, s, netip.MustParseAddr(local), packet)
			if short == nil {
				t.Errorf("%s (EDNS %v) takes the long way", ask, m.IsEdns0() != nil)
			}
			sameAnswer(t, packet, short, long)
			m.SetEdns0(4096, true)
		}
	}
}

// A plain query for an address leaves nothing to the garbage collector.
func TestPlainQueriesAllocateNothing(t *testing.T) {
	s := newServer(t, Config{}, theStack())
	look := s.lookup()
	client := netip.MustParseAddr(inside)
	for _, ask := range []string{"db.dockstack A", "db.internal.dockstack A", "web.dockstack A", "nas.dockstack A", "x.apps.dockstack A", "nobody.dockstack A", "db A", "nas A"} {
		packet, err := query1(t, ask).Pack()
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, len(packet), maxUDP)
		if n := testing.AllocsPerRun(100, func() {
			copy(buf, packet)
			if s.quick(look, buf, client, client) == 0 {
				t.Errorf("%s has no quick answer", ask)
			}
		}); n != 0 {
			t.Errorf("%s allocates %v times", ask, n)
		}
	}
}

func FuzzQuery(f *testing.F) {
	live := theStack()
	live.byName["crowd"] = crowd().byName["crowd"]
	s := newServer(f, Config{}, live)
	for _, ask := range []string{
		"db.dockstack A", "web AAAA", "crowd A", ". NS", "www.example.com A", "10.0.16.172.in-addr.arpa PTR", "db ANY",
		"_80._tcp.web.dockstack SRV", "files.dockstack A", "ext.dockstack A", "x.y.apps.dockstack A", "1.9.16.172.in-addr.arpa PTR", "any.lab.example AAAA",
	} {
		name, qtype, _ := cutQuestion(ask)
		m := new(dns.Msg).SetQuestion(name, qtype)
		for range 2 {
			packet, err := m.Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(packet, false)
			m.SetEdns0(1400, true)
			m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0011223344556677"}}
		}
	}
	f.Add([]byte{}, true)
	f.Add(slices.Repeat([]byte{0xff}, 40), false)
	f.Fuzz(func(t *testing.T, packet []byte, inPool bool) {
		client := netip.MustParseAddr(local)
		if inPool {
			client = netip.MustParseAddr(inside)
		}
		if len(packet) > maxUDP {
			return
		}
		short, long := bothWays(t, s, client, packet)
		sameAnswer(t, packet, short, long)
		if long != nil && !long.Response {
			t.Fatalf("the answer to %x is a query", packet)
		}
	})
}

func cutQuestion(text string) (string, uint16, bool) {
	for i := range text {
		if text[i] == ' ' {
			return dns.Fqdn(text[:i]), dns.StringToType[text[i+1:]], true
		}
	}
	return "", 0, false
}

func FuzzReverseName(f *testing.F) {
	for _, name := range []string{"10.0.16.172.in-addr.arpa", "x.1.in-addr.arpa", ".in-addr.arpa", "6.d.f.ip6.arpa", "300.1.in-addr.arpa"} {
		f.Add(name)
	}
	s := newServer(f, Config{}, theNames())
	f.Fuzz(func(t *testing.T, name string) {
		if len(name) > 250 || !isReverse(name) {
			return
		}
		v := s.lookup().decide(&question{name: name, qtype: dns.TypePTR, client: netip.MustParseAddr(local)})
		if v.owner < 0 || v.owner > len(name) || v.kind != kindForward && v.owner > 0 && name[v.owner-1] != '.' {
			t.Fatalf("%q: %+v", name, v)
		}
	})
}

func FuzzResolvConf(f *testing.F) {
	f.Add([]byte("nameserver 192.0.2.1\nsearch x\nnameserver ::1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, s := range parseResolvConf(text) {
			if !s.IsValid() || s.Addr().IsUnspecified() {
				t.Fatalf("%q gives %s", text, s)
			}
		}
	})
}
