package copied_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/boltkv"
	"github.com/dockstack/dockstack/internal/kv/copied"
	"github.com/dockstack/dockstack/internal/kv/kvtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// quick has tests wait less.
const quick = 5 * time.Millisecond

func TestConformance(t *testing.T) {
	kvtest.Run(t, func(t *testing.T) kvtest.Opener {
		t.Helper()
		h, local := kvtest.NewMemory().Join(), kvtest.NewMemory()
		return func() (kv.Store, error) { return begun(h.Reopen(), local, "a", "k", "n/"), nil }
	})
	kvtest.RunShared(t, func(t *testing.T) kvtest.Joiner {
		t.Helper()
		m := kvtest.NewMemory()
		return func() (kv.Shared, error) { return begun(m.Join(), kvtest.NewMemory(), "k", "n/", "host/"), nil }
	})
}

func begun(shared kv.Shared, local kv.Store, prefixes ...string) *copied.Store {
	s := copied.New(shared, local, copied.Config{Prefixes: prefixes, Every: quick})
	s.Begin()
	return s
}

// world is a host with a copy, and another host.
type world struct {
	t     *testing.T
	mem   *kvtest.Memory
	host  *kvtest.Host
	other *kvtest.Host
	local *kvtest.Memory
	store *copied.Store
	log   *bytes.Buffer
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, mem: kvtest.NewMemory(), local: kvtest.NewMemory(), log: &bytes.Buffer{}}
	w.host, w.other = w.mem.Join(), w.mem.Join()
	w.store = copied.New(w.host, w.local, copied.Config{
		Prefixes: []string{"pool/", "lease/"}, Every: quick, Log: slog.New(slog.NewTextHandler(w.log, nil)),
	})
	t.Cleanup(w.close)
	return w
}

func (w *world) close() {
	w.t.Helper()
	if err := w.store.Close(); err != nil && !errors.Is(err, kv.ErrClosed) {
		w.t.Errorf("close: %v", err)
	}
}

func (w *world) commit(s kv.Store, ops ...kv.Op) {
	w.t.Helper()
	if err := s.Commit(w.t.Context(), ops); err != nil {
		w.t.Fatalf("commit: %v", err)
	}
}

func put(key, value string) kv.Op { return kv.Op{Key: key, Value: []byte(value)} }

func del(key string) kv.Op { return kv.Op{Key: key, Delete: true} }

// has waits until the copy is as wanted.
func (w *world) has(want map[string]string) {
	w.t.Helper()
	var got map[string]string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		var err error
		if got, err = kvtest.Content(w.t.Context(), w.local, ""); err != nil {
			w.t.Fatal(err)
		}
		if maps.Equal(got, want) {
			return
		}
	}
	w.t.Fatalf("the copy has %v, want %v", got, want)
}

func TestOwnCommitsAndOthersAreCopied(t *testing.T) {
	w := newWorld(t)
	w.commit(w.local, put("lease/old", "x"), put("pool/same", "1"), put("network/own", "stays"))
	w.commit(w.other, put("pool/same", "1"), put("lease/theirs", "2"), put("host/b", "no"))
	f := kvtest.Watch(t, w.store, "")
	f.Until(t, "begun", func(c []kv.Change, _ map[string]string) bool { return len(c) > 0 })
	w.commit(w.store, put("lease/mine", "3"), put("vni/1", "no"))
	if got, _ := kvtest.Content(t.Context(), w.local, "lease/mine"); len(got) != 0 {
		t.Error("the copy is written before Begin")
	}
	w.store.Begin()
	w.has(map[string]string{"pool/same": "1", "lease/theirs": "2", "lease/mine": "3", "network/own": "stays"})
	w.commit(w.other, put("lease/theirs", "4"), del("pool/same"))
	w.commit(w.store, del("lease/mine"))
	w.has(map[string]string{"lease/theirs": "4", "network/own": "stays"})
	var conflict *kv.Conflict
	w.host.Delay(time.Hour)
	w.commit(w.other, put("lease/theirs", "5"))
	if err := w.store.Commit(t.Context(), nil, kv.Cond{Key: "lease/theirs", Absent: true}); !errors.As(err, &conflict) {
		t.Fatal(err)
	}
	w.has(map[string]string{"lease/theirs": "5", "network/own": "stays"})
}

func TestWholeIsWrittenAsADifference(t *testing.T) {
	w := newWorld(t)
	var first []kv.Op
	for i := range 90 {
		first = append(first, put(fmt.Sprintf("lease/%02d", i), "x"))
	}
	w.commit(w.local, first...)
	w.commit(w.other, first...)
	f := kvtest.Watch(t, w.store, "")
	w.store.Begin()
	f.Until(t, "begun", func(c []kv.Change, _ map[string]string) bool { return len(c) > 0 })
	if err := w.store.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := w.local.Commits(); n != 1 {
		t.Errorf("what was there already was written in %d commits", n-1)
	}
	// What changed while cut off comes as a whole again.
	w.host.Cut()
	w.commit(w.other, del("lease/00"), put("lease/01", "y"), put("lease/new", "z"))
	w.host.MendAnew()
	want := map[string]string{"lease/01": "y", "lease/new": "z"}
	for _, op := range first[2:] {
		want[op.Key] = "x"
	}
	w.has(want)
}

func TestAFollowedPartIsWholeForItsPartAlone(t *testing.T) {
	w := newWorld(t)
	w.commit(w.local, put("lease/a/1", "old"), put("lease/b/1", "stays"), put("pool/1", "stays"))
	f := kvtest.Watch(t, w.store, "lease/a/")
	w.store.Begin()
	f.Until(t, "begun", func(c []kv.Change, _ map[string]string) bool { return len(c) > 0 })
	w.has(map[string]string{"lease/b/1": "stays", "pool/1": "stays"})
}

func TestADiskThatFailsIsNoTroubleOfTheSharedStore(t *testing.T) {
	w := newWorld(t)
	w.store.Begin()
	for range 4 {
		w.local.FailNext(fmt.Errorf("%w: the disk is full", kv.ErrNoSpace))
	}
	w.commit(w.store, put("lease/a", "1"))
	w.commit(w.store, put("lease/a", "2"), put("lease/b", "1"))
	w.has(map[string]string{"lease/a": "2", "lease/b": "1"})
	w.close()
	if n := strings.Count(w.log.String(), "can't be written"); n != 1 || !strings.Contains(w.log.String(), "written again") {
		t.Errorf("it was logged %d times:\n%s", n, w.log)
	}
}

func TestCloseFlushes(t *testing.T) {
	mem := kvtest.NewMemory()
	path := filepath.Join(t.TempDir(), "copy.db")
	local, err := boltkv.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	s := copied.New(mem.Join(), local, copied.Config{Prefixes: []string{"lease/"}, Every: time.Hour})
	s.Begin()
	if err := s.Commit(t.Context(), []kv.Op{put("lease/a", "1")}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := kvtest.Content(t.Context(), local, ""); err != nil || got["lease/a"] != "1" {
		t.Errorf("the copy has %v, %v", got, err)
	}
	if err := local.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); !errors.Is(err, kv.ErrClosed) {
		t.Errorf("closed again: %v", err)
	}
}

// TestCopiesAgree has hosts commit, follow and be cut off, and compares their
// copies with what they copied.
func TestCopiesAgree(t *testing.T) {
	mem := kvtest.NewMemory()
	var hosts []*kvtest.Host
	var locals []*kvtest.Memory
	var stores []*copied.Store
	var all []kv.Shared
	for range 3 {
		h, local := mem.Join(), kvtest.NewMemory()
		s := begun(h, local, "n/", "m/")
		hosts, locals, stores, all = append(hosts, h), append(locals, local), append(stores, s), append(all, s)
	}
	kvtest.Agree(t, all, 500, func(ctx context.Context) {
		for i := 0; ctx.Err() == nil; i++ {
			h := hosts[i%3]
			h.Cut()
			time.Sleep(3 * time.Millisecond)
			if i%2 == 0 {
				h.Mend()
			} else {
				h.MendAnew()
			}
			h.LoseNext(kv.ErrAway)
			time.Sleep(2 * time.Millisecond)
		}
		for _, h := range hosts {
			h.Mend()
		}
	})
	want := mem.Data()
	for i, s := range stores {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		got := locals[i].Data()
		maps.DeleteFunc(want, func(k string, _ []byte) bool { return !strings.Contains(k[:2], "n/") && !strings.Contains(k[:2], "m/") })
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("copy %d has %s, the store %s", i, got, want)
		}
	}
}
