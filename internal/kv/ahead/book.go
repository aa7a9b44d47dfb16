// Package ahead keeps what a process knows of a shared store's keys ahead of
// the changes that it follows: through its own commits and their conflicts.
//
// A commit's answer and the changes that a store sends come on different ways,
// so that either may overtake the other. Were an older change applied after a
// commit's outcome, the process would take back in its mind what it did itself.
// So a Book notes the revision and content that a commit told of a key until
// all streams have passed that revision, streams leave out what is older, and a
// change that may be of a commit under way waits for that commit's answer.
package ahead

import (
	"bytes"
	"context"
	"iter"
	"sync"

	"github.com/dockstack/dockstack/internal/kv"
)

// Limit is how many notes a book keeps before streams are told to begin again,
// some 10 MB. Streams pass a commit within milliseconds: who is so far behind
// has lost his stream, and is faster with everything anew.
const Limit = 50_000

// Event is what a key held from a revision on.
type Event struct {
	Rev int64
	Op  kv.Op
}

// Book is what one process was told. The zero value is ready to use.
type Book struct {
	mu      sync.Mutex
	notes   map[string]note
	order   []stamp
	seq     int64
	flights map[*Flight]struct{}
	streams map[*Stream]struct{}
}

type note struct {
	Event
	// seq counts notes, so that a stream sees which came while it delivered.
	seq int64
}

// stamp is a note's place in the order in which notes go.
type stamp struct {
	rev int64
	key string
}

// Flight is a commit under way.
type Flight struct {
	book *Book
	keys map[string]struct{}
	done chan struct{}
}

// Begin notes that a commit is under way. End must be called.
func (b *Book) Begin(ops []kv.Op, conds []kv.Cond) *Flight {
	f := &Flight{book: b, keys: make(map[string]struct{}, len(ops)+len(conds)), done: make(chan struct{})}
	for _, op := range ops {
		f.keys[op.Key] = struct{}{}
	}
	for _, c := range conds {
		f.keys[c.Key] = struct{}{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.flights == nil {
		b.flights = map[*Flight]struct{}{}
	}
	b.flights[f] = struct{}{}
	return f
}

// End notes what the commit told: nothing where its outcome is unknown. The
// book keeps the events' values.
func (f *Flight) End(told ...Event) {
	b := f.book
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.flights, f)
	close(f.done)
	if len(b.streams) == 0 {
		return // a stream that starts now begins with a later picture
	}
	if b.notes == nil {
		b.notes = map[string]note{}
	}
	for _, e := range told {
		old, ok := b.notes[e.Op.Key]
		if ok && old.Rev >= e.Rev {
			continue
		}
		n := note{Event: e, seq: old.seq}
		if !ok || old.Op.Delete != e.Op.Delete || !bytes.Equal(old.Op.Value, e.Op.Value) {
			// Else it was told before, and is no reason to tell it once more: a commit
			// that is tried again and again would keep a stream from going on.
			b.seq++
			n.seq = b.seq
		}
		b.notes[e.Op.Key] = n
		b.order = append(b.order, stamp{rev: e.Rev, key: e.Op.Key})
	}
	if len(b.order) > Limit {
		for s := range b.streams {
			s.overtake()
		}
	}
}

// Notes is how many notes the book keeps.
func (b *Book) Notes() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.order)
}

// Forget drops all notes: the store is another one now, with other revisions.
func (b *Book) Forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.notes)
	b.order = nil
}

// Landed waits for the commits under way now that name one of keys, for all of
// them where keys is nil.
func (b *Book) Landed(ctx context.Context, keys iter.Seq[string]) error {
	for _, done := range b.naming(keys) {
		select {
		case <-done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (b *Book) naming(keys iter.Seq[string]) []<-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.flights) == 0 {
		return nil
	}
	var out []<-chan struct{}
	for f := range b.flights {
		if keys == nil {
			out = append(out, f.done)
			continue
		}
		for key := range keys {
			if _, ok := f.keys[key]; ok {
				out = append(out, f.done)
				break
			}
		}
	}
	return out
}

// pruneLocked drops the notes that all streams have passed.
func (b *Book) pruneLocked() {
	if len(b.streams) == 0 {
		clear(b.notes)
		b.order = nil
		return
	}
	passed := int64(-1)
	for s := range b.streams {
		if passed < 0 || s.passed < passed {
			passed = s.passed
		}
	}
	n := 0
	for n < len(b.order) && b.order[n].rev <= passed {
		at := b.order[n]
		if b.notes[at.key].Rev == at.rev {
			delete(b.notes, at.key)
		}
		n++
	}
	b.order = b.order[n:]
}

// Told is what a commit of ops at revision rev tells: of each key the last op.
func Told(rev int64, ops []kv.Op) []Event {
	last := make(map[string]int, len(ops))
	for i, op := range ops {
		last[op.Key] = i
	}
	out := make([]Event, 0, len(last))
	for i, op := range ops {
		if last[op.Key] == i {
			op.Value = append([]byte{}, op.Value...)
			out = append(out, Event{Rev: rev, Op: op})
		}
	}
	return out
}
