package daemon

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	// commandPath is this program on the host, where it is the operators' command:
	// so installing and upgrading the plugin brings and upgrades it.
	commandPath = "/var/lib/dockstack/bin/docker-dockstack"
	// spareFor is how many times as large as the copy the space must be that is
	// free: the store's disk is not for filling up.
	spareFor = 4
)

// install puts this program on the host, where another one stands there or none.
// Nothing but the command needs it.
func (p *parts) install(ctx context.Context) {
	select {
	case <-p.store.tried: // it makes the directory
	case <-ctx.Done():
		return
	}
	done, err := installCommand("/proc/self/exe", p.cfg.host(commandPath))
	switch {
	case err != nil:
		p.log.Warn("the operators' command can't be put on the host", "path", commandPath, "error", err)
	case done:
		p.log.Info("the operators' command is on the host", "path", commandPath)
	}
}

// installCommand copies a program and reports whether it had to.
func installCommand(from, to string) (bool, error) {
	dir := filepath.Dir(to)
	// Whoever may ask the daemon enters both directories. The store's file is for
	// root alone, as it always was, and its directory can't be listed.
	for path, mode := range map[string]os.FileMode{filepath.Dir(dir): 0o711, dir: 0o755} {
		if err := enterable(path, mode); err != nil {
			return false, err
		}
	}
	sweepHalves(to)
	src, err := os.Open(from)
	if err != nil {
		return false, fmt.Errorf("read this program: %w", err)
	}
	defer func() { _ = src.Close() }()
	info, err := src.Stat()
	if err != nil {
		return false, fmt.Errorf("read this program: %w", err)
	}
	if same(src, info.Size(), to) {
		return false, nil
	}
	if err := spare(dir, info.Size()); err != nil {
		return false, err
	}
	if _, err := src.Seek(0, io.SeekStart); err != nil {
		return false, fmt.Errorf("read this program: %w", err)
	}
	return true, putProgram(src, to)
}

func enterable(path string, mode os.FileMode) error {
	if err := os.MkdirAll(path, mode); err != nil {
		return fmt.Errorf("make the command's directory: %w", err)
	}
	if err := os.Chmod(path, mode); err != nil {
		return fmt.Errorf("open the command's directory: %w", err)
	}
	return nil
}

// half is what begins the names of copies under way.
const half = ".new-"

// sweepHalves removes what a killed process left of a copy.
func sweepHalves(to string) {
	left, err := filepath.Glob(filepath.Join(filepath.Dir(to), half+"*"))
	if err != nil {
		return
	}
	for _, path := range left {
		_ = os.Remove(path)
	}
}

// same is whether the file at path is what src has.
func same(src io.Reader, size int64, path string) bool {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() != size || info.Mode().Perm() != 0o755 {
		return false
	}
	there, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = there.Close() }()
	a, errA := sumOf(src)
	b, errB := sumOf(there)
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

func sumOf(r io.Reader) ([]byte, error) {
	h := sha256.New()
	_, err := io.Copy(h, r)
	return h.Sum(nil), err
}

// spare refuses to fill up the disk that the store is on.
func spare(dir string, size int64) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("look at the free space: %w", err)
	}
	if free := int64(fs.Bavail) * fs.Bsize; free < spareFor*size {
		return fmt.Errorf("only %d MB are free there, and the store needs some; make room, and restart the plugin", free>>20)
	}
	return nil
}

func putProgram(src io.Reader, to string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(to), half+"*")
	if err != nil {
		return fmt.Errorf("write the command: %w", err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
			err = fmt.Errorf("write the command: %w", err)
		}
	}()
	if _, err = io.Copy(f, src); err != nil {
		return err
	}
	if err = f.Chmod(0o755); err != nil {
		return err
	}
	// A crash must leave the old one or the new one.
	if err = errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), to)
}
