package records

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/kvtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func all(m *kvtest.Memory) kv.Change {
	c := kv.Change{Whole: true}
	for key, value := range m.Data() {
		c.Ops = append(c.Ops, kv.Op{Key: key, Value: value})
	}
	return c
}

// What a host had before it joined others comes along, unless they have it
// otherwise.
func TestJoin(t *testing.T) {
	local, m := kvtest.NewMemory(), kvtest.NewMemory()
	open(t, local, local).must(t, "nas A 192.0.2.1", "web A 192.0.2.1", "db A 192.0.2.1", "ftp A 192.0.2.1")
	shared := m.Join()
	open(t, kvtest.NewMemory(), shared).must(t, "web A 192.0.2.2", "db A 192.0.2.1", "other A 192.0.2.9")
	r, err := Open(t.Context(), local, Config{Zone: zone, Store: shared, Standalone: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	r.Learn(all(m))
	shared.FailNext(kv.ErrAway)
	if _, err := r.Join(t.Context()); !errors.Is(err, kv.ErrAway) {
		t.Fatal(err)
	}
	r.Learn(all(m)) // another session
	clashes, err := r.Join(t.Context())
	if err != nil || len(clashes) != 1 || !strings.Contains(clashes[0], "web.endor.lab") {
		t.Errorf("%v, %v", clashes, err)
	}
	want := []string{"db.endor.lab A 192.0.2.1", "ftp.endor.lab A 192.0.2.1", "nas.endor.lab A 192.0.2.1", "other.endor.lab A 192.0.2.9", "web.endor.lab A 192.0.2.2"}
	r.has(t, want...)
	fresh := open(t, kvtest.NewMemory(), shared)
	fresh.Learn(all(m))
	fresh.has(t, want...)
}

func TestDumpAndRestore(t *testing.T) {
	m := kvtest.NewMemory()
	r := open(t, m, m.Join())
	var want []string
	for _, c := range "abcdefghij" {
		for _, d := range "abcdefghijklmno" {
			r.must(t, string(c)+string(d)+" A 192.0.2.1")
			want = append(want, string(c)+string(d)+".endor.lab A 192.0.2.1")
		}
	}
	dump := r.Dump()
	r.must(t, "aa A 192.0.2.2", "new A 192.0.2.1")
	if _, err := r.Remove(t.Context(), Record{Name: "ab"}); err != nil {
		t.Fatal(err)
	}
	dry, err := r.Restore(t.Context(), dump, true)
	if err != nil || dry != (Restored{Put: 2, Gone: 1, Same: 148}) {
		t.Errorf("%+v, %v", dry, err)
	}
	done, err := r.Restore(t.Context(), dump, false)
	if err != nil || !done.Done || done.Put != 2 {
		t.Errorf("%+v, %v", done, err)
	}
	r.has(t, want...)
	for _, bad := range []kv.Op{{Key: "lease/x", Value: []byte("{}")}, {Key: Prefix + "a", Delete: true}, {Key: Prefix + "A", Value: dump[0].Value}, {Key: Prefix + "a", Value: []byte("{}")}} {
		if _, err := r.Restore(t.Context(), append(slices.Clone(dump[1:]), bad), false); !errors.Is(err, kv.ErrDamaged) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	r.has(t, want...)
}

// What a later version wrote is left alone, and can be removed as a whole.
func TestOtherVersions(t *testing.T) {
	m := kvtest.NewMemory()
	err := m.Commit(t.Context(), []kv.Op{
		{Key: Prefix + "web.endor.lab", Value: []byte(`{"records":[{"type":"A","data":"192.0.2.1","later":1}],"also":2}`)},
		{Key: Prefix + "odd.endor.lab", Value: []byte(`{"records":[{"type":"A","data":"192.0.2.1"},{"type":"SVCB","data":"1 ."}]}`)},
		{Key: Prefix + "two.endor.lab", Value: []byte(`{"records":[{"type":"A","data":"192.0.2.1"},{"type":"CNAME","data":"x."}]}`)},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := open(t, m, m)
	r.has(t, "web.endor.lab A 192.0.2.1")
	if _, err := r.Add(t.Context(), parse("odd A 192.0.2.2")); !errors.Is(err, ErrClash) || !strings.Contains(err.Error(), "upgrade") {
		t.Errorf("%v", err)
	}
	if _, err := r.Remove(t.Context(), Record{Name: "odd"}); err != nil {
		t.Error(err)
	}
	r.must(t, "odd A 192.0.2.2")
	r.has(t, "odd.endor.lab A 192.0.2.2", "web.endor.lab A 192.0.2.1")
}

func FuzzDecode(f *testing.F) {
	f.Add("web.endor.lab", []byte(`{"records":[{"type":"A","data":"192.0.2.1","ttl":60},{"type":"TXT","data":"\"x\""}]}`))
	f.Add("*.endor.lab", []byte(`{"records":[{"type":"CNAME","data":"x.y."}]}`))
	f.Add("_x._tcp.a.b", []byte(`{"records":[{"type":"SRV","data":"0 0 1 x.y."}]}`))
	f.Fuzz(func(t *testing.T, name string, value []byte) {
		list, err := decode(name, value)
		if err != nil {
			return
		}
		again, err := encode(list)
		if err != nil {
			t.Skip("it grows beyond what is written")
		}
		twice, err := decode(name, again)
		if err != nil || !slices.Equal(twice, list) {
			t.Fatalf("%v becomes %v, %v", list, twice, err)
		}
		e := (&Snapshot{}).edit()
		e.set(name, list)
		s := e.done()
		e = s.edit()
		e.set(name, nil)
		if left := e.done(); left.HasBelow("endor.lab") || len(left.At(name)) != 0 {
			t.Fatal("left behind")
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("web", uint16(1), "192.0.2.1")
	f.Add("note", uint16(16), `say "hi" \o/ ; ( $INCLUDE /etc/passwd`)
	f.Add("_x._tcp", uint16(33), "0 10 5672 rabbit")
	f.Add("*.apps", uint16(5), `a\.b`)
	f.Fuzz(func(t *testing.T, name string, kind uint16, data string) {
		rec, err := Parse(zone, Record{Name: name, Type: kind, Data: data})
		if err != nil {
			return
		}
		if again, err := Parse(zone, Record{Name: rec.Name + ".", Type: rec.Type, Data: rec.Data}); err != nil || again != rec {
			t.Fatalf("%+v becomes %+v, %v", rec, again, err)
		}
		value, err := encode([]Record{rec})
		if err != nil {
			return
		}
		if list, err := decode(rec.Name, value); err != nil || len(list) != 1 || list[0] != rec {
			t.Fatalf("%+v becomes %+v, %v", rec, list, err)
		}
	})
}
