package consistency

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestEtcd has hosts and members of a real etcd fail in all ways that there
// are. CONSISTENCY_SEED repeats what is asked and broken (not its timing),
// CONSISTENCY_ROUNDS has it run longer: a round takes some 12 seconds.
func TestEtcd(t *testing.T) {
	seed := setting(t, "CONSISTENCY_SEED", rand.Uint64()) //nolint:gosec // it is no secret
	rounds := setting(t, "CONSISTENCY_ROUNDS", 4)
	t.Logf("CONSISTENCY_SEED=%d", seed)
	hosts := 3 + int(seed%3)
	w := newWorld(t, hosts, seed, newEtcd(t, hosts), nil)
	defer w.close()
	defer w.report()
	for n := range rounds {
		w.round(int(n)%250, 10*time.Second)
		if t.Failed() {
			break
		}
	}
}

// report prints what was done.
func (w *world) report() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, what := range slices.Sorted(maps.Keys(w.counts)) {
		w.t.Log(fmt.Sprintf("%7d %s", w.counts[what], what))
	}
	w.t.Logf("%d hosts, %d revisions of the store", len(w.hosts), w.seen.revs)
}
