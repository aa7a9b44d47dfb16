package boltkv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	bolt "go.etcd.io/bbolt"

	"github.com/dockstack/dockstack/internal/kv"
)

// Open opens the store at path, or makes one there, with its folder. A file
// that can't be used is left as it is: kv.ErrDamaged, kv.ErrNewer,
// kv.ErrReadOnly and kv.ErrLocked tell why.
func Open(path string) (*Store, error) {
	s := &Store{path: path}
	err := s.open()
	if errors.Is(err, os.ErrNotExist) {
		if err = makeStore(path); err == nil || errors.Is(err, os.ErrExist) {
			err = s.open()
		}
	}
	if err != nil {
		return nil, explain("open", path, err)
	}
	return s, nil
}

func (s *Store) open() error {
	err := s.guard(func() (err error) {
		s.db, err = bolt.Open(s.path, 0, options(func(path string, _ int, _ os.FileMode) (*os.File, error) {
			// No O_CREATE: a file that is missing is made by makeStore.
			f, err := openLocked(path, os.O_RDWR)
			if err != nil {
				return nil, err
			}
			if err := verify(f); err != nil {
				return nil, errors.Join(err, f.Close())
			}
			s.file = f
			return f, nil
		}))
		return err
	})
	if err != nil && s.file != nil {
		_ = s.file.Close() // bbolt closed it already, unless it panicked
	}
	return err
}

func options(open func(string, int, os.FileMode) (*os.File, error)) *bolt.Options {
	return &bolt.Options{OpenFile: open, FreelistType: bolt.FreelistMapType, NoStatistics: true}
}

// verify reads the whole file.
func verify(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w: it is not a file", kv.ErrDamaged)
	}
	var c check
	err = walk(f, info.Size(), c.record)
	switch {
	case err == nil:
		return c.finish()
	case errors.Is(err, kv.ErrNewer), errors.Is(err, kv.ErrDamaged):
		return err
	default:
		return fmt.Errorf("%w: %w", kv.ErrDamaged, err)
	}
}

// openLocked opens the file with bbolt's own lock, which is the process's
// that opened it and ends with it, however that ends.
func openLocked(path string, flag int) (*os.File, error) {
	f, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = kv.ErrLocked
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// makeStore makes an empty store in a file beside path and then gives it the
// name, so that no crash leaves half a store under it. An empty file there is
// therefore damage, and never a store to be.
func makeStore(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, filepath.Base(path)+".new-*")
	if err != nil {
		return err
	}
	db, err := bolt.Open(f.Name(), 0, options(func(string, int, os.FileMode) (*os.File, error) { return f, nil }))
	if err == nil {
		err = errors.Join(db.Update(create), db.Close())
	}
	if err == nil {
		// Unlike a rename, a link never replaces a file.
		err = os.Link(f.Name(), path)
	}
	if err = errors.Join(err, os.Remove(f.Name())); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
