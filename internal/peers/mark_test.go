package peers

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/kvtest"
)

// machine is a host that takes part in a store.
type machine struct {
	*Peers
	store *kvtest.Host
	mu    sync.Mutex
	news  chan struct{} // closed with the next change
	kill  func()
}

// join starts a host; it learns what happens in the store.
func join(t *testing.T, m *kvtest.Memory, self Host) *machine {
	t.Helper()
	h := &machine{store: m.Join(), news: make(chan struct{})}
	h.Peers = New(Config{Self: self, Changed: h.changed})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = h.Run(ctx, h.store) })
	wg.Go(func() { _ = h.store.Follow(ctx, "", h.Learn) })
	var once sync.Once
	h.kill = func() {
		once.Do(func() {
			cancel()
			wg.Wait()
		})
	}
	t.Cleanup(h.kill)
	return h
}

func (h *machine) changed() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.news)
	h.news = make(chan struct{})
}

// until waits for something to become true, whenever there is news.
func (h *machine) until(t *testing.T, what string, true_ func() bool) {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		h.mu.Lock()
		news := h.news
		h.mu.Unlock()
		if true_() {
			return
		}
		select {
		case <-news:
		case <-limit:
			t.Fatalf("never came: %s; problems are %q", what, h.Problems())
		}
	}
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestHostsSeeEachOther(t *testing.T) {
	t.Parallel()
	m := kvtest.NewMemory()
	a, b := join(t, m, h("aaaa", "a", "10.0.0.1")), join(t, m, h("bbbb", "b", "10.0.0.2"))
	a.until(t, "a sees b", func() bool { return a.Alive("bbbb") })
	b.until(t, "b sees a", func() bool { return b.Alive("aaaa") })
	if err := errors.Join(a.Held(soon(t)), b.Held(soon(t))); err != nil {
		t.Fatal(err)
	}
	key, value := a.Mark()
	if got := m.Data()[key]; !bytes.Equal(got, value) {
		t.Errorf("the store has %s, the mark is %s", got, value)
	}
	// It moves, and what Mark says is a condition that holds once more.
	b.SetVTEP(addr("10.0.0.22"))
	a.until(t, "a sees b's new address", func() bool {
		for _, h := range a.All() {
			if h.ID == "bbbb" && h.VTEP == addr("10.0.0.22") {
				return true
			}
		}
		return false
	})
	b.until(t, "b's mark is held again", b.Holds)
	key, value = b.Mark()
	if err := b.store.Commit(soon(t), []kv.Op{{Key: "x", Value: []byte("y")}}, kv.Cond{Key: key, Value: value}); err != nil {
		t.Error(err)
	}
	// A clean stop leaves the mark for a while.
	b.kill()
	if _, there := m.Data()[key]; !there {
		t.Error("b's mark went with it, although it only stopped")
	}
}

func TestHeldSaysWhatKeepsIt(t *testing.T) {
	t.Parallel()
	m := kvtest.NewMemory()
	self := New(Config{Self: h("aaaa", "a", "10.0.0.1")})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := self.Held(ended); err == nil || !strings.Contains(err.Error(), "not in the store yet") {
		t.Errorf("before Run: %v", err)
	}
	a := join(t, m, h("aaaa", "a", "10.0.0.1"))
	if err := a.Held(soon(t)); err != nil {
		t.Fatal(err)
	}
	a.store.Cut()
	a.until(t, "the mark counts as lost", func() bool { return !a.Holds() })
	if err := a.Held(soon(t)); !errors.Is(err, kv.ErrAway) {
		t.Errorf("cut off: %v", err)
	}
	a.store.Mend()
	if err := a.Held(soon(t)); err != nil && !errors.Is(err, kv.ErrAway) {
		t.Error(err)
	}
	a.until(t, "the mark is held again", a.Holds)
}

// A machine that was cloned with its identity waits while the other is alive,
// says so, and can't write.
func TestTwoMachinesWithOneIdentity(t *testing.T) {
	t.Parallel()
	m := kvtest.NewMemory()
	first := join(t, m, h("aaaa", "a", "10.0.0.1"))
	if err := first.Held(soon(t)); err != nil {
		t.Fatal(err)
	}
	clone := h("aaaa", "clone", "10.0.0.2")
	clone.Boot = "another"
	second := join(t, m, clone)
	second.until(t, "the clone knows", func() bool { return second.Refused() != nil })
	err := second.Held(soon(t))
	if !errors.Is(err, ErrDuplicate) {
		t.Fatalf("the clone gets %v", err)
	}
	for _, word := range []string{"a at 10.0.0.1", "clone at 10.0.0.2", "remove"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q lacks %q", err, word)
		}
	}
	if !first.Holds() || first.Refused() != nil {
		t.Errorf("the first lost its mark: %v", first.Refused())
	}
	// The first dies hard; its key is free within its TTL.
	if err := first.store.Close(); err != nil {
		t.Fatal(err)
	}
	first.kill()
	if err := untilHeld(t, second); err != nil {
		t.Error(err)
	}
	if len(second.Problems()) != 0 {
		t.Errorf("problems are still %q", second.Problems())
	}
}

func untilHeld(t *testing.T, h *machine) error {
	t.Helper()
	h.until(t, "the mark is held", h.Holds)
	return h.Held(soon(t))
}

// What an earlier process or boot of this machine left is taken over at once.
func TestOwnMarkIsTakenOver(t *testing.T) {
	tests := []struct {
		what string
		now  Host
	}{
		{"a new process", h("aaaa", "a", "10.0.0.1")},
		{"after a reboot", with(h("aaaa", "a", "10.0.0.1"), func(h *Host) { h.Boot = "next" })},
		{"after a reboot, with another address", with(h("aaaa", "a", "10.0.0.7"), func(h *Host) { h.Boot = "next" })},
		{"after a reboot, with another name", with(h("aaaa", "renamed", "10.0.0.1"), func(h *Host) { h.Boot = "next" })},
		{"renamed and moved while running", h("aaaa", "renamed", "10.0.0.7")},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			m := kvtest.NewMemory()
			old := join(t, m, h("aaaa", "a", "10.0.0.1"))
			if err := old.Held(soon(t)); err != nil {
				t.Fatal(err)
			}
			old.kill()
			now := join(t, m, tt.now)
			if err := now.Held(soon(t)); err != nil {
				t.Fatal(err)
			}
			key, value := now.Mark()
			if got := m.Data()[key]; !bytes.Equal(got, value) {
				t.Errorf("the store has %s, the mark is %s", got, value)
			}
		})
	}
}

func with(host Host, change func(*Host)) Host {
	change(&host)
	return host
}

// Another machine that writes our key while we hold it, as a clone with the
// same name does: we can't write any more, and say why.
func TestMarkIsOverwritten(t *testing.T) {
	t.Parallel()
	m := kvtest.NewMemory()
	a := join(t, m, h("aaaa", "a", "10.0.0.1"))
	if err := a.Held(soon(t)); err != nil {
		t.Fatal(err)
	}
	key, mine := a.Mark()
	clone := with(h("aaaa", "a", "10.0.0.2"), func(h *Host) { h.Boot, h.Run = "another", "another" })
	if err := m.Join().Commit(soon(t), []kv.Op{mark(t, clone)}); err != nil {
		t.Fatal(err)
	}
	a.until(t, "a knows", func() bool { return a.Refused() != nil })
	if err := a.Held(soon(t)); !errors.Is(err, ErrDuplicate) {
		t.Errorf("a gets %v", err)
	}
	var conflict *kv.Conflict
	if err := a.store.Commit(soon(t), []kv.Op{{Key: "x"}}, kv.Cond{Key: key, Value: mine}); !errors.As(err, &conflict) {
		t.Errorf("a can still write: %v", err)
	}
	if err := m.Join().Commit(soon(t), []kv.Op{gone("aaaa")}); err != nil {
		t.Fatal(err)
	}
	if err := untilHeld(t, a); err != nil {
		t.Error(err)
	}
}

// Somebody removes our key by hand: it is written again.
func TestMarkIsRemoved(t *testing.T) {
	t.Parallel()
	m := kvtest.NewMemory()
	a := join(t, m, h("aaaa", "a", "10.0.0.1"))
	b := join(t, m, h("bbbb", "b", "10.0.0.2"))
	b.until(t, "b sees a", func() bool { return b.Alive("aaaa") })
	if err := m.Join().Commit(soon(t), []kv.Op{gone("aaaa")}); err != nil {
		t.Fatal(err)
	}
	b.until(t, "b sees a again, with a new mark", func() bool {
		key, value := a.Mark()
		return b.Alive("aaaa") && a.Holds() && bytes.Equal(m.Data()[key], value)
	})
}

func TestIdentity(t *testing.T) {
	m := kvtest.NewMemory()
	first, err := Identity(t.Context(), m)
	if err != nil || len(first) != 2*identityBytes || !validID(first) {
		t.Fatalf("%q, %v", first, err)
	}
	if again, err := Identity(t.Context(), m.Reopen()); err != nil || again != first {
		t.Errorf("later it is %q, %v", again, err)
	}
	if other, err := Identity(t.Context(), kvtest.NewMemory()); err != nil || other == first {
		t.Errorf("another host's is %q too, %v", other, err)
	}
	broken := kvtest.NewMemory()
	if err := broken.Commit(t.Context(), []kv.Op{{Key: identityKey, Value: []byte("../../etc")}}); err != nil {
		t.Fatal(err)
	}
	if _, err := Identity(t.Context(), broken); !errors.Is(err, kv.ErrDamaged) {
		t.Errorf("of a broken record: %v", err)
	}
	full := kvtest.NewMemory()
	full.FailNext(kv.ErrNoSpace)
	if _, err := Identity(t.Context(), full); !errors.Is(err, kv.ErrNoSpace) {
		t.Errorf("on a full disk: %v", err)
	}
	if id, err := Identity(t.Context(), full); err != nil || id == "" {
		t.Errorf("once there is room: %q, %v", id, err)
	}
}
