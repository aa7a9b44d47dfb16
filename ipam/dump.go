package ipam

import (
	"context"
	"slices"
	"strings"

	"github.com/dockstack/dockstack/internal/kv"
)

// DumpPrefixes are what the keys of a dump begin with.
func DumpPrefixes() []string { return []string{poolPrefix, usePrefix, leasePrefix} }

// Dump is everything that the registry has as of one moment, in records of the
// store and in the order of a restore: pools, who uses them, leases. Which
// addresses are taken and the like follows from these. An import that is cut
// off in the middle is in it as far as it came; see Unfinished.
func (r *Registry) Dump(ctx context.Context) ([]kv.Op, error) {
	// Not in the middle of one of ours.
	end, err := r.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	var ops []kv.Op
	var failed error
	err = r.read(ctx, func(*tx) {
		keys := r.dumpedKeys()
		ops = make([]kv.Op, 0, len(keys))
		for _, key := range keys {
			op, err := r.op(key)
			if err != nil {
				failed = err
				return
			}
			op.Value = append([]byte{}, op.Value...)
			ops = append(ops, op)
		}
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return nil, err
	}
	slices.SortFunc(ops, func(a, b kv.Op) int {
		if d := lateOrder(a.Key) - lateOrder(b.Key); d != 0 {
			return d
		}
		return strings.Compare(a.Key, b.Key)
	})
	return ops, nil
}

// dumpedKeys are the keys of a dump, in no order.
func (r *Registry) dumpedKeys() []string {
	var keys []string
	for id, p := range r.pools {
		keys = append(keys, poolKey(id))
		if p.mine != nil {
			keys = append(keys, useKey(id, r.cfg.Host))
		}
		for host := range p.others {
			keys = append(keys, useKey(id, host))
		}
		for name := range p.names {
			keys = append(keys, leaseKey(id, name))
		}
	}
	return keys
}
