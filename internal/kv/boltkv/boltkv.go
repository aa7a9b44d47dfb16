// Package boltkv keeps a kv.Store in one bbolt file.
//
// The file has two buckets. "records" has the keys; each value is preceded by
// a checksum over both, because bbolt itself checks nothing but its headers.
// "dockstack" has the format's version, and the number and sum of all records,
// so that a lost one is noticed as well as a wrong one. Open reads the whole
// file, with its own reader (pages.go), before bbolt may map it: what is
// damaged is refused and left as it is.
//
// Commits that come at the same time share one transaction, thus one flush.
package boltkv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"syscall"

	bolt "go.etcd.io/bbolt"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/group"
)

var _ kv.Store = (*Store)(nil)

// Store is an open file. It implements kv.Store.
type Store struct {
	path string
	db   *bolt.DB
	file *os.File
	// writes are the commits that wait for a transaction.
	writes group.Queue[*write]

	// mu is held for reading while db is in use, and guards the rest.
	mu     sync.RWMutex
	closed bool
	failMu sync.Mutex
	// failed is why the file must be opened again, nil if it need not.
	failed error
}

// write is one Commit.
type write struct {
	ops   []kv.Op
	conds []kv.Cond
	err   error
}

// Load implements kv.Store.
func (s *Store) Load(ctx context.Context, prefix string, fn func(key string, value []byte) error) error {
	done, err := s.use()
	if err != nil {
		return err
	}
	defer done()
	if err := ctx.Err(); err != nil {
		return err
	}
	below := []byte(prefix)
	ended := false
	err = s.guard(func() error {
		return s.db.View(func(t *bolt.Tx) error {
			read := 0
			defer func() { giveBack(t, read) }()
			c := t.Bucket(bucketRecords).Cursor()
			for k, v := c.Seek(below); k != nil && bytes.HasPrefix(k, below); k, v = c.Next() {
				value, err := unseal(k, v)
				if err != nil {
					return err
				}
				read += len(k) + len(v)
				if err := fn(string(k), value); err != nil {
					ended = true
					return err
				}
			}
			return nil
		})
	})
	if err == nil || ended {
		return err
	}
	return s.explain("read", err)
}

// Commit implements kv.Store.
func (s *Store) Commit(ctx context.Context, ops []kv.Op, conds ...kv.Cond) error {
	if err := kv.CheckOps(ops, conds...); err != nil {
		return err
	}
	done, err := s.use()
	if err != nil {
		return err
	}
	defer done()
	w := &write{ops: ops, conds: conds}
	if err := s.writes.Do(ctx, w, s.commit); err != nil {
		return err
	}
	return w.err
}

// commit writes what several callers want in one transaction.
func (s *Store) commit(_ context.Context, writes []*write) {
	err := s.broken()
	if err == nil {
		err = s.update(writes)
	}
	for _, w := range writes {
		// Where the transaction failed, a conflict with what it held is none.
		if err != nil || w.err == nil {
			w.err = err
		}
	}
}

// errUnchanged rolls a transaction back that has nothing to flush.
var errUnchanged = errors.New("nothing to write")

func (s *Store) update(writes []*write) error {
	var id int
	err := s.guard(func() error {
		return s.db.Update(func(t *bolt.Tx) error {
			id = t.ID()
			e, err := newEdit(t)
			if err != nil {
				return err
			}
			for _, w := range writes {
				if err := e.write(w); err != nil {
					return err
				}
			}
			if !e.changed {
				return errUnchanged
			}
			return e.finish()
		})
	})
	if err == nil || errors.Is(err, errUnchanged) {
		return nil
	}
	if s.broken() == nil && s.reached(id) {
		// The new header is in the file, and its flush failed: whether it
		// survives a power cut is open, and so is what a next commit would
		// build on.
		s.fail(err)
	}
	return s.explain("write", err)
}

// reached tells whether the file's header is that of transaction id.
func (s *Store) reached(id int) bool {
	var last int
	err := s.guard(func() error {
		return s.db.View(func(t *bolt.Tx) error {
			last = t.ID()
			return nil
		})
	})
	return err != nil || last >= id
}

// Close implements kv.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return kv.ErrClosed
	}
	s.closed = true
	if s.broken() != nil {
		// bbolt may have left with a lock held, so its Close could hang. The
		// mapping keeps the file open, so the lock on it must go by itself.
		return errors.Join(syscall.Flock(int(s.file.Fd()), syscall.LOCK_UN), s.file.Close())
	}
	return s.guard(s.db.Close)
}

// use keeps the file open until done is called.
func (s *Store) use() (done func(), err error) {
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return nil, kv.ErrClosed
	}
	if err := s.broken(); err != nil {
		s.mu.RUnlock()
		return nil, err
	}
	return s.mu.RUnlock, nil
}

// broken is the error of a store that can't go on, nil while it can.
func (s *Store) broken() error {
	s.failMu.Lock()
	defer s.failMu.Unlock()
	if s.failed == nil {
		return nil
	}
	return fmt.Errorf("%w: %s: %w; check its disk, then restart dockstack (docker plugin disable and enable)", kv.ErrFailed, s.path, s.failed)
}

func (s *Store) fail(err error) {
	s.failMu.Lock()
	defer s.failMu.Unlock()
	if s.failed == nil {
		s.failed = err
	}
}

// errFault wraps what bbolt panics with on pages that changed under it.
var errFault = errors.New("the file changed while it was open, or can't be read any more")

// guard turns a panic of bbolt, or a fault on its mapping, into an error. The
// store can't be used after it.
func (s *Store) guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %w: %v", kv.ErrDamaged, errFault, p)
			s.fail(err)
		}
	}()
	return fn()
}

// explain says what failed, on which file, and the way out.
func (s *Store) explain(verb string, err error) error { return explain(verb, s.path, err) }

func explain(verb, path string, err error) error {
	var kind error
	var wayOut string
	switch {
	case errors.Is(err, kv.ErrNewer):
		wayOut = "install the dockstack that wrote it, or a newer one; nothing was changed"
	case errors.Is(err, kv.ErrLocked):
		wayOut = "stop the other dockstack first"
	case errors.Is(err, kv.ErrDamaged):
		wayOut = "nothing was changed; put a backup in its place, or move it away to start without names, and check the disk"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		kind, wayOut = kv.ErrNoSpace, "make room on the disk and try again"
	case errors.Is(err, syscall.EROFS), errors.Is(err, os.ErrPermission):
		kind, wayOut = kv.ErrReadOnly, "mount it for writing, or give root the right to write there"
	default:
		wayOut = "check the disk, then try again"
	}
	// The path is in the text once, not twice.
	if at := (*os.PathError)(nil); errors.As(err, &at) && at.Path == path && !errors.Is(err, kv.ErrDamaged) {
		err = at.Err
	}
	if kind != nil {
		return fmt.Errorf("%w: %s %s: %w; %s", kind, verb, path, err, wayOut)
	}
	return fmt.Errorf("%s %s: %w; %s", verb, path, err, wayOut)
}
