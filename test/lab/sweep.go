package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// sweepTime bounds how long a lab's lock is waited for that a sweep may have, which ends.
const sweepTime = time.Minute

// lockLab takes the lab's name. Every init of the lab inherits the lock, so it is free exactly when all are dead and
// no sweep is at what they left.
func lockLab(ctx context.Context, id string) (*os.File, error) {
	ctx, cancel := context.WithTimeout(ctx, sweepTime)
	defer cancel()
	for {
		f, err := tryLock(id)
		switch {
		case err == nil:
			return f, nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, fs.ErrNotExist):
			return nil, err
		case running(id) || wait(ctx, 20*time.Millisecond) != nil:
			return nil, fmt.Errorf("%w: %q; stop it with `make lab-down`, or use another name", ErrUp, id)
		}
	}
}

// tryLock returns EWOULDBLOCK when somebody has the lock, and ErrNotExist when a sweep has just removed it.
func tryLock(id string) (*os.File, error) {
	if err := os.MkdirAll(runDir(id), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(lockPath(id), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil && !stillThere(f) {
		err = fs.ErrNotExist
	}
	if err == nil {
		err = os.MkdirAll(runDir(id), 0o755) // a sweep that was here until now has removed it
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// running is whether an init lives that the lab's record names.
func running(id string) bool {
	r, err := readRecord(id)
	if err != nil {
		return false
	}
	lives := func(pid int, title string) bool {
		if pid == 0 {
			return false
		}
		h, err := adopt(pid, title)
		if err != nil {
			return false
		}
		_ = unix.Close(h.pidfd)
		return true
	}
	for i, pid := range r.Hosts {
		if lives(pid, hostCgroup(id, i+1)) {
			return true
		}
	}
	return lives(r.Underlay, underlayName(id)) // without one there are no members of etcd
}

func stillThere(f *os.File) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(f.Name())
	return err == nil && os.SameFile(mine, named)
}

// Down kills a lab that any process started, and removes what it left. A lab that is not up is no error.
func Down(ctx context.Context, id string) error {
	r, err := readRecord(id)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for i, pid := range r.Hosts {
		if err := killInit(ctx, pid, hostCgroup(id, i+1)); err != nil {
			return err
		}
	}
	for i, pid := range r.Etcd {
		if err := killInit(ctx, pid, memberTitle(id, i+1)); err != nil {
			return err
		}
	}
	if err := killInit(ctx, r.Underlay, underlayName(id)); err != nil {
		return err
	}
	if err := sweepDead(ctx, id); err != nil {
		return err
	}
	return Sweep(ctx)
}

// sweepDead removes what a lab left whose inits are dead, or waits until another process's sweep has.
func sweepDead(ctx context.Context, id string) error {
	waiting, cancel := context.WithTimeout(ctx, sweepTime)
	defer cancel()
	for {
		err := sweepLab(ctx, id)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		if wait(waiting, 20*time.Millisecond) != nil {
			return fmt.Errorf("lab %q: a process that is not of the lab keeps its lock", id)
		}
	}
}

// killInit ends an init that another process started. One that is dead already is no error.
func killInit(ctx context.Context, pid int, title string) error {
	if pid == 0 {
		return nil
	}
	h, err := adopt(pid, title)
	if err != nil {
		return nil //nolint:nilerr // gone, which is what was wanted
	}
	return h.kill(ctx)
}

// Sweep removes what dead labs left: cgroups, sockets and data. Labs that live are not touched.
func Sweep(ctx context.Context) error {
	locks, err := filepath.Glob(lockPath("*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range locks {
		err := sweepLab(ctx, strings.TrimSuffix(filepath.Base(path), ".lock"))
		if !errors.Is(err, unix.EWOULDBLOCK) { // it lives, or another sweep is at it
			errs = append(errs, err)
		}
	}
	_ = os.Remove(runRoot) // only when empty
	return errors.Join(errs...)
}

// sweepLab removes what a dead lab left. EWOULDBLOCK says that somebody has its lock.
func sweepLab(ctx context.Context, id string) error {
	f, err := os.OpenFile(lockPath(id), os.O_RDWR, 0)
	if err != nil {
		return nil // another sweep was first
	}
	defer func() { _ = f.Close() }()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return err
	}
	return sweepLocked(ctx, f, id)
}

// sweepLocked does so for who has the lock.
func sweepLocked(ctx context.Context, lock *os.File, id string) error {
	if !stillThere(lock) {
		return nil // another sweep was first; the name may be another lab's by now
	}
	if err := sweepCgroups(ctx, id); err != nil {
		return err
	}
	if r, err := readRecord(id); err == nil && !r.Keep {
		if err := removeHosts(r.Dir); err != nil {
			return err
		}
		_ = os.Remove(r.Dir) // unless something else is kept there
	}
	if err := removeHosts(runDir(id)); err != nil {
		return err
	}
	if id != Main {
		_ = os.Remove(runDir(id))
	}
	_ = os.Remove(recordPath(id))
	return os.Remove(lockPath(id))
}

// removeHosts removes the directories of h1, h2 and so on from dir, those of etcd's members, and its certificates.
func removeHosts(dir string) error {
	for _, pattern := range []string{"h[0-9]*", "e[0-9]*", certsDir} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return err
		}
		for _, path := range found {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// sweepCgroups finds the lab's cgroups by name, because a lab that died early has not written which hosts it had.
func sweepCgroups(ctx context.Context, id string) error {
	mounts, err := cgroupMounts()
	if err != nil {
		return err
	}
	names := map[string]bool{}
	for _, m := range mounts {
		found, err := filepath.Glob(filepath.Join(m.path, prefix+id+"-h[0-9]*"))
		if err != nil {
			return err
		}
		for _, dir := range found {
			names[filepath.Base(dir)] = true
		}
	}
	for name := range names {
		if err := removeCgroups(ctx, name); err != nil {
			return err
		}
	}
	return nil
}
