package ahead

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"strings"

	"github.com/dockstack/dockstack/internal/kv"
)

// Stream is one Follow.
type Stream struct {
	book   *Book
	prefix string
	// passed is the revision up to which all was delivered, -1 before the first.
	// The book's mutex guards it.
	passed    int64
	overtaken chan struct{}
}

// Stream starts a stream of the keys below prefix, before its first picture is
// read. Close must be called.
func (b *Book) Stream(prefix string) *Stream {
	s := &Stream{book: b, prefix: prefix, overtaken: make(chan struct{}, 1)}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.streams == nil {
		b.streams = map[*Stream]struct{}{}
	}
	b.streams[s] = struct{}{}
	return s
}

// Close ends the stream.
func (s *Stream) Close() {
	s.book.mu.Lock()
	defer s.book.mu.Unlock()
	delete(s.book.streams, s)
	s.book.pruneLocked()
}

// Overtaken receives once the book has grown too large: the stream is to begin
// again with everything.
func (s *Stream) Overtaken() <-chan struct{} { return s.overtaken }

func (s *Stream) overtake() {
	select {
	case s.overtaken <- struct{}{}:
	default:
	}
}

// Passed notes that nothing up to rev is still to come.
func (s *Stream) Passed(rev int64) {
	s.book.mu.Lock()
	defer s.book.mu.Unlock()
	s.passed = max(s.passed, rev)
	s.book.pruneLocked()
}

// Whole delivers the picture of rev. The stream keeps ops.
func (s *Stream) Whole(rev int64, ops []kv.Op, fn func(kv.Change)) {
	events := make([]Event, len(ops))
	for i, op := range ops {
		events[i] = Event{Rev: rev, Op: op}
	}
	s.book.mu.Lock()
	s.passed = rev // an older one, after the store's content was put back
	s.book.pruneLocked()
	s.book.mu.Unlock()
	s.deliver(&delivery{s: s, rev: rev, whole: true, events: events}, fn)
}

// Events delivers changes, the last of them of revision rev, once the commits
// under way that may have made them have been answered.
func (s *Stream) Events(ctx context.Context, rev int64, events []Event, fn func(kv.Change)) error {
	if err := s.book.Landed(ctx, keysOf(events)); err != nil {
		return err
	}
	s.deliver(&delivery{s: s, rev: rev, events: events}, fn)
	s.Passed(rev)
	return nil
}

// delivery is one change on its way to fn.
type delivery struct {
	s      *Stream
	rev    int64
	whole  bool
	events []Event
	// seq is the last note that was regarded.
	seq int64
}

func (s *Stream) deliver(d *delivery, fn func(kv.Change)) {
	if c := d.fresh(); c.Whole || len(c.Ops) > 0 {
		fn(c)
	}
	// What a commit told while an older change was in fn comes once more: fn may
	// have applied it after the commit's outcome.
	for {
		ops := d.late()
		if len(ops) == 0 {
			return
		}
		c := kv.Change{Ops: ops}
		c.Refresh = func() kv.Change { return kv.Change{Ops: d.again(ops)} }
		fn(c)
	}
}

// fresh is the change as it is now, without what is older than the notes.
func (d *delivery) fresh() kv.Change {
	b := d.s.book
	b.mu.Lock()
	defer b.mu.Unlock()
	d.seq = b.seq
	c := kv.Change{Whole: d.whole, Refresh: d.fresh}
	if d.whole {
		c.Ops = make([]kv.Op, 0, len(d.events)) // there may be 200,000
	}
	for _, e := range d.events {
		if n, ok := b.notes[e.Op.Key]; ok && n.Rev >= e.Rev {
			if d.whole && !n.Op.Delete {
				c.Ops = append(c.Ops, n.Op)
			}
			continue
		}
		c.Ops = append(c.Ops, e.Op)
	}
	if d.whole {
		if missing := d.missingLocked(); len(missing) > 0 {
			c.Ops = append(c.Ops, missing...)
			slices.SortStableFunc(c.Ops, byKey)
		}
	}
	return c
}

// missingLocked is what commits wrote to keys that the picture did not have.
func (d *delivery) missingLocked() []kv.Op {
	var out []kv.Op
	for key, n := range d.s.book.notes {
		if n.Op.Delete || n.Rev <= d.rev || !strings.HasPrefix(key, d.s.prefix) {
			continue
		}
		if _, has := slices.BinarySearchFunc(d.events, key, func(e Event, key string) int { return cmp.Compare(e.Op.Key, key) }); !has {
			out = append(out, n.Op)
		}
	}
	return out
}

// late is what was noted since the last look, of keys that the change told of.
func (d *delivery) late() []kv.Op {
	b := d.s.book
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.seq == d.seq {
		return nil
	}
	var late []note
	if d.whole {
		for key, n := range b.notes {
			if n.seq > d.seq && strings.HasPrefix(key, d.s.prefix) {
				late = append(late, n)
			}
		}
	} else {
		seen := map[string]struct{}{}
		for _, e := range d.events {
			n, ok := b.notes[e.Op.Key]
			if _, again := seen[e.Op.Key]; again || !ok || n.seq <= d.seq {
				continue
			}
			seen[e.Op.Key] = struct{}{}
			late = append(late, n)
		}
	}
	d.seq = b.seq
	slices.SortFunc(late, func(a, b note) int { return cmp.Compare(a.seq, b.seq) })
	ops := make([]kv.Op, len(late))
	for i, n := range late {
		ops[i] = n.Op
	}
	return ops
}

// again is the newest that was noted of ops' keys.
func (d *delivery) again(ops []kv.Op) []kv.Op {
	b := d.s.book
	b.mu.Lock()
	defer b.mu.Unlock()
	out := slices.Clone(ops)
	for i := range out {
		if n, ok := b.notes[out[i].Key]; ok {
			out[i] = n.Op
		}
	}
	return out
}

func keysOf(events []Event) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range events {
			if !yield(events[i].Op.Key) {
				return
			}
		}
	}
}

func byKey(a, b kv.Op) int { return cmp.Compare(a.Key, b.Key) }
