package main

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

// store opens the state in the background and keeps trying; it never gives up
// the process for it.
type store struct {
	open func(context.Context) (*plugin.State, error)
	log  *slog.Logger

	mu    sync.Mutex
	state *plugin.State // guarded by mu
	err   error         // why there is no state; guarded by mu
	tried chan struct{} // closed after the first try
}

func newStore(log *slog.Logger, open func(context.Context) (*plugin.State, error)) *store {
	return &store{open: open, log: log, tried: make(chan struct{})}
}

// run tries until the store is open or ctx ends, and closes it at ctx's end.
func (s *store) run(ctx context.Context) {
	for first := true; ctx.Err() == nil; first = false {
		st, err := s.open(ctx)
		s.mu.Lock()
		changed := s.err == nil || err == nil || s.err.Error() != err.Error()
		s.state, s.err = st, err
		s.mu.Unlock()
		if first {
			close(s.tried)
		}
		if err == nil {
			s.log.Info("store is open")
			break
		}
		if changed {
			s.log.Error("store can't be opened", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(reopenPause):
		}
	}
	<-ctx.Done()
}

// close ends the use of the store, after everything that uses it has ended.
func (s *store) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == nil {
		return nil
	}
	return s.state.Store.Close()
}

// get returns the open store, or what keeps it closed. A store in use by
// another process is waited for: an upgrade's old process lets go of it soon.
func (s *store) get(ctx context.Context) (*plugin.State, error) {
	select {
	case <-s.tried:
	case <-ctx.Done():
		return nil, errors.New("the store is still being opened; try again")
	}
	for {
		s.mu.Lock()
		st, err := s.state, s.err
		s.mu.Unlock()
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
