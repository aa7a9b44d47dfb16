package ipam

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"

	"github.com/dockstack/dockstack/internal/kv"
)

// errPanic wraps a programming error in a decision, so that one request fails
// and not the daemon.
var errPanic = errors.New("internal error")

// call is one request in the queue.
type call struct {
	do func(*tx) error
	// reads: do decides nothing, so it sees only what is written.
	reads bool
	err   error
	// appointed: the call's owner has been told to lead.
	appointed bool
	// wake tells the owner to lead (true), or that the call is done.
	wake chan bool
}

// change has do make decisions.
func (r *Registry) change(ctx context.Context, do func(*tx) error) error {
	return r.run(ctx, &call{do: do, wake: make(chan bool, 1)})
}

// read has do look at what is decided and written.
func (r *Registry) read(ctx context.Context, do func(*tx)) error {
	return r.run(ctx, &call{reads: true, wake: make(chan bool, 1), do: func(t *tx) error {
		do(t)
		return nil
	}})
}

// run puts c into the queue and returns when it is done. The first caller to
// find the queue without a leader leads: it serves the whole queue in one
// commit and hands over to the first of those who came meanwhile. So a lone
// caller never waits for company, and many share a commit.
func (r *Registry) run(ctx context.Context, c *call) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.mu.Lock()
	r.queue = append(r.queue, c)
	lead := !r.leading
	if lead {
		r.leading, c.appointed = true, true
	}
	r.mu.Unlock()
	if !lead {
		select {
		case lead = <-c.wake:
		case <-ctx.Done():
			if r.withdraw(c) {
				return ctx.Err()
			}
			lead = <-c.wake
		}
	}
	if lead {
		r.lead(ctx)
	}
	return c.err
}

// withdraw takes c out of the queue, unless somebody works on it.
func (r *Registry) withdraw(c *call) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.Index(r.queue, c)
	if i < 0 || c.appointed {
		return false
	}
	r.queue = slices.Delete(r.queue, i, i+1)
	return true
}

// lead serves the queue once. The batch outlives the leader's own ctx, since
// others wait for it.
func (r *Registry) lead(ctx context.Context) {
	// Those who were answered just now may have their next request ready.
	runtime.Gosched()
	r.mu.Lock()
	batch := r.queue
	r.queue = nil
	r.mu.Unlock()

	r.serve(context.WithoutCancel(ctx), batch)
	for _, c := range batch {
		if !c.appointed {
			c.wake <- false
		}
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == 0 {
		r.leading = false
		return
	}
	next := r.queue[0]
	next.appointed = true
	next.wake <- true
}

// serve decides and writes a batch.
func (r *Registry) serve(ctx context.Context, batch []*call) {
	t := &tx{r: r, now: now(r.cfg), written: map[string]struct{}{}}
	for _, c := range batch {
		if !c.reads {
			c.err = t.try(c.do)
		}
	}
	if err := r.commit(ctx, t); err != nil {
		t.back(mark{})
		for _, c := range batch {
			if !c.reads && c.err == nil {
				c.err = err
			}
		}
	}
	t.publish()
	for _, c := range batch {
		if c.reads {
			c.err = t.try(c.do)
		}
	}
}

func (r *Registry) commit(ctx context.Context, t *tx) error {
	if len(t.keys) == 0 {
		return nil
	}
	ops, err := t.ops()
	if err == nil {
		err = r.store.Commit(ctx, ops)
	}
	if err == nil {
		clear(r.unsure)
		return nil
	}
	for _, op := range ops {
		r.unsure[op.Key] = struct{}{}
	}
	if errors.Is(err, kv.ErrNoSpace) {
		return fmt.Errorf("nothing was changed: %w", err)
	}
	return fmt.Errorf("nothing was changed, the store did not take it: %w", err)
}

// try has do decide, and undoes what it did when it fails.
func (t *tx) try(do func(*tx) error) (err error) {
	m := t.mark()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v; please report it with this:\n%s", errPanic, p, debug.Stack())
		}
		if err != nil {
			t.back(m)
		}
	}()
	return do(t)
}

// publish lets the world see what was written.
func (t *tx) publish() {
	for _, n := range t.notes {
		t.r.cfg.Log.LogAttrs(context.Background(), n.level, n.msg, n.attrs...)
	}
	if len(t.undo) > 0 {
		t.r.snap.Store(t.r.snap.Load().after(t))
	}
}
