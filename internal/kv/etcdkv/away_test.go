package etcdkv_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/etcdkv"
	"github.com/dockstack/dockstack/internal/kv/etcdtest"
	"github.com/dockstack/dockstack/internal/kv/kvtest"
	"github.com/dockstack/dockstack/test/stall"
)

// bound is far more than a call may take while etcd is not there, on a machine
// with other work: the store's own bound is 2 s.
const bound = 4 * time.Second

func put(key, value string) kv.Op { return kv.Op{Key: key, Value: []byte(value)} }

// soon commits until it succeeds. Each try must end within bound.
func soon(t *testing.T, s *etcdkv.Store, op kv.Op) time.Duration {
	t.Helper()
	start := time.Now()
	for {
		try := time.Now()
		err := s.Commit(t.Context(), []kv.Op{op})
		if took := stall.Took(try); took > bound {
			t.Errorf("a commit took %s: %v", took, err)
		}
		if err == nil {
			return time.Since(start)
		}
		if !errors.Is(err, kv.ErrAway) || time.Since(start) > patience {
			t.Fatalf("after %s: %v", time.Since(start), err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// ways are how a member goes, and comes back.
var ways = map[string]struct{ gone, back func(*etcdtest.Cluster, int) }{
	"killed": {(*etcdtest.Cluster).Kill, (*etcdtest.Cluster).Restart},
	"paused": {(*etcdtest.Cluster).Pause, (*etcdtest.Cluster).Resume},
	"cut":    {(*etcdtest.Cluster).Cut, (*etcdtest.Cluster).Mend},
}

// TestAnotherMemberTakesOver has the member in use go. With it etcd may lose
// its leader, and choose another.
func TestAnotherMemberTakesOver(t *testing.T) {
	c := etcdtest.Start(t, etcdtest.Config{Members: 3})
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			s := open(t, at(t, c))
			w := kvtest.Watch(t, open(t, at(t, c)), "")
			_ = w
			soon(t, s, put("k", "1"))
			used := slices.Index(c.Endpoints(), s.Member())
			way.gone(c, used)
			t.Logf("another member took over within %s", soon(t, s, put("k", "2")))
			if now := s.Member(); now == c.Endpoints()[used] {
				t.Errorf("the member that is %s is still used", name)
			}
			way.back(c, used)
			c.Ready()
		})
	}
}

func TestAwayAndBack(t *testing.T) {
	c := etcdtest.Start(t, etcdtest.Config{})
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			set := at(t, c)
			s, other := open(t, set), open(t, set)
			soon(t, s, put("k", "1"))
			w := kvtest.Watch(t, other, "")
			w.Until(t, "begun", func(c []kv.Change, _ map[string]string) bool { return len(c) > 0 })
			way.gone(c, 0)
			start := time.Now()
			err := s.Commit(t.Context(), []kv.Op{put("k", "2")})
			if took := stall.Took(start); !errors.Is(err, kv.ErrAway) || took > bound {
				t.Errorf("got %v after %s", err, took)
			}
			away(t, s)
			start = time.Now()
			for range 100 {
				if err := s.Commit(t.Context(), []kv.Op{put("k", "3")}); !errors.Is(err, kv.ErrAway) {
					t.Fatalf("got %v", err)
				}
			}
			if took := stall.Took(start); took > time.Second {
				t.Errorf("100 commits to a store that is known to be away took %s", took)
			}
			way.back(c, 0)
			if name == "killed" {
				c.Ready()
			}
			t.Logf("it was back within %s", reached(t, s))
			soon(t, s, put("k", "4"))
			// Follow goes on where it was, with all that came meanwhile.
			w.Until(t, "4", func(changes []kv.Change, content map[string]string) bool {
				for _, c := range changes[1:] {
					if c.Whole {
						t.Error("follow began again")
					}
				}
				return content["k"] == "4"
			})
		})
	}
}

func TestOpenWhileAway(t *testing.T) {
	c := etcdtest.Start(t, etcdtest.Config{})
	c.Kill(0)
	start := time.Now()
	set := at(t, c)
	s := open(t, set)
	if took := stall.Took(start); took > bound {
		t.Errorf("open took %s", took)
	}
	if away, _ := s.State(); !errors.Is(away, kv.ErrAway) {
		t.Errorf("at first it says %v", away)
	}
	w := kvtest.Watch(t, s, "")
	marks := make(chan bool, 10)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = s.Hold(ctx, kv.Mark{Key: "host/a", TTL: 2 * time.Second, Held: func(h bool) { marks <- h }})
	})
	c.Restart(0)
	reached(t, s)
	if !<-marks {
		t.Error("the mark was lost before it was written")
	}
	w.Until(t, "the mark", func(_ []kv.Change, content map[string]string) bool { _, ok := content["host/a"]; return ok })
	cancel()
	wg.Wait()
}

// TestCompactedWhileAway has etcd forget what a follower missed.
func TestCompactedWhileAway(t *testing.T) {
	c := etcdtest.Start(t, etcdtest.Config{Members: 3})
	set := at(t, c)
	s, follower := open(t, set), open(t, set)
	soon(t, s, put("gone", "1"))
	w := kvtest.Watch(t, follower, "")
	w.Until(t, "begun", func(_ []kv.Change, content map[string]string) bool { return content["gone"] == "1" })
	for i := range c.Endpoints() {
		c.Cut(i)
	}
	away(t, follower)
	cl := c.Client()
	defer func() { _ = cl.Close() }()
	prefix := set.Address.Prefix + "/"
	if _, err := cl.Delete(t.Context(), prefix+"gone"); err != nil {
		t.Fatal(err)
	}
	resp, err := cl.Put(t.Context(), prefix+"new", "2")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cl.Compact(t.Context(), resp.Header.Revision); err != nil {
		t.Fatal(err)
	}
	for i := range c.Endpoints() {
		c.Mend(i)
	}
	w.Until(t, "a second picture", func(changes []kv.Change, content map[string]string) bool {
		last := changes[len(changes)-1]
		return last.Whole && len(content) == 1 && content["new"] == "2"
	})
}

// TestPutBackFromABackup has etcd go back in time, as after a disaster.
func TestPutBackFromABackup(t *testing.T) {
	c := etcdtest.Start(t, etcdtest.Config{})
	s := open(t, at(t, c))
	soon(t, s, put("k", "old"))
	c.Kill(0)
	backup := c.Save(0)
	c.Restart(0)
	c.Ready()
	w := kvtest.Watch(t, s, "")
	for i := range 20 {
		soon(t, s, put(fmt.Sprint("lost", i), "1"))
	}
	w.Until(t, "begun", func(changes []kv.Change, _ map[string]string) bool { return len(changes) > 0 })
	c.Kill(0)
	away(t, s)
	c.PutBack(0, backup)
	c.Restart(0)
	reached(t, s)
	w.Until(t, "the old picture", func(changes []kv.Change, content map[string]string) bool {
		return changes[len(changes)-1].Whole && len(content) == 1 && content["k"] == "old"
	})
	other := open(t, at(t, c))
	soon(t, other, put("x", "y"))
}

func TestMarkIsLostAndWrittenAgain(t *testing.T) {
	c := etcdtest.Start(t, etcdtest.Config{})
	set := at(t, c)
	s := open(t, set)
	told := make(chan bool, 10)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Hold(ctx, kv.Mark{Key: "host/a", Value: []byte("v"), TTL: 2 * time.Second, Held: func(h bool) { told <- h }}); !errors.Is(err, context.Canceled) {
			t.Errorf("hold: %v", err)
		}
	})
	next := func(want bool) {
		t.Helper()
		select {
		case got := <-told:
			if got != want {
				t.Errorf("held told %v, want %v", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("held did not tell %v", want)
		}
	}
	next(true)
	c.Cut(0)
	next(false)
	// Where etcd could be reached, the mark would be gone by now.
	time.Sleep(2 * time.Second)
	c.Mend(0)
	next(true)
	if got, err := kvtest.Content(t.Context(), s, ""); err != nil || got["host/a"] != "v" {
		t.Errorf("there is %v, %v", got, err)
	}
	// A lease that etcd took away is noticed with the next renewal.
	cl := c.Client()
	defer func() { _ = cl.Close() }()
	leases, err := cl.Leases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range leases.Leases {
		if _, err := cl.Revoke(t.Context(), l.ID); err != nil {
			t.Fatal(err)
		}
	}
	next(false)
	next(true)
	// A short silence is no loss.
	c.Pause(0)
	time.Sleep(300 * time.Millisecond)
	c.Resume(0)
	reached(t, s)
	cancel()
	wg.Wait()
	if len(told) != 0 {
		t.Errorf("after a short silence held told %v", <-told)
	}
}

// TestHostsAgreeWhateverHappens has members killed, paused, cut and delayed
// while hosts count.
func TestHostsAgreeWhateverHappens(t *testing.T) {
	c := etcdtest.Start(t, etcdtest.Config{Members: 3})
	set := at(t, c)
	var hosts []kv.Shared
	for range 4 {
		hosts = append(hosts, open(t, set))
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	kvtest.Agree(t, hosts, 1500, func(ctx context.Context) {
		for ctx.Err() == nil {
			disturb(t, ctx, c, r)
		}
	})
	for i, s := range hosts {
		if n := s.(*etcdkv.Store).Notes(); n > 100 {
			t.Errorf("host %d remembers %d notes", i, n)
		}
	}
}

func disturb(t *testing.T, ctx context.Context, c *etcdtest.Cluster, r *rand.Rand) { //nolint:revive // t first, as in tests
	t.Helper()
	pause := func(most time.Duration) {
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(r.Int64N(int64(most)))):
		}
	}
	names := []string{"killed", "paused", "cut", "delayed", "all cut"}
	name, i := names[r.IntN(len(names))], r.IntN(3)
	switch name {
	case "delayed":
		c.Delay(i, time.Duration(r.IntN(300))*time.Millisecond)
		pause(time.Second)
		c.Mend(i)
	case "all cut":
		for i := range 3 {
			c.Cut(i)
		}
		pause(2 * time.Second)
		for i := range 3 {
			c.Mend(i)
		}
	default:
		ways[name].gone(c, i)
		pause(2 * time.Second)
		ways[name].back(c, i)
		c.Ready() //nolint:contextcheck // it bounds itself
	}
	pause(500 * time.Millisecond)
}
