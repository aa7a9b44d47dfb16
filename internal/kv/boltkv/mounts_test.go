package boltkv_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/boltkv"
	"github.com/dockstack/dockstack/internal/kv/kvtest"
)

// These tests need a file system that is full, or not writable. They run in a
// process with a mount namespace of its own, whose mounts nobody else sees
// and which are gone when it ends, however it ends. That takes root.

func TestDiskFull(t *testing.T)           { runMounted(t, "mounts") }
func TestReadOnlyFileSystem(t *testing.T) { runMounted(t, "readonly") }

func runMounted(t *testing.T, role string) {
	t.Helper()
	cmd := inRole(t, role, t.TempDir(), syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS})
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v (this test takes root, for a mount)\n%s", err, out)
	}
	t.Logf("%s", out)
}

func mountsOfItsOwn() int {
	dir := os.Getenv(pathEnv)
	test := diskFull
	if os.Getenv(roleEnv) == "readonly" {
		test = readOnly
	}
	err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
	if err == nil {
		err = syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m")
	}
	if err == nil {
		err = test(context.Background(), dir)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func diskFull(ctx context.Context, dir string) error {
	path, ballast := filepath.Join(dir, "store.db"), filepath.Join(dir, "ballast")
	s, err := boltkv.Open(path)
	if err != nil {
		return err
	}
	want := map[string]string{}
	put := func(i int) error {
		key, value := fmt.Sprintf("key/%04d", i), strings.Repeat("x", 500)
		err := s.Commit(ctx, []kv.Op{{Key: key, Value: []byte(value)}})
		if err == nil {
			want[key] = value
		}
		return err
	}
	for i := range 20 {
		if err := put(i); err != nil {
			return err
		}
	}
	for round := range 3 {
		if err := fill(ballast); err != nil {
			return err
		}
		// Free pages within the file may take a few more.
		full := error(nil)
		for i := 0; full == nil && i < 5000; i++ {
			full = put(1000*(round+1) + i)
		}
		if !errors.Is(full, kv.ErrNoSpace) || !strings.Contains(full.Error(), "make room on the disk and try again") {
			return fmt.Errorf("on a full disk: %w", full)
		}
		fmt.Println(full)
		if err := same(ctx, s, want); err != nil {
			return fmt.Errorf("on a full disk: %w", err)
		}
		// A restart on a full disk must work as well.
		if err := s.Close(); err != nil {
			return err
		}
		if s, err = boltkv.Open(path); err != nil {
			return err
		}
		if err := same(ctx, s, want); err != nil {
			return fmt.Errorf("after reopening: %w", err)
		}
		if err := os.Truncate(ballast, 600<<10-int64(round)*(200<<10)); err != nil {
			return err
		}
		if err := put(round + 100); err != nil {
			return fmt.Errorf("with room again: %w", err)
		}
	}
	if err := errors.Join(same(ctx, s, want), s.Close()); err != nil {
		return err
	}
	// Without room for a store at all, nothing is left lying about.
	if err := errors.Join(os.Remove(path), fill(ballast)); err != nil {
		return err
	}
	if _, err := boltkv.Open(path); !errors.Is(err, kv.ErrNoSpace) {
		return fmt.Errorf("making a store on a full disk: %w", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		return fmt.Errorf("left on the full disk: %v, %w", left, err)
	}
	return nil
}

// fill takes what room there is.
func fill(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	return f.Close()
}

func same(ctx context.Context, s kv.Store, want map[string]string) error {
	got, err := kvtest.Content(ctx, s, "")
	if err != nil {
		return err
	}
	if !maps.Equal(got, want) {
		return fmt.Errorf("the store has %d records, want %d", len(got), len(want))
	}
	return nil
}

func readOnly(_ context.Context, dir string) error {
	path := filepath.Join(dir, "store.db")
	s, err := boltkv.Open(path)
	if err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	before, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		return err
	}
	for _, p := range []string{path, filepath.Join(dir, "none", "store.db"), filepath.Join(dir, "other.db")} {
		_, err := boltkv.Open(p)
		if !errors.Is(err, kv.ErrReadOnly) || !strings.Contains(err.Error(), p) || !strings.Contains(err.Error(), "mount it for writing") {
			return fmt.Errorf("opening %s read-only: %w", p, err)
		}
		fmt.Println(err)
	}
	after, err := os.ReadFile(path)
	if err != nil || string(after) != string(before) {
		return fmt.Errorf("the file has changed: %w", err)
	}
	return nil
}
