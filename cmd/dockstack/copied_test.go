package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/kvtest"
)

// copyRun is a host that copies a shared store.
type copyRun struct {
	*copied
	host  *kvtest.Host
	local *kvtest.Memory
}

func copies(t *testing.T, m *kvtest.Memory, local *kvtest.Memory) *copyRun {
	t.Helper()
	r := &copyRun{host: m.Join(), local: local}
	r.copied = newCopied(r.host, local, func() {}, slog.New(slog.DiscardHandler))
	return r
}

// run follows and writes until the returned function is called.
func (r *copyRun) run(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { r.Run(ctx) })
	wg.Go(func() { _ = r.Follow(ctx, "", func(kv.Change) {}) })
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			wg.Wait()
		})
	}
	t.Cleanup(stop)
	return stop
}

func (r *copyRun) equals(all map[string][]byte) bool {
	want := map[string]string{}
	for key, value := range all {
		if isCopied(key) {
			want[key] = string(value)
		}
	}
	got := map[string]string{}
	for key, value := range r.local.Data() {
		if isCopied(key) {
			got[key] = string(value)
		}
	}
	return maps.Equal(got, want)
}

func (r *copyRun) until(t *testing.T, m *kvtest.Memory) {
	t.Helper()
	for limit := time.Now().Add(20 * time.Second); !r.equals(m.Data()); {
		if time.Now().After(limit) {
			t.Fatalf("the copy is %q, the store %q", r.local.Data(), m.Data())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func put(key, value string) kv.Op { return kv.Op{Key: key, Value: []byte(value)} }

// Whatever two hosts write, and however their commits and changes overtake each
// other, each one's copy becomes what is in the store.
func TestCopyFollows(t *testing.T) {
	m := kvtest.NewMemory()
	a, b := copies(t, m, kvtest.NewMemory()), copies(t, m, kvtest.NewMemory())
	for _, r := range []*copyRun{a, b} {
		// What nobody has any more goes; what is only this host's stays.
		if err := r.local.Commit(t.Context(), []kv.Op{put("lease/old/web", "x"), put("network/n", "x"), put(clusterKey, "x")}); err != nil {
			t.Fatal(err)
		}
		r.Resume()
		r.run(t)
	}
	var wg sync.WaitGroup
	for n, r := range []*copyRun{a, b} {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(n), 7)) //nolint:gosec // a test's
			for i := range 600 {
				key := fmt.Sprintf("%s%d", []string{"lease/p/", "pool/", "use/p/", "addr/p/", "vni/"}[rnd.IntN(5)], rnd.IntN(12))
				op := put(key, fmt.Sprintf("%d-%d", n, i))
				op.Delete = rnd.IntN(4) == 0
				var conds []kv.Cond
				if rnd.IntN(2) == 0 {
					conds = append(conds, kv.Cond{Key: key, Absent: true}) // often a conflict
				}
				err := r.Commit(t.Context(), []kv.Op{op}, conds...)
				if conflict := (*kv.Conflict)(nil); err != nil && !errors.As(err, &conflict) {
					t.Error(err)
				}
				switch rnd.IntN(100) {
				case 0:
					r.host.Cut()
					r.host.Mend()
				case 1:
					r.host.Cut()
					r.host.MendAnew()
				}
			}
		})
	}
	wg.Wait()
	for _, r := range []*copyRun{a, b} {
		r.until(t, m)
		data := r.local.Data()
		for key := range data {
			if strings.HasPrefix(key, "addr/") || strings.HasPrefix(key, "vni/") {
				t.Errorf("%s is copied, and nobody needs it", key)
			}
		}
		if data["network/n"] == nil || data[clusterKey] == nil {
			t.Error("what is only this host's went")
		}
	}
}

// A host's own store stays its own until it has joined.
func TestCopyBegins(t *testing.T) {
	m := kvtest.NewMemory()
	if err := m.Commit(t.Context(), []kv.Op{put("lease/p/theirs", "1")}); err != nil {
		t.Fatal(err)
	}
	local := kvtest.NewMemory()
	if err := local.Commit(t.Context(), []kv.Op{put("lease/p/mine", "1")}); err != nil {
		t.Fatal(err)
	}
	r := copies(t, m, local)
	stop := r.run(t)
	if err := r.Commit(t.Context(), []kv.Op{put("lease/p/joined", "1")}); err != nil {
		t.Fatal(err)
	}
	if local.Commits() != 1 || local.Data()["lease/p/mine"] == nil {
		t.Fatal("the host's own store was written before it joined")
	}
	if err := r.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.until(t, m)
	// The last changes are written at the end.
	if err := r.Commit(t.Context(), []kv.Op{put("lease/p/last", "1")}); err != nil {
		t.Fatal(err)
	}
	stop()
	if !r.equals(m.Data()) {
		t.Errorf("at the end the copy is %q, the store %q", local.Data(), m.Data())
	}
}

// A copy that could not be written is written later, as a whole.
func TestCopyIsTriedAgain(t *testing.T) {
	m := kvtest.NewMemory()
	r := copies(t, m, kvtest.NewMemory())
	r.Resume()
	for _, key := range []string{"lease/p/gone", "lease/p/same"} {
		if err := r.local.Commit(t.Context(), []kv.Op{put(key, "1")}); err != nil {
			t.Fatal(err)
		}
	}
	r.note(kv.Change{Whole: true, Ops: []kv.Op{put("lease/p/same", "1"), put("lease/p/new", "1")}})
	r.local.FailNext(kv.ErrNoSpace)
	if err := r.write(t.Context()); !errors.Is(err, kv.ErrNoSpace) || !errors.Is(r.Err(), kv.ErrNoSpace) {
		t.Fatalf("a full disk gives %v, and later %v", err, r.Err())
	}
	r.note(kv.Change{Ops: []kv.Op{put("lease/p/new", "2")}})
	if err := r.write(t.Context()); err != nil || r.Err() != nil {
		t.Fatal(err)
	}
	if !r.equals(map[string][]byte{"lease/p/same": []byte("1"), "lease/p/new": []byte("2")}) {
		t.Errorf("the copy is %q", r.local.Data())
	}
}
