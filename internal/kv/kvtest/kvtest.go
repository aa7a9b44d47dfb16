package kvtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"

	"github.com/dockstack/dockstack/internal/kv"
)

// Opener opens one and the same store, again after each Close.
type Opener func() (kv.Store, error)

// Run checks that a store keeps package kv's contract. fresh makes an empty
// one for each test.
func Run(t *testing.T, fresh func(t *testing.T) Opener) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, Opener){
		"what was committed is there after reopening": committedIsThere,
		"load goes in key order below its prefix":     loadOrder,
		"ops of a commit apply in order":              opsInOrder,
		"a refused commit changes nothing":            refusedCommit,
		"odd keys and values come back as they were":  oddContent,
		"the store keeps no reference to ops":         noReference,
		"an error of fn comes back as it is":          errorOfFn,
		"an ended context ends calls":                 endedContext,
		"a closed store says so":                      closedStore,
		"concurrent commits are all there":            concurrentCommits,
		"load sees each commit whole or not at all":   wholeCommits,
		"conditions hold or nothing is done":          conditions,
		"a conflict tells what is there":              conflictTells,
		"a conflict is the business of one commit":    conflictsApart,
		"counters lose no count":                      counters,
	} {
		t.Run(name, func(t *testing.T) { test(t, fresh(t)) })
	}
}

func open(t *testing.T, o Opener) kv.Store {
	t.Helper()
	s, err := o()
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

func closeStore(t *testing.T, s kv.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

func put(key, value string) kv.Op { return kv.Op{Key: key, Value: []byte(value)} }

func del(key string) kv.Op { return kv.Op{Key: key, Delete: true} }

func commit(t *testing.T, s kv.Store, ops ...kv.Op) {
	t.Helper()
	if err := s.Commit(t.Context(), ops); err != nil {
		t.Fatalf("commit: %v", err)
	}
}

// Content is what Load finds below prefix.
func Content(ctx context.Context, s kv.Store, prefix string) (map[string]string, error) {
	out := map[string]string{}
	err := s.Load(ctx, prefix, func(k string, v []byte) error {
		out[k] = string(v)
		return nil
	})
	return out, err
}

func want(t *testing.T, s kv.Store, prefix string, want map[string]string) {
	t.Helper()
	got, err := Content(t.Context(), s, prefix)
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	if !maps.Equal(got, want) {
		t.Errorf("below %q there is %q, want %q", prefix, got, want)
	}
}

func committedIsThere(t *testing.T, o Opener) {
	t.Helper()
	s := open(t, o)
	want(t, s, "", map[string]string{})
	commit(t, s, put("a/1", "one"), put("a/2", "two"), put("b/1", "other"))
	commit(t, s, put("a/1", "uno"), del("b/1"), del("never/there"))
	all := map[string]string{"a/1": "uno", "a/2": "two"}
	want(t, s, "", all)
	closeStore(t, s)
	want(t, open(t, o), "", all)
}

func loadOrder(t *testing.T, o Opener) {
	t.Helper()
	s := open(t, o)
	commit(t, s, put("l/b", ""), put("l/a/c", ""), put("l", ""), put("l/", ""), put("m", ""), put("l/a", ""), put("k/z", ""))
	var got []string
	if err := s.Load(t.Context(), "l/", func(k string, _ []byte) error {
		got = append(got, k)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != "[l/ l/a l/a/c l/b]" {
		t.Errorf("got %q", got)
	}
}

func opsInOrder(t *testing.T, o Opener) {
	t.Helper()
	s := open(t, o)
	commit(t, s, put("k", "1"), del("k"), put("k", "2"), put("gone", "x"), del("gone"))
	want(t, s, "", map[string]string{"k": "2"})
	commit(t, s)
	want(t, s, "", map[string]string{"k": "2"})
}

func refusedCommit(t *testing.T, o Opener) {
	t.Helper()
	s := open(t, o)
	commit(t, s, put("k", "1"))
	for what, bad := range map[string]kv.Op{
		"an empty key":          put("", "x"),
		"a key too long":        put(string(make([]byte, kv.MaxKey+1)), "x"),
		"a value too long":      {Key: "v", Value: make([]byte, kv.MaxValue+1)},
		"removal of an empty":   del(""),
		"removal of a long key": del(string(make([]byte, kv.MaxKey+1))),
	} {
		if err := s.Commit(t.Context(), []kv.Op{put("k", "2"), put("new", "x"), bad}); !errors.Is(err, kv.ErrNotStorable) {
			t.Errorf("%s: got %v, want ErrNotStorable", what, err)
		}
	}
	want(t, s, "", map[string]string{"k": "1"})
}

func oddContent(t *testing.T, o Opener) {
	t.Helper()
	s := open(t, o)
	long := string(bytes.Repeat([]byte("k"), kv.MaxKey))
	all := map[string]string{
		"empty": "", "zero": "\x00\x00", "\x00": "key of a zero byte", "ü/é 𝄞 \xff\xfe": "\xff", "//": "slashes",
		long: "long key", "large": string(bytes.Repeat([]byte{0xA5}, 200_000)),
	}
	for k, v := range all {
		commit(t, s, put(k, v))
	}
	commit(t, s, kv.Op{Key: "nil"})
	all["nil"] = ""
	want(t, s, "", all)
	closeStore(t, s)
	want(t, open(t, o), "", all)
}

func noReference(t *testing.T, o Opener) {
	t.Helper()
	s := open(t, o)
	value := []byte("before")
	ops := []kv.Op{{Key: "k", Value: value}}
	commit(t, s, ops...)
	copy(value, "AFTER!")
	ops[0].Key = "other"
	commit(t, s, put("more", "x"))
	want(t, s, "k", map[string]string{"k": "before"})
}

func errorOfFn(t *testing.T, o Opener) {
	t.Helper()
	s := open(t, o)
	commit(t, s, put("a", ""), put("b", ""))
	stop := errors.New("stop")
	calls := 0
	err := s.Load(t.Context(), "", func(string, []byte) error {
		calls++
		return stop
	})
	if err != stop || calls != 1 { //nolint:errorlint // as it is means as it is
		t.Errorf("got %v after %d calls, want fn's own error after 1", err, calls)
	}
}

func endedContext(t *testing.T, o Opener) {
	t.Helper()
	s := open(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Commit(ctx, []kv.Op{put("k", "1")}); !errors.Is(err, context.Canceled) {
		t.Errorf("commit: got %v, want canceled", err)
	}
	if err := s.Load(ctx, "", func(string, []byte) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("load: got %v, want canceled", err)
	}
	want(t, s, "", map[string]string{})
}

func closedStore(t *testing.T, o Opener) {
	t.Helper()
	s := open(t, o)
	closeStore(t, s)
	for what, err := range map[string]error{
		"commit": s.Commit(t.Context(), []kv.Op{put("k", "1")}),
		"load":   s.Load(t.Context(), "", func(string, []byte) error { return nil }),
		"close":  s.Close(),
	} {
		if !errors.Is(err, kv.ErrClosed) {
			t.Errorf("%s: got %v, want ErrClosed", what, err)
		}
	}
}

func concurrentCommits(t *testing.T, o Opener) {
	t.Helper()
	s := open(t, o)
	const writers, each = 16, 20
	all := map[string]string{}
	var wg sync.WaitGroup
	for w := range writers {
		for i := range each {
			all[fmt.Sprintf("%02d/%02d", w, i)] = fmt.Sprint(w * i)
		}
		wg.Go(func() {
			for i := range each {
				if err := s.Commit(t.Context(), []kv.Op{put(fmt.Sprintf("%02d/%02d", w, i), fmt.Sprint(w*i))}); err != nil {
					t.Errorf("commit: %v", err)
				}
			}
		})
	}
	wg.Wait()
	want(t, s, "", all)
	closeStore(t, s)
	want(t, open(t, o), "", all)
}

func wholeCommits(t *testing.T, o Opener) {
	t.Helper()
	s := open(t, o)
	commit(t, s, put("x", "0"), put("y", "0"))
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(done)
		for i := range 100 {
			v := fmt.Sprint(i)
			if err := s.Commit(t.Context(), []kv.Op{put("x", v), put("y", v)}); err != nil {
				t.Errorf("commit: %v", err)
			}
		}
	})
	for looks := 0; ; looks++ {
		got, err := Content(t.Context(), s, "")
		if err != nil || got["x"] != got["y"] {
			t.Errorf("look %d: %v, %v", looks, got, err)
			break
		}
		select {
		case <-done:
		default:
			continue
		}
		break
	}
	wg.Wait()
}
