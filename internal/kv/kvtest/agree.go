package kvtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
)

// mind is a host that decides on what it knows, as ipam does: it commits and
// learns under one lock.
type mind struct {
	t    *testing.T
	name string
	s    kv.Shared
	mu   sync.Mutex
	// known is what it thinks the store has.
	known map[string]string
	begun chan struct{}
	once  sync.Once
	// done and open are how often it counted a key on, for sure and perhaps.
	done, open map[string]int
}

// learn applies a change. All values are counters that no host takes back, so
// that an older change after a newer one shows.
func (m *mind) learn(c kv.Change) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c = c.Fresh()
	was := maps.Clone(m.known)
	apply(m.known, c)
	for _, op := range c.Ops {
		if op.Key != "end" {
			m.check(op.Key, was[op.Key], m.known[op.Key], c)
		}
	}
	m.once.Do(func() { close(m.begun) })
}

func (m *mind) check(key, was, is string, c kv.Change) {
	if n, o := number(is), number(was); n < o {
		m.t.Errorf("host %s: %s went back from %s to %s by %v %s", m.name, key, was, is, c.Whole, text(c.Ops))
	}
}

// number is a counter's count. The empty text stands for an absent key, which
// in these tests is only so at first.
func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0
	}
	return n
}

// step counts one or several keys on.
func (m *mind) step(ctx context.Context, keys []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		var ops []kv.Op
		var conds []kv.Cond
		for _, k := range keys {
			v, ok := m.known[k]
			if ok {
				conds = append(conds, holds(k, v))
			} else {
				conds = append(conds, absent(k))
			}
			ops = append(ops, put(k, strconv.Itoa(number(v)+1)))
		}
		err := m.s.Commit(ctx, ops, conds...)
		var conflict *kv.Conflict
		switch {
		case err == nil:
			apply(m.known, kv.Change{Ops: ops})
			tally(m.done, keys)
			return nil
		case errors.As(err, &conflict):
			for _, op := range conflict.Now {
				if n, o := number(string(op.Value)), number(m.known[op.Key]); n < o {
					m.t.Errorf("host %s: a conflict took %s back from %d to %d", m.name, op.Key, o, n)
				}
			}
			apply(m.known, kv.Change{Ops: conflict.Now})
		default:
			tally(m.open, keys)
			return err
		}
	}
}

func tally(counts map[string]int, keys []string) {
	for _, k := range keys {
		counts[k]++
	}
}

// Agree has hosts count on common counters, each on what it knows, and checks
// that none ever goes back in its mind, that no count is lost or doubled, and
// that all agree in the end. Commits whose
// outcome is unknown (ErrAway) are no mistake; disturb is called while it runs.
func Agree(t *testing.T, hosts []kv.Shared, steps int, disturb func(ctx context.Context)) {
	t.Helper()
	follow, end := context.WithCancel(context.Background())
	var follows, steppers, disturbs sync.WaitGroup
	defer follows.Wait()
	defer end()
	var minds []*mind
	for i, s := range hosts {
		m := &mind{t: t, name: fmt.Sprint(i), s: s, known: map[string]string{}, done: map[string]int{}, open: map[string]int{}, begun: make(chan struct{})}
		minds = append(minds, m)
		follows.Go(func() { _ = s.Follow(follow, "", m.learn) }) // its end is ours
	}
	for _, m := range minds {
		<-m.begun
	}
	disturbance, calm := context.WithCancel(t.Context())
	if disturb != nil {
		disturbs.Go(func() { disturb(disturbance) })
	}
	for i, m := range minds {
		steppers.Go(func() { m.walk(t.Context(), rand.New(rand.NewPCG(1, uint64(i))), steps) }) //nolint:gosec // a test's choices
	}
	steppers.Wait()
	calm()
	disturbs.Wait()
	finish(t, minds)
}

func (m *mind) walk(ctx context.Context, r *rand.Rand, steps int) {
	for range steps {
		keys := []string{fmt.Sprint("n/", r.IntN(4))}
		if r.IntN(3) == 0 {
			keys = append(keys, fmt.Sprint("m/", r.IntN(3)))
		}
		if err := m.step(ctx, keys); err != nil && !errors.Is(err, kv.ErrAway) {
			m.t.Errorf("host %s: %v", m.name, err)
		}
	}
}

// finish compares what all know with what is there.
func finish(t *testing.T, minds []*mind) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, m := range minds {
		for m.step(ctx, []string{"end/" + m.name}) != nil && ctx.Err() == nil {
		}
	}
	content, err := Content(ctx, minds[0].s, "")
	if err != nil {
		t.Fatal(err)
	}
	wantCounted(t, minds, content)
	for _, m := range minds {
		for !m.knows(content) {
			select {
			case <-ctx.Done():
				m.mu.Lock()
				t.Errorf("host %s knows %v, there is %v", m.name, m.known, content)
				m.mu.Unlock()
			case <-time.After(5 * time.Millisecond):
				continue
			}
			break
		}
	}
}

// wantCounted checks that no count was lost or doubled.
func wantCounted(t *testing.T, minds []*mind, content map[string]string) {
	t.Helper()
	unknown := 0
	for key, v := range content {
		done, open := 0, 0
		for _, m := range minds {
			done += m.done[key]
			open += m.open[key]
		}
		unknown += open
		if n := number(v); n < done || n > done+open {
			t.Errorf("%s is %s after %d commits that succeeded, and %d of unknown outcome", key, v, done, open)
		}
	}
	t.Logf("%d keys of commits with unknown outcome", unknown)
}

func (m *mind) knows(content map[string]string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Sprint(m.known) == fmt.Sprint(content)
}

func hostsAgree(t *testing.T, j Joiner) {
	t.Helper()
	Agree(t, []kv.Shared{join(t, j), join(t, j), join(t, j)}, 150, nil)
}
