package ipam

import (
	"context"
	"fmt"
)

// Release gives up what is kept for a name by an operator's word: its address
// and its reservation, in these pools or, where none is named, in all: in every
// one or in none. It is refused where a container runs under the name.
func (r *Registry) Release(ctx context.Context, name string, pools ...string) error {
	err := r.change(ctx, func(t *tx) error {
		found, err := t.named(pools, name)
		if err == nil {
			err = t.needStore()
		}
		if err != nil {
			return err
		}
		for _, l := range found {
			if t.held(l) {
				return t.live(l, "release the name")
			}
			if err := t.notVirtual(l.pool, l.name, "remove the network first, on every host"); err != nil {
				return err
			}
		}
		for _, l := range found {
			t.drop(l)
		}
		return nil
	})
	return r.hint(ctx, err)
}

// RenameLease gives what is kept for one name to another, in these pools or,
// where none is named, in all, in every one or in none: for a container that will
// come under another name. A running container is renamed with docker rename,
// which takes its address along.
func (r *Registry) RenameLease(ctx context.Context, from, to string, pools ...string) error {
	if err := checkContainer(to); err != nil {
		return err
	}
	if from == to {
		return fmt.Errorf("%w: %q is called that already; choose another", ErrNotUsable, from)
	}
	err := r.change(ctx, func(t *tx) error {
		found, err := t.named(pools, from)
		if err == nil {
			err = t.needStore()
		}
		if err != nil {
			return err
		}
		for _, l := range found {
			if err := t.renameable(l, to); err != nil {
				return err
			}
		}
		for _, l := range found {
			t.drop(l)
			c := *l
			c.name, c.live, c.endpoint, c.unsure = r.keyName(l.pool, to), false, "", false
			t.put(&c)
		}
		return nil
	})
	return r.hint(ctx, err)
}

// renameable tells why the lease can't be that of another name, if so.
func (t *tx) renameable(l *lease, to string) error {
	if t.held(l) {
		t.doubt(leaseKey(l.pool.id, l.name))
		return fmt.Errorf("%w: %s; `docker rename %s %s` renames it, and its address goes with it", ErrLive, t.runs(l), l.container(), to)
	}
	if err := t.notVirtual(l.pool, l.name, "create the network with the other name"); err != nil {
		return err
	}
	there := l.pool.names[t.r.keyName(l.pool, to)]
	if there == nil {
		return nil
	}
	t.doubt(leaseKey(l.pool.id, there.name))
	if t.held(there) {
		return fmt.Errorf("%w: %s; stop it first and release %s, or choose another name", ErrClash, t.keeps(there), to)
	}
	return fmt.Errorf("%w: %s; release %s first, or choose another name", ErrClash, t.keeps(there), to)
}
