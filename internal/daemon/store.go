package daemon

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/plugin"
)

// reopenPause is how often a store that could not be opened is tried again, so
// that a full disk or a repaired file needs no restart.
const reopenPause = 2 * time.Second

// flushWait bounds the last write before the store is closed: the engine kills
// us 10 s after its SIGTERM.
const flushWait = 2 * time.Second

// opened is an open store and what decides on top of it.
type opened struct {
	plugin.State
	// id is this host's.
	id string
	// cluster is nil where this host is alone.
	cluster *cluster
	// about is what DNS has beside the leases.
	about *about
}

// close ends it; what is only in memory is written before.
func (o *opened) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushWait)
	defer cancel()
	if o.about != nil {
		o.about.stop()
	}
	err := o.Leases.Flush(ctx)
	if o.cluster != nil {
		if errors.Is(err, kv.ErrAway) || errors.Is(err, errRefused) {
			err = nil // it is said in the log, and settled when the store is back
		}
		o.cluster.stop()
	}
	return errors.Join(err, o.Store.Close())
}

// store opens the state in the background and keeps trying; it never gives up
// the process for it.
type store struct {
	open func(context.Context) (*opened, error)
	log  *slog.Logger
	// opened gets a value whenever the store was opened.
	opened chan struct{}
	// failed gets a value when the open store can't be used any more.
	failed chan struct{}
	// tried is closed after the first try.
	tried chan struct{}

	mu    sync.Mutex
	state *opened // guarded by mu
	err   error   // why there is no state; guarded by mu
}

func newStore(log *slog.Logger, open func(context.Context) (*opened, error)) *store {
	return &store{
		open: open, log: log,
		opened: make(chan struct{}, 1), failed: make(chan struct{}, 1), tried: make(chan struct{}),
	}
}

// reopen says that the store failed in a way that only opening it anew mends.
func (s *store) reopen() { nudge(s.failed) }

// nudge leaves a value for whoever looks next.
func nudge(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run keeps the store open until ctx ends.
func (s *store) run(ctx context.Context) {
	for first := true; ctx.Err() == nil; first = false {
		st, err := s.open(ctx)
		s.mu.Lock()
		news := err == nil || s.err == nil || s.err.Error() != err.Error()
		s.state, s.err = st, err
		s.mu.Unlock()
		if first {
			close(s.tried)
		}
		if err == nil {
			s.log.Info("store is open")
			nudge(s.opened)
			select {
			case <-ctx.Done():
				return
			case <-s.failed:
				s.log.Error("store failed and is opened anew")
				if err := s.close(ctx); err != nil {
					s.log.Warn("failed store did not close well", "error", err)
				}
				continue
			}
		}
		if news {
			s.log.Error("store can't be opened", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(reopenPause):
		}
	}
}

// close closes the store; get then says why there is none.
func (s *store) close(ctx context.Context) error {
	s.mu.Lock()
	st := s.state
	s.state, s.err = nil, kv.ErrClosed
	s.mu.Unlock()
	if st == nil {
		return nil
	}
	return st.close(ctx)
}

// now returns what is open, or why nothing is.
func (s *store) now() (*opened, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state, s.err
}

// ready is get for Docker's calls: where hosts share a store it also waits until
// that was read.
func (s *store) ready(ctx context.Context) (*plugin.State, error) {
	o, err := s.get(ctx)
	if err != nil {
		return nil, err
	}
	if o.cluster != nil {
		if err := o.cluster.ready(ctx); err != nil {
			return nil, err
		}
	}
	return &o.State, nil
}

// get returns the open store, or what keeps it closed. A store in use by
// another process is waited for: an upgrade's old process lets go of it soon.
func (s *store) get(ctx context.Context) (*opened, error) {
	select {
	case <-s.tried:
	case <-ctx.Done():
		return nil, errors.New("the store is still being opened; try again")
	}
	for {
		st, err := s.now()
		if st != nil || !errors.Is(err, kv.ErrLocked) {
			return st, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(reopenPause / 4):
		}
	}
}
