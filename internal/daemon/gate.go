package daemon

import (
	"context"
	"fmt"
	"sync"

	"github.com/dockstack/dockstack/internal/kv"
)

// gate is the shared store as the leases see it: closed until it has proved to
// be the one that this host's names are in.
type gate struct {
	mu    sync.Mutex
	store kv.Shared // nil while closed; guarded by mu
	// refused is why the store must not be used, away why it can't be; refused
	// wins. Guarded by mu.
	refused, away error
	changed       chan struct{}
}

var _ kv.Shared = (*gate)(nil)

// fewestOps is how many ops one commit of any shared store takes.
const fewestOps = 64

var errNotReached = fmt.Errorf("%w: it was not reached since dockstack started", kv.ErrAway)

func newGate() *gate { return &gate{away: errNotReached, changed: make(chan struct{})} }

// set changes the gate and tells who waits for its state.
func (g *gate) set(change func(*gate)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change(g)
	close(g.changed)
	g.changed = make(chan struct{})
}

func (g *gate) open(store kv.Shared) {
	g.set(func(g *gate) { g.store, g.refused = store, nil })
}

func (g *gate) shut(refused error) {
	g.set(func(g *gate) { g.store, g.refused = nil, refused })
}

func (g *gate) setAway(away error) { g.set(func(g *gate) { g.away = away }) }

// use returns the store, or why there is none.
func (g *gate) use() (kv.Shared, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.refused != nil:
		return nil, g.refused
	case g.store == nil && g.away != nil:
		return nil, g.away
	case g.store == nil:
		return nil, fmt.Errorf("%w: it is still being looked at", kv.ErrAway)
	}
	return g.store, nil
}

// Load implements kv.Store.
func (g *gate) Load(ctx context.Context, prefix string, fn func(key string, value []byte) error) error {
	store, err := g.use()
	if err != nil {
		return err
	}
	return store.Load(ctx, prefix, fn)
}

// Commit implements kv.Store.
func (g *gate) Commit(ctx context.Context, ops []kv.Op, conds ...kv.Cond) error {
	store, err := g.use()
	if err != nil {
		return err
	}
	return store.Commit(ctx, ops, conds...)
}

// Close implements kv.Store: what is behind the gate is its maker's.
func (*gate) Close() error { return nil }

// MaxOps implements kv.Shared.
func (g *gate) MaxOps() int {
	if store, err := g.use(); err == nil {
		return store.MaxOps()
	}
	return fewestOps
}

// Follow implements kv.Shared.
func (g *gate) Follow(ctx context.Context, prefix string, fn func(kv.Change)) error {
	store, err := g.use()
	if err != nil {
		return err
	}
	return store.Follow(ctx, prefix, fn)
}

// Hold implements kv.Shared.
func (g *gate) Hold(ctx context.Context, mark kv.Mark) error {
	store, err := g.use()
	if err != nil {
		return err
	}
	return store.Hold(ctx, mark)
}

// State implements kv.Shared.
func (g *gate) State() (away error, changed <-chan struct{}) { //nolint:staticcheck // a state, not an error of the call
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refused != nil {
		return g.refused, g.changed
	}
	return g.away, g.changed
}
