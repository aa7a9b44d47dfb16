package consistency

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/kvtest"
)

// memory is a store in this process, whose hosts can be cut off. It is quicker
// than an etcd, so it comes to more of what may happen.
type memory struct {
	store *kvtest.Memory
	// watch is how the monitor follows.
	watch *kvtest.Host

	mu    sync.Mutex
	hosts []*kvtest.Host // the last process' of each; guarded by mu
}

func newMemory(hosts int) *memory {
	m := &memory{store: kvtest.NewMemory()}
	m.watch = m.store.Join()
	for range hosts {
		m.hosts = append(m.hosts, m.store.Join())
	}
	return m
}

func (m *memory) open(n int) (kv.Shared, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hosts[n] = m.hosts[n].Reopen()
	return m.hosts[n], nil
}

func (m *memory) follow(ctx context.Context, fn func([]kv.Op)) {
	_ = m.watch.Follow(ctx, "", func(c kv.Change) { fn(c.Ops) })
}

func (m *memory) look(context.Context) (map[string][]byte, error) { return m.store.Data(), nil }

func (m *memory) put(ctx context.Context, key string) error {
	return m.store.Commit(ctx, []kv.Op{{Key: key}})
}

func (m *memory) host(n int) *kvtest.Host {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.hosts[n]
}

func (m *memory) fault(rng *rand.Rand) string {
	n := rng.IntN(len(m.hosts))
	h := m.host(n)
	away := fmt.Errorf("%w: no answer came", kv.ErrAway)
	switch what := rng.IntN(11); {
	case what < 2:
		h.Cut()
		return "host cut off"
	case what < 4:
		h.Mend()
		return "host's way mended"
	case what < 5:
		h.MendAnew()
		return "host's way mended, and all read again"
	case what < 7:
		h.Delay(time.Duration(rng.IntN(200)) * time.Millisecond)
		return "host's news late"
	case what < 9:
		h.LoseNext(away)
		return "answer lost"
	case what < 10:
		// Its host hears of it a little late, as when etcd counts faster.
		_ = m.store.Commit(context.Background(), []kv.Op{{Key: "host/" + hostID(n), Delete: true}})
		return "mark gone too soon"
	default:
		h.FailNext(away)
		return "commit lost"
	}
}

func (m *memory) heal() {
	for n := range m.hosts {
		m.host(n).Delay(0)
		m.host(n).Mend()
	}
}
