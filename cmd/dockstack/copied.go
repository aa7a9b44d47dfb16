package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/peers"
)

const (
	// copyAfter is how long changes are gathered: each write to the disk costs
	// a sync, and the copy serves only while the shared store is away.
	copyAfter = 300 * time.Millisecond
	// copyRetry is how often a copy that failed is tried again.
	copyRetry = 10 * time.Second
	// copyLast bounds the last write.
	copyLast = 2 * time.Second
)

// copiedPrefixes are the keys that a host needs while the shared store is away:
// its content but for what says the same in another order.
var copiedPrefixes = []string{"lease/", "pool/", "use/", peers.Prefix}

// copied is a shared store whose content this host's own store follows, a
// little late. A write brings the own store from one state that the shared one
// had to a later one, never to a mixture.
type copied struct {
	kv.Shared
	local kv.Store
	// failed is called when the own store has to be opened anew.
	failed func()
	log    *slog.Logger
	wake   chan struct{}

	// order keeps what a commit told and the changes that follow it in order:
	// it is held while a commit is under way.
	order sync.Mutex

	mu sync.Mutex
	// on is whether the own store is a copy already; guarded by mu
	on bool
	// pending is what has to be written: the last op of each key; guarded by mu
	pending map[string]kv.Op
	// whole: pending is all there is; guarded by mu
	whole bool
	// err is why the copy is behind; guarded by mu
	err error
}

func newCopied(shared kv.Shared, local kv.Store, failed func(), log *slog.Logger) *copied {
	return &copied{Shared: shared, local: local, failed: failed, log: log, wake: make(chan struct{}, 1), pending: map[string]kv.Op{}}
}

func isCopied(key string) bool {
	for _, prefix := range copiedPrefixes {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

// Resume says that the own store is a copy, if an old one. It is called before
// Follow.
func (c *copied) Resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on = true
}

// Begin makes the own store a copy. It is called while Follow runs.
func (c *copied) Begin(ctx context.Context) error {
	c.order.Lock()
	defer c.order.Unlock()
	all := kv.Change{Whole: true}
	err := c.Load(ctx, "", func(key string, value []byte) error {
		all.Ops = append(all.Ops, kv.Op{Key: key, Value: append([]byte{}, value...)})
		return nil
	})
	if err != nil {
		return fmt.Errorf("read all: %w", err)
	}
	c.Resume()
	c.note(all)
	return nil
}

// Commit implements kv.Store.
func (c *copied) Commit(ctx context.Context, ops []kv.Op, conds ...kv.Cond) error {
	c.order.Lock()
	defer c.order.Unlock()
	err := c.Shared.Commit(ctx, ops, conds...)
	conflict := (*kv.Conflict)(nil)
	switch {
	case err == nil:
		c.note(kv.Change{Ops: ops})
	case errors.As(err, &conflict):
		// Follow leaves out what a conflict told.
		c.note(kv.Change{Ops: conflict.Now})
	}
	return err
}

// Follow implements kv.Shared.
func (c *copied) Follow(ctx context.Context, prefix string, fn func(kv.Change)) error {
	return c.Shared.Follow(ctx, prefix, func(ch kv.Change) {
		c.order.Lock()
		c.note(ch.Fresh())
		c.order.Unlock()
		fn(ch)
	})
}

// note remembers what has to be written.
func (c *copied) note(ch kv.Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.on {
		return
	}
	if ch.Whole {
		c.whole = true
		clear(c.pending)
	}
	for _, op := range ch.Ops {
		if isCopied(op.Key) {
			c.pending[op.Key] = kv.Op{Key: op.Key, Value: append([]byte{}, op.Value...), Delete: op.Delete}
		}
	}
	if c.whole || len(c.pending) > 0 {
		nudge(c.wake)
	}
}

// Err is why the copy is behind, nil where it isn't.
func (c *copied) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Run writes the copy until ctx ends, and then what is left.
func (c *copied) Run(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-c.wake:
			if pause(ctx, copyAfter) == nil && c.write(ctx) != nil {
				_ = pause(ctx, copyRetry) // the loop looks at ctx
				nudge(c.wake)
			}
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), copyLast)
	defer cancel()
	_ = c.write(last) // it is in the log
}

// write brings the own store up to date.
func (c *copied) write(ctx context.Context) error {
	c.mu.Lock()
	pending, whole := c.pending, c.whole
	c.pending, c.whole = map[string]kv.Op{}, false
	c.mu.Unlock()
	err := c.put(ctx, pending, whole)
	c.mu.Lock()
	news := err != nil && (c.err == nil || c.err.Error() != err.Error())
	c.err = err
	if err != nil && !c.whole { // else what came meanwhile is all there is
		for key, op := range c.pending {
			pending[key] = op
		}
		c.pending, c.whole = pending, whole
	}
	c.mu.Unlock()
	if news {
		c.log.Error("this host's copy of the shared store is behind", "error", err)
	}
	if errors.Is(err, kv.ErrFailed) {
		c.failed()
	}
	return err
}

func (c *copied) put(ctx context.Context, pending map[string]kv.Op, whole bool) error {
	same := map[string]struct{}{}
	var ops []kv.Op
	if whole {
		var err error
		if ops, err = c.compare(ctx, pending, same); err != nil {
			return fmt.Errorf("read the copy: %w", err)
		}
	}
	for key, op := range pending {
		if _, known := same[key]; !known {
			ops = append(ops, op)
		}
	}
	if len(ops) == 0 {
		return nil
	}
	return c.local.Commit(ctx, ops)
}

// compare returns the removals of what the own store has beyond all there is,
// and notes in same what is as it should be.
func (c *copied) compare(ctx context.Context, all map[string]kv.Op, same map[string]struct{}) (gone []kv.Op, err error) {
	for _, prefix := range copiedPrefixes {
		err := c.local.Load(ctx, prefix, func(key string, value []byte) error {
			op, there := all[key]
			switch {
			case !there:
				gone = append(gone, kv.Op{Key: strings.Clone(key), Delete: true})
			case !op.Delete && string(op.Value) == string(value):
				same[op.Key] = struct{}{}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return gone, nil
}
