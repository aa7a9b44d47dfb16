package ipam

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"github.com/dockstack/dockstack/internal/kv"
)

// undoLeft undoes what this host found at its start, unless somebody is at it.
func (r *Registry) undoLeft(ctx context.Context) error {
	if !r.unfinished.Load() {
		return nil
	}
	select {
	case r.working <- struct{}{}:
	default:
		return nil
	}
	defer func() { <-r.working }()
	_, err := r.undoOf(ctx, r.cfg.Host)
	if errors.Is(err, kv.ErrDamaged) || errors.Is(err, kv.ErrNewer) {
		// Somebody has to look at it; all else goes on.
		return r.read(ctx, func(*tx) {
			r.problem(intentKey(r.cfg.Host), fmt.Sprintf("an import was cut off in the middle and can't be undone: %v; look at its names, then remove the keys %s… from the store", err, intentKey(r.cfg.Host)))
		})
	}
	return err
}

// undoOf undoes what a host has begun and nobody goes on with, and tells whether
// it found something.
func (r *Registry) undoOf(ctx context.Context, host string) (found bool, err error) {
	if host == r.cfg.Host && !r.unfinished.Load() {
		return false, nil
	}
	head, b, err := r.claimIntent(ctx, host)
	if err != nil {
		return false, err
	}
	if b == nil {
		return false, r.endIntent(ctx, host)
	}
	for from := 0; from < b.steps(); {
		var next int
		err := r.change(ctx, func(t *tx) error {
			if err := t.needStore(); err != nil {
				return err
			}
			m := t.mark()
			t.guard(intentKey(host))
			t.guardDead(host)
			next = t.undoSteps(b, m, from)
			return nil
		})
		if err != nil {
			return true, err
		}
		from = next
	}
	r.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "what was cut off in the middle is undone",
		slog.String("what", head.What), slog.Time("begun", head.At), slog.Int("names", head.Names), slog.String("host", host))
	return true, r.endIntent(ctx, host)
}

// claimIntent reads what a host has begun, nil where that changed nothing yet,
// and sees to it that it goes no further: what an earlier process has on its way
// to the store is too late from here on.
func (r *Registry) claimIntent(ctx context.Context, host string) (intent, *bulk, error) {
	var b *bulk
	var head intent
	err := r.change(ctx, func(t *tx) error {
		if err := t.needStore(); err != nil {
			return err
		}
		var err error
		if head, b, err = t.readIntent(host); err != nil {
			return err
		}
		t.guard(intentKey(host))
		if b == nil {
			if t.r.imports[intentKey(host)] != nil {
				t.guardDead(host)
				t.writeImport(intentKey(host), nil)
			}
			return nil
		}
		head.Undoing = true
		value, err := json.Marshal(head)
		if err == nil {
			t.guardDead(host)
			t.writeImport(intentKey(host), value)
		}
		return err
	})
	return head, b, err
}

// guardDead says that what is done rests on the host's being dead, if it is
// another.
func (t *tx) guardDead(host string) {
	if t.r.shared() && host != t.r.cfg.Host {
		t.guardMark(host)
	}
}

// undoSteps takes the steps back that carryOut took, or was about to take, from
// the given one on, as many as a commit takes: which were taken shows in what is
// there. It returns the next.
func (t *tx) undoSteps(b *bulk, m mark, from int) (next int) {
	for next = from; next < b.steps() && t.room(m); next++ {
		switch i := next; {
		case i < len(b.items):
			t.takeBack(&b.items[i])
		case i < 2*len(b.items):
			t.giveBack(&b.items[i-len(b.items)])
		default:
			t.poolBack(&b.pools[i-2*len(b.items)])
		}
	}
	return next
}

// surely has the step rest on what memory has of the name, also where that says
// that nothing is to be done: the answer to a commit may have got lost.
func (t *tx) surely(i *bulkItem) {
	if t.r.shared() {
		t.guard(leaseKey(i.pool, i.name))
	}
}

// takeBack undoes give. A container that came meanwhile keeps what it runs with.
func (t *tx) takeBack(i *bulkItem) {
	p, l, err := i.now(t)
	t.surely(i)
	if err != nil || i.new == nil || l == nil || l.addr != i.new.addr {
		return
	}
	wasReserved := i.old != nil && i.old.reserved
	switch {
	case t.held(l):
		t.change(l, func(c *lease) { c.reserved = c.reserved && wasReserved })
	case i.old != nil && i.old.addr == i.new.addr:
		t.change(l, func(c *lease) {
			c.reserved, c.fixed, c.mac, c.macByUser = wasReserved, i.old.fixed, i.old.mac, i.old.macByUser
		})
	case p.names[i.name] == l:
		t.drop(l)
	}
}

// giveBack undoes giveUp, unless the name or the address is somebody's by now.
func (t *tx) giveBack(i *bulkItem) {
	p, l, err := i.now(t)
	t.surely(i)
	if err != nil || !i.moves() || l != nil {
		return
	}
	if t.r.shared() {
		t.guard(addrKey(p.id, i.old.addr))
	}
	if p.addrs[i.old.addr] != nil || t.usable(p, i.old.addr) != nil {
		t.warn("a name can't get the address back that an import took: somebody else has it by now",
			slog.String("network", p.rec.network()), slog.String("name", i.name), slog.String("addr", i.old.addr.String()))
		return
	}
	c := *i.old
	c.pool, c.live, c.endpoint, c.unsure = p, false, "", false
	t.put(&c)
}

// poolBack gives a pool that no network has come for the record that it had. One
// that was made stays, without names: nobody sees it.
func (t *tx) poolBack(b *bulkPool) {
	p := t.r.pools[b.id]
	if p == nil || b.old == nil || t.inUse(p) {
		return
	}
	old := *b.old
	t.setPool(p, func(rec *poolRecord) {
		epoch := rec.Epoch
		*rec = old
		rec.Epoch = epoch
	})
}
