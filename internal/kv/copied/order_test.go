package copied_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/copied"
	"github.com/dockstack/dockstack/internal/kv/kvtest"
)

// slow is a shared store whose commits and changes come when the test says so.
type slow struct {
	kv.Shared
	answer chan error
	tell   chan kv.Change
	told   chan struct{}
}

func newSlow() *slow {
	return &slow{answer: make(chan error), tell: make(chan kv.Change), told: make(chan struct{}, 10)}
}

func (s *slow) Commit(context.Context, []kv.Op, ...kv.Cond) error { return <-s.answer }

func (s *slow) Follow(ctx context.Context, _ string, fn func(kv.Change)) error {
	for {
		select {
		case c := <-s.tell:
			fn(c)
			s.told <- struct{}{}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (*slow) Close() error { return nil }

// TestANewerChangeIsWrittenAfterTheCommit has others' changes come while a
// commit's answer is between the shared store and the copy.
func TestANewerChangeIsWrittenAfterTheCommit(t *testing.T) {
	for name, change := range map[string]kv.Change{
		"a change":                       {Ops: []kv.Op{put("k/1", "newer")}},
		"a picture":                      {Whole: true, Ops: []kv.Op{put("k/1", "newer")}},
		"a picture where the key's gone": {Whole: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shared, local := newSlow(), kvtest.NewMemory()
				s := copied.New(shared, local, copied.Config{Prefixes: []string{"k/"}})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				go func() { _ = s.Follow(ctx, "", func(kv.Change) {}) }()
				done := make(chan error)
				go func() { done <- s.Commit(ctx, []kv.Op{put("k/1", "mine")}) }()
				synctest.Wait()
				shared.tell <- change
				synctest.Wait()
				shared.answer <- nil
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				<-shared.told
				wantCopy(t, s, local, change.Ops)
			})
		})
	}
}

// TestWhatACommitOvertookIsNotWritten has an older change come after the commit.
func TestWhatACommitOvertookIsNotWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared, local := newSlow(), kvtest.NewMemory()
		s := copied.New(shared, local, copied.Config{Prefixes: []string{"k/"}})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = s.Follow(ctx, "", func(kv.Change) {}) }()
		go func() { shared.answer <- nil }()
		if err := s.Commit(ctx, []kv.Op{put("k/1", "mine")}); err != nil {
			t.Fatal(err)
		}
		shared.tell <- kv.Change{Ops: []kv.Op{put("k/1", "older")}, Refresh: func() kv.Change { return kv.Change{} }}
		<-shared.told
		wantCopy(t, s, local, []kv.Op{put("k/1", "mine")})
	})
}

func wantCopy(t *testing.T, s *copied.Store, local *kvtest.Memory, want []kv.Op) {
	t.Helper()
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := local.Data()
	if len(got) != len(want) {
		t.Errorf("the copy has %q, want %v", got, want)
	}
	for _, op := range want {
		if string(got[op.Key]) != string(op.Value) {
			t.Errorf("the copy has %q, want %s=%s", got, op.Key, op.Value)
		}
	}
}
