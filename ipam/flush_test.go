package ipam_test

import (
	"errors"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/ipam"
)

// A known name starts while the store takes nothing, a new one does not.
func TestKnownNamesStartOnAFullDisk(t *testing.T) {
	w := inNetwork(t, "10.0.0.0/24")
	addr, err := w.ask("db")
	w.ok(err)
	w.release(addr)
	w.store.FailNext(kv.ErrNoSpace)
	if got, err := w.ask("db"); err != nil || got != addr {
		t.Errorf("a known name gets %s, %v; had %s", got, err, addr)
	}
	if _, err := w.ask("new"); !errors.Is(err, kv.ErrNoSpace) {
		t.Errorf("a new name got an address that nobody wrote down: %v", err)
	}
}

// That a lease became live reaches the store with the next commit, by Flush,
// and by itself.
func TestLiveReachesTheStore(t *testing.T) {
	byItself := func(w *world) {
		for began, had := time.Now(), w.store.Commits(); w.store.Commits() == had && time.Since(began) < 20*time.Second; {
			time.Sleep(time.Millisecond)
		}
	}
	ways := map[string]struct {
		after time.Duration
		wait  func(*world)
	}{
		"with the next commit": {time.Hour, func(w *world) { _, err := w.ask("another"); w.ok(err) }},
		"by Flush":             {time.Hour, func(w *world) { w.ok(w.reg.Flush(w.ctx)) }},
		"by itself":            {200 * time.Millisecond, byItself},
	}
	for what, way := range ways {
		t.Run(what, func(t *testing.T) {
			w := inNetwork(t, "10.0.0.0/24")
			addr, err := w.ask("db")
			w.ok(err)
			w.release(addr)
			w.cfg.FlushAfter = way.after
			w.open()
			_, err = w.ask("db")
			w.ok(err)
			way.wait(w)
			w.open()
			all, err := w.reg.Leases(w.ctx, ipam.LeaseFilter{Name: "db"})
			w.ok(err)
			if len(all) != 1 || all[0].State != ipam.StateLive {
				t.Errorf("the store has %+v, want it live", all)
			}
		})
	}
}
