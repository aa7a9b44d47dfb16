package kvtest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/kvtest"
)

func put(key, value string) kv.Op { return kv.Op{Key: key, Value: []byte(value)} }

func commit(t *testing.T, s kv.Store, ops ...kv.Op) {
	t.Helper()
	if err := s.Commit(t.Context(), ops); err != nil {
		t.Fatalf("commit: %v", err)
	}
}

func begun(c []kv.Change, _ map[string]string) bool { return len(c) > 0 }

func TestAHostThatIsCutOff(t *testing.T) {
	m := kvtest.NewMemory()
	a, b := m.Join(), m.Join()
	w := kvtest.Watch(t, a, "")
	w.Until(t, "begun", begun)
	_, changed := a.State()
	a.Cut()
	<-changed
	if away, _ := a.State(); !errors.Is(away, kv.ErrAway) {
		t.Errorf("state: %v", away)
	}
	if err := a.Commit(t.Context(), []kv.Op{put("a", "1")}); !errors.Is(err, kv.ErrAway) {
		t.Errorf("commit: %v", err)
	}
	if err := a.Load(t.Context(), "", nil); !errors.Is(err, kv.ErrAway) {
		t.Errorf("load: %v", err)
	}
	commit(t, b, put("b", "1"))
	a.Mend()
	w.Until(t, "what came meanwhile", func(c []kv.Change, content map[string]string) bool {
		return content["b"] == "1" && !c[len(c)-1].Whole
	})
	a.Cut()
	commit(t, b, kv.Op{Key: "b", Delete: true}, put("c", "1"))
	a.MendAnew()
	w.Until(t, "a second picture", func(c []kv.Change, content map[string]string) bool {
		return c[len(c)-1].Whole && len(content) == 1 && content["c"] == "1"
	})
	if away, _ := a.State(); away != nil {
		t.Errorf("then: %v", away)
	}
}

func TestAHostThatHearsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := kvtest.NewMemory()
		a, b := m.Join(), m.Join()
		a.Delay(time.Minute)
		var heard []time.Duration
		start := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- a.Follow(ctx, "", func(kv.Change) { heard = append(heard, time.Since(start)) }) }()
		synctest.Wait()
		commit(t, b, put("b", "1"))
		time.Sleep(10 * time.Second)
		commit(t, b, put("b", "2"))
		time.Sleep(2 * time.Minute)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("follow: %v", err)
		}
		if len(heard) != 3 || heard[1] != time.Minute || heard[2] != 70*time.Second {
			t.Errorf("it heard at %v", heard)
		}
	})
}

func TestFaultsAreAHostsOwn(t *testing.T) {
	m := kvtest.NewMemory()
	a, b := m.Join(), m.Join()
	a.FailNext(kv.ErrAway)
	a.LoseNext(kv.ErrAway)
	commit(t, b, put("b", "1"))
	w := kvtest.Watch(t, a, "")
	w.Until(t, "begun", begun)
	for i, key := range []string{"failed", "lost"} {
		if err := a.Reopen().Commit(t.Context(), []kv.Op{put(key, "1")}); !errors.Is(err, kv.ErrAway) {
			t.Errorf("commit %d: %v", i, err)
		}
	}
	a.LoseNext(kv.ErrAway)
	if err := a.Commit(t.Context(), []kv.Op{put("mine", "1")}); !errors.Is(err, kv.ErrAway) {
		t.Errorf("lost: %v", err)
	}
	// Of a commit whose answer got lost, Follow tells.
	w.Until(t, "the lost commits", func(_ []kv.Change, content map[string]string) bool {
		return content["lost"] == "1" && content["mine"] == "1" && content["failed"] == ""
	})
	if a.Commits() != 0 || b.Commits() != 1 {
		t.Errorf("commits: %d and %d", a.Commits(), b.Commits())
	}
}

func TestTheMarkOfAHostThatIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := kvtest.NewMemory()
		a := m.Join()
		var told []bool
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			done <- a.Hold(ctx, kv.Mark{Key: "host/a", TTL: 10 * time.Second, After: time.Minute, Held: func(h bool) { told = append(told, h) }})
		}()
		there := func(want bool) {
			t.Helper()
			synctest.Wait()
			if _, ok := m.Data()["host/a"]; ok != want {
				t.Errorf("the mark is there: %v, want %v", ok, want)
			}
		}
		there(true)
		time.Sleep(time.Hour)
		a.Cut()
		time.Sleep(9 * time.Second)
		there(true)
		time.Sleep(2 * time.Second)
		there(false)
		a.Mend()
		there(true)
		a.Cut()
		time.Sleep(9 * time.Second)
		a.Mend()
		time.Sleep(9 * time.Second)
		there(true)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("hold: %v", err)
		}
		time.Sleep(59 * time.Second)
		there(true)
		time.Sleep(2 * time.Second)
		there(false)
		if len(told) != 3 || !told[0] || told[1] || !told[2] {
			t.Errorf("held was called with %v", told)
		}
	})
}
