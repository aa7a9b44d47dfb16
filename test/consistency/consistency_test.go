package consistency

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/kvtest"
)

// TestEtcd has hosts and members of a real etcd fail in all ways that there
// are. CONSISTENCY_SEED repeats what is asked and broken (not its timing),
// CONSISTENCY_ROUNDS has it run longer: a round takes some 12 seconds.
func TestEtcd(t *testing.T) {
	seed := setting(t, "CONSISTENCY_SEED", rand.Uint64())
	rounds := setting(t, "CONSISTENCY_ROUNDS", 4)
	t.Logf("CONSISTENCY_SEED=%d", seed)
	hosts := 3 + int(seed%3)
	w := newWorld(t, plan{
		hosts: hosts, seed: seed, net: newEtcd(t, hosts), local: onDisk(t.TempDir()),
		ttl: time.Second, pause: 15 * time.Millisecond, patience: 40 * time.Second,
	})
	defer w.close()
	defer w.report()
	for n := range rounds {
		w.round(int(n)%250, 10*time.Second)
		if t.Failed() {
			break
		}
	}
}

// TestMemory does the same, much quicker, with a store in memory and hosts that
// are cut off from it, whose commits' answers get lost, and whose news is late.
// CONSISTENCY_WORLDS has it run longer: one takes a second.
func TestMemory(t *testing.T) {
	seed := setting(t, "CONSISTENCY_SEED", rand.Uint64())
	worlds := setting(t, "CONSISTENCY_WORLDS", 15)
	counts := map[string]int{}
	for n := range worlds {
		t.Logf("CONSISTENCY_SEED=%d", seed+n)
		w := newWorld(t, quick(seed+n))
		w.round(0, time.Second)
		w.close()
		for what, n := range w.counts {
			counts[what] += n
		}
		if t.Failed() {
			break
		}
	}
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("%7d %s", counts[what], what)
	}
}

// quick is a world in memory.
func quick(seed uint64) plan {
	hosts := 3 + int(seed%3)
	return plan{
		hosts: hosts, seed: seed, net: newMemory(hosts), ttl: 100 * time.Millisecond, pause: 2 * time.Millisecond, patience: time.Minute,
		local: func(int) func() (kv.Store, error) {
			disk := kvtest.NewMemory()
			return func() (kv.Store, error) { return disk.Reopen(), nil }
		},
	}
}

// report prints what was done.
func (w *world) report() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, what := range slices.Sorted(maps.Keys(w.counts)) {
		w.t.Logf("%7d %s", w.counts[what], what)
	}
	w.seen.mu.Lock()
	defer w.seen.mu.Unlock()
	w.t.Logf("%d hosts, %d revisions of the store", len(w.hosts), w.seen.revs)
}
