package services

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
)

const (
	// A write that failed is tried again after a pause, which doubles from the
	// first to the last.
	firstPause = time.Second
	lastPause  = 30 * time.Second
	// lastWrite bounds what is written at the end.
	lastWrite = time.Second
	// someOps is what a store of this host alone gets at once.
	someOps = 500
	// maxBatch is how many bytes of values are written at once: an etcd takes
	// 1.5 MB.
	maxBatch = 512 << 10
)

var errMark = errors.New("this host's mark is not in the store")

// Run writes what the store lacks until ctx ends.
func (s *Services) Run(ctx context.Context) {
	var again <-chan time.Time
	said := false
	for wait := firstPause; ; {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWrite)
			defer cancel()
			_ = s.Flush(last) // it is written after the next start, else
			return
		case <-s.dirty:
		case <-again:
		case <-s.moved(again):
		}
		err := s.Flush(ctx)
		switch {
		case err == nil:
			if said {
				s.cfg.Log.Info("what is known of this host's services is written again")
			}
			again, wait, said = nil, firstPause, false
		case ctx.Err() == nil:
			again, wait = time.After(wait), min(2*wait, lastPause)
			if !said && wait > 4*firstPause {
				s.cfg.Log.Warn("what is known of this host's services is not written; other hosts don't know of changes", "error", err)
				said = true
			}
		}
	}
}

// moved is closed when the store comes or goes, nil where nothing waits for that.
func (s *Services) moved(again <-chan time.Time) <-chan struct{} {
	shared, ok := s.cfg.Store.(kv.Shared)
	if !ok || again == nil {
		return nil
	}
	_, changed := shared.State()
	return changed
}

// Flush writes what the store lacks.
func (s *Services) Flush(ctx context.Context) error {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	for {
		names, ops := s.batch()
		if len(ops) == 0 {
			return nil
		}
		if err := s.commit(ctx, ops); err != nil {
			s.failed(names)
			return fmt.Errorf("write facts of containers: %w", err)
		}
		s.written(names, ops)
	}
}

// batch is what is to be written next, with the names of the containers.
func (s *Services) batch() (names []string, ops []kv.Op) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.maxOps()
	for _, key := range s.stray[:min(len(s.stray), n)] {
		ops = append(ops, kv.Op{Key: key, Delete: true})
	}
	if n -= len(ops); n > 0 {
		names = s.differences(n)
	}
	s.flying = make(map[string]bool, len(names))
	for i, size := 0, 0; i < len(names); i++ {
		value, wanted := s.want[names[i]]
		if size += len(value); size > maxBatch && i > 0 {
			names = names[:i]
			break
		}
		s.flying[names[i]] = false
		ops = append(ops, kv.Op{Key: Key(s.cfg.Host, names[i]), Value: value, Delete: !wanted})
	}
	return names, ops
}

func (s *Services) maxOps() int {
	if shared, ok := s.cfg.Store.(kv.Shared); ok {
		return shared.MaxOps()
	}
	return someOps
}

// commit is refused by the shared store where another machine has this host's
// id: the two would write against each other for ever.
func (s *Services) commit(ctx context.Context, ops []kv.Op) error {
	if s.cfg.Hosts == nil {
		return s.cfg.Store.Commit(ctx, ops)
	}
	key, value := s.cfg.Hosts.Mark()
	if len(value) == 0 {
		return errMark
	}
	err := s.cfg.Store.Commit(ctx, ops, kv.Cond{Key: key, Value: value})
	if conflict, ok := errors.AsType[*kv.Conflict](err); ok {
		s.cfg.Hosts.Learn(kv.Change{Ops: conflict.Now})
		return errMark
	}
	return err
}

// written notes what the store has now.
func (s *Services) written(names []string, ops []kv.Op) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if strays := len(ops) - len(names); strays > 0 {
		s.stray = s.stray[strays:]
		ops = ops[strays:]
	}
	for i, name := range names {
		if s.flying[name] {
			s.unsure[name] = struct{}{}
			continue
		}
		delete(s.unsure, name)
		if ops[i].Delete {
			delete(s.have, name)
			continue
		}
		s.have[name] = ops[i].Value
	}
	s.flying = nil
}

// failed notes that nobody knows what the store has.
func (s *Services) failed(names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		s.unsure[name] = struct{}{}
	}
	s.flying = nil
}

// ForgetHost removes what a machine that is gone for good wrote, and returns
// how many containers that were.
func (s *Services) ForgetHost(ctx context.Context, id string) (int, error) {
	if id == s.cfg.Host || id == "" || strings.Contains(id, "/") {
		return 0, fmt.Errorf("the facts of host %q are not removed: it is this host, or none", id)
	}
	var ops []kv.Op
	err := s.cfg.Store.Load(ctx, Key(id, ""), func(key string, _ []byte) error {
		ops = append(ops, kv.Op{Key: strings.Clone(key), Delete: true})
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("read the facts of host %s: %w", id, err)
	}
	n := s.maxOps()
	for done := 0; done < len(ops); done += n {
		batch := ops[done:min(done+n, len(ops))]
		if err := s.commit(ctx, batch); err != nil {
			return done, fmt.Errorf("remove the facts of host %s: %w", id, err)
		}
		s.Learn(kv.Change{Ops: batch})
	}
	return len(ops), nil
}
