package consistency

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
)

// TestBrokenStoresAreFound takes conditions from commits, one sort after the
// other: what is checked here must notice, else it proves nothing.
func TestBrokenStoresAreFound(t *testing.T) {
	is := func(prefix string) func(kv.Cond) bool {
		return func(c kv.Cond) bool { return strings.HasPrefix(c.Key, prefix) }
	}
	for _, m := range []struct {
		what string
		lost func(kv.Cond) bool
		// history: callers must have been told what can't be; else it is enough
		// that the store had what it must not have.
		history bool
	}{
		{"no condition at all", func(kv.Cond) bool { return true }, true},
		{"whose an address is", is("addr/"), false},
		{"what a name's lease is", is("lease/"), true},
		{"that a dead host is dead", func(c kv.Cond) bool { return is("host/")(c) && c.Absent }, false},
		{"that the host's own mark stands", func(c kv.Cond) bool { return is("host/")(c) && !c.Absent }, false},
	} {
		t.Run(m.what, func(t *testing.T) {
			t.Parallel() // they wait mostly
			var all []string
			for seed := range uint64(12) {
				r := &recorder{T: t}
				r.run(func() {
					p := quick(1000 + seed)
					p.patience = time.Second
					p.strip = func(conds []kv.Cond) []kv.Cond { return slices.DeleteFunc(slices.Clone(conds), m.lost) }
					w := newWorld(r, p)
					defer w.close()
					w.round(0, time.Second)
				})
				all = append(all, r.errors...)
				told := slices.IndexFunc(all, func(s string) bool { return strings.Contains(s, "no order of these is as promised") })
				seen := slices.IndexFunc(all, func(s string) bool { return strings.HasPrefix(s, "revision ") })
				if told >= 0 || seen >= 0 && !m.history {
					t.Logf("found with %d worlds, in a history: %v, in the store: %v", seed+1, told >= 0, seen >= 0)
					return
				}
			}
			t.Errorf("not found, only %.2000q", all)
		})
	}
}

// recorder is a test that may fail.
type recorder struct {
	*testing.T
	ctx context.Context //nolint:containedctx // Context returns it

	mu     sync.Mutex
	errors []string
}

// run runs what may fail, and returns when it has.
func (r *recorder) run(do func()) {
	var cancel context.CancelFunc
	r.ctx, cancel = context.WithCancel(r.T.Context())
	defer cancel()
	over := make(chan struct{})
	go func() {
		defer close(over)
		do()
	}()
	<-over
}

// add notes an error.
func (r *recorder) add(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errors = append(r.errors, text)
}

func (r *recorder) Context() context.Context          { return r.ctx }
func (r *recorder) Errorf(format string, args ...any) { r.add(fmt.Sprintf(format, args...)) }
func (*recorder) Log(...any)                          {}
func (*recorder) Logf(string, ...any)                 {}

func (r *recorder) Fatal(args ...any) {
	r.add(fmt.Sprint(args...))
	runtime.Goexit()
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.add(fmt.Sprintf(format, args...))
	runtime.Goexit()
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.errors) > 0
}
