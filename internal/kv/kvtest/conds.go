package kvtest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/dockstack/dockstack/internal/kv"
)

func holds(key, value string) kv.Cond { return kv.Cond{Key: key, Value: []byte(value)} }

func absent(key string) kv.Cond { return kv.Cond{Key: key, Absent: true} }

func wantConflict(t *testing.T, err error, now ...kv.Op) {
	t.Helper()
	var got *kv.Conflict
	if !errors.As(err, &got) {
		t.Errorf("got %v, want a conflict", err)
		return
	}
	if text(got.Now) != text(now) {
		t.Errorf("the conflict tells %s, want %s", text(got.Now), text(now))
	}
}

func conditions(t *testing.T, o Opener) {
	t.Helper()
	s := open(t, o)
	commit(t, s, put("k", "1"), put("empty", ""))
	for _, c := range []struct {
		what string
		cond kv.Cond
		met  bool
	}{
		{"the value", holds("k", "1"), true},
		{"another value", holds("k", "2"), false},
		{"a longer value", holds("k", "11"), false},
		{"no value", holds("k", ""), false},
		{"absent, and it is there", absent("k"), false},
		{"absent, and it is there with an empty value", absent("empty"), false},
		{"an empty value", holds("empty", ""), true},
		{"an empty value of an absent key", holds("none", ""), false},
		{"absent", absent("none"), true},
		{"absent with a value set", kv.Cond{Key: "none", Value: []byte("x"), Absent: true}, true},
	} {
		err := s.Commit(t.Context(), []kv.Op{put("done", c.what)}, holds("k", "1"), c.cond)
		if conflict := (*kv.Conflict)(nil); c.met && err != nil || !c.met && !errors.As(err, &conflict) {
			t.Errorf("%s: got %v, want it met: %v", c.what, err, c.met)
		}
		got, err := Content(t.Context(), s, "done")
		if err != nil || (got["done"] == c.what) != c.met {
			t.Errorf("%s: then there is %q, %v", c.what, got, err)
		}
	}
	if err := s.Commit(t.Context(), nil, holds("k", "1")); err != nil {
		t.Errorf("a look that holds: %v", err)
	}
	wantConflict(t, s.Commit(t.Context(), nil, absent("k")), put("k", "1"))
	if err := s.Commit(t.Context(), nil, absent("")); !errors.Is(err, kv.ErrNotStorable) {
		t.Errorf("a condition without a key: %v", err)
	}
}

func conflictTells(t *testing.T, o Opener) {
	t.Helper()
	s := open(t, o)
	commit(t, s, put("a", "1"), put("b", "2"), put("e", ""))
	err := s.Commit(t.Context(), []kv.Op{del("a"), put("c", "x")}, holds("b", "2"), absent("c"), holds("a", "0"), holds("a", "1"), absent("e"))
	wantConflict(t, err, put("b", "2"), del("c"), put("a", "1"), put("e", ""))
	want(t, s, "", map[string]string{"a": "1", "b": "2", "e": ""})
}

// conflictsApart has commits meet in one transaction, where the store has such.
func conflictsApart(t *testing.T, o Opener) {
	t.Helper()
	s := open(t, o)
	commit(t, s, put("k", "1"))
	all := map[string]string{"k": "1"}
	var wg sync.WaitGroup
	for i := range 32 {
		key := fmt.Sprintf("n/%02d", i)
		if i%2 == 0 {
			all[key] = "x"
		}
		wg.Go(func() {
			if i%2 == 0 {
				if err := s.Commit(t.Context(), []kv.Op{put(key, "x")}, holds("k", "1"), absent(key)); err != nil {
					t.Errorf("commit: %v", err)
				}
				return
			}
			wantConflict(t, s.Commit(t.Context(), []kv.Op{put(key, "x"), put("k", "2")}, absent("k")), put("k", "1"))
		})
	}
	wg.Wait()
	want(t, s, "", all)
	closeStore(t, s)
	want(t, open(t, o), "", all)
}

func counters(t *testing.T, o Opener) {
	t.Helper()
	s := open(t, o)
	commit(t, s, put("n", "0"))
	const writers, each = 6, 15
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				if err := count(t.Context(), s, "n"); err != nil {
					t.Errorf("count: %v", err)
				}
			}
		})
	}
	wg.Wait()
	want(t, s, "n", map[string]string{"n": fmt.Sprint(writers * each)})
}

// count adds one to a key, beginning with a guess.
func count(ctx context.Context, s kv.Store, key string) error {
	was := "0"
	for {
		n, err := strconv.Atoi(was)
		if err != nil {
			return err
		}
		err = s.Commit(ctx, []kv.Op{put(key, strconv.Itoa(n+1))}, holds(key, was))
		conflict := (*kv.Conflict)(nil)
		if !errors.As(err, &conflict) {
			return err
		}
		was = string(conflict.Now[0].Value)
	}
}

// text is ops to compare and to read.
func text(ops []kv.Op) string {
	var b strings.Builder
	for _, op := range ops {
		if op.Delete {
			fmt.Fprintf(&b, "-%q ", op.Key)
		} else {
			fmt.Fprintf(&b, "%q=%q ", op.Key, op.Value)
		}
	}
	return b.String()
}
