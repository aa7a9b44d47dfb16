package kvtest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
)

// ttl is the least that an etcd with its default times takes. Where a test wants
// a mark that its holder keeps, a busy machine must not be why it ends: steady,
// which is longer than anything is waited for.
const (
	ttl    = 2 * time.Second
	steady = 2 * patience
)

// holding is a Hold under way.
type holding struct {
	end  context.CancelFunc
	wait func()
	mu   sync.Mutex
	told []bool
}

func holdMark(t *testing.T, s kv.Shared, ttl, after time.Duration) *holding {
	t.Helper()
	h := &holding{}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	h.end, h.wait = cancel, wg.Wait
	mark := kv.Mark{Key: "host/a", Value: []byte("here"), TTL: ttl, After: after, Held: func(held bool) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.told = append(h.told, held)
	}}
	wg.Go(func() {
		if err := s.Hold(ctx, mark); !errors.Is(err, context.Canceled) && !errors.Is(err, kv.ErrClosed) {
			t.Errorf("hold: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return h
}

func (w *Watcher) gone(t *testing.T, key string) time.Time {
	t.Helper()
	w.Until(t, key+" is gone", func(_ []kv.Change, content map[string]string) bool {
		_, ok := content[key]
		return !ok
	})
	return time.Now()
}

func (h *holding) wantTold(t *testing.T, want ...bool) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.told) != len(want) {
		t.Errorf("held was called with %v, want %v", h.told, want)
		return
	}
	for i := range want {
		if h.told[i] != want[i] {
			t.Errorf("held was called with %v, want %v", h.told, want)
			return
		}
	}
}

func markEnds(t *testing.T, j Joiner) {
	t.Helper()
	a, b := join(t, j), join(t, j)
	w := Watch(t, b, "")
	w.begun(t)
	const lives = 4 * time.Second
	h := holdMark(t, a, lives, 0)
	w.has(t, "host/a", "here")
	// It is kept for longer than it would live by itself.
	still := time.NewTimer(lives + 2*time.Second)
	defer still.Stop()
	<-still.C
	want(t, b, "host/", map[string]string{"host/a": "here"})
	h.end()
	h.wait()
	w.gone(t, "host/a")
	h.wantTold(t, true)
	// It goes at once, and not when its time is over.
	h = holdMark(t, a, steady, 0)
	w.has(t, "host/a", "here")
	h.end()
	h.wait()
	w.gone(t, "host/a")
}

func markStays(t *testing.T, j Joiner) {
	t.Helper()
	a, b := join(t, j), join(t, j)
	w := Watch(t, b, "")
	const after = 5 * time.Second
	h := holdMark(t, a, steady, after)
	w.has(t, "host/a", "here")
	ended := time.Now()
	h.end()
	h.wait()
	took := w.gone(t, "host/a").Sub(ended)
	if took < after-time.Second {
		t.Errorf("the mark stayed for %s, want %s", took, after)
	}
	// Who comes back meanwhile keeps it.
	h = holdMark(t, a, steady, after)
	w.has(t, "host/a", "here")
	h.end()
	h.wait()
	_ = holdMark(t, join(t, j), steady, 0)
	beyond := time.NewTimer(after + 2*time.Second)
	defer beyond.Stop()
	<-beyond.C
	want(t, b, "host/", map[string]string{"host/a": "here"})
}

func markExpires(t *testing.T, j Joiner) {
	t.Helper()
	a, b := join(t, j), join(t, j)
	w := Watch(t, b, "")
	h := holdMark(t, a, ttl, time.Hour)
	w.has(t, "host/a", "here")
	killed := time.Now()
	closeStore(t, a)
	h.wait()
	if took := w.gone(t, "host/a").Sub(killed); took < 100*time.Millisecond {
		t.Errorf("the mark stayed for %s, want about %s", took, ttl)
	}
}
