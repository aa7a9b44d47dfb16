package records

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/kvtest"
)

const zone = "endor.lab"

func open(t *testing.T, local *kvtest.Memory, store kv.Store, live ...string) *Records {
	t.Helper()
	r, err := Open(t.Context(), local, Config{Zone: zone, Store: store, Log: slog.New(slog.DiscardHandler), Live: func(name string) string {
		if slices.Contains(live, name) {
			return "container " + strings.TrimSuffix(name, "."+zone)
		}
		return ""
	}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// parse is a record of a text, "NAME TYPE DATA".
func parse(text string) Record {
	fields := strings.SplitN(text, " ", 3)
	return Record{Name: fields[0], Type: dns.StringToType[fields[1]], Data: fields[2]}
}

func (r *Records) must(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if _, err := r.Add(t.Context(), parse(text)); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
}

func texts(all []Record) []string {
	out := make([]string, len(all))
	for i, r := range all {
		out[i] = strings.Replace(r.String(), ". ", " ", 1)
	}
	return out
}

func (r *Records) has(t *testing.T, want ...string) {
	t.Helper()
	if got := texts(r.List()); !slices.Equal(got, want) {
		t.Errorf("the records are\n%s, want\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestWhatOperatorsWrite(t *testing.T) {
	tests := []struct {
		in   string
		want string // of an error: a part of it
	}{
		{"nas A 192.0.2.10", "nas.endor.lab A 192.0.2.10"},
		{"NAS.Endor.LAB. A  192.0.2.10 ", "nas.endor.lab A 192.0.2.10"},
		{"nas.other.example AAAA 2001:DB8::0:10", "nas.other.example AAAA 2001:db8::10"},
		{"*.apps A 192.0.2.10", "*.apps.endor.lab A 192.0.2.10"},
		{"*.apps.endor.lab CNAME proxy", "*.apps.endor.lab CNAME proxy.endor.lab."},
		{"* A 192.0.2.10", "*.endor.lab A 192.0.2.10"},
		{"@ A 192.0.2.10", "endor.lab A 192.0.2.10"},
		{"www CNAME Web.Example.org", "www.endor.lab CNAME web.example.org."},
		{"_amqp._tcp.rabbit SRV 0 10 5672 rabbitmq", "_amqp._tcp.rabbit.endor.lab SRV 0 10 5672 rabbitmq.endor.lab."},
		{"_amqp._tcp SRV 0 10 5672 rabbitmq.endor.lab.", "_amqp._tcp.endor.lab SRV 0 10 5672 rabbitmq.endor.lab."},
		{"_amqp._tcp SRV 0 0 0 .", "_amqp._tcp.endor.lab SRV 0 0 0 ."},
		{"note TXT v=spf1 -all", `note.endor.lab TXT "v=spf1 -all"`},
		{`note TXT "a b" "c"`, `note.endor.lab TXT "a b" "c"`},
		{`note TXT say "hi"; \o/`, `note.endor.lab TXT "say \"hi\"; \\o/"`},
		{"192.0.2.10 PTR nas", "10.2.0.192.in-addr.arpa PTR nas.endor.lab."},
		{"2001:db8::1 PTR nas", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR nas.endor.lab."},
		{"ads.example A 0.0.0.0", "ads.example A 0.0.0.0"},

		{"nas A 192.0.2", "192.0.2.10"},
		{"nas A 2001:db8::1", "its record is AAAA"},
		{"nas AAAA 192.0.2.1", "its record is A"},
		{"nas A nas2", "is no address"},
		{"nas CNAME 192.0.2.1", "A or AAAA"},
		{"192.0.2.1 A 192.0.2.1", "PTR"},
		{"a..b A 192.0.2.1", "between two dots"},
		{"nä A 192.0.2.1", "letters, digits"},
		{"a.*.b A 192.0.2.1", "wildcard"},
		{"a* A 192.0.2.1", "wildcard"},
		{"*. A 192.0.2.1", "wildcard"},
		{strings.Repeat("a", 64) + " A 192.0.2.1", "63"},
		{"web CNAME web", "itself"},
		{"@ CNAME web", "alone"},
		{"web CNAME *.apps", "wildcard"},
		{"web SRV 0 10 5672 rabbit", "_amqp._tcp.web"},
		{"_x._tcp.web SRV 10 5672 rabbit", "priority"},
		{"_x._tcp.web SRV 0 10 99999 rabbit", "priority"},
		{"localhost. A 192.0.2.1", "RFC 6761"},
		{"localhost A 192.0.2.1", "localhost.endor.lab A 192.0.2.1"},
		{"note TXT a\nb", "no text"},
		{`note TXT "open`, "TXT"},
		{"db A 192.0.2.1", "container db"},
		{"db CNAME nas", "container db"},
		{"db TXT x", `db.endor.lab TXT "x"`},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			m := kvtest.NewMemory()
			r := open(t, m, m, "db.endor.lab")
			got, err := r.Add(t.Context(), parse(tt.in))
			if err != nil {
				if !errors.Is(err, ErrUsage) && !errors.Is(err, ErrClash) || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%v, want %q", err, tt.want)
				}
				r.has(t)
				return
			}
			r.has(t, tt.want)
			// It comes back as it is.
			again := open(t, m.Reopen(), m)
			again.has(t, tt.want)
			if twice, err := Parse(zone, got); err != nil || twice != got {
				t.Errorf("%+v is read as %+v, %v", got, twice, err)
			}
		})
	}
}

func TestTypes(t *testing.T) {
	if got, err := ParseType(" cname "); err != nil || got != dns.TypeCNAME {
		t.Errorf("%d, %v", got, err)
	}
	for text, word := range map[string]string{"CNAM": "`CNAME`", "MX": "A, AAAA", "": "A, AAAA"} {
		if _, err := ParseType(text); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), word) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestWhatStandsTogether(t *testing.T) {
	m := kvtest.NewMemory()
	r := open(t, m, m)
	r.must(t, "nas A 192.0.2.1", "nas A 192.0.2.2", "nas A 192.0.2.1", "nas TXT x", "www CNAME nas", "ftp CNAME www")
	want := []string{
		"ftp.endor.lab CNAME www.endor.lab.", "nas.endor.lab A 192.0.2.1", "nas.endor.lab A 192.0.2.2",
		`nas.endor.lab TXT "x"`, "www.endor.lab CNAME nas.endor.lab.",
	}
	r.has(t, want...)
	for text, word := range map[string]string{
		"nas CNAME other": "alone", "www A 192.0.2.3": "www.endor.lab. CNAME nas", "www CNAME other": "alone",
	} {
		if _, err := r.Add(t.Context(), parse(text)); !errors.Is(err, ErrClash) || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v", text, err)
		}
	}
	r.has(t, want...)
	// All of a type have one TTL.
	rec := parse("nas A 192.0.2.3")
	rec.TTL = 60
	if _, err := r.Add(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	for _, rec := range r.Now().At("nas.endor.lab") {
		if want := map[uint16]uint32{dns.TypeA: 60}[rec.Type]; rec.TTL != want {
			t.Errorf("%s has TTL %d", rec, rec.TTL)
		}
	}
}

func TestCircles(t *testing.T) {
	m := kvtest.NewMemory()
	r := open(t, m, m)
	r.must(t, "a CNAME b", "b CNAME c")
	if _, err := r.Add(t.Context(), parse("c CNAME a")); !errors.Is(err, ErrClash) || !strings.Contains(err.Error(), "c.endor.lab → a.endor.lab → b.endor.lab → c.endor.lab") {
		t.Errorf("%v", err)
	}
	for i := range maxChain + 1 {
		_, err := r.Add(t.Context(), parse(fmt.Sprintf("n%d CNAME n%d", i+1, i)))
		if i < maxChain && err != nil || i == maxChain && !errors.Is(err, ErrClash) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// What is looked at together is added together, or clashes beforehand.
func TestLook(t *testing.T) {
	m := kvtest.NewMemory()
	r := open(t, m, m, "db.endor.lab")
	r.must(t, "a CNAME b", "nas A 192.0.2.1")
	var many []string
	for i := range maxAtName + 1 {
		many = append(many, fmt.Sprintf("many A 192.0.2.%d", i))
	}
	for name, tt := range map[string]struct {
		in   []string
		want string // of the last one's error: a part of it
	}{
		"none clashes":               {[]string{"b CNAME c", "nas A 192.0.2.2", "x A 192.0.2.3"}, ""},
		"a circle":                   {[]string{"c CNAME d", "d CNAME c"}, "circle"},
		"a circle with what is here": {[]string{"b CNAME c", "c CNAME a"}, "circle"},
		"a CNAME beside another":     {[]string{"x A 192.0.2.3", "x CNAME y"}, "stands alone"},
		"a container's name":         {[]string{"db A 192.0.2.3"}, "container db"},
		"too many at a name":         {many, "that is the most"},
	} {
		t.Run(name, func(t *testing.T) {
			in := make([]Record, len(tt.in))
			for i, text := range tt.in {
				in[i] = parse(text)
			}
			for i, l := range r.Look(in) {
				if last := i == len(in)-1; !last && l.Err != nil || last && (tt.want == "") != (l.Err == nil) {
					t.Errorf("%s: %v", tt.in[i], l.Err)
				} else if l.Err != nil && !strings.Contains(l.Err.Error(), tt.want) {
					t.Errorf("%s: %v, want %q", tt.in[i], l.Err, tt.want)
				}
			}
		})
	}
	if l := r.Look([]Record{parse("nas A 192.0.2.1")}); !l[0].There {
		t.Error("what is there is new")
	}
	r.has(t, "a.endor.lab CNAME b.endor.lab.", "nas.endor.lab A 192.0.2.1")
}

func TestRemove(t *testing.T) {
	m := kvtest.NewMemory()
	r := open(t, m, m)
	if _, err := r.Remove(t.Context(), Record{Name: "nas"}); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "no records at all") {
		t.Errorf("%v", err)
	}
	fill := []string{"nas A 192.0.2.1", "nas A 192.0.2.2", "nas TXT x", "*.apps CNAME nas", "192.0.2.1 PTR nas"}
	tests := []struct {
		which Record
		gone  int
		word  string
	}{
		{Record{Name: "NAS"}, 3, ""},
		{Record{Name: "nas.endor.lab.", Type: dns.TypeA}, 2, ""},
		{Record{Name: "nas", Type: dns.TypeA, Data: "192.0.2.2"}, 1, ""},
		{Record{Name: "nas", Type: dns.TypeTXT, Data: "x"}, 1, ""},
		{Record{Name: "*.apps", Type: dns.TypeCNAME, Data: "nas"}, 1, ""},
		{Record{Name: "192.0.2.1", Type: dns.TypePTR}, 1, ""},
		{Record{Name: "nsa"}, 0, "did you mean `nas.endor.lab`"},
		{Record{Name: "nas", Type: dns.TypeAAAA}, 0, "has no AAAA; it has A 192.0.2.1, A 192.0.2.2"},
		{Record{Name: "nas", Type: dns.TypeA, Data: "192.0.2.9"}, 0, "has no A 192.0.2.9"},
		{Record{Name: "n\x00s"}, 0, "letters"},
	}
	for _, tt := range tests {
		r.must(t, fill...)
		before := len(r.List())
		gone, err := r.Remove(t.Context(), tt.which)
		if (err != nil) != (tt.word != "") || err != nil && !strings.Contains(err.Error(), tt.word) || len(gone) != tt.gone {
			t.Errorf("%+v: %v, %v, want %d gone, %q", tt.which, gone, err, tt.gone, tt.word)
		}
		if now := len(r.List()); now != before-tt.gone {
			t.Errorf("%+v: %d of %d left", tt.which, now, before)
		}
	}
}

func TestSnapshot(t *testing.T) {
	m := kvtest.NewMemory()
	r := open(t, m, m)
	r.must(t, "a.b.c.example A 192.0.2.1", "*.c.example A 192.0.2.1", "nas A 192.0.2.1", "nas AAAA 2001:db8::1")
	old := r.Now()
	for name, want := range map[string]bool{"example": true, "c.example": true, "b.c.example": true, "a.b.c.example": false, "endor.lab": true, "lab": true, "x": false} {
		if old.HasBelow(name) != want {
			t.Errorf("below %s is %v", name, !want)
		}
	}
	if got := texts(old.For(netip.MustParseAddr("192.0.2.1"))); !slices.Equal(got, []string{"a.b.c.example A 192.0.2.1", "nas.endor.lab A 192.0.2.1"}) {
		t.Errorf("192.0.2.1 is %v", got)
	}
	for _, name := range []string{"a.b.c.example", "*.c.example", "nas"} {
		if _, err := r.Remove(t.Context(), Record{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	now := r.Now()
	for _, name := range []string{"example", "c.example", "b.c.example", "lab"} {
		if now.HasBelow(name) || !old.HasBelow(name) {
			t.Errorf("below %s something is wrong", name)
		}
	}
	if len(now.For(netip.MustParseAddr("192.0.2.1"))) != 0 || len(old.At("nas.endor.lab")) != 2 {
		t.Error("the old snapshot changed, or the new one did not")
	}
}

// follow learns what m's hosts write, as a session does.
func (r *Records) follow(t *testing.T, h *kvtest.Host) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	first := make(chan struct{})
	var once sync.Once
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = h.Follow(ctx, "", func(c kv.Change) {
			r.Learn(c)
			once.Do(func() { close(first) })
		})
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	<-first
}

func TestHostsShareRecords(t *testing.T) {
	m := kvtest.NewMemory()
	ha, hb := m.Join(), m.Join()
	a, b := open(t, kvtest.NewMemory(), ha), open(t, kvtest.NewMemory(), hb)
	a.follow(t, ha)
	b.follow(t, hb)
	hb.Delay(50 * time.Millisecond)
	a.must(t, "nas A 192.0.2.1")
	// b has not heard of it, and what excludes it fails all the same.
	if _, err := b.Add(t.Context(), parse("nas CNAME other")); !errors.Is(err, ErrClash) {
		t.Errorf("%v", err)
	}
	b.must(t, "nas A 192.0.2.2")
	want := []string{"nas.endor.lab A 192.0.2.1", "nas.endor.lab A 192.0.2.2"}
	b.has(t, want...)
	until(t, func() bool { return slices.Equal(texts(a.List()), want) })
	// A circle of two hosts' making.
	a.must(t, "x CNAME y")
	if _, err := b.Add(t.Context(), parse("y CNAME x")); !errors.Is(err, ErrClash) {
		t.Errorf("%v", err)
	}
	ha.Cut()
	if _, err := a.Add(t.Context(), parse("z A 192.0.2.1")); !errors.Is(err, kv.ErrAway) {
		t.Errorf("%v", err)
	}
	ha.Mend()
	a.must(t, "z A 192.0.2.1")
	until(t, func() bool { return len(b.Now().At("z.endor.lab")) == 1 })
	if _, err := b.Remove(t.Context(), Record{Name: "z"}); err != nil {
		t.Error(err)
	}
	until(t, func() bool { return len(a.Now().At("z.endor.lab")) == 0 })
}

func until(t *testing.T, is func() bool) {
	t.Helper()
	for limit := time.Now().Add(time.Minute); !is(); {
		if time.Now().After(limit) {
			t.Fatal("it never came about")
		}
		time.Sleep(2 * time.Millisecond)
	}
}
