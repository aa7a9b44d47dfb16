package ipam

import (
	"hash/maphash"
	"maps"
)

// shards is how many maps a cow consists of. A change copies the table of
// them and one map: with 100,000 keys that is 8 KB and about 100 keys.
const shards = 1024

var cowSeed = maphash.MakeSeed()

// cow is a map that is never changed: a change makes another one, which shares
// nearly everything with it.
type cow[K comparable, V any] struct {
	table *[shards]map[K]V
}

func (c cow[K, V]) get(k K) V {
	var none V
	if c.table == nil {
		return none
	}
	if v, ok := c.table[slot(k)][k]; ok {
		return v
	}
	return none
}

func slot[K comparable](k K) uint64 { return maphash.Comparable(cowSeed, k) % shards }

// cowEdit makes a changed cow. What it has copied already it changes in place,
// until done.
type cowEdit[K comparable, V any] struct {
	table  *[shards]map[K]V
	copied *[shards]bool
}

func (c cow[K, V]) edit() *cowEdit[K, V] {
	e := &cowEdit[K, V]{table: new([shards]map[K]V), copied: new([shards]bool)}
	if c.table != nil {
		*e.table = *c.table
	}
	return e
}

func (e *cowEdit[K, V]) own(k K) map[K]V {
	s := slot(k)
	if !e.copied[s] {
		e.copied[s] = true
		if e.table[s] = maps.Clone(e.table[s]); e.table[s] == nil {
			e.table[s] = map[K]V{}
		}
	}
	return e.table[s]
}

func (e *cowEdit[K, V]) get(k K) V { return e.table[slot(k)][k] }

func (e *cowEdit[K, V]) set(k K, v V) { e.own(k)[k] = v }

func (e *cowEdit[K, V]) delete(k K) { delete(e.own(k), k) }

func (e *cowEdit[K, V]) done() cow[K, V] { return cow[K, V]{table: e.table} }
