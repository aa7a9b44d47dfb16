// Package kvtest checks that a store keeps the contract of package kv, and
// lends its users one in memory that fails on demand.
package kvtest

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/dockstack/dockstack/internal/kv"
)

var _ kv.Store = (*Memory)(nil)

// Memory is a store for tests. It survives Close, as a file does: Reopen
// opens the same content again.
type Memory struct {
	disk   *disk
	closed bool
}

// disk is what outlives a Memory.
type disk struct {
	mu   sync.Mutex
	data map[string][]byte
	// fail is what the next commits return; applied tells whether they are
	// nevertheless carried out.
	fail    []failure
	commits int
}

type failure struct {
	err     error
	applied bool
}

// NewMemory returns an empty store.
func NewMemory() *Memory { return &Memory{disk: &disk{data: map[string][]byte{}}} }

// Reopen opens the content again, as a restarted process does.
func (m *Memory) Reopen() *Memory { return &Memory{disk: m.disk} }

// FailNext has the next commit that no earlier FailNext claims return err
// without changing anything.
func (m *Memory) FailNext(err error) { m.failNext(failure{err: err}) }

// LoseNext is FailNext for a commit that is carried out: only its answer gets
// lost, as happens when a store's host is cut off.
func (m *Memory) LoseNext(err error) { m.failNext(failure{err: err, applied: true}) }

func (m *Memory) failNext(f failure) {
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	m.disk.fail = append(m.disk.fail, f)
}

// Commits is how many commits succeeded.
func (m *Memory) Commits() int {
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	return m.disk.commits
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
	data := m.Data()
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
func (m *Memory) Commit(ctx context.Context, ops []kv.Op) error {
	if err := m.usable(ctx); err != nil {
		return err
	}
	if err := kv.CheckOps(ops); err != nil {
		return err
	}
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	var f failure
	if len(m.disk.fail) > 0 {
		f, m.disk.fail = m.disk.fail[0], m.disk.fail[1:]
	}
	if f.err == nil || f.applied {
		for _, op := range ops {
			if op.Delete {
				delete(m.disk.data, op.Key)
			} else {
				m.disk.data[op.Key] = bytes.Clone(op.Value)
			}
		}
	}
	if f.err == nil {
		m.disk.commits++
	}
	return f.err
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
