package records

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dockstack/dockstack/internal/kv"
)

// Join takes along to the shared store what this host had before, once Learn was
// given everything there. A name that has other records there stays as it is
// there; what did not come along is returned.
func (r *Records) Join(ctx context.Context) ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var clashes []string
	for _, name := range slices.Sorted(maps.Keys(r.aside)) {
		value := r.aside[name]
		err := r.bring(ctx, name, value)
		if errors.Is(err, errThere) {
			clashes = append(clashes, fmt.Sprintf("the DNS records of %s: other hosts have others there", name))
			err = nil
		}
		if err != nil {
			return nil, err
		}
		delete(r.aside, name)
	}
	r.cfg.Standalone = false
	return clashes, nil
}

var errThere = errors.New("other records are there")

func (r *Records) bring(ctx context.Context, name string, value []byte) error {
	if have, there := r.raw[name]; there {
		if bytes.Equal(have, value) {
			return nil
		}
		return errThere
	}
	op := kv.Op{Key: Prefix + name, Value: value}
	err := r.cfg.Store.Commit(ctx, []kv.Op{op}, kv.Cond{Key: op.Key, Absent: true})
	if conflict, ok := errors.AsType[*kv.Conflict](err); ok {
		r.learn(kv.Change{Ops: conflict.Now})
		if bytes.Equal(r.raw[name], value) {
			return nil
		}
		return errThere
	}
	if err != nil {
		return fmt.Errorf("take the DNS records of %s along: %w", name, err)
	}
	r.learn(kv.Change{Ops: []kv.Op{op}})
	return nil
}

// Dump is all records as the store has them, by key.
func (r *Records) Dump() []kv.Op {
	r.mu.Lock()
	defer r.mu.Unlock()
	ops := make([]kv.Op, 0, len(r.raw))
	for _, name := range slices.Sorted(maps.Keys(r.raw)) {
		ops = append(ops, kv.Op{Key: Prefix + name, Value: bytes.Clone(r.raw[name])})
	}
	return ops
}

// Restored says what a restore does, or would do, in names: Put get the records
// of the dump, Gone lose theirs, Same have them already.
type Restored struct {
	Put, Gone, Same int
	// Done: it was carried out.
	Done bool
}

// CheckDump tells whether Dump can have made the ops.
func CheckDump(ops []kv.Op) error {
	for _, op := range ops {
		name, ok := strings.CutPrefix(op.Key, Prefix)
		err := errValue
		if ok && !op.Delete {
			_, err = decode(name, op.Value)
		}
		if err != nil {
			return fmt.Errorf("%w: record %q of the backup: %w; nothing was restored: take another backup, or a newer version", kv.ErrDamaged, op.Key, err)
		}
	}
	return nil
}

// Restore makes the records those of a dump. What does not fit one commit of the
// store is written in several; where it is cut off, the same again completes it.
func (r *Records) Restore(ctx context.Context, dump []kv.Op, dry bool) (Restored, error) {
	var out Restored
	if err := CheckDump(dump); err != nil {
		return out, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for range maxTries {
		var ops []kv.Op
		ops, out = r.difference(dump)
		if dry {
			return out, nil
		}
		err := r.writeAll(ctx, ops)
		if err == nil {
			out.Done = true
			return out, nil
		}
		conflict, ok := errors.AsType[*kv.Conflict](err)
		if !ok {
			return out, fmt.Errorf("restore DNS records: %w", err)
		}
		r.learn(kv.Change{Ops: conflict.Now})
	}
	return out, fmt.Errorf("%w: other hosts change records again and again; try again", ErrClash)
}

func (r *Records) difference(dump []kv.Op) ([]kv.Op, Restored) {
	var out Restored
	var ops []kv.Op
	there := map[string]struct{}{}
	for _, op := range dump {
		name := strings.TrimPrefix(op.Key, Prefix)
		there[name] = struct{}{}
		if have, ok := r.raw[name]; ok && bytes.Equal(have, op.Value) {
			out.Same++
			continue
		}
		out.Put++
		ops = append(ops, op)
	}
	for _, name := range slices.Sorted(maps.Keys(r.raw)) {
		if _, ok := there[name]; !ok {
			out.Gone++
			ops = append(ops, kv.Op{Key: Prefix + name, Delete: true})
		}
	}
	return ops, out
}

func (r *Records) writeAll(ctx context.Context, ops []kv.Op) error {
	most := 50
	if shared, ok := r.cfg.Store.(kv.Shared); ok {
		most = min(most, shared.MaxOps())
	}
	for some := range slices.Chunk(ops, most) {
		conds := make([]kv.Cond, len(some))
		for i, op := range some {
			conds[i] = r.cond(strings.TrimPrefix(op.Key, Prefix))
		}
		if err := r.cfg.Store.Commit(ctx, some, conds...); err != nil {
			return err
		}
		r.learn(kv.Change{Ops: some})
	}
	return nil
}
