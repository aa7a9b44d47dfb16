package kvtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
)

// patience is how long what must happen may take on a machine with other work.
const patience = time.Minute

// Joiner opens one and the same store for another host.
type Joiner func() (kv.Shared, error)

// RunShared checks that a store keeps the contract of kv.Shared, with several
// hosts that use it. fresh makes an empty one for each test.
func RunShared(t *testing.T, fresh func(t *testing.T) Joiner) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, Joiner){
		"a store that can be reached says so":             reachable,
		"follow begins with everything":                   followWhole,
		"follow tells what others do, in order":           followOrder,
		"follow leaves out what is not below its prefix":  followPrefix,
		"follow leaves out what the host did itself":      followOwn,
		"follow leaves out what a conflict told":          followConflict,
		"what was committed together comes together":      followTogether,
		"a commit takes as many as it says and no more":   maxCommit,
		"hosts conflict and lose no count":                sharedCounters,
		"hosts that commit and follow agree":              hostsAgree,
		"a mark is seen, and goes when its holder ends":   markEnds,
		"a mark outlives its holder for a while":          markStays,
		"a mark of a holder that was killed expires":      markExpires,
		"the end of a context or store ends what it must": sharedEnds,
	} {
		t.Run(name, func(t *testing.T) { test(t, fresh(t)) })
	}
}

func join(t *testing.T, j Joiner) kv.Shared {
	t.Helper()
	s, err := j()
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, kv.ErrClosed) {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// Watcher follows a store for a test, and keeps what it was told.
type Watcher struct {
	mu      sync.Mutex
	changes []kv.Change
	content map[string]string
	changed chan struct{}
}

// Watch follows s below prefix until the test ends.
func Watch(t *testing.T, s kv.Shared, prefix string) *Watcher {
	t.Helper()
	w := &Watcher{content: map[string]string{}, changed: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Follow(ctx, prefix, w.note); !errors.Is(err, context.Canceled) && !errors.Is(err, kv.ErrClosed) {
			t.Errorf("follow: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return w
}

func (w *Watcher) note(c kv.Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c = c.Fresh()
	w.changes = append(w.changes, c)
	apply(w.content, c)
	close(w.changed)
	w.changed = make(chan struct{})
}

func apply(content map[string]string, c kv.Change) {
	if c.Whole {
		clear(content)
	}
	for _, op := range c.Ops {
		if op.Delete {
			delete(content, op.Key)
		} else {
			content[op.Key] = string(op.Value)
		}
	}
}

// Until waits until ok, of all changes and what they make together.
func (w *Watcher) Until(t *testing.T, what string, ok func(changes []kv.Change, content map[string]string) bool) {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		w.mu.Lock()
		done, changed := ok(w.changes, w.content), w.changed
		n := len(w.changes)
		w.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-limit.C:
			t.Fatalf("%s: not after %s and %d changes", what, patience, n)
		}
	}
}

// has waits until a key has a value.
func (w *Watcher) has(t *testing.T, key, value string) {
	t.Helper()
	w.Until(t, key+" is "+value, func(_ []kv.Change, content map[string]string) bool { return content[key] == value })
}

func (w *Watcher) begun(t *testing.T) {
	t.Helper()
	w.Until(t, "everything", func(c []kv.Change, _ map[string]string) bool { return len(c) > 0 })
}

// after are all ops told after the first picture, as text.
func (w *Watcher) after() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []kv.Op
	for _, c := range w.changes[1:] {
		out = append(out, c.Ops...)
	}
	return strings.TrimSpace(text(out))
}

func reachable(t *testing.T, j Joiner) {
	t.Helper()
	s := join(t, j)
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		away, changed := s.State()
		if away == nil {
			break
		}
		if !errors.Is(away, kv.ErrAway) {
			t.Errorf("%v is not ErrAway", away)
		}
		select {
		case <-changed:
		case <-limit.C:
			t.Fatalf("after %s: %v", patience, away)
		}
	}
	commit(t, s, put("k", "v"))
}

func followWhole(t *testing.T, j Joiner) {
	t.Helper()
	a, b := join(t, j), join(t, j)
	empty := Watch(t, b, "")
	empty.begun(t)
	commit(t, a, put("x/2", "b"), put("x/1", "a"), put("y", "c"))
	w := Watch(t, b, "")
	w.begun(t)
	w.mu.Lock()
	first := w.changes[0]
	w.mu.Unlock()
	if !first.Whole || strings.TrimSpace(text(first.Ops)) != `"x/1"="a" "x/2"="b" "y"="c"` {
		t.Errorf("it began with %v, %s", first.Whole, text(first.Ops))
	}
	empty.has(t, "y", "c")
	if !empty.changes[0].Whole || len(empty.changes[0].Ops) != 0 {
		t.Errorf("an empty store began with %+v", empty.changes[0])
	}
}

func followOrder(t *testing.T, j Joiner) {
	t.Helper()
	a, b, c := join(t, j), join(t, j), join(t, j)
	w := Watch(t, c, "")
	w.begun(t)
	const each = 60
	var wg sync.WaitGroup
	for name, s := range map[string]kv.Shared{"a": a, "b": b} {
		wg.Go(func() {
			for i := range each {
				if err := s.Commit(t.Context(), []kv.Op{put(name, fmt.Sprintf("%04d", i))}); err != nil {
					t.Errorf("commit: %v", err)
				}
			}
		})
	}
	wg.Wait()
	commit(t, a, del("a"), del("b"))
	commit(t, a, put("end", "x"))
	w.has(t, "end", "x")
	last, seen := map[string]string{}, map[string]int{}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, change := range w.changes {
		for _, op := range change.Ops {
			v := string(op.Value)
			if op.Delete {
				v = "gone"
			}
			if v <= last[op.Key] {
				t.Errorf("%s: %s came after %s", op.Key, v, last[op.Key])
			}
			last[op.Key] = v
			seen[op.Key]++
		}
	}
	if seen["a"] != each+1 || seen["b"] != each+1 || last["a"] != "gone" {
		t.Errorf("of %d changes each, it told %v", each+1, seen)
	}
}

func followPrefix(t *testing.T, j Joiner) {
	t.Helper()
	a, b := join(t, j), join(t, j)
	commit(t, a, put("p", "-"), put("p/1", "-"), put("p0", "-"))
	w := Watch(t, b, "p/")
	w.begun(t)
	commit(t, a, put("p", "x"), put("p/2", "x"), put("o", "x"), put("q", "x"), del("p/1"))
	commit(t, a, put("q", "y"))
	commit(t, a, put("p/end", "x"))
	w.has(t, "p/end", "x")
	if got := w.after(); got != `"p/2"="x" -"p/1" "p/end"="x"` && got != `-"p/1" "p/2"="x" "p/end"="x"` {
		t.Errorf("it told %s", got)
	}
}

func followOwn(t *testing.T, j Joiner) {
	t.Helper()
	a, b := join(t, j), join(t, j)
	w, other := Watch(t, a, ""), Watch(t, b, "")
	w.begun(t)
	other.begun(t)
	// Commits that come while the first picture is in fn would be told once more.
	commit(t, b, put("theirs", "begun"))
	w.has(t, "theirs", "begun")
	for i := range 50 {
		commit(t, a, put("mine", fmt.Sprint(i)), put("both", fmt.Sprint("a", i)), del("none"))
		commit(t, b, put("theirs", fmt.Sprint(i)))
	}
	commit(t, b, put("both", "b"))
	w.has(t, "both", "b")
	if got := w.after(); strings.Contains(got, `"mine"`) || strings.Contains(got, `"a`) || !strings.Contains(got, `"theirs"="49"`) {
		t.Errorf("it told the host of its own commits: %s", got)
	}
	other.has(t, "mine", "49")
	want(t, b, "", map[string]string{"mine": "49", "both": "b", "theirs": "49"})
}

func followConflict(t *testing.T, j Joiner) {
	t.Helper()
	a, b := join(t, j), join(t, j)
	commit(t, a, put("k", "0"))
	w := Watch(t, a, "")
	w.begun(t)
	for i := range 50 {
		// Where the conflict is faster than Follow, Follow must not tell it, and
		// in no case after what was done upon it.
		commit(t, b, put("k", fmt.Sprint("b", i)))
		var conflict *kv.Conflict
		err := a.Commit(t.Context(), []kv.Op{put("k", "wrong")}, holds("k", "never"))
		if !errors.As(err, &conflict) || string(conflict.Now[0].Value) != fmt.Sprint("b", i) {
			t.Fatalf("got %v, %v", err, conflict)
		}
		w.mu.Lock()
		before := len(w.changes)
		w.mu.Unlock()
		if err := a.Commit(t.Context(), []kv.Op{put("k", fmt.Sprint("a", i))}, holds("k", fmt.Sprint("b", i))); err != nil {
			t.Fatal(err)
		}
		commit(t, b, put("mark", fmt.Sprint(i)))
		w.has(t, "mark", fmt.Sprint(i))
		w.mu.Lock()
		for _, c := range w.changes[before:] {
			for _, op := range c.Ops {
				// What a commit told while fn had an older change may come again.
				if op.Key == "k" && string(op.Value) != fmt.Sprint("a", i) {
					t.Errorf("round %d: after the conflict, follow told %s", i, text(c.Ops))
				}
			}
		}
		w.mu.Unlock()
	}
}

func followTogether(t *testing.T, j Joiner) {
	t.Helper()
	a, b := join(t, j), join(t, j)
	w := Watch(t, b, "")
	w.begun(t)
	ops := func(v string) (out []kv.Op) {
		for i := range 50 {
			out = append(out, put(fmt.Sprintf("n/%02d", i), v))
		}
		return out
	}
	for i := range 30 {
		commit(t, a, ops(fmt.Sprint(i))...)
	}
	w.has(t, "n/49", "29")
	w.mu.Lock()
	defer w.mu.Unlock()
	content := map[string]string{}
	for _, c := range w.changes {
		apply(content, c)
		for k, v := range content {
			if v != content["n/00"] {
				t.Fatalf("a change split a commit: %s is %s, n/00 is %s", k, v, content["n/00"])
			}
		}
	}
}

func maxCommit(t *testing.T, j Joiner) {
	t.Helper()
	s := join(t, j)
	n := s.MaxOps()
	if n < 100 {
		t.Fatalf("a commit takes %d", n)
	}
	var ops []kv.Op
	var conds []kv.Cond
	for i := range n {
		ops = append(ops, put(fmt.Sprint("k/", i), "1"))
		conds = append(conds, absent(fmt.Sprint("k/", i)))
	}
	if err := s.Commit(t.Context(), ops, conds...); err != nil {
		t.Fatal(err)
	}
	var conflict *kv.Conflict
	if err := s.Commit(t.Context(), ops, conds...); !errors.As(err, &conflict) || len(conflict.Now) != n {
		t.Errorf("got %v", err)
	}
	for what, err := range map[string]error{
		"ops":        s.Commit(t.Context(), append(ops, put("more", "1"))),
		"conditions": s.Commit(t.Context(), nil, append(conds, absent("more"))...),
	} {
		if !errors.Is(err, kv.ErrNotStorable) {
			t.Errorf("one too many %s: %v", what, err)
		}
	}
	if got, err := Content(t.Context(), s, ""); err != nil || len(got) != n {
		t.Errorf("there are %d keys, %v", len(got), err)
	}
}

func sharedCounters(t *testing.T, j Joiner) {
	t.Helper()
	hosts := []kv.Shared{join(t, j), join(t, j), join(t, j)}
	commit(t, hosts[0], put("n", "0"))
	const each = 25
	var wg sync.WaitGroup
	for _, s := range hosts {
		for range 2 {
			wg.Go(func() {
				for range each {
					if err := count(t.Context(), s, "n"); err != nil {
						t.Errorf("count: %v", err)
					}
				}
			})
		}
	}
	wg.Wait()
	want(t, hosts[1], "", map[string]string{"n": fmt.Sprint(2 * each * len(hosts))})
}

func sharedEnds(t *testing.T, j Joiner) {
	t.Helper()
	s := join(t, j)
	ctx, cancel := context.WithCancel(t.Context())
	ends := make(chan error, 4)
	begun := make(chan struct{}, 4)
	run := func(ctx context.Context) {
		go func() { ends <- s.Follow(ctx, "", func(kv.Change) { begun <- struct{}{} }) }()
		go func() {
			ends <- s.Hold(ctx, kv.Mark{Key: "m" + fmt.Sprint(ctx == t.Context()), TTL: 2 * time.Second, Held: func(bool) { begun <- struct{}{} }})
		}()
		<-begun
		<-begun
	}
	run(ctx)
	cancel()
	for range 2 {
		if err := <-ends; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want canceled", err)
		}
	}
	for len(begun) > 0 {
		<-begun
	}
	run(t.Context())
	closeStore(t, s)
	for range 2 {
		if err := <-ends; !errors.Is(err, kv.ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
	}
	if err := s.Follow(t.Context(), "", func(kv.Change) {}); !errors.Is(err, kv.ErrClosed) {
		t.Errorf("follow of a closed store: %v", err)
	}
}
