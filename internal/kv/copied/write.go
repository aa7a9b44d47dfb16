package copied

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
)

// write writes the copy until the store is closed.
func (s *Store) write() {
	wait := s.cfg.Every
	for {
		select {
		case <-s.end:
			_ = s.flush(context.Background()) // it was logged
			return
		case <-s.news:
		}
		s.pause(wait)
		if s.flush(context.Background()) == nil {
			wait = s.cfg.Every
		} else {
			wait = min(2*wait, slowest)
			s.wake()
		}
	}
}

func (s *Store) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.end:
	}
}

// Flush writes what is not written yet, and returns what the copy's disk says.
func (s *Store) Flush(ctx context.Context) error { return s.flush(ctx) }

func (s *Store) flush(ctx context.Context) error {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	ops, scopes := s.take()
	if len(ops)+len(scopes) == 0 {
		return nil
	}
	all, err := s.difference(ctx, ops, scopes)
	if err == nil && len(all) > 0 {
		err = s.local.Commit(ctx, all)
	}
	switch {
	case err != nil:
		s.giveBack(ops, scopes)
		if !s.failed {
			s.cfg.Log.ErrorContext(ctx, "the copy of the shared store can't be written; without it names are unknown if dockstack restarts while the store is away", "error", err)
		}
	case s.failed:
		s.cfg.Log.InfoContext(ctx, "the copy of the shared store is written again")
	}
	s.failed = err != nil
	return err
}

func (s *Store) take() (map[string]kv.Op, map[string]struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ops, scopes := s.ops, s.scopes
	s.ops, s.scopes = map[string]kv.Op{}, map[string]struct{}{}
	return ops, scopes
}

// giveBack puts what was not written below what was told since.
func (s *Store) giveBack(ops map[string]kv.Op, scopes map[string]struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, op := range ops {
		if _, newer := s.ops[key]; !newer && !below(key, s.scopes) {
			s.ops[key] = op
		}
	}
	maps.Copy(s.scopes, scopes)
}

func below(key string, scopes map[string]struct{}) bool {
	for scope := range scopes {
		if len(key) >= len(scope) && key[:len(scope)] == scope {
			return true
		}
	}
	return false
}

// difference is what is to be done to the copy, in key order: ops, without what
// is there already, and the end of what is below scopes and not in ops.
func (s *Store) difference(ctx context.Context, ops map[string]kv.Op, scopes map[string]struct{}) ([]kv.Op, error) {
	out := maps.Clone(ops)
	for scope := range scopes {
		err := s.local.Load(ctx, scope, func(key string, value []byte) error {
			op, told := ops[key]
			switch {
			case !told:
				out[key] = kv.Op{Key: key, Delete: true}
			case !op.Delete && bytes.Equal(op.Value, value):
				delete(out, key)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	all := make([]kv.Op, 0, len(out))
	for _, key := range slices.Sorted(maps.Keys(out)) {
		all = append(all, out[key])
	}
	return all, nil
}
