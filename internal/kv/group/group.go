// Package group lets concurrent callers share one piece of work: whoever comes
// first serves everybody who waits, and the next one serves those who came
// meanwhile. A lone caller never waits for company, and many share the cost of
// a disk flush.
package group

import (
	"context"
	"runtime"
	"slices"
	"sync"
)

// Queue is who waits to be served. The zero value is ready to use. T carries a
// request and its answer, so it is a pointer mostly.
type Queue[T any] struct {
	mu      sync.Mutex
	waiting []*place[T]
	led     bool
}

// place is one caller's place in the queue.
type place[T any] struct {
	item T
	// leads: the caller has been told to serve, and can't leave any more.
	leads bool
	// wake tells the caller to serve (true), or that it has been served.
	wake chan bool
}

// Do returns when item has been served: by serve, called here with all who
// wait, or by another caller's. Calls of serve never overlap. Where ctx ends
// before somebody began to serve item, Do returns its error and item is never
// served. serve gets a ctx without an end, since others wait for it too.
func (q *Queue[T]) Do(ctx context.Context, item T, serve func(ctx context.Context, items []T)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p := &place[T]{item: item, wake: make(chan bool, 1)}
	q.mu.Lock()
	q.waiting = append(q.waiting, p)
	lead := !q.led
	if lead {
		q.led, p.leads = true, true
	}
	q.mu.Unlock()
	if !lead {
		select {
		case lead = <-p.wake:
		case <-ctx.Done():
			if q.leave(p) {
				return ctx.Err()
			}
			lead = <-p.wake
		}
	}
	if lead {
		q.lead(ctx, serve)
	}
	return nil
}

// leave takes p out of the queue, unless somebody works on it.
func (q *Queue[T]) leave(p *place[T]) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.waiting, p)
	if i < 0 || p.leads {
		return false
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	return true
}

// lead serves the queue once and hands over.
func (q *Queue[T]) lead(ctx context.Context, serve func(context.Context, []T)) {
	// Those who were served just now may have their next request ready: let
	// them run first. Without it batches of one and of many alternate.
	runtime.Gosched()
	q.mu.Lock()
	places := q.waiting
	q.waiting = nil
	q.mu.Unlock()
	// Also when serve panics, the others must not wait for ever.
	defer func() {
		for _, p := range places {
			if !p.leads {
				p.wake <- false
			}
		}
		q.handOver()
	}()
	items := make([]T, len(places))
	for i, p := range places {
		items[i] = p.item
	}
	serve(context.WithoutCancel(ctx), items)
}

func (q *Queue[T]) handOver() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.led = len(q.waiting) > 0; q.led {
		next := q.waiting[0]
		next.leads = true
		next.wake <- true
	}
}
