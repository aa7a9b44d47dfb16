package dnsd

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"pgregory.net/rapid"
)

// The answers in our zone must be those that anybody who has a copy of the zone
// would give by the book (RFC 1034, 4.3.2, and RFC 4592). Here is that book, in
// its plainest form, and names made at random.

// zoneModel is a zone's records by name and type.
type zoneModel map[string]map[string][]string

// modelOf transfers s's zone.
func modelOf(t fataler, s *Server) zoneModel {
	model := zoneModel{}
	x := &transfer{
		s: s, q: &query{local: netip.MustParseAddr("127.0.0.153"), stream: true}, req: axfr(s.zone.name),
		l: s.lookup(), seen: map[string]struct{}{},
		send: func(packed []byte) error {
			for _, rr := range unpack(t, packed).Answer {
				name, kind := strings.TrimSuffix(rr.Header().Name, "."), dns.Type(rr.Header().Rrtype).String()
				if model[name] == nil {
					model[name] = map[string][]string{}
				}
				_, data, _ := strings.Cut(rr.String(), "\t"+kind+"\t")
				if !slices.Contains(model[name][kind], data) {
					model[name][kind] = append(model[name][kind], data)
				}
			}
			return nil
		},
	}
	x.name = s.zone.name
	if _, ok := x.find(); !ok {
		t.Fatalf("our own zone is none")
	}
	if err := x.run(); err != nil {
		t.Fatalf("transfer: %v", err)
	}
	return model
}

// exists tells whether the name has records, or others below it have.
func (z zoneModel) exists(name string) bool {
	for n := range z {
		if n == name || strings.HasSuffix(n, "."+name) {
			return true
		}
	}
	return false
}

// answer is what the book says, as brief says it, without TTLs.
func (z zoneModel) answer(name, kind string) string {
	var said []string
	for range maxAliases {
		sets := z[name]
		if !z.exists(name) {
			_, above, _ := strings.Cut(name, ".")
			for !z.exists(above) {
				_, above, _ = strings.Cut(above, ".")
			}
			if sets = z["*."+above]; sets == nil {
				slices.Sort(said)
				return "NXDOMAIN " + strings.Join(said, " | ")
			}
		}
		alias := sets["CNAME"]
		if alias == nil || kind == "CNAME" {
			for _, data := range sets[kind] {
				said = append(said, name+" "+kind+" "+data)
			}
			break
		}
		said = append(said, name+" CNAME "+alias[0])
		name = strings.TrimSuffix(alias[0], ".")
	}
	slices.Sort(said)
	return "NOERROR " + strings.Join(said, " | ")
}

// given is what s answers, in the same form.
func given(t fataler, s *Server, name, kind string) string {
	m := new(dns.Msg).SetQuestion(name+".", dns.StringToType[kind])
	packet, err := m.Pack()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	buf := make([]byte, dns.MaxMsgSize)
	n, fwd := s.generic(buf, packet, &query{client: netip.MustParseAddrPort("127.0.0.1:4242"), local: netip.MustParseAddr("127.0.0.153"), stream: true})
	if fwd != nil {
		return "forwarded"
	}
	r := unpack(t, buf[:n])
	var said []string
	for _, rr := range r.Answer {
		kind := dns.Type(rr.Header().Rrtype).String()
		_, data, _ := strings.Cut(rr.String(), "\t"+kind+"\t")
		said = append(said, strings.TrimSuffix(rr.Header().Name, ".")+" "+kind+" "+data)
	}
	slices.Sort(said)
	return dns.RcodeToString[r.Rcode] + " " + strings.Join(said, " | ")
}

var (
	modelNames    = []string{"db", "a.b", "x_y", "x-y", "web.one", "apps", "b", "Big_Name", "one.two.three"}
	modelNetworks = []string{"n", "net.a", "n_1", "b"}
	modelServices = []string{"web", "b.web", "s_v", "db", "apps", "own"}
	modelOwners   = []string{"*.apps", "*", "*.b", "*.own", "nas", "own.apps", "deep.er.apps", "db", "web", "_9._tcp.nas", "_80._tcp.db", "x-y", "to"}
)

// modelTable makes containers, services and records at random.
func modelTable(t *rapid.T) *table {
	var list []Host
	for i, name := range rapid.SliceOfNDistinct(rapid.SampledFrom(modelNames), 0, 5, rapid.ID).Draw(t, "containers") {
		for j, network := range rapid.SliceOfNDistinct(rapid.SampledFrom(modelNetworks), 1, 2, rapid.ID).Draw(t, "networks") {
			list = append(list, host(fmt.Sprintf("%s %s 10.%d.0.%d/24", name, network, 20+slices.Index(modelNetworks, network), 10*i+j+2)))
		}
	}
	names := newTable(list...)
	names.service("none")
	names.services = nil
	delete(names.byService, "none")
	if len(list) > 0 {
		for _, service := range rapid.SliceOfNDistinct(rapid.SampledFrom(modelServices), 0, 3, rapid.ID).Draw(t, "services") {
			names.services = append(names.services, service)
			for _, h := range rapid.SliceOfNDistinct(rapid.SampledFrom(list), 1, 3, func(h Host) netip.Addr { return h.Addr }).Draw(t, "replicas") {
				h.Out = rapid.IntRange(0, 3).Draw(t, "out") == 0
				names.byService[service] = append(names.byService[service], h)
				if label := Label(service); label != service {
					names.byService[label] = append(names.byService[label], h)
				}
			}
		}
		for _, h := range list {
			if rapid.Bool().Draw(t, "ports") {
				names.ports[h.Name] = []Port{{80, "tcp"}, {53, "udp"}}
			}
		}
	}
	for _, owner := range rapid.SliceOfNDistinct(rapid.SampledFrom(modelOwners), 0, 5, rapid.ID).Draw(t, "records") {
		switch full := owner + ".dockstack "; rapid.IntRange(0, 3).Draw(t, "type") {
		case 0:
			names.declare(full + "A 192.0.2.1")
		case 1:
			names.declare(full+"A 192.0.2.1", full+"A 192.0.2.2", full+"TXT note")
		case 2:
			names.declare(full + "TXT note")
		default:
			names.declare(full + "CNAME " + rapid.SampledFrom([]string{"nas", "db", "web", "nobody"}).Draw(t, "target") + ".dockstack.")
		}
	}
	return names
}

func TestAnswersFollowFromTheZone(t *testing.T) {
	parts := slices.Concat(modelNames, modelNetworks, modelServices, modelOwners, []string{"_tcp", "_80._tcp", "_53._udp", "n-1", "s-v", "nobody", "a", "two", "er", "big-name"})
	rapid.Check(t, func(t *rapid.T) {
		s, err := New(Config{Forwarders: func() []netip.AddrPort { return nil }}, nil, discard())
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		names := modelTable(t)
		s.names = func() Names { return names }
		model := modelOf(t, s)
		for range 30 {
			name := strings.ToLower(strings.Join(rapid.SliceOfN(rapid.SampledFrom(parts), 1, 3).Draw(t, "name"), "."))
			name += ".dockstack"
			if _, known := model[name]; !known && strings.Contains(strings.NewReplacer("_tcp", "", "_udp", "", "_80", "", "_53", "", "_9", "").Replace(name), "_") {
				continue // underscores stand for hyphens also, which no zone says
			}
			kind := rapid.SampledFrom([]string{"A", "AAAA", "TXT", "SRV", "CNAME", "MX"}).Draw(t, "type")
			want := model.answer(name, kind)
			got := given(t, s, name, kind)
			if got != want && !strings.HasPrefix(got, "SERVFAIL") { // CNAMEs in a circle
				t.Fatalf("%s %s:\n we say %s\nthe zone %s", name, kind, got, want)
			}
		}
	})
}
