package ipam

import (
	"bytes"

	"github.com/dockstack/dockstack/internal/kv"
)

// A picture of everything that a store has may be older than what a host knows:
// of an etcd that was put back from a backup. What runs here, and the networks
// that it is in, are this host's to say; that goes the way of what changed while
// the store was away (see settle): it is written again, unless somebody else has
// it by now.

// running has the store be behind with the leases of running containers until
// its picture is learned, and returns their keys.
func (t *tx) running() []string {
	var keys []string
	for id, p := range t.r.pools {
		for name, l := range p.names {
			key := leaseKey(id, name)
			if !l.live || l.host != me || l.endpoint == "" || t.r.isBehind(key) {
				continue
			}
			if value := t.r.stored(key); value != nil {
				t.r.behind[key] = value
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// asBefore ends running for those that are in the store as they are here.
func (t *tx) asBefore(keys []string) {
	for _, key := range keys {
		if base, late := t.r.behind[key]; late && base != nil {
			if value, err := t.r.value(key); err == nil && bytes.Equal(base, value) {
				delete(t.r.behind, key)
			}
		}
	}
}

// missing notes that the store lacks what this host does with a pool.
func (t *tx) missing(p *pool) {
	key := useKey(p.id, t.r.cfg.Host)
	switch {
	case p.mine == nil:
	case p.mine.Network == "":
		t.learn(kv.Op{Key: key, Delete: true})
	case !t.r.isBehind(key):
		t.r.behind[key] = nil
	}
}

// missingPool has a pool that the store lacks written again where somebody has
// something in it, and forgotten otherwise.
func (t *tx) missingPool(p *pool, there func(key string) bool) {
	old := p.rec
	t.undo = append(t.undo, step{kind: stepRecord, pool: p, oldRec: &old})
	if p.mine == nil && len(p.names) == 0 {
		delete(t.r.pools, p.id)
		return
	}
	// The store counts from a lower number now.
	p.rec.raw, p.rec.Epoch = nil, 0
	t.r.behind[poolKey(p.id)] = nil
	if key := vniKey(p.rec.VNI); p.rec.VNI != 0 && !there(key) {
		t.r.behind[key] = nil
	}
}

// lateOrder is the order in which keys are written late: others pass over what
// lies in a pool that they don't know.
func lateOrder(key string) int {
	for i, prefix := range []string{poolPrefix, vniPrefix, usePrefix, leasePrefix} {
		if len(key) > len(prefix) && key[:len(prefix)] == prefix {
			return i
		}
	}
	return 4
}
