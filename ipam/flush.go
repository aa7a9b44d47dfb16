package ipam

import (
	"context"
	"errors"
	"log/slog"
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

// Flush writes which leases became live. It happens by itself, FlushAfter the
// first of them, or with the next change; call it before the store is closed.
func (r *Registry) Flush(ctx context.Context) error {
	return r.change(ctx, func(t *tx) error {
		for key := range r.behind {
			t.write(key)
		}
		return nil
	})
}

// late leaves a key to be written with the next commit, or by the flusher.
func (r *Registry) late(key string) {
	r.behind[key] = struct{}{}
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
	if r.flushFailed.CompareAndSwap(false, true) {
		r.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "the store does not take which leases are live; trying again", slog.Any("error", err))
	}
	if r.flushing.CompareAndSwap(false, true) {
		r.flusher.Reset(flushRetry)
	}
}
