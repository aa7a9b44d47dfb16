package group_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/dockstack/dockstack/internal/kv/group"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type item struct {
	n      int
	served int
}

func TestEverybodyIsServedOnceAndNeverTwoAtATime(t *testing.T) {
	var q group.Queue[*item]
	var busy sync.Mutex
	batches := 0
	serve := func(_ context.Context, items []*item) {
		if !busy.TryLock() {
			t.Error("two batches at a time")
		}
		defer busy.Unlock()
		batches++
		for _, i := range items {
			i.served++
		}
	}
	const callers, rounds = 64, 200
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for range rounds {
				i := &item{n: c}
				if err := q.Do(t.Context(), i, serve); err != nil {
					t.Error(err)
				}
				if i.served != 1 {
					t.Errorf("caller %d was served %d times", c, i.served)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d requests in %d batches", callers*rounds, batches)
}

func TestThoseWhoComeMeanwhileShareABatch(t *testing.T) {
	var q group.Queue[*item]
	entered, leave := make(chan struct{}), make(chan struct{})
	var sizes []int
	serve := func(_ context.Context, items []*item) {
		sizes = append(sizes, len(items))
		if len(sizes) == 1 {
			close(entered)
			<-leave
		}
	}
	var wg sync.WaitGroup
	do := func() {
		if err := q.Do(t.Context(), &item{}, serve); err != nil {
			t.Error(err)
		}
	}
	wg.Go(do)
	<-entered
	for range 9 {
		wg.Go(do)
	}
	for q.Waiting() < 9 {
		// They get there as the scheduler lets them.
	}
	close(leave)
	wg.Wait()
	if len(sizes) != 2 || sizes[0] != 1 || sizes[1] != 9 {
		t.Errorf("batches of %v, want one of 1 and one of 9", sizes)
	}
}

func TestWhoGivesUpIsNotServed(t *testing.T) {
	var q group.Queue[*item]
	entered, leave := make(chan struct{}), make(chan struct{})
	serve := func(ctx context.Context, items []*item) {
		for _, i := range items {
			i.served++
		}
		if items[0].n == 1 {
			close(entered)
			<-leave
		}
		if ctx.Err() != nil {
			t.Error("the batch's ctx ended with its leader's")
		}
	}
	lead, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	first, second := &item{n: 1}, &item{n: 2}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := q.Do(lead, first, serve); err != nil {
			t.Errorf("served, but told %v", err)
		}
	})
	<-entered
	giveUp()
	if err := q.Do(lead, second, serve); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	wg.Go(func() {
		if err := q.Do(ctx, second, serve); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want canceled", err)
		}
	})
	for q.Waiting() < 1 {
	}
	cancel()
	for q.Waiting() > 0 {
	}
	close(leave)
	wg.Wait()
	if first.served != 1 || second.served != 0 {
		t.Errorf("served %d and %d times, want 1 and 0", first.served, second.served)
	}
}

func TestAPanicLeavesTheQueueUsable(t *testing.T) {
	var q group.Queue[*item]
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = q.Do(t.Context(), &item{}, func(context.Context, []*item) { panic("oops") })
	}()
	i := &item{}
	if err := q.Do(t.Context(), i, func(_ context.Context, items []*item) { items[0].served++ }); err != nil || i.served != 1 {
		t.Errorf("after a panic: %v, served %d times", err, i.served)
	}
}
