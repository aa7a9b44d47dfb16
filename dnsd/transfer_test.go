package dnsd

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// here is this host as a secondary.
var here = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53")}

// fetch transfers a zone and returns its records in one line each, without
// TTLs, and in how many messages they came.
func fetch(t *testing.T, server netip.AddrPort, m *dns.Msg) (records []string, messages int) {
	t.Helper()
	tr := dns.Transfer{DialTimeout: time.Minute, ReadTimeout: time.Minute}
	parts, err := tr.In(m, server.String())
	if err != nil {
		t.Fatal(err)
	}
	for part := range parts {
		if part.Error != nil {
			t.Fatalf("%v: %v", m.Question, part.Error)
		}
		messages++
		for _, rr := range part.RR {
			f := strings.Fields(rr.String())
			records = append(records, f[0]+" "+strings.Join(f[3:], " "))
		}
	}
	return records, messages
}

func axfr(zone string) *dns.Msg { return new(dns.Msg).SetAxfr(zone + ".") }

func TestZoneTransfer(t *testing.T) {
	names := hosts("db internal 172.16.0.10/16", "web internal 172.16.0.11/16", "web front 10.9.0.11/24", "My_App - 172.16.0.20/16", "six internal fd00:16::6/64")
	names.service("api", "web internal 172.16.0.11/16", "out db internal 172.16.0.10/16")
	names.ports["web"] = []Port{{80, "tcp"}}
	names.declare("nas.dockstack A 172.16.9.1", "www.dockstack CNAME web.dockstack.", "*.apps.dockstack A 192.0.2.10", "db.dockstack TXT note", "else.example A 192.0.2.1", "dockstack MX 5 nas.dockstack.")
	_, addr := serve(t, Config{Secondaries: here}, names)
	soa := "SOA dockstack. hostmaster.dockstack. 7 60 10 86400 1"
	for zone, want := range map[string][]string{
		"dockstack": {
			"dockstack. NS dockstack.", "dockstack. MX 5 nas.dockstack.",
			"db.dockstack. A 172.16.0.10", `db.dockstack. TXT "note"`, "db.internal.dockstack. A 172.16.0.10",
			"web.dockstack. A 10.9.0.11", "web.dockstack. A 172.16.0.11", "web.internal.dockstack. A 172.16.0.11", "web.front.dockstack. A 10.9.0.11",
			"_80._tcp.web.dockstack. SRV 0 1 80 web.dockstack.", "_80._tcp.web.internal.dockstack. SRV 0 1 80 web.internal.dockstack.",
			"_80._tcp.web.front.dockstack. SRV 0 1 80 web.front.dockstack.",
			"my_app.dockstack. A 172.16.0.20", "my-app.dockstack. A 172.16.0.20",
			"six.dockstack. AAAA fd00:16::6", "six.internal.dockstack. AAAA fd00:16::6",
			"api.dockstack. A 172.16.0.11", "api.internal.dockstack. A 172.16.0.11",
			"_80._tcp.api.dockstack. SRV 0 1 80 web.dockstack.", "_80._tcp.api.internal.dockstack. SRV 0 1 80 web.internal.dockstack.",
			"nas.dockstack. A 172.16.9.1", "www.dockstack. CNAME web.dockstack.", "*.apps.dockstack. A 192.0.2.10",
		},
		"16.172.in-addr.arpa": {
			"16.172.in-addr.arpa. NS dockstack.",
			"10.0.16.172.in-addr.arpa. PTR db.dockstack.", "11.0.16.172.in-addr.arpa. PTR web.dockstack.",
			"20.0.16.172.in-addr.arpa. PTR my-app.dockstack.", "1.9.16.172.in-addr.arpa. PTR nas.dockstack.",
		},
		"3.8.10.in-addr.arpa": {"3.8.10.in-addr.arpa. NS dockstack."},
		"0.0.0.0.0.0.0.0.6.1.0.0.0.0.d.f.ip6.arpa": {
			"0.0.0.0.0.0.0.0.6.1.0.0.0.0.d.f.ip6.arpa. NS dockstack.",
			"6.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.1.0.0.0.0.d.f.ip6.arpa. PTR six.dockstack.",
		},
	} {
		got, _ := fetch(t, addr, axfr(zone))
		if len(got) < 2 || got[0] != zone+". "+soa || got[len(got)-1] != got[0] {
			t.Errorf("%s: not between SOA records: %q", zone, got)
			continue
		}
		got = got[1 : len(got)-1]
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n got %s\nwant %s", zone, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
		}
	}
}

// TestTransferAgreesWithAnswers asks for every record of a zone by itself.
func TestTransferAgreesWithAnswers(t *testing.T) {
	names := theStack()
	s, addr := serve(t, Config{Secondaries: here}, names)
	got, _ := fetch(t, addr, axfr("dockstack"))
	if len(got) < 40 {
		t.Fatalf("only %d records", len(got))
	}
	sets := map[string][]string{}
	for _, rr := range got[1 : len(got)-1] {
		f := strings.SplitN(rr, " ", 3)
		sets[f[0]+" "+f[1]] = append(sets[f[0]+" "+f[1]], rr)
	}
	for question, want := range sets {
		name, qtype, _ := strings.Cut(question, " ")
		m := new(dns.Msg).SetQuestion(name, dns.StringToType[qtype])
		r := ask(t, "tcp", addr, m)
		var have []string
		for _, rr := range r.Answer {
			f := strings.Fields(rr.String())
			have = append(have, f[0]+" "+strings.Join(f[3:], " "))
		}
		slices.Sort(have)
		slices.Sort(want)
		if !slices.Equal(have, want) {
			t.Errorf("%s: the zone has %q, the answer %q", question, want, have)
		}
	}
	if n := s.Stats().Transfers; n != 1 {
		t.Errorf("%d transfers counted", n)
	}
}

func TestLargeZoneTakesSeveralMessages(t *testing.T) {
	_, addr := serve(t, Config{Secondaries: here}, newTable(manyNames(5000)...))
	got, messages := fetch(t, addr, axfr("dockstack"))
	if want := 2*5000 + 3; len(got) != want || messages < 5 {
		t.Errorf("%d records in %d messages, want %d in several", len(got), messages, want)
	}
}

func TestWhoMayTransfer(t *testing.T) {
	serial := func(n uint32) *dns.Msg { return new(dns.Msg).SetIxfr("dockstack.", n, "dockstack.", "h.dockstack.") }
	for name, tt := range map[string]struct {
		secondaries []netip.AddrPort
		network     string
		m           *dns.Msg
		want        string
		records     int
	}{
		"nobody is named":      {nil, "tcp", axfr("dockstack"), "REFUSED", 0},
		"another is named":     {[]netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53")}, "tcp", axfr("dockstack"), "REFUSED", 0},
		"over UDP":             {here, "udp", axfr("dockstack"), "REFUSED", 0},
		"not our zone":         {here, "tcp", axfr("example.com"), "NOTAUTH", 0},
		"below our zone":       {here, "tcp", axfr("db.dockstack"), "NOTAUTH", 0},
		"a foreign reverse":    {here, "tcp", axfr("1.10.in-addr.arpa"), "NOTAUTH", 0},
		"IXFR over UDP":        {here, "udp", serial(3), "NOERROR", 1},
		"IXFR, nothing is new": {here, "tcp", serial(7), "NOERROR", 1},
		"IXFR from beyond":     {here, "tcp", serial(8), "NOERROR", 1},
		"IXFR of strangers":    {nil, "tcp", serial(3), "REFUSED", 0},
	} {
		t.Run(name, func(t *testing.T) {
			_, addr := serve(t, Config{Secondaries: tt.secondaries}, hosts("db internal 172.16.0.10/16"))
			r := ask(t, tt.network, addr, tt.m)
			if got := dns.RcodeToString[r.Rcode]; got != tt.want || len(r.Answer) != tt.records {
				t.Errorf("got %s with %d records, want %s with %d", got, len(r.Answer), tt.want, tt.records)
			}
		})
	}
	_, addr := serve(t, Config{Secondaries: here}, hosts("db internal 172.16.0.10/16"))
	if got, _ := fetch(t, addr, serial(3)); len(got) != 5 {
		t.Errorf("IXFR from before gives %q", got)
	}
}

// A secondary may fetch the zones and ask about them, and nothing else.
func TestSecondaryIsNoClient(t *testing.T) {
	s := newServer(t, Config{
		Secondaries: []netip.AddrPort{netip.MustParseAddrPort(outsider + ":53")},
		Clients:     []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")},
	}, theNames())
	for client, want := range map[string][2]string{
		outsider:       {"NOERROR aa ra | db.dockstack. 5 A 172.16.0.10", "REFUSED"},
		"198.51.100.9": {"NOERROR aa ra | db.dockstack. 5 A 172.16.0.10", "forwarded"},
		"192.0.2.78":   {"REFUSED", "REFUSED"},
	} {
		for i, question := range []string{"db.dockstack A", "www.example.com A"} {
			if got := say(t, s, client, query1(t, question)); got != want[i] {
				t.Errorf("%s asks %s: %s, want %s", client, question, got, want[i])
			}
		}
	}
}

// FuzzStream feeds a connection of a secondary, which may ask for zones too.
func FuzzStream(f *testing.F) {
	frame := func(m *dns.Msg) []byte {
		packed, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		return append([]byte{byte(len(packed) >> 8), byte(len(packed))}, packed...)
	}
	for _, m := range []*dns.Msg{
		axfr("dockstack"), axfr("16.172.in-addr.arpa"), axfr("example"), new(dns.Msg).SetIxfr("dockstack.", 3, "a.", "b."),
		new(dns.Msg).SetQuestion("web.dockstack.", dns.TypeSRV), new(dns.Msg).SetNotify("dockstack."),
	} {
		f.Add(frame(m))
		f.Add(append(frame(m), frame(m)...))
		f.Add(frame(m.SetEdns0(1232, true)))
	}
	f.Add([]byte{0, 1, 0})
	end := new(dns.Msg).SetQuestion("db.dockstack.", dns.TypeA)
	end.Id = 0xbeef
	last := frame(end)
	s := newServer(f, Config{Secondaries: here, TCPIdle: time.Second}, theStack())
	f.Fuzz(func(t *testing.T, data []byte) {
		ours, theirs := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.serveConn(ours, &query{client: netip.MustParseAddrPort("127.0.0.1:4242"), local: netip.MustParseAddr("127.0.0.153"), stream: true})
		}()
		go func() {
			_, _ = theirs.Write(append(slices.Clip(data), last...))
			// What ends in the middle of a query has swallowed the last one.
			_ = theirs.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
		}()
		for {
			var size [2]byte
			if _, err := io.ReadFull(theirs, size[:]); err != nil {
				break
			}
			answer := make([]byte, int(size[0])<<8|int(size[1]))
			if _, err := io.ReadFull(theirs, answer); err != nil {
				break
			}
			m := unpack(t, answer)
			if !m.Response {
				t.Errorf("to %x the answer is a query", data)
			}
			if m.Id == 0xbeef {
				break
			}
		}
		_ = theirs.Close()
		<-done
	})
}

func TestNameservers(t *testing.T) {
	ip := netip.MustParseAddr
	servers := []Nameserver{
		{Name: "NS1.Endor.Lab.", Addrs: []netip.Addr{ip("192.0.2.1"), ip("2001:db8::1")}},
		{Name: "ns.deep.endor.lab", Addrs: []netip.Addr{ip("192.0.2.2")}},
		{Name: "ns.example", Addrs: []netip.Addr{ip("192.0.2.3")}},
	}
	s := newServer(t, Config{Zone: "endor.lab", Nameservers: servers}, theNames())
	soa := " SOA ns1.endor.lab. hostmaster.endor.lab. 7 60 10 86400 1"
	ns := func(zone string) string {
		return "NOERROR aa ra | " + zone + " 300 NS ns1.endor.lab. | " + zone + " 300 NS ns.deep.endor.lab. | " + zone + " 300 NS ns.example."
	}
	for question, want := range map[string]string{
		"endor.lab NS":           ns("endor.lab."),
		"16.172.in-addr.arpa NS": ns("16.172.in-addr.arpa."),
		"endor.lab SOA":          "NOERROR aa ra | endor.lab. 1" + soa,
		"nobody.endor.lab A":     "NXDOMAIN aa ra / endor.lab. 1" + soa,
		"ns1.endor.lab A":        "NOERROR aa ra | ns1.endor.lab. 300 A 192.0.2.1",
		"ns1.endor.lab AAAA":     "NOERROR aa ra | ns1.endor.lab. 300 AAAA 2001:db8::1",
		"ns1.endor.lab TXT":      "NOERROR aa ra / endor.lab. 1" + soa,
		"deep.endor.lab A":       "NOERROR aa ra / endor.lab. 1" + soa,
		"ns.example A":           "forwarded",
	} {
		if got := say(t, s, local, query1(t, question)); got != want {
			t.Errorf("%s:\n got %s\nwant %s", question, got, want)
		}
	}
	e, err := s.Explain(t.Context(), Query{Name: "endor.lab", Type: dns.TypeNS})
	want := []string{"ns1.endor.lab. 300 IN A 192.0.2.1", "ns1.endor.lab. 300 IN AAAA 2001:db8::1", "ns.deep.endor.lab. 300 IN A 192.0.2.2"}
	if err != nil || !slices.Equal(e.Additional, want) {
		t.Errorf("glue %q, want %q (%v)", e.Additional, want, err)
	}
	for _, bad := range []string{"", "ns one.endor.lab", `a\.b.endor.lab`, strings.Repeat("x", 64) + ".lab"} {
		if _, err := New(Config{Nameservers: []Nameserver{{Name: bad}}}, nil, discard()); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
