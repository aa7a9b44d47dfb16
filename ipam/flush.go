package ipam

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
)

// A parked lease that becomes live again is answered before the store has it:
// who has which address does not change, and a container that is known starts
// as fast as memory, and even while the disk is full. What a crash can take is
// that the lease was live. After a crash of ours the switch still knows (see
// Sweep), and after one of the machine no container lives.

// flushRetry is how long after a failed flush the next one comes.
const flushRetry = 10 * time.Second

// awayRetry is the same while a shared store is away, which it knows itself.
const awayRetry = time.Second

// Flush writes which leases became live, and undoes an import that was cut off
// in the middle. It happens by itself, FlushAfter the
// first of them, or with the next change; call it before the store is closed.
func (r *Registry) Flush(ctx context.Context) error {
	for more := true; more; {
		err := r.change(ctx, func(t *tx) error {
			if t.away {
				return kv.ErrAway
			}
			more = t.flush()
			return nil
		})
		if err != nil {
			return err
		}
	}
	return r.undoLeft(ctx)
}

// flush writes what the store is behind with, as much as one commit takes, and
// tells whether there is more.
func (t *tx) flush() (more bool) {
	most := t.r.atOnce()
	keys := slices.SortedFunc(maps.Keys(t.r.behind), func(a, b string) int {
		return cmp.Or(cmp.Compare(lateOrder(a), lateOrder(b)), cmp.Compare(a, b))
	})
	for _, key := range keys {
		if len(t.keys) >= most {
			return true
		}
		t.write(key)
		if t.r.shared() {
			t.guardLate(key)
		}
	}
	return false
}

// guardLate notes on what rests a lease that changed while the store was away.
func (t *tx) guardLate(key string) {
	id, name, ok := splitLeaseKey(key)
	if p := t.r.pools[id]; ok && p != nil && p.names[name] != nil {
		t.bringLate(p.names[name])
		// Others rely on its being this host's only while that is alive.
		t.guardOwnMark()
	}
}

// bringLate has a lease that the store is behind with be written together with
// what is noted of its address: either may have changed while it was away.
func (t *tx) bringLate(l *lease) {
	key, addr := leaseKey(l.pool.id, l.name), addrKey(l.pool.id, l.addr)
	if base := t.r.base(key); base != nil && base.live && base.host != me && base.host != nowhere {
		t.guardMark(t.r.hostID(base.host))
	}
	if t.r.isBehind(addr) {
		t.write(addr)
	}
	t.guard(addr)
	t.leaveLate(key)
}

// leaveLate has a late lease give up the address that the store has of it, where
// that is another, with whatever is written of it first: left for later it would
// stay noted where this process ends in between.
func (t *tx) leaveLate(key string) {
	if base := t.r.base(key); base != nil && t.r.isBehind(addrKey(base.pool.id, base.addr)) {
		t.write(addrKey(base.pool.id, base.addr))
	}
}

// vacateLate has a late lease whose address in the store goes to l be written
// together with that: else two names would have it.
func (t *tx) vacateLate(l *lease) {
	name := t.r.behind[addrKey(l.pool.id, l.addr)]
	if name == nil || string(name) == l.name {
		return
	}
	if key := leaseKey(l.pool.id, string(name)); t.r.isBehind(key) {
		t.write(key)
		t.guardLate(key)
	}
}

// atOnce is how many leases one commit may change.
func (r *Registry) atOnce() int {
	if r.shared() {
		// Each is two keys, or three with another host's mark.
		return r.cfg.Shared.MaxOps() / 4
	}
	return 10_000
}

// late leaves a key to be written with the next commit, or by the flusher.
func (r *Registry) late(key string) {
	r.behind[key] = nil
	r.flushSoon()
}

func (r *Registry) flushSoon() {
	if r.flushing.CompareAndSwap(false, true) {
		r.flusher.Reset(r.cfg.FlushAfter)
	}
}

// flushByItself is what the flusher does.
func (r *Registry) flushByItself() {
	ctx := context.Background()
	r.flushing.Store(false)
	err := r.Flush(ctx)
	if err == nil {
		r.flushFailed.Store(false)
		return
	}
	if errors.Is(err, kv.ErrClosed) {
		return
	}
	if errors.Is(err, kv.ErrAway) {
		if r.flushing.CompareAndSwap(false, true) {
			r.flusher.Reset(awayRetry)
		}
		return
	}
	if r.flushFailed.CompareAndSwap(false, true) {
		r.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "the store does not take which leases are live; trying again", slog.Any("error", err))
	}
	if r.flushing.CompareAndSwap(false, true) {
		r.flusher.Reset(flushRetry)
	}
}
