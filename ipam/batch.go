package ipam

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/dockstack/dockstack/internal/kv"
)

// errPanic wraps a programming error in a decision, so that one request fails
// and not the daemon.
var errPanic = errors.New("internal error")

// call is one request.
type call struct {
	do func(*tx) error
	// reads: do decides nothing, so it sees only what is written.
	reads bool
	// learns: do takes over what is in the shared store already.
	learns bool
	// joins: do is part of Join.
	joins bool
	err   error
}

// change has do make decisions.
func (r *Registry) change(ctx context.Context, do func(*tx) error) error {
	return r.run(ctx, &call{do: do})
}

// read has do look at what is decided and written.
func (r *Registry) read(ctx context.Context, do func(*tx)) error {
	return r.run(ctx, &call{reads: true, do: func(t *tx) error {
		do(t)
		return nil
	}})
}

func (r *Registry) run(ctx context.Context, c *call) error {
	if err := r.calls.Do(ctx, c, r.serve); err != nil {
		return err
	}
	return c.err
}

func (r *Registry) newTx() *tx { return &tx{r: r, now: now(r.cfg), written: map[string][]byte{}} }

// serve decides and writes a batch.
func (r *Registry) serve(ctx context.Context, batch []*call) {
	if r.shared() {
		r.serveShared(ctx, batch)
		return
	}
	t := r.newTx()
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
	t.publish(ctx)
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
		clear(r.behind)
		return nil
	}
	for _, op := range ops {
		r.behind[op.Key] = nil
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
func (t *tx) publish(ctx context.Context) {
	for _, n := range t.notes {
		t.r.cfg.Log.LogAttrs(ctx, n.level, n.msg, n.attrs...) //nolint:sloglint // the message was a literal when it was noted
	}
	if len(t.undo) > 0 {
		t.r.snap.Store(t.r.snap.Load().after(t))
	}
	if len(t.undo) > 0 || t.whole {
		t.tellMoves()
	}
	if len(t.undo) > 0 {
		t.tellChanges()
	}
}
