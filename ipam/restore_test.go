package ipam_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/ipam"
)

func TestDumpAndRestore(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/24")
	w.gets("web", "172.16.0.2")
	w.gets("same", "172.16.0.3")
	w.gets("swap1", "172.16.0.4")
	w.gets("swap2", "172.16.0.5")
	for _, a := range []string{"172.16.0.3", "172.16.0.4", "172.16.0.5"} {
		w.release(a)
	}
	_, err := w.reg.ReserveAs(w.ctx, ipam.Reservation{Name: "db", Addr: netip.MustParseAddr("172.16.0.50"), MAC: "02:00:00:00:00:50"})
	w.ok(err)
	_, err = w.reg.Import(w.ctx, ipam.Import{Reservations: reservations("far 10.9.0.3"), Subnets: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}})
	w.ok(err)
	dump, err := w.reg.Dump(w.ctx)
	w.ok(err)
	var keys []string
	for _, op := range dump {
		keys = append(keys, op.Key)
	}
	if want := []string{
		"pool/10.9.0.0/16", "pool/172.16.0.0/24", "use/172.16.0.0/24/local", "lease/10.9.0.0/16/far",
		"lease/172.16.0.0/24/db", "lease/172.16.0.0/24/same", "lease/172.16.0.0/24/swap1", "lease/172.16.0.0/24/swap2", "lease/172.16.0.0/24/web",
	}; !slices.Equal(keys, want) {
		t.Errorf("the dump has %q, want %q", keys, want)
	}
	w.ok(w.reg.Release(w.ctx, "swap1"))
	w.ok(w.reg.Release(w.ctx, "swap2"))
	w.ok(w.reg.Release(w.ctx, "db"))
	w.ok(w.reg.Release(w.ctx, "far"))
	_, err = w.reg.Import(w.ctx, ipam.Import{Reservations: reservations("swap1 172.16.0.5", "swap2 172.16.0.4", "gone 172.16.0.50")})
	w.ok(err)
	w.gets("newcomer", "172.16.0.6")
	before := w.store.Commits()
	report, err := w.reg.RestoreDump(w.ctx, ipam.Restore{Records: dump, DryRun: true})
	w.ok(err)
	if report.Done || w.store.Commits() != before {
		t.Error("a dry run did something")
	}
	report, err = w.reg.RestoreDump(w.ctx, ipam.Restore{Records: dump})
	w.ok(err)
	if !report.Done || w.store.Commits() != before+1 || report.Same != 2 || report.New != 2 || report.Moved != 2 || report.Gone != 1 || !slices.Equal(report.Kept, []string{"newcomer"}) || len(report.Pools) != 0 {
		t.Errorf("%+v with %d commits", report, w.store.Commits()-before)
	}
	w.open()
	for addr, want := range map[string]string{
		"172.16.0.2": "web live", "172.16.0.3": "same parked", "172.16.0.4": "swap1 parked", "172.16.0.5": "swap2 parked",
		"172.16.0.6": "newcomer live", "172.16.0.50": "db parked reserved",
	} {
		w.holds(addr, want)
	}
	// On a new machine.
	other := newWorld(t)
	report, err = other.reg.RestoreDump(w.ctx, ipam.Restore{Records: dump})
	if err != nil || report.New != 6 || !slices.Equal(report.Pools, []string{"10.9.0.0/16", "172.16.0.0/24"}) {
		t.Errorf("%+v, %v", report, err)
	}
	other.network("net", "internal", ipam.PoolRequest{Subnet: netip.MustParsePrefix("172.16.0.0/24")})
	other.gets("web", "172.16.0.2")
	other.gets("db", "172.16.0.50")
	if m := other.attach("ep", "172.16.0.50"); m != "02:00:00:00:00:50" {
		t.Errorf("MAC address %s", m)
	}
}

func TestRestoreClashes(t *testing.T) {
	then := inNetwork(t, "172.16.0.0/24")
	then.gets("web", "172.16.0.2")
	then.gets("db", "172.16.0.3")
	then.fixes("late", "172.16.0.9")
	dump, err := then.reg.Dump(then.ctx)
	then.ok(err)
	w := newWorld(t)
	w.network("net", "internal", ipam.PoolRequest{Subnet: netip.MustParsePrefix("172.16.0.0/24")}, netip.MustParseAddr("172.16.0.9"))
	w.gets("db", "172.16.0.2")
	before := w.store.Commits()
	for _, dry := range []bool{true, false} {
		report, err := w.reg.RestoreDump(w.ctx, ipam.Restore{Records: dump, DryRun: dry})
		want := []string{
			`container "db" runs with 172.16.0.2 in network internal (172.16.0.0/24) since 2026-01-02T03:04:05Z, and has 172.16.0.3 in the backup; stop it first`,
			`172.16.0.9 in network internal (172.16.0.0/24) is set aside as a virtual address by now, and "late"'s in the backup`,
			`container "db" runs with 172.16.0.2 in network internal (172.16.0.0/24) since 2026-01-02T03:04:05Z, and it is "web"'s in the backup; stop it first`,
		}
		if !errors.Is(err, ipam.ErrClash) || report.Done || !slices.Equal(report.Clashes, want) || w.store.Commits() != before {
			t.Errorf("%v\n%s", err, strings.Join(report.Clashes, "\n"))
		}
		w.fails(err, ipam.ErrClash, "clash: nothing was restored: "+want[0]+"; and 2 more")
	}
	overlapping := newWorld(t)
	overlapping.network("net", "wide", ipam.PoolRequest{Subnet: netip.MustParsePrefix("172.16.0.0/16")})
	report, err := overlapping.reg.RestoreDump(w.ctx, ipam.Restore{Records: dump})
	if !errors.Is(err, ipam.ErrClash) || len(report.Clashes) != 1 || report.Clashes[0] != "172.16.0.0/24 shares addresses with 172.16.0.0/16 of network wide" {
		t.Errorf("%v, %+v", err, report)
	}
}

// What isn't a dump is refused as a whole.
func TestRestoreOfSomethingElse(t *testing.T) {
	then := inNetwork(t, "172.16.0.0/24")
	then.gets("web", "172.16.0.2")
	dump, err := then.reg.Dump(then.ctx)
	then.ok(err)
	web := dump[len(dump)-1]
	newer := kv.Op{Key: web.Key, Value: append([]byte{9}, web.Value[1:]...)}
	for what, c := range map[string]struct {
		ops  []kv.Op
		kind error
	}{
		"another's key":      {[]kv.Op{{Key: "host/a", Value: []byte("x")}}, kv.ErrDamaged},
		"no key":             {[]kv.Op{{}}, kv.ErrDamaged},
		"a removal":          {append(slices.Clone(dump), kv.Op{Key: web.Key, Delete: true}), kv.ErrDamaged},
		"a lease of no pool": {[]kv.Op{web}, kv.ErrDamaged},
		"a cut value":        {append(slices.Clone(dump), kv.Op{Key: web.Key, Value: web.Value[:5]}), kv.ErrDamaged},
		"one address twice":  {append(slices.Clone(dump), kv.Op{Key: web.Key + "2", Value: web.Value}), kv.ErrDamaged},
		"a pool's nonsense":  {[]kv.Op{{Key: "pool/10.0.0.0/8", Value: []byte("{}")}}, kv.ErrDamaged},
		"a newer record":     {[]kv.Op{dump[0], newer}, kv.ErrNewer},
		"a use's nonsense":   {[]kv.Op{dump[0], {Key: "use/172.16.0.0/24/x", Value: []byte("[")}}, kv.ErrDamaged},
	} {
		w := inNetwork(t, "172.16.0.0/24")
		w.gets("mine", "172.16.0.2")
		report, err := w.reg.RestoreDump(w.ctx, ipam.Restore{Records: c.ops})
		if !errors.Is(err, c.kind) || report.Done || !strings.Contains(err.Error(), "nothing was restored") {
			t.Errorf("%s: %v", what, err)
		}
		w.holds("172.16.0.2", "mine live")
	}
}

// On hosts that share a store it takes several commits, and is all or nothing.
func TestRestoreCutOffAnywhere(t *testing.T) {
	for _, killed := range []bool{false, true} {
		for cut := 0; ; cut++ {
			c := newCluster(t, "h1", "h2")
			h1 := c.hosts["h1"]
			in := big(c, h1)
			then := c.agree()
			dump, err := h1.reg.Dump(h1.ctx)
			h1.ok(err)
			in.Reservations = slices.DeleteFunc(in.Reservations, func(r ipam.Reservation) bool { return !strings.HasPrefix(r.Addr.String(), "10.") && r.Name != "fixed" })
			_, err = h1.reg.Import(h1.ctx, in)
			h1.ok(err)
			for i := range 60 {
				if i%3 != 0 {
					h1.ok(h1.reg.Release(h1.ctx, fmt.Sprint("n", i), "172.16.0.0/24"))
				}
			}
			before := c.agree()
			m := &mortal{left: 1 << 30, killed: killed, err: kv.ErrAway}
			h1.through(m)
			m.mu.Lock()
			m.left = cut
			m.mu.Unlock()
			report, err := h1.reg.RestoreDump(h1.ctx, ipam.Restore{Records: dump})
			m.mu.Lock()
			whole := m.left >= 0
			m.mu.Unlock()
			if killed {
				h1.through(nil)
			}
			c.isSound()
			got := c.agree()
			if report.Done && !slices.Equal(got, then) || err != nil && !slices.Equal(got, before) || report.Done != (err == nil) {
				t.Fatalf("after %d commits (%v): there is\n%s\nwas\n%s\nin the dump\n%s", cut, err, strings.Join(got, "\n"), strings.Join(before, "\n"), strings.Join(then, "\n"))
			}
			h1.down()
			c.hosts["h2"].down()
			if whole {
				h1.ok(err)
				break
			}
		}
	}
}

// A dump waits for an import of this host, and no longer than its caller.
func TestDumpWaitsForAnImport(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1 := c.hosts["h1"]
	in := big(c, h1)
	var dumped error
	m := &mortal{left: 1 << 30}
	h1.through(m)
	m.before = func(n int) {
		if n == 4 {
			ctx, cancel := context.WithTimeout(h1.ctx, 10*time.Millisecond)
			defer cancel()
			_, dumped = h1.reg.Dump(ctx)
		}
	}
	_, err := h1.reg.Import(h1.ctx, in)
	h1.ok(err)
	if !errors.Is(dumped, context.DeadlineExceeded) {
		t.Errorf("in the middle of an import there is a dump: %v", dumped)
	}
}

// FuzzRestore has a restore take anything: it refuses it, or leaves a store that
// can be read again and has what it says.
func FuzzRestore(f *testing.F) {
	then := inNetwork(f, "172.16.0.0/24")
	then.gets("web", "172.16.0.2")
	then.gets("db", "172.16.0.3")
	then.release("172.16.0.3")
	dump, err := then.reg.Dump(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	for _, op := range dump {
		f.Add(op.Key, op.Value, "lease/172.16.0.0/24/x", []byte("\x01\x01\x80\xa0\xab\xfe\xf9\x62\x04\xac\x10\x00\x09"))
	}
	f.Fuzz(func(t *testing.T, key1 string, value1 []byte, key2 string, value2 []byte) {
		w := inNetwork(t, "172.16.0.0/24")
		w.fixes("live", "172.16.0.9")
		report, err := w.reg.RestoreDump(w.ctx, ipam.Restore{Records: append(slices.Clone(dump), kv.Op{Key: key1, Value: value1}, kv.Op{Key: key2, Value: value2})})
		if report.Done != (err == nil) {
			t.Fatalf("%+v, %v", report, err)
		}
		w.holds("172.16.0.9", "live live fixed")
		before, err := w.reg.Leases(w.ctx, ipam.LeaseFilter{})
		w.ok(err)
		w.ok(w.reg.Flush(w.ctx))
		w.open()
		after, err := w.reg.Leases(w.ctx, ipam.LeaseFilter{})
		w.ok(err)
		if !slices.Equal(before, after) {
			t.Fatalf("a restart finds\n%v\nwas\n%v", after, before)
		}
	})
}
