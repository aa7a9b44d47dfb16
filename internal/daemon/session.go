package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/copied"
	"github.com/dockstack/dockstack/internal/peers"
	"github.com/dockstack/dockstack/internal/records"
	"github.com/dockstack/dockstack/internal/services"
)

// copiedPrefixes are the keys that a host needs while the shared store is away.
// What else there is only says the same in another order.
var copiedPrefixes = []string{"lease/", "pool/", "use/", "import/", peers.Prefix, services.Prefix, records.Prefix}

// session is a host's taking part in a cluster whose store has proved to be the
// right one.
type session struct {
	*cluster
	store *copied.Store
	there clusterRecord
	// lost ends the session and says why.
	lost context.CancelCauseFunc
	// whole is closed once everything was learned.
	whole chan struct{}
	once  sync.Once
}

// run takes part until ctx ends.
func (s *session) run(ctx context.Context, wg *sync.WaitGroup) {
	s.gate.open(s.store)
	if s.current().ID != "" {
		s.store.Begin()
	}
	wg.Go(func() { s.end(ctx, "marks", s.peers.Run(ctx, s.store)) })
	wg.Go(func() { s.end(ctx, "changes", s.store.Follow(ctx, "", func(ch kv.Change) { s.learn(ctx, ch) })) })
	select {
	case <-s.whole:
	case <-ctx.Done():
		return
	}
	if s.current().ID == "" && !s.join(ctx) {
		return
	}
	s.cfg.changed()
	<-ctx.Done()
	if err := context.Cause(ctx); !errors.Is(err, errMoved) {
		s.gate.shut(err)
		return
	}
	s.gate.shut(nil)
}

// end ends the session where one of its parts did by itself.
func (s *session) end(ctx context.Context, what string, err error) {
	if ctx.Err() == nil {
		s.lost(fmt.Errorf("%s of the shared store: %w", what, err))
	}
}

// learn takes one change.
func (s *session) learn(ctx context.Context, ch kv.Change) {
	s.peers.Learn(ch)
	if ch.Whole {
		// Before the leases, which tell at once where everybody is.
		if err := s.leases.HostsChanged(ctx); err != nil {
			s.end(ctx, "hosts", err)
			return
		}
	}
	s.about.learn(ch)
	if err := s.leases.Learn(ctx, ch); err != nil {
		s.end(ctx, "content", err)
		return
	}
	if ch.Whole {
		s.once.Do(func() { close(s.whole) })
	}
	s.cfg.changed()
}

// join takes along what this host had before, and reports whether it did.
func (s *session) join(ctx context.Context) bool {
	for last := ""; ; {
		err := s.peers.Held(ctx)
		if err == nil {
			if err = s.joinOnce(ctx); err == nil {
				return true
			}
		}
		if text := err.Error(); text != last && ctx.Err() == nil {
			last = text
			s.log.Warn("this host's names have not joined the cluster yet", "error", err)
		}
		if pause(ctx, retryStore) != nil {
			return false
		}
	}
}

func (s *session) joinOnce(ctx context.Context) error {
	report, err := s.leases.Join(ctx)
	if err != nil {
		return err
	}
	texts, err := s.about.records.Join(ctx)
	if err != nil {
		return err
	}
	report.Clashes = append(report.Clashes, texts...)
	s.log.Info("this host joined the cluster", "cluster", s.there.ID, "networks", report.Pools, "names", report.Leases, "clashes", len(report.Clashes))
	clashes := make([]string, len(report.Clashes))
	for i, text := range report.Clashes {
		clashes[i] = "did not come along when this host joined: " + text
		s.log.Warn("something did not come along when this host joined", "problem", text)
	}
	s.mu.Lock()
	s.report = clashes
	s.mu.Unlock()
	// It has joined, whether or not it is stopped now.
	if err := s.cfg.local.Commit(context.WithoutCancel(ctx), []kv.Op{{Key: clusterKey, Value: s.there.encode()}}); err != nil {
		return fmt.Errorf("note the cluster: %w", err)
	}
	s.mu.Lock()
	s.in = s.there
	s.mu.Unlock()
	s.store.Begin()
	return nil
}

// ours is a shared store that is not followed beyond its being the cluster's:
// an etcd that lost its data would make us forget everything.
type ours struct {
	kv.Shared
	where string
	there clusterRecord
	lost  context.CancelCauseFunc
}

// Follow implements kv.Shared.
func (o *ours) Follow(ctx context.Context, prefix string, fn func(kv.Change)) error {
	over := false
	return o.Shared.Follow(ctx, prefix, func(ch kv.Change) {
		if err := o.check(ch); err != nil {
			over = true
			o.lost(err)
		}
		if !over {
			fn(ch)
		}
	})
}

func (o *ours) check(ch kv.Change) error {
	there := !ch.Whole
	for _, op := range ch.Ops {
		if op.Key != clusterKey {
			continue
		}
		if op.Delete {
			there = false
			continue
		}
		if _, err := admit(op.Value, o.where, o.there); err != nil {
			return err
		}
		there = true
	}
	if !there {
		return refuse("%s has no %s key any more, so its data was lost or removed; this host is in cluster %s: restore the etcd's backup", o.where, clusterKey, o.there.ID)
	}
	return nil
}

// watched is a host's own store that tells when it has to be opened anew.
type watched struct {
	kv.Store
	failed func()
}

// Commit implements kv.Store.
func (w watched) Commit(ctx context.Context, ops []kv.Op, conds ...kv.Cond) error {
	err := w.Store.Commit(ctx, ops, conds...)
	if errors.Is(err, kv.ErrFailed) {
		w.failed()
	}
	return err
}
