package dnsd

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// table is Names as a map.
type table struct {
	byName, byLabel map[string][]Host
	byAddr          map[netip.Addr]Host
	networks        map[string]bool
	serial          uint32

	below     map[string][]Host // by what stands behind a dot in the name
	byService map[string][]Host // by name and label
	services  []string
	ports     map[string][]Port // by container
	records   map[string][]Record
	machine   string
}

func (t *table) ByName(to []Host, name string) []Host {
	return append(to, t.byName[strings.ToLower(name)]...)
}
func (t *table) ByLabel(to []Host, label string) []Host  { return append(to, t.byLabel[label]...) }
func (t *table) ByService(to []Host, name string) []Host { return append(to, t.byService[name]...) }
func (t *table) Below(to []Host, name string) []Host {
	to = append(to, t.below[name]...)
	for _, s := range t.services {
		if strings.HasSuffix(s, "."+name) {
			to = append(to, t.byService[s]...)
		}
	}
	return to
}
func (t *table) Machine(Host) string          { return t.machine }
func (t *table) Ports(h Host) []Port          { return t.ports[h.Name] }
func (t *table) Records(name string) []Record { return t.records[name] }
func (t *table) RecordsFor(addr netip.Addr) []Record {
	var found []Record
	for _, name := range slices.Sorted(maps.Keys(t.records)) {
		for _, r := range t.records[name] {
			a, err := netip.ParseAddr(r.Data)
			if err == nil && a == addr && !strings.HasPrefix(name, "*") {
				found = append(found, r)
			}
		}
	}
	return found
}

func (t *table) HasRecordsBelow(name string) bool {
	for n := range t.records {
		if strings.HasSuffix(n, "."+name) {
			return true
		}
	}
	return false
}

func (t *table) All(yield func(Host) bool) {
	for _, h := range t.byAddr {
		if !yield(h) {
			return
		}
	}
}

func (t *table) AllServices(yield func(string) bool) {
	for _, s := range t.services {
		if !yield(s) {
			return
		}
	}
}

func (t *table) AllRecords(yield func(Record) bool) {
	for _, list := range t.records {
		for _, r := range list {
			if !yield(r) {
				return
			}
		}
	}
}
func (t *table) HasNetwork(network string) bool      { return t.networks[strings.ToLower(network)] }
func (t *table) Serial() uint32                      { return t.serial }
func (t *table) ByAddr(addr netip.Addr) (Host, bool) { h, ok := t.byAddr[addr]; return h, ok }

func newTable(hosts ...Host) *table {
	t := &table{
		byName: map[string][]Host{}, byLabel: map[string][]Host{},
		byAddr: map[netip.Addr]Host{}, networks: map[string]bool{}, serial: 7, below: map[string][]Host{},
	}
	for _, h := range hosts {
		name := strings.ToLower(h.Name)
		t.byName[name] = append(t.byName[name], h)
		if label := Label(h.Name); label != name {
			t.byLabel[label] = append(t.byLabel[label], h)
		}
		for _, end, _ := strings.Cut(name, "."); end != ""; _, end, _ = strings.Cut(end, ".") {
			t.below[end] = append(t.below[end], h)
		}
		t.byAddr[h.Addr] = h
		for _, n := range []string{h.Network, h.Overlay} {
			if n != "" {
				for n = strings.ToLower(n); n != ""; _, n, _ = strings.Cut(n, ".") {
					t.networks[n], t.networks[Label(n)] = true, true
				}
			}
		}
	}
	return t
}

// host makes a Host of "name network address/bits".
func host(text string) Host {
	var h Host
	var prefix string
	if _, err := fmt.Sscan(text, &h.Name, &h.Network, &prefix); err != nil {
		panic(text + ": " + err.Error())
	}
	p := netip.MustParsePrefix(prefix)
	h.Addr, h.Pool = p.Addr(), p.Masked()
	if h.Network == "-" {
		h.Network = ""
	}
	return h
}

func hosts(lines ...string) *table {
	list := make([]Host, len(lines))
	for i, l := range lines {
		list[i] = host(l)
	}
	return newTable(list...)
}

// theNames is who lives in most tests.
func theNames() *table {
	return hosts(
		"db internal 172.16.0.10/16",
		"web internal 172.16.0.11/16",
		"web internal fd00:16::11/64",
		"web front 10.9.0.11/24",
		"my_app internal 172.16.0.20/16",
		"my-app internal 172.16.0.21/16",
		"MariaDB_Main internal 172.16.0.30/16",
		"api.v1 internal 172.16.0.40/16",
		"six internal fd00:16::6/64",
		"lonely - 192.168.77.5/24",
		"many internal 172.16.1.1/16",
		"many front 10.9.0.1/24",
		"many back 10.8.0.1/24",
		"tiny p2p 10.1.0.1/31",
	)
}

var thePools = []netip.Prefix{
	netip.MustParsePrefix("172.16.0.0/16"), netip.MustParsePrefix("fd00:16::/64"),
	netip.MustParsePrefix("10.9.0.0/24"), netip.MustParsePrefix("10.8.0.0/20"),
	netip.MustParsePrefix("10.1.0.0/31"),
}

// discard is a log that nobody reads.
func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// newServer makes a server of names that listens nowhere, with no resolvers
// unless cfg has some.
func newServer(tb testing.TB, cfg Config, names Names) *Server {
	tb.Helper()
	if cfg.Forwarders == nil {
		cfg.Forwarders = func() []netip.AddrPort { return nil }
	}
	s, err := New(cfg, func() Names { return names }, discard())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	s.SetServed(thePools)
	return s
}

// serve makes a server that listens on a port of 127.0.0.1.
func serve(tb testing.TB, cfg Config, names Names) (*Server, netip.AddrPort) {
	tb.Helper()
	s := newServer(tb, cfg, names)
	if err := s.SetListeners([]netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}); err != nil {
		tb.Fatal(err)
	}
	return s, s.Listeners()[0].Addr
}

// ask sends one query over network and returns the answer.
func ask(tb testing.TB, network string, server netip.AddrPort, m *dns.Msg) *dns.Msg {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	c := dns.Client{Net: network, Timeout: time.Minute, UDPSize: 4096}
	answer, _, err := c.ExchangeContext(ctx, m, server.String())
	if err != nil {
		tb.Fatalf("%s query %v: %v", network, m.Question, err)
	}
	return answer
}

// query1 is a query for one name and type: "db.dockstack A".
func query1(tb testing.TB, text string) *dns.Msg {
	tb.Helper()
	name, qtype, ok := strings.Cut(text, " ")
	if !ok || dns.StringToType[qtype] == 0 {
		tb.Fatalf("%q is no \"name TYPE\"", text)
	}
	return new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.StringToType[qtype])
}

// say answers m as from client, without a socket, in the way that a test can
// compare: "NOERROR aa: db. A 172.16.0.10".
func say(tb testing.TB, s *Server, client string, m *dns.Msg) string {
	tb.Helper()
	packet, err := m.Pack()
	if err != nil {
		tb.Fatal(err)
	}
	q := query{
		client: netip.AddrPortFrom(netip.MustParseAddr(client), 4242),
		local:  netip.MustParseAddr("127.0.0.153"),
	}
	buf := make([]byte, maxUDP)
	n, fwd := s.generic(buf, packet, &q)
	if fwd != nil {
		return "forwarded"
	}
	if n == 0 {
		return "silence"
	}
	var answer dns.Msg
	if err := answer.Unpack(buf[:n]); err != nil {
		tb.Fatalf("answer to %v: %v", m.Question, err)
	}
	if answer.Id != m.Id {
		tb.Errorf("answer has ID %d, want %d", answer.Id, m.Id)
	}
	return brief(&answer)
}

// brief is m in one line.
func brief(m *dns.Msg) string {
	var b strings.Builder
	if m.Rcode == dns.RcodeBadVers {
		b.WriteString("BADVERS") // the table has another meaning of 16
	} else {
		b.WriteString(dns.RcodeToString[m.Rcode])
	}
	for _, f := range []struct {
		name string
		set  bool
	}{{"aa", m.Authoritative}, {"tc", m.Truncated}, {"ra", m.RecursionAvailable}} {
		if f.set {
			b.WriteString(" " + f.name)
		}
	}
	for i, section := range [][]dns.RR{m.Answer, m.Ns} {
		for _, rr := range section {
			fields := strings.Fields(rr.String())
			if i == 0 {
				b.WriteString(" | ")
			} else {
				b.WriteString(" / ")
			}
			b.WriteString(strings.Join(slices.Delete(fields, 2, 3), " "))
		}
	}
	return b.String()
}
