// Package copied keeps a copy of parts of a shared store on this host, so that
// what the host knew is there while the shared store is away, also after a
// restart.
//
// The copy is written behind: it is never older than the moment before the
// last flush, every flush leaves it as the shared store was known at one
// moment, and its disk's troubles are no trouble of the shared store.
package copied

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/ahead"
)

var _ kv.Shared = (*Store)(nil)

// DefaultEvery is how long changes are gathered before they are written: long
// enough that a hundred containers' starts share a flush of the disk, short
// enough that a power cut loses nothing that anybody relied on for long.
const DefaultEvery = 200 * time.Millisecond

// slowest is how long a copy whose disk fails waits before it tries again.
const slowest = 5 * time.Second

// Config is how to copy.
type Config struct {
	// Prefixes are the keys to copy.
	Prefixes []string
	// Every is how long changes are gathered, DefaultEvery where it is 0.
	Every time.Duration
	// Log gets what goes wrong with the copy.
	Log *slog.Logger
}

// Store is a shared store whose news are copied: what Commit tells, and what
// Follow tells. So somebody must follow it for the copy to be complete.
type Store struct {
	kv.Shared
	local kv.Store
	cfg   Config

	// flights are the commits whose outcome is not gathered yet.
	flights ahead.Book

	mu sync.Mutex
	// ops are what is to be written, by key; scopes, prefixes below which
	// nothing else is to be left.
	ops    map[string]kv.Op
	scopes map[string]struct{}
	// news has a token while there is something to write.
	news chan struct{}

	// flushing is held while the copy is written.
	flushing sync.Mutex
	// failed: the last write failed, which was logged. flushing guards it.
	failed bool

	beginning, closing sync.Once
	end                chan struct{}
	writer             sync.WaitGroup
}

// New returns shared with a copy in local. Both stay their openers' to close,
// but shared is closed by Close. Nothing is written before Begin.
func New(shared kv.Shared, local kv.Store, cfg Config) *Store {
	if cfg.Every == 0 {
		cfg.Every = DefaultEvery
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Store{
		Shared: shared, local: local, cfg: cfg, ops: map[string]kv.Op{}, scopes: map[string]struct{}{},
		news: make(chan struct{}, 1), end: make(chan struct{}),
	}
}

// Begin starts writing the copy, with all that was told since New. Until then
// the copy is as it was found.
func (s *Store) Begin() { s.beginning.Do(func() { s.writer.Go(s.write) }) }

// Commit implements kv.Store. It returns as soon as the shared store has
// answered.
func (s *Store) Commit(ctx context.Context, ops []kv.Op, conds ...kv.Cond) error {
	flight := s.flights.Begin(ops, conds)
	defer flight.End()
	err := s.Shared.Commit(ctx, ops, conds...)
	var conflict *kv.Conflict
	switch {
	case err == nil:
		s.gather(ops)
	case errors.As(err, &conflict):
		s.gather(conflict.Now)
	}
	return err
}

// Follow implements kv.Shared. What is told is copied before fn has it.
func (s *Store) Follow(ctx context.Context, prefix string, fn func(kv.Change)) error {
	return s.Shared.Follow(ctx, prefix, func(c kv.Change) {
		// A commit that made an older change may be on its way from the shared
		// store to gather: it is to be first.
		if s.flights.Landed(ctx, named(c)) == nil {
			s.learn(prefix, c)
		}
		fn(c)
	})
}

// Close closes the shared store, and writes what is not written yet. Its error
// is that of the shared store.
func (s *Store) Close() error {
	err := s.Shared.Close()
	s.closing.Do(func() { close(s.end) })
	s.writer.Wait()
	return err
}

// named are the keys that a change tells of. A picture of everything also tells
// of keys that it lacks, so for these it is nil.
func named(c kv.Change) iter.Seq[string] {
	if c.Whole {
		return nil
	}
	return func(yield func(string) bool) {
		for _, op := range c.Ops {
			if !yield(op.Key) {
				return
			}
		}
	}
}

// gather notes ops to be written.
func (s *Store) gather(ops []kv.Op) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gatherLocked(ops)
}

func (s *Store) gatherLocked(ops []kv.Op) {
	any := false
	for _, op := range ops {
		if s.copies(op.Key) {
			op.Value = append([]byte(nil), op.Value...)
			s.ops[op.Key] = op
			any = true
		}
	}
	if any {
		s.wake()
	}
}

func (s *Store) wake() {
	select {
	case s.news <- struct{}{}:
	default:
	}
}

func (s *Store) copies(key string) bool {
	for _, p := range s.cfg.Prefixes {
		if strings.HasPrefix(key, p) {
			return true
		}
	}
	return false
}

// learn notes a change of what is below prefix.
func (s *Store) learn(prefix string, c kv.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c = c.Fresh()
	if c.Whole {
		for _, p := range s.cfg.Prefixes {
			s.wholeLocked(p, prefix)
		}
	}
	s.gatherLocked(c.Ops)
}

// wholeLocked notes that below both prefixes nothing is but what will follow.
func (s *Store) wholeLocked(a, b string) {
	scope := a
	if strings.HasPrefix(b, a) {
		scope = b
	} else if !strings.HasPrefix(a, b) {
		return
	}
	for key := range s.ops {
		if strings.HasPrefix(key, scope) {
			delete(s.ops, key)
		}
	}
	s.scopes[scope] = struct{}{}
	s.wake()
}
