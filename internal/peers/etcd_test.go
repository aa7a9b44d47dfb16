package peers

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/kv/etcdkv"
	"github.com/dockstack/dockstack/internal/kv/etcdtest"
	"github.com/dockstack/dockstack/test/stall"
)

// The marks of hosts in a real etcd: one that dies hard is gone within 15 s,
// one that stops is kept, and one that is cut off comes back by itself.
func TestMarksInEtcd(t *testing.T) {
	etcd := etcdtest.Start(t, etcdtest.Config{})
	address, err := etcdkv.Parse(etcd.URL())
	if err != nil {
		t.Fatal(err)
	}
	start := func(self Host) (*machine, *etcdkv.Store) {
		t.Helper()
		store, err := etcdkv.Open(etcdkv.Settings{Address: address})
		if err != nil {
			t.Fatal(err)
		}
		m := &machine{news: make(chan struct{})}
		m.Peers = New(Config{Self: self, Changed: m.changed})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = m.Run(ctx, store) })
		wg.Go(func() { _ = store.Follow(ctx, "", m.Learn) })
		var once sync.Once
		m.kill = func() {
			once.Do(func() {
				cancel()
				wg.Wait()
			})
		}
		t.Cleanup(func() {
			m.kill()
			_ = store.Close() // a second time for the one that died
		})
		return m, store
	}
	a, _ := start(h("aaaa", "a", "10.0.0.1"))
	b, dies := start(h("bbbb", "b", "10.0.0.2"))
	c, _ := start(h("cccc", "c", "10.0.0.3"))
	a.until(t, "a sees b and c", func() bool { return a.Alive("bbbb") && a.Alive("cccc") })
	b.until(t, "b's mark is held", b.Holds)
	c.until(t, "c's mark is held", c.Holds)

	died := time.Now()
	if err := dies.Close(); err != nil {
		t.Fatal(err)
	}
	c.kill()
	a.until(t, "b is gone", func() bool { return !a.Alive("bbbb") })
	if took := stall.Took(died); took > 15*time.Second {
		t.Errorf("b counted as alive for %s", took)
	}
	if !a.Alive("cccc") {
		t.Error("c is gone, although it only stopped")
	}

	etcd.Cut(0)
	a.until(t, "a's mark counts as lost", func() bool { return !a.Holds() })
	if !a.Alive("cccc") {
		t.Error("a forgot c when it was cut off")
	}
	etcd.Mend(0)
	a.until(t, "a's mark is held again", a.Holds)
	if err := a.Held(soon(t)); err != nil {
		t.Error(err)
	}
}
