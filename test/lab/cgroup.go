package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// initLeaf is the cgroup, below the host's own, of everything that is not a container (version 2 only).
const initLeaf = "init"

// makeCgroups makes the named cgroup in every hierarchy and puts pid there.
func makeCgroups(name string, pid int) error {
	mounts, err := cgroupMounts()
	if err != nil {
		return err
	}
	for _, m := range mounts {
		dir := filepath.Join(m.path, name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := inheritCpuset(m.path, dir); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o600); err != nil {
			return fmt.Errorf("move %d to cgroup %s: %w", pid, dir, err)
		}
	}
	return nil
}

// inheritCpuset fills a new version 1 cpuset, which takes no process while it is empty.
func inheritCpuset(parent, dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		have, err := os.ReadFile(filepath.Join(dir, file))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || strings.TrimSpace(string(have)) != "" {
			continue
		}
		from, err := os.ReadFile(filepath.Join(parent, file))
		if err != nil {
			continue // version 2: empty means the parent's
		}
		if err := os.WriteFile(filepath.Join(dir, file), from, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// procsFiles names the files to write a pid to in order to join the host's cgroups.
func procsFiles(name string) ([]string, error) {
	mounts, err := cgroupMounts()
	if err != nil {
		return nil, err
	}
	var files []string
	for _, m := range mounts {
		dir := filepath.Join(m.path, name)
		if m.fstype == "cgroup2" {
			dir = filepath.Join(dir, initLeaf)
		}
		files = append(files, filepath.Join(dir, "cgroup.procs"))
	}
	return files, nil
}

// removeCgroups removes the named cgroup and all below it. Its processes are dead, but the kernel may still be
// counting them, so EBUSY is tried again for a while.
func removeCgroups(ctx context.Context, name string) error {
	mounts, err := cgroupMounts()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, m := range mounts {
		for {
			late := ctx.Err() != nil // asked before: the last try is after the end
			err := removeTree(filepath.Join(m.path, name))
			if err == nil {
				break
			}
			if late {
				return fmt.Errorf("remove cgroup: %w", err)
			}
			_ = wait(ctx, 20*time.Millisecond)
		}
	}
	return nil
}

func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// wait sleeps unless ctx ends first.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
