package daemon

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The command comes to the host once, again where it differs, and leaves nothing
// behind; whoever may ask the daemon can run it, and the store stays root's.
func TestCommandComesToTheHost(t *testing.T) {
	dir := t.TempDir()
	state := filepath.Join(dir, "dockstack")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	from, to := filepath.Join(dir, "program"), filepath.Join(state, "bin", "docker-dockstack")
	content := bytes.Repeat([]byte("program "), 1<<15)
	put := func(path string, content []byte, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(path, content, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	installs := func(want bool) {
		t.Helper()
		did, err := installCommand(from, to)
		if err != nil {
			t.Fatal(err)
		}
		if did != want {
			t.Errorf("it was written: %t, want %t", did, want)
		}
		got, err := os.ReadFile(to)
		now, _ := os.ReadFile(from)
		if err != nil || !bytes.Equal(got, now) {
			t.Fatalf("the copy differs, %v", err)
		}
	}
	put(from, content, 0o600)
	installs(true)
	installs(false)
	for path, want := range map[string]os.FileMode{state: 0o711, filepath.Dir(to): 0o755, to: 0o755} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
	content[7] = 'X' // of the same size
	put(from, content, 0o600)
	installs(true)
	put(to, content, 0o644) // nobody can run it
	installs(true)
	put(filepath.Join(filepath.Dir(to), half+"123"), content, 0o600) // a killed one's
	installs(false)
	// A link is replaced, not followed.
	victim := filepath.Join(dir, "victim")
	put(victim, []byte("mine"), 0o600)
	if err := os.Remove(to); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, to); err != nil {
		t.Fatal(err)
	}
	installs(true)
	if got, _ := os.ReadFile(victim); string(got) != "mine" {
		t.Errorf("what the link led to is %q now", got)
	}
	left, err := os.ReadDir(filepath.Dir(to))
	if err != nil || len(left) != 1 {
		t.Errorf("the directory has %v, %v", left, err)
	}
}

// The store's disk is not filled up with it.
func TestCommandNeedsRoom(t *testing.T) {
	if err := spare(t.TempDir(), 1<<60); err == nil || !strings.Contains(err.Error(), "make room") {
		t.Errorf("with no room for it: %v", err)
	}
	if err := spare(t.TempDir(), 1); err != nil {
		t.Error(err)
	}
}
