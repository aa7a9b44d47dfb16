package boltkv_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/boltkv"
	"github.com/dockstack/dockstack/internal/kv/kvtest"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		os.Exit(roles[role]())
	}
	goleak.VerifyTestMain(m)
}

func TestConformance(t *testing.T) {
	kvtest.Run(t, func(t *testing.T) kvtest.Opener {
		t.Helper()
		path := filepath.Join(t.TempDir(), "store.db")
		return func() (kv.Store, error) { return boltkv.Open(path) }
	})
}

func TestOpenMakesFolderAndFileForRootOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "var", "dockstack", "store.db")
	s := open(t, path)
	closeStore(t, s)
	for name, want := range map[string]os.FileMode{filepath.Dir(path): 0o700 | os.ModeDir, path: 0o600} {
		info, err := os.Stat(name)
		if err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("beside the store there is %v, %v", left, err)
	}
}

func TestLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path)
	_, err := boltkv.Open(path)
	wantError(t, err, kv.ErrLocked, path, "stop the other dockstack")
	closeStore(t, s)
	closeStore(t, open(t, path))
}

// TestDamageByHand has the damage that people and disks do. TestBitRot has
// the rest.
func TestDamageByHand(t *testing.T) {
	good := storeBytes(t, 300)
	page := os.Getpagesize()
	zeroed := func(from, to int) []byte {
		b := append([]byte(nil), good...)
		clear(b[from:to])
		return b
	}
	for name, content := range map[string][]byte{
		"emptied":                   {},
		"one byte":                  {0},
		"a text file":               []byte(strings.Repeat("not a store\n", 10_000)),
		"zeros":                     make([]byte, len(good)),
		"cut after the header":      good[:page],
		"cut after the headers":     good[:2*page],
		"cut in the middle":         good[:len(good)/2/page*page],
		"cut within a page":         good[:3*page+17],
		"first header zeroed":       zeroed(0, page),
		"second header zeroed":      zeroed(page, 2*page),
		"everything but headers":    zeroed(2*page, len(good)),
		"another program's bbolt":   foreignBolt(t),
		"pages in the wrong places": slices.Concat(good[:2*page], good[3*page:], good[2*page:3*page]),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store.db")
			write(t, path, content)
			_, err := boltkv.Open(path)
			wantError(t, err, kv.ErrDamaged, path, "nothing was changed; put a backup in its place")
			wantUntouched(t, path, content)
		})
	}
	t.Run("a folder", func(t *testing.T) {
		if _, err := boltkv.Open(t.TempDir()); err == nil {
			t.Error("opened a folder")
		}
	})
}

func TestNewer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	content := newerStore(t)
	write(t, path, content)
	_, err := boltkv.Open(path)
	wantError(t, err, kv.ErrNewer, path, "its format is 2, this dockstack knows 1", "install the dockstack that wrote it")
	wantUntouched(t, path, content)
}

func TestOpeningAndReadingChangesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	content := storeBytes(t, 300)
	write(t, path, content)
	s := open(t, path)
	if got := load(t, s); !maps.Equal(got, records(300)) {
		t.Errorf("%d records came back", len(got))
	}
	closeStore(t, s)
	wantUntouched(t, path, content)
}

// A file that shrinks while it is open makes the mapping fault.
func TestDamagedWhileOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	write(t, path, storeBytes(t, 3000))
	s := open(t, path)
	if err := os.Truncate(path, int64(2*os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	err := s.Load(t.Context(), "", func(string, []byte) error { return nil })
	wantError(t, err, kv.ErrDamaged, path)
	err = s.Commit(t.Context(), []kv.Op{{Key: "k"}})
	wantError(t, err, kv.ErrFailed, path, "restart dockstack")
	closeStore(t, s)
	// The lock is gone too.
	_, err = boltkv.Open(path)
	wantError(t, err, kv.ErrDamaged, path)
}

func TestCommitOnAFileThatShrank(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	write(t, path, storeBytes(t, 3000))
	s := open(t, path)
	if err := os.Truncate(path, int64(2*os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	err := s.Commit(t.Context(), []kv.Op{{Key: "key/000001", Value: []byte("x")}})
	wantError(t, err, kv.ErrDamaged, path)
	closeStore(t, s)
}

func records(n int) map[string]string {
	out := make(map[string]string, n)
	for i := range n {
		out[fmt.Sprintf("key/%06d", i)] = strings.Repeat(fmt.Sprint(i), i%7)
	}
	return out
}

// storeBytes is a store's file with n records. It has been changed a few
// times, so that pages are free and headers have changed places.
func storeBytes(tb testing.TB, n int) []byte {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "made.db")
	s, err := boltkv.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	var ops []kv.Op
	for k, v := range records(n) {
		ops = append(ops, kv.Op{Key: k, Value: []byte(v)})
	}
	for _, some := range [][]kv.Op{ops[:n/2], ops[n/2:], {{Key: "gone"}}, {{Key: "gone", Delete: true}}} {
		if err := s.Commit(tb.Context(), some); err != nil {
			tb.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		tb.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func open(t *testing.T, path string) *boltkv.Store {
	t.Helper()
	s, err := boltkv.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, kv.ErrClosed) {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func closeStore(t *testing.T, s *boltkv.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func load(t *testing.T, s kv.Store) map[string]string {
	t.Helper()
	got, err := kvtest.Content(t.Context(), s, "")
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func wantUntouched(t *testing.T, path string, content []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil || sha256.Sum256(b) != sha256.Sum256(content) {
		t.Errorf("the file has changed (%d bytes, %v)", len(b), err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("beside the file there is %v, %v", left, err)
	}
}

func wantError(t *testing.T, err, kind error, parts ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("got %v, want %v", err, kind)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q lacks %q", err, part)
		}
	}
}
