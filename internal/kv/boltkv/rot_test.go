package boltkv_test

import (
	"bytes"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/boltkv"
)

// TestBitRot turns bits over, many places one at a time: the store is refused
// and left alone, or has what it had (the bit was in a page that nothing
// uses). It never has something else, and never kills the process.
func TestBitRot(t *testing.T) {
	const n = 60
	good := storeBytes(t, n)
	used := len(good)
	for used > 0 && good[used-1] == 0 {
		used--
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	refused, same := 0, 0
	for at := 0; at < used; {
		bad := bytes.Clone(good)
		bad[at] ^= 1 << rnd.IntN(8)
		if s := openDamaged(t, bad, records(n)); s == nil {
			refused++
		} else {
			same++
			closeStore(t, s)
		}
		// Headers of pages closely, their content with gaps.
		if at%os.Getpagesize() < 96 {
			at++
		} else {
			at += 1 + rnd.IntN(24)
		}
	}
	t.Logf("%d files refused, %d as they were", refused, same)
	if refused == 0 || same == 0 {
		t.Error("the test has lost its point: want some refused and some not")
	}
}

// TestLargerDamage overwrites whole stretches, as a misdirected write does.
func TestLargerDamage(t *testing.T) {
	const n = 2000
	good := storeBytes(t, n)
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		bad := bytes.Clone(good)
		from := rnd.IntN(len(bad))
		size := 1 << rnd.IntN(15)
		to := min(len(bad), from+size)
		switch rnd.IntN(4) {
		case 0:
			clear(bad[from:to])
		case 1:
			for i := from; i < to; i++ {
				bad[i] = byte(rnd.Uint32())
			}
		case 2:
			copy(bad[from:to], good[rnd.IntN(len(good)):])
		default:
			bad = bad[:from]
		}
		tryDamaged(t, bad, records(n))
	}
}

// tryDamaged has the store take a record, where it opens at all.
func tryDamaged(t *testing.T, content []byte, want map[string]string) {
	t.Helper()
	s := openDamaged(t, content, want)
	if s == nil {
		return
	}
	if err := s.Commit(t.Context(), []kv.Op{{Key: "new"}}); err != nil {
		t.Errorf("opened, but does not take a record: %v", err)
	}
	closeStore(t, s)
}

// openDamaged is nil where the file was refused, as damaged and untouched.
func openDamaged(t *testing.T, content []byte, want map[string]string) *boltkv.Store {
	t.Helper()
	path := filepath.Join(t.TempDir(), "store.db")
	write(t, path, content)
	s, err := boltkv.Open(path)
	if err != nil {
		if !errors.Is(err, kv.ErrDamaged) && !errors.Is(err, kv.ErrNewer) {
			t.Errorf("refused as %v", err)
		}
		wantUntouched(t, path, content)
		return nil
	}
	if got := load(t, s); !maps.Equal(got, want) {
		t.Errorf("opened with %d records of %d, or others", len(got), len(want))
	}
	return s
}

// FuzzOpen gives Open any file, and the store that it may take any change.
func FuzzOpen(f *testing.F) {
	good := storeBytes(f, 40)
	f.Add(uint32(0), []byte{}, uint32(len(good)))
	f.Add(uint32(16), []byte{0xED}, uint32(len(good)))
	f.Add(uint32(2*os.Getpagesize()), []byte{3, 0, 0, 0}, uint32(4*os.Getpagesize()))
	f.Fuzz(func(t *testing.T, at uint32, patch []byte, size uint32) {
		bad := bytes.Clone(good[:min(int(size), len(good))])
		if int(at) < len(bad) {
			copy(bad[at:], patch)
		}
		if bytes.Equal(bad, good) {
			return
		}
		tryDamaged(t, bad, records(40))
	})
}
