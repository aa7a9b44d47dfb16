package consistency

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/peers"
)

const (
	// copyAfter is how late a host's copy is.
	copyAfter = 50 * time.Millisecond
)

// spy is a host's store. It notes what commits told, keeps the host's copy of
// the store, and shortens marks' lives. What it strips of conditions, tests of
// the tests say.
type spy struct {
	kv.Shared
	hist  *history
	strip func([]kv.Cond) []kv.Cond
	ttl   time.Duration
	local kv.Store
	wake  chan struct{}
	// drops tells that the host is about to remove leases, or did not.
	drops func(ops []kv.Op, may bool)

	order sync.Mutex // see internal/daemon's copied
	mu    sync.Mutex
	// commits are those that were sent, in the order of their answers.
	commits []commit
	pending map[string]kv.Op
	whole   bool
}

type commit struct {
	call, ret int64
	ok        bool
	away      bool
	sent      bool
	leases    []stored
}

// stored is a lease in the store.
type stored struct {
	pool, name     string
	addr           netip.Addr
	live, reserved bool
	host           string
}

func newSpy(h *host, shared kv.Shared, local kv.Store) *spy {
	w := h.w
	return &spy{
		drops:  func(ops []kv.Op, may bool) { w.seen.drops(h.id, ops, may) },
		Shared: shared, hist: w.hist, local: local, strip: w.strip, ttl: w.ttl, wake: make(chan struct{}, 1), pending: map[string]kv.Op{},
	}
}

// Commit implements kv.Store.
func (s *spy) Commit(ctx context.Context, ops []kv.Op, conds ...kv.Cond) error {
	s.order.Lock()
	defer s.order.Unlock()
	known, _ := s.State()
	c := commit{call: s.hist.now()}
	if s.strip != nil {
		conds = s.strip(conds)
	}
	s.drops(ops, true)
	err := s.Shared.Commit(ctx, ops, conds...)
	c.ret = s.hist.now()
	c.away = errors.Is(err, kv.ErrAway) || errors.Is(err, kv.ErrClosed)
	c.sent = c.away && known == nil
	conflict := (*kv.Conflict)(nil)
	switch {
	case err == nil:
		c.ok = true
		for _, op := range ops {
			if l, ok := lease(op); ok {
				c.leases = append(c.leases, l)
			}
		}
		s.note(kv.Change{Ops: ops})
	case errors.As(err, &conflict):
		s.drops(ops, false)
		s.note(kv.Change{Ops: conflict.Now})
	}
	s.mu.Lock()
	s.commits = append(s.commits, c)
	s.mu.Unlock()
	return err
}

// lease reads a lease that is written.
func lease(op kv.Op) (stored, bool) {
	rest, is := strings.CutPrefix(op.Key, "lease/")
	if !is || op.Delete {
		return stored{}, false
	}
	parts := strings.SplitN(rest, "/", 3)
	l := stored{pool: parts[0] + "/" + parts[1], name: parts[2]}
	const live, reserved, hasMAC, hasHost = 1, 4, 8, 32
	flags := op.Value[1]
	l.live, l.reserved = flags&live != 0, flags&reserved != 0
	_, n := binary.Varint(op.Value[2:])
	b := op.Value[2+n:]
	l.addr, _ = netip.AddrFromSlice(b[1 : 1+b[0]])
	b = b[1+b[0]:]
	if flags&hasMAC != 0 {
		b = b[6:]
	}
	if flags&hasHost != 0 {
		l.host = string(b)
	}
	return l, true
}

// between tells what became of the commits that were answered between two
// moments: whether one was carried out, the store was away, and one that failed
// may have been carried out.
func (s *spy) between(call, ret int64) (ok, away, sent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.commits) - 1; i >= 0 && s.commits[i].ret >= call; i-- {
		if c := s.commits[i]; c.ret <= ret {
			ok, away, sent = ok || c.ok, away || c.away, sent || c.sent
		}
	}
	return ok, away, sent
}

// wrote returns the commits that wrote leases.
func (s *spy) wrote() []commit {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []commit
	for _, c := range s.commits {
		if len(c.leases) > 0 {
			out = append(out, c)
		}
	}
	return out
}

// Follow implements kv.Shared.
func (s *spy) Follow(ctx context.Context, prefix string, fn func(kv.Change)) error {
	return s.Shared.Follow(ctx, prefix, func(ch kv.Change) {
		s.order.Lock()
		s.note(ch.Fresh())
		s.order.Unlock()
		fn(ch)
	})
}

// Hold implements kv.Shared.
func (s *spy) Hold(ctx context.Context, mark kv.Mark) error {
	mark.TTL, mark.After = s.ttl, 3*s.ttl
	return s.Shared.Hold(ctx, mark)
}

func (s *spy) note(ch kv.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ch.Whole {
		s.whole = true
		clear(s.pending)
	}
	for _, op := range ch.Ops {
		for _, prefix := range []string{"lease/", "pool/", "use/", peers.Prefix} {
			if strings.HasPrefix(op.Key, prefix) {
				s.pending[op.Key] = kv.Op{Key: op.Key, Value: append([]byte{}, op.Value...), Delete: op.Delete}
			}
		}
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// copies keeps the copy until ctx ends; what is pending then is lost, as when
// a process is killed.
func (s *spy) copies(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		}
		if !wait(ctx, copyAfter) {
			return nil
		}
		// Once begun it comes to its end: half of it would be a copy that no
		// process leaves behind.
		if err := s.write(context.WithoutCancel(ctx)); err != nil {
			return err
		}
	}
}

// write brings the copy up to date.
func (s *spy) write(ctx context.Context) error {
	s.mu.Lock()
	pending, whole := s.pending, s.whole
	s.pending, s.whole = map[string]kv.Op{}, false
	s.mu.Unlock()
	var ops []kv.Op
	if whole {
		err := s.local.Load(ctx, "", func(key string, _ []byte) error {
			if _, there := pending[key]; !there {
				ops = append(ops, kv.Op{Key: strings.Clone(key), Delete: true})
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, op := range pending {
		ops = append(ops, op)
	}
	return s.local.Commit(ctx, ops)
}

// wait waits, unless ctx ends before.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
