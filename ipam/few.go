package ipam

import "github.com/dockstack/dockstack/internal/cow"

// few are the leases under one key of a snapshot. That is nearly always one, and
// a slice of one would take twice the memory.
type few struct {
	one  *lease
	more *[]*lease
}

func fewOf(leases []*lease) few {
	switch len(leases) {
	case 0:
		return few{}
	case 1:
		return few{one: leases[0]}
	}
	more := leases[1:]
	return few{one: leases[0], more: &more}
}

func (f few) len() int {
	switch {
	case f.one == nil:
		return 0
	case f.more == nil:
		return 1
	}
	return 1 + len(*f.more)
}

// all calls yield for each, in the order in which they came.
func (f few) all(yield func(*lease) bool) {
	if f.one == nil || !yield(f.one) || f.more == nil {
		return
	}
	for _, l := range *f.more {
		if !yield(l) {
			return
		}
	}
}

// add and remove make new slices: older snapshots have the old ones.
func add[K comparable](e *cow.Edit[K, few], k K, l *lease) {
	old := e.Get(k)
	if old.one == nil {
		e.Set(k, few{one: l})
		return
	}
	leases := make([]*lease, 0, old.len()+1)
	for o := range old.all {
		leases = append(leases, o)
	}
	e.Set(k, fewOf(append(leases, l)))
}

func remove[K comparable](e *cow.Edit[K, few], k K, l *lease) {
	var keep []*lease
	for o := range e.Get(k).all {
		if o.pool != l.pool || o.name != l.name {
			keep = append(keep, o)
		}
	}
	if keep == nil {
		e.Delete(k)
		return
	}
	e.Set(k, fewOf(keep))
}
