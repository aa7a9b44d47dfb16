package boltkv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dockstack/dockstack/internal/kv"
)

func filled(t *testing.T, n int) (path string, content []byte) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "store.db")
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	var ops []kv.Op
	for i := range n {
		ops = append(ops, kv.Op{Key: fmt.Sprintf("key/%04d", i), Value: []byte(fmt.Sprintf("value-%04d", i))})
	}
	if err := errors.Join(s.Commit(t.Context(), ops), s.Close()); err != nil {
		t.Fatal(err)
	}
	if content, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	return path, content
}

// A page that has lost its last record is a proper page: only the summary
// tells.
func TestALostRecord(t *testing.T) {
	path, content := filled(t, 500)
	tried := 0
	for at := 2 * os.Getpagesize(); at < len(content); at += os.Getpagesize() {
		count := binary.NativeEndian.Uint16(content[at+10:])
		if binary.NativeEndian.Uint16(content[at+8:]) != flagLeaf || count < 3 || !bytes.Contains(content[at:at+os.Getpagesize()], []byte("value-")) {
			continue
		}
		tried++
		bad := bytes.Clone(content)
		binary.NativeEndian.PutUint16(bad[at+10:], count-1)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(path)
		if !errors.Is(err, kv.ErrDamaged) || !strings.Contains(err.Error(), "it has 499 records, and should have 500") {
			t.Errorf("page %d: %v", at/os.Getpagesize(), err)
		}
	}
	if tried < 3 {
		t.Errorf("only %d pages had records", tried)
	}
}

// A value that has changed is called by its key.
func TestAChangedValueIsNamed(t *testing.T) {
	path, content := filled(t, 500)
	if err := os.WriteFile(path, bytes.Replace(content, []byte("value-0123"), []byte("value-0124"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(path)
	if !errors.Is(err, kv.ErrDamaged) || !strings.Contains(err.Error(), `record "key/0123" does not match its checksum`) {
		t.Errorf("it says %v", err)
	}
}

// When a flush fails after the header was written, nobody knows what is on
// the disk: the store must not go on.
func TestReached(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	tx, err := s.db.Begin(true)
	if err != nil {
		t.Fatal(err)
	}
	next := tx.ID()
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if s.reached(next) {
		t.Error("a transaction that was rolled back reached the file")
	}
	if err := s.Commit(t.Context(), []kv.Op{{Key: "k"}}); err != nil {
		t.Fatal(err)
	}
	if !s.reached(next) {
		t.Error("a committed transaction did not reach the file")
	}
	s.fail(errors.New("flush: input/output error"))
	if err := s.Commit(t.Context(), []kv.Op{{Key: "k"}}); !errors.Is(err, kv.ErrFailed) {
		t.Errorf("a failed store took a commit: %v", err)
	}
	if err := s.Load(t.Context(), "", nil); !errors.Is(err, kv.ErrFailed) {
		t.Errorf("a failed store was read: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if s, err = Open(s.path); err != nil {
		t.Fatalf("opening it again: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
