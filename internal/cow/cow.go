// Package cow has maps that are never changed: a change makes another one,
// which shares nearly everything with it. Readers need no lock.
package cow

import (
	"hash/maphash"
	"maps"
)

// shards is how many maps a Map consists of. A change copies the table of
// them and one map: with 100,000 keys that is 8 KB and about 100 keys.
const shards = 1024

var seed = maphash.MakeSeed()

// Map is a map that is never changed. The zero value is empty.
type Map[K comparable, V any] struct {
	table *[shards]map[K]V
}

// Get returns what stands under k, the zero value where nothing does.
func (c Map[K, V]) Get(k K) V {
	var none V
	if c.table == nil {
		return none
	}
	if v, ok := c.table[slot(k)][k]; ok {
		return v
	}
	return none
}

// All yields every key and value, in no order, until yield returns false.
func (c Map[K, V]) All(yield func(K, V) bool) {
	if c.table == nil {
		return
	}
	for _, m := range c.table {
		for k, v := range m {
			if !yield(k, v) {
				return
			}
		}
	}
}

func slot[K comparable](k K) uint64 { return maphash.Comparable(seed, k) % shards }

// Edit makes a changed Map. What it has copied already it changes in place,
// until Done.
type Edit[K comparable, V any] struct {
	table  *[shards]map[K]V
	copied *[shards]bool
}

// Edit begins a change of c, which stays as it is.
func (c Map[K, V]) Edit() *Edit[K, V] {
	e := &Edit[K, V]{table: new([shards]map[K]V), copied: new([shards]bool)}
	if c.table != nil {
		*e.table = *c.table
	}
	return e
}

func (e *Edit[K, V]) own(k K) map[K]V {
	s := slot(k)
	if !e.copied[s] {
		e.copied[s] = true
		if e.table[s] = maps.Clone(e.table[s]); e.table[s] == nil {
			e.table[s] = map[K]V{}
		}
	}
	return e.table[s]
}

// Get returns what stands under k by now.
func (e *Edit[K, V]) Get(k K) V { return e.table[slot(k)][k] }

// Set puts v under k.
func (e *Edit[K, V]) Set(k K, v V) { e.own(k)[k] = v }

// Delete removes k.
func (e *Edit[K, V]) Delete(k K) { delete(e.own(k), k) }

// Done returns the changed map. The edit must not be used any more.
func (e *Edit[K, V]) Done() Map[K, V] { return Map[K, V]{table: e.table} }
