package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/boltkv"
	"github.com/dockstack/dockstack/ipam"
	"github.com/dockstack/dockstack/plugin"
)

func openAt(ctx context.Context, path string) (*opened, error) {
	kvs, err := boltkv.Open(path)
	if err != nil {
		return nil, err
	}
	leases, err := ipam.Open(ctx, kvs, ipam.Config{})
	return &opened{State: plugin.State{Store: kvs, Leases: leases}}, err
}

func runStore(t *testing.T, open func(context.Context) (*opened, error)) *store {
	t.Helper()
	s := newStore(slog.New(slog.DiscardHandler), open)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
		if err := s.close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// What keeps the store closed is said at once, and once it is mended the next
// call is served.
func TestStoreIsTriedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dockstack.db")
	var broken atomic.Bool
	broken.Store(true)
	s := runStore(t, func(ctx context.Context) (*opened, error) {
		if broken.Load() {
			return nil, fmt.Errorf("%s: %w", path, kv.ErrDamaged)
		}
		return openAt(ctx, path)
	})
	if _, err := s.get(limited(t)); !errors.Is(err, kv.ErrDamaged) {
		t.Fatalf("got %v, want that the store is damaged", err)
	}
	broken.Store(false)
	<-s.opened
	if _, err := s.get(limited(t)); err != nil {
		t.Error(err)
	}
}

// A store that another process lets go of late is waited for.
func TestLockedStoreIsWaitedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dockstack.db")
	other, err := boltkv.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	s := runStore(t, func(ctx context.Context) (*opened, error) { return openAt(ctx, path) })
	got := make(chan error, 1)
	ctx := limited(t)
	go func() {
		_, err := s.get(ctx)
		got <- err
	}()
	<-s.tried
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Error(err)
	}
}

func TestFailedStoreIsOpenedAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dockstack.db")
	s := runStore(t, func(ctx context.Context) (*opened, error) { return openAt(ctx, path) })
	<-s.opened
	before, err := s.get(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	s.reopen()
	<-s.opened
	after, err := s.get(limited(t))
	if err != nil || after == before {
		t.Fatalf("the same store, or none: %v", err)
	}
	if err := before.Store.Commit(t.Context(), []kv.Op{{Key: "a"}}); !errors.Is(err, kv.ErrClosed) {
		t.Errorf("the failed one still takes writes: %v", err)
	}
}
