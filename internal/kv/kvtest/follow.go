package kvtest

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/ahead"
)

// Follow implements kv.Shared.
func (h *Host) Follow(ctx context.Context, prefix string, fn func(kv.Change)) error {
	s := h.book.Stream(prefix)
	defer s.Close()
	h.disk.mu.Lock()
	h.disk.follows++
	h.disk.mu.Unlock()
	defer h.disk.unfollow()
	f := &follow{h: h, s: s, prefix: prefix, fn: fn, lost: -1}
	for {
		step, wait, changed := f.next()
		if step != nil {
			if err := step(ctx); err != nil {
				return err
			}
		}
		if err := h.pause(ctx, wait, changed); err != nil {
			return err
		}
	}
}

func (d *disk) unfollow() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.follows--; d.follows == 0 {
		d.news = nil
	}
}

// pause waits until something changed, where changed is set, at most wait where
// that is set.
func (h *Host) pause(ctx context.Context, wait time.Duration, changed <-chan struct{}) error {
	var after <-chan time.Time
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		after = t.C
	}
	if changed == nil {
		done := make(chan struct{})
		close(done)
		changed = done
	}
	select {
	case <-h.closed:
		return kv.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	default:
	}
	select {
	case <-h.closed:
		return kv.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	case <-after:
	case <-changed:
	}
	return nil
}

// follow is one Follow under way.
type follow struct {
	h      *Host
	s      *ahead.Stream
	prefix string
	fn     func(kv.Change)
	// rev is what was delivered, lost what link.lost was at the last picture.
	rev  int64
	lost int
}

// next is what is to be done now, or how long to wait.
func (f *follow) next() (step func(context.Context) error, wait time.Duration, changed <-chan struct{}) {
	d, l := f.h.disk, f.h.link
	d.mu.Lock()
	defer d.mu.Unlock()
	if l.cut {
		return nil, 0, d.changed
	}
	if f.lost != l.lost {
		f.lost, f.rev = l.lost, d.rev
		ops := f.picture()
		return func(context.Context) error {
			f.s.Whole(f.rev, ops, f.fn)
			return nil
		}, 0, nil
	}
	i := slices.IndexFunc(d.news, func(n news) bool { return n.rev > f.rev })
	if i < 0 {
		return nil, 0, d.changed
	}
	n := d.news[i]
	if early := l.delay - time.Since(n.at); early > 0 {
		return nil, early, d.changed
	}
	f.rev = n.rev
	var events []ahead.Event
	for _, op := range n.ops {
		if strings.HasPrefix(op.Key, f.prefix) {
			op.Value = bytes.Clone(op.Value)
			events = append(events, ahead.Event{Rev: n.rev, Op: op})
		}
	}
	return func(ctx context.Context) error { return f.s.Events(ctx, n.rev, events, f.fn) }, 0, nil
}

// picture is everything, as it is now.
func (f *follow) picture() []kv.Op {
	var ops []kv.Op
	data := f.h.disk.data
	for _, k := range slices.Sorted(maps.Keys(data)) {
		if strings.HasPrefix(k, f.prefix) {
			ops = append(ops, kv.Op{Key: k, Value: bytes.Clone(data[k])})
		}
	}
	return ops
}

// Hold implements kv.Shared.
func (h *Host) Hold(ctx context.Context, mark kv.Mark) error {
	held := mark.Held
	if held == nil {
		held = func(bool) {}
	}
	m := &heldMark{h: h, mark: mark}
	for {
		cut, changed := m.look()
		switch {
		case !cut && !m.written:
			m.write()
			held(true)
		case cut && m.written && time.Until(m.until) <= 0:
			m.remove()
			held(false)
		}
		var wait time.Duration
		if cut && m.written {
			wait = max(time.Until(m.until), time.Nanosecond)
		}
		if err := h.pause(ctx, wait, changed); err != nil {
			m.end(err)
			return err
		}
	}
}

// heldMark is one Hold under way.
type heldMark struct {
	h       *Host
	mark    kv.Mark
	cut     bool
	written bool
	// rev is that of the write: a later one is another's.
	rev   int64
	until time.Time
}

func (m *heldMark) look() (cut bool, changed <-chan struct{}) {
	d := m.h.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	was := m.cut
	if m.cut = m.h.link.cut; !m.cut || !was {
		m.until = time.Now().Add(m.mark.TTL)
	}
	return m.cut, m.h.link.changed
}

func (m *heldMark) write() {
	d := m.h.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	d.applyLocked([]kv.Op{{Key: m.mark.Key, Value: m.mark.Value}})
	m.written, m.rev = true, d.rev
	d.marksLocked()[m.mark.Key] = m.rev
}

func (m *heldMark) remove() {
	m.written = false
	m.h.disk.expire(m.mark.Key, m.rev)
}

// end leaves the mark for as long as it outlives its holder.
func (m *heldMark) end(err error) {
	if !m.written {
		return
	}
	left := time.Until(m.until)
	select {
	case <-m.h.closed: // as if killed
	default:
		if err != nil && !m.cut {
			left = m.mark.After
		}
	}
	if left <= 0 {
		m.remove()
		return
	}
	time.AfterFunc(left, m.remove)
}

// expire removes a mark, unless it was written anew.
func (d *disk) expire(key string, rev int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.marksLocked()[key] == rev {
		delete(d.marks, key)
		d.applyLocked([]kv.Op{{Key: key, Delete: true}})
	}
}

func (d *disk) marksLocked() map[string]int64 {
	if d.marks == nil {
		d.marks = map[string]int64{}
	}
	return d.marks
}
