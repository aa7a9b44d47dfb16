// Package kvtest checks that a store keeps the contract of package kv, and
// lends its users one in memory that fails on demand.
package kvtest

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/dockstack/dockstack/internal/kv"
)

var _ kv.Store = (*Memory)(nil)

// Memory is a store for tests. It survives Close, as a file does: Reopen
// opens the same content again. Join makes it one that several hosts share.
type Memory struct {
	disk   *disk
	faults *faults
	closed bool
}

// faults are what the next commits of one host return. The disk's mutex guards
// them.
type faults struct {
	next    []failure
	commits int
}

// failure is an error, and whether the commit is nevertheless carried out.
type failure struct {
	err     error
	applied bool
}

// NewMemory returns an empty store.
func NewMemory() *Memory { return &Memory{disk: newDisk(), faults: &faults{}} }

// Reopen opens the content again, as a restarted process does.
func (m *Memory) Reopen() *Memory { return &Memory{disk: m.disk, faults: m.faults} }

// FailNext has the next commit that no earlier FailNext claims return err
// without changing anything.
func (m *Memory) FailNext(err error) { m.failNext(failure{err: err}) }

// LoseNext is FailNext for a commit that is carried out: only its answer gets
// lost, as happens when a store's host is cut off.
func (m *Memory) LoseNext(err error) { m.failNext(failure{err: err, applied: true}) }

func (m *Memory) failNext(f failure) {
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	m.faults.next = append(m.faults.next, f)
}

// Commits is how many commits succeeded.
func (m *Memory) Commits() int {
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	return m.faults.commits
}

// Data is a copy of the content.
func (m *Memory) Data() map[string][]byte {
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	return maps.Clone(m.disk.data)
}

// Load implements kv.Store.
func (m *Memory) Load(ctx context.Context, prefix string, fn func(key string, value []byte) error) error {
	if err := m.usable(ctx); err != nil {
		return err
	}
	return each(m.Data(), prefix, fn)
}

func each(data map[string][]byte, prefix string, fn func(key string, value []byte) error) error {
	for _, k := range slices.Sorted(maps.Keys(data)) {
		if !strings.HasPrefix(k, prefix) {
			continue
		}
		if err := fn(k, data[k]); err != nil {
			return err
		}
	}
	return nil
}

// Commit implements kv.Store.
func (m *Memory) Commit(ctx context.Context, ops []kv.Op, conds ...kv.Cond) error {
	if err := m.usable(ctx); err != nil {
		return err
	}
	if err := kv.CheckOps(ops, conds...); err != nil {
		return err
	}
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	_, _, err := m.disk.commitLocked(m.faults, ops, conds)
	return err
}

// Close implements kv.Store.
func (m *Memory) Close() error {
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	if m.closed {
		return kv.ErrClosed
	}
	m.closed = true
	return nil
}

func (m *Memory) usable(ctx context.Context) error {
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	if m.closed {
		return kv.ErrClosed
	}
	return ctx.Err()
}

// disk is the content, which outlives those who opened it.
type disk struct {
	mu   sync.Mutex
	data map[string][]byte
	rev  int64
	// news are the commits since somebody follows.
	news    []news
	follows int
	// marks are the revisions of the marks that somebody holds.
	marks map[string]int64
	// changed is closed and replaced with every commit and every change of a
	// host's state.
	changed chan struct{}
}

func newDisk() *disk { return &disk{data: map[string][]byte{}, changed: make(chan struct{})} }

// commitLocked carries a commit out, or fails as it is told to. It returns the
// revision it told of, and whether the ops were applied.
func (d *disk) commitLocked(f *faults, ops []kv.Op, conds []kv.Cond) (rev int64, applied bool, err error) {
	var fail failure
	if len(f.next) > 0 {
		fail, f.next = f.next[0], f.next[1:]
	}
	if fail.err != nil && !fail.applied {
		return 0, false, fail.err
	}
	conflict := kv.Unmet(conds, func(key string) ([]byte, bool) {
		v, ok := d.data[key]
		return v, ok
	})
	if conflict == nil {
		d.applyLocked(ops)
	}
	switch {
	case fail.err != nil:
		return 0, conflict == nil, fail.err
	case conflict != nil:
		return d.rev, false, conflict
	}
	f.commits++
	return d.rev, true, nil
}

func (d *disk) applyLocked(ops []kv.Op) {
	kept := make([]kv.Op, 0, len(ops))
	for _, op := range ops {
		op.Value = append([]byte{}, op.Value...)
		if op.Delete {
			op.Value = nil
			if _, ok := d.data[op.Key]; !ok {
				continue // as in etcd, this is no news
			}
			delete(d.data, op.Key)
		} else {
			d.data[op.Key] = op.Value
		}
		kept = append(kept, op)
	}
	if len(kept) == 0 {
		return
	}
	d.rev++
	if d.follows > 0 {
		d.news = append(d.news, news{rev: d.rev, at: now(), ops: kept})
	}
	d.wakeLocked()
}

func (d *disk) wakeLocked() {
	close(d.changed)
	d.changed = make(chan struct{})
}
