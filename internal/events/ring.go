// Package events keeps what happened lately: the last events, for whoever watches
// or looks back, and what DNS did in the last hour.
//
// Who tells of an event never waits for who reads it. Readers have no queue of
// their own: they follow the ring at their own pace, and one that is overtaken by
// it is told so.
package events

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/dockstack/dockstack/internal/admin"
)

const (
	// Kept is how many events the daemon's ring has: about 1 MB.
	Kept = 2000
	// batch is how many events a watch gets at once.
	batch = 256
)

// Ring has the last events. Its methods are safe for concurrent use and don't
// wait.
type Ring struct {
	now func() time.Time

	mu   sync.Mutex
	last []admin.Event // event n stands at n modulo its size; guarded by mu
	seq  uint64        // of the last event; guarded by mu
	// more is closed with the next event; nil while nobody waits. Guarded by mu.
	more chan struct{}
}

// New makes a ring of so many events.
func New(size int) *Ring {
	return &Ring{now: time.Now, last: make([]admin.Event, size)}
}

// Add takes events, which get their numbers, and the time where they have none.
func (r *Ring) Add(events ...admin.Event) {
	if len(events) == 0 {
		return
	}
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range events {
		r.seq++
		e.Seq = r.seq
		if e.At.IsZero() {
			e.At = now
		}
		r.last[r.seq%uint64(len(r.last))] = e
	}
	if r.more != nil {
		close(r.more)
		r.more = nil
	}
}

// oldest is the number of the oldest event that is there; mu is held.
func (r *Ring) oldest() uint64 {
	if size := uint64(len(r.last)); r.seq >= size {
		return r.seq - size + 1
	}
	return 1
}

// Since returns the events after the one with that number, as far as they are
// still known, oldest first.
func (r *Ring) Since(seq uint64) []admin.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.after(seq, len(r.last))
}

// after returns at most so many events after seq; mu is held.
func (r *Ring) after(seq uint64, most int) []admin.Event {
	first := max(seq+1, r.oldest())
	if seq >= r.seq {
		return nil
	}
	n := min(r.seq-first+1, uint64(most))
	out := make([]admin.Event, 0, n)
	for i := range n {
		out = append(out, r.last[(first+i)%uint64(len(r.last))])
	}
	return out
}

// Watch follows the events after the one with that number, or only those to come
// for admin.LatestEvent.
func (r *Ring) Watch(since uint64) *Watch {
	r.mu.Lock()
	defer r.mu.Unlock()
	// What is long gone was not missed by this watch. A number of an earlier life
	// of the daemon says nothing.
	return &Watch{ring: r, seq: min(max(since, r.oldest()-1), r.seq)}
}

// Watch hands out events. One goroutine uses it.
type Watch struct {
	ring *Ring
	seq  uint64
}

var _ admin.Watch = (*Watch)(nil)

// Next implements admin.Watch.
func (w *Watch) Next(ctx context.Context) ([]admin.Event, error) {
	for {
		out, more, err := w.look()
		if len(out) > 0 || err != nil {
			return out, err
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// look returns what is new, or a channel that is closed when something is.
func (w *Watch) look() ([]admin.Event, <-chan struct{}, error) {
	r := w.ring
	r.mu.Lock()
	defer r.mu.Unlock()
	if missed := r.oldest() - 1; missed > w.seq {
		n := missed - w.seq
		w.seq = missed
		return nil, nil, admin.Errorf(admin.CodeBusy, "this watch does not keep up: %d events came faster than they were read and are lost to it; begin it anew", n)
	}
	if out := r.after(w.seq, batch); len(out) > 0 {
		w.seq = out[len(out)-1].Seq
		return out, nil, nil
	}
	if r.more == nil {
		r.more = make(chan struct{})
	}
	return nil, r.more, nil
}

// Close implements admin.Watch. There is nothing to give back.
func (*Watch) Close() {}

// Told turns a list of what is wrong, time and again, into events of what came
// and what is mended. One goroutine uses it.
type Told struct{ was map[string]struct{} }

// Compare returns the events of what differs from the last call.
func (t *Told) Compare(now []string) []admin.Event {
	is := make(map[string]struct{}, len(now))
	var out []admin.Event
	for _, text := range now {
		is[text] = struct{}{}
		if _, known := t.was[text]; !known {
			out = append(out, admin.Event{Kind: admin.EventProblem, Text: text})
		}
	}
	for text := range t.was {
		if _, still := is[text]; !still {
			out = append(out, admin.Event{Kind: admin.EventProblem, Text: fmt.Sprintf("mended: %s", text)})
		}
	}
	t.was = is
	return out
}
