package kvtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/ahead"
)

var _ kv.Shared = (*Host)(nil)

// maxOps is what etcd takes by default, with room to spare.
const maxOps = 100

// news is one commit.
type news struct {
	rev int64
	at  time.Time
	ops []kv.Op
}

func now() time.Time { return time.Now() }

// Host is one host's view of a Memory: a kv.Shared that can be cut off.
type Host struct {
	disk   *disk
	faults *faults
	link   *link
	book   ahead.Book

	closing sync.Once
	closed  chan struct{}
}

// link is a host's way to the content. The disk's mutex guards it.
type link struct {
	cut   bool
	delay time.Duration
	// lost counts how often Follow has to begin again.
	lost int
	// changed is closed and replaced when cut changes.
	changed chan struct{}
}

// Join adds a host.
func (m *Memory) Join() *Host {
	return &Host{disk: m.disk, faults: &faults{}, link: &link{changed: make(chan struct{})}, closed: make(chan struct{})}
}

// Reopen is the host's store after a restart of its process. Where the old one
// is not closed, both are open.
func (h *Host) Reopen() *Host {
	return &Host{disk: h.disk, faults: h.faults, link: h.link, closed: make(chan struct{})}
}

// FailNext has the host's next commit that no earlier FailNext claims return
// err without changing anything.
func (h *Host) FailNext(err error) { h.failNext(failure{err: err}) }

// LoseNext is FailNext for a commit that is carried out.
func (h *Host) LoseNext(err error) { h.failNext(failure{err: err, applied: true}) }

func (h *Host) failNext(f failure) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	h.faults.next = append(h.faults.next, f)
}

// Commits is how many of the host's commits succeeded.
func (h *Host) Commits() int {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	return h.faults.commits
}

// Cut cuts the host off: its calls fail with ErrAway, and its Follow stalls.
func (h *Host) Cut() { h.setCut(func(l *link) { l.cut = true }) }

// Mend ends Cut; Follow goes on where it was.
func (h *Host) Mend() { h.setCut(func(l *link) { l.cut = false }) }

// MendAnew ends Cut; Follow begins again with everything.
func (h *Host) MendAnew() {
	h.setCut(func(l *link) {
		l.cut = false
		l.lost++
	})
}

// Delay has Follow deliver each change d after it was made.
func (h *Host) Delay(d time.Duration) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	h.link.delay = d
	h.disk.wakeLocked()
}

func (h *Host) setCut(set func(*link)) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	was := h.link.cut
	set(h.link)
	if was != h.link.cut {
		close(h.link.changed)
		h.link.changed = make(chan struct{})
	}
	h.disk.wakeLocked()
}

// State implements kv.Shared.
func (h *Host) State() (away error, changed <-chan struct{}) { //nolint:staticcheck // a state, not an error of the call
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	return h.awayLocked(), h.link.changed
}

func (h *Host) awayLocked() error {
	if h.link.cut {
		return fmt.Errorf("%w: this host is cut off by its test", kv.ErrAway)
	}
	return nil
}

// MaxOps implements kv.Shared.
func (*Host) MaxOps() int { return maxOps }

func (h *Host) usable(ctx context.Context) error {
	select {
	case <-h.closed:
		return kv.ErrClosed
	default:
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	return h.awayLocked()
}

// Load implements kv.Store.
func (h *Host) Load(ctx context.Context, prefix string, fn func(key string, value []byte) error) error {
	if err := h.usable(ctx); err != nil {
		return err
	}
	h.disk.mu.Lock()
	data := maps.Clone(h.disk.data)
	h.disk.mu.Unlock()
	return each(data, prefix, fn)
}

// Commit implements kv.Store.
func (h *Host) Commit(ctx context.Context, ops []kv.Op, conds ...kv.Cond) error {
	if err := errors.Join(kv.CheckOps(ops, conds...), kv.CheckSize(maxOps, ops, conds)); err != nil {
		return err
	}
	if err := h.usable(ctx); err != nil {
		return err
	}
	flight := h.book.Begin(ops, conds)
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	rev, applied, err := h.disk.commitLocked(h.faults, ops, conds)
	var told []ahead.Event
	if conflict := (*kv.Conflict)(nil); errors.As(err, &conflict) {
		for _, op := range conflict.Now {
			told = append(told, ahead.Event{Rev: rev, Op: op})
		}
	} else if applied && err == nil {
		told = ahead.Told(rev, ops)
	}
	flight.End(told...)
	return err
}

// Close implements kv.Store. Marks that are held outlive it by their TTL, as
// those of a killed process do.
func (h *Host) Close() error {
	err := kv.ErrClosed
	h.closing.Do(func() {
		close(h.closed)
		err = nil
	})
	return err
}
