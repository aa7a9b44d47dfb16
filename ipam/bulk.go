package ipam

import (
	"context"
	"errors"
	"fmt"
)

// bulk is a change of many leases, all or nothing.
//
// Where one commit takes it, it is one. A shared store's commit takes no more
// than about a hundred keys; then it goes in pieces: first what is about to
// change is noted in the store (see intent), then piece after piece is written,
// each on condition that the note stands, and then the note goes. From then on
// all is done. Whoever finds the note of an import that nobody goes on with undoes
// what was written: this process after an error, the next one of this host after
// a crash, and ForgetHost for a host that is gone for good.
type bulk struct {
	pools []bulkPool
	items []bulkItem
	// same are the keys of leases that are as they are to be. That is made sure of
	// where one commit takes it all.
	same []string
}

// bulkPool is a pool to make, or one without a network to alter.
type bulkPool struct {
	id string
	// old is nil where there is none.
	old *poolRecord
	new poolRecord
}

// bulkItem is one name's lease before and after; nil: none.
type bulkItem struct {
	pool, name string
	old, new   *lease
}

// moves tells whether the name loses the address that it had.
func (i *bulkItem) moves() bool { return i.old != nil && (i.new == nil || i.new.addr != i.old.addr) }

// errPieces: one commit can't take it all.
var errPieces = errors.New("too much for one commit")

// steps is how many steps it takes: a pool is one. Names give up addresses
// before names get them, since it may be the same ones.
func (b *bulk) steps() int { return len(b.pools) + 2*len(b.items) }

// inBulk carries out what look finds to do.
func (r *Registry) inBulk(ctx context.Context, what string, look func(*tx) (*bulk, error)) error {
	end, err := r.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	if _, err := r.undoOf(ctx, r.cfg.Host); err != nil {
		return fmt.Errorf("an earlier %s was cut off and is not undone yet: %w", what, err)
	}
	var b *bulk
	err = r.change(ctx, func(t *tx) error {
		if err := t.needStore(); err != nil {
			return err
		}
		m := t.mark()
		var err error
		if b, err = look(t); err != nil {
			return err
		}
		done, err := t.carryOut(b, m, 0)
		if err != nil {
			return err
		}
		if done < b.steps() {
			return errPieces
		}
		for _, key := range b.same {
			if t.r.shared() && t.room(m) {
				t.guard(key)
			}
		}
		return nil
	})
	if !errors.Is(err, errPieces) {
		return err
	}
	if err = r.inPieces(ctx, what, b); !errors.Is(err, ErrClash) {
		return err
	}
	// Another host came between; what it did is known by now, and told as a whole.
	var again error
	if failed := r.read(ctx, func(t *tx) { _, again = look(t) }); failed != nil || again == nil {
		return err
	}
	return again
}

// begin waits for others that change many leases.
func (r *Registry) begin(ctx context.Context) (end func(), err error) {
	select {
	case r.working <- struct{}{}:
		return func() {
			<-r.working
			if r.unfinished.Load() {
				r.flushSoon() // which passed it by meanwhile
			}
		}, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("another import is under way: %w", ctx.Err())
	}
}

// carryOut takes the steps of b from the given one on, as many as a commit takes
// that has what was decided since m, and returns the next.
func (t *tx) carryOut(b *bulk, m mark, from int) (next int, err error) {
	for next = from; next < b.steps() && t.room(m); next++ {
		switch i := next - len(b.pools); {
		case i < 0:
			err = t.putPool(&b.pools[next])
		case i < len(b.items):
			err = t.giveUp(&b.items[i])
		default:
			err = t.give(&b.items[i-len(b.items)])
		}
		if err != nil {
			return next, err
		}
	}
	return next, nil
}

// roomLeft is for what the last step of a commit adds, and for others' decisions
// that go with it.
const roomLeft = 8

// room tells whether a commit with what was decided since m takes one more step.
func (t *tx) room(m mark) bool {
	if !t.r.shared() {
		return true
	}
	most := max(t.r.cfg.Shared.MaxOps()/2-roomLeft, 1)
	n := len(t.keys) - m.keys
	if n >= most {
		return false
	}
	others := map[string]struct{}{}
	for _, c := range t.guards[m.guards:] {
		others[c.Key] = struct{}{}
	}
	return n+len(others) < most
}

func (t *tx) putPool(b *bulkPool) error {
	p := t.r.pools[b.id]
	if other := t.overlapping(b.new.Subnet, b.new.Overlay, b.id); other != nil && p == nil {
		return fmt.Errorf("%w: %s shares addresses with %s of %s%s by now", ErrClash, b.new.Subnet, other.rec.Subnet, other.user(), t.onHosts(other))
	}
	if t.r.shared() {
		t.guard(epochKey) // and with none that comes into use meanwhile
	}
	if p != nil && t.inUse(p) {
		return nil // a network has come, and has the word
	}
	if p == nil {
		p = newPool(b.id)
		t.addPool(p)
	}
	t.setPool(p, func(rec *poolRecord) {
		epoch := rec.Epoch
		*rec = b.new
		rec.Epoch, rec.raw, rec.here = epoch, nil, ""
	})
	return nil
}

// now is the item's lease as it is by now, and its pool.
func (i *bulkItem) now(t *tx) (*pool, *lease, error) {
	p := t.r.pools[i.pool]
	if p == nil {
		return nil, nil, fmt.Errorf("%w %q", ErrUnknownPool, i.pool)
	}
	return p, p.names[i.name], nil
}

// otherwise says that a name's lease is not what it was.
func (t *tx) otherwise(l *lease) error {
	t.doubt(leaseKey(l.pool.id, l.name))
	return fmt.Errorf("%w: meanwhile another host changed what it rests on: %s; try again", ErrClash, t.keeps(l))
}

// giveUp is the first step of a name: the address that it had.
func (t *tx) giveUp(i *bulkItem) error {
	_, l, err := i.now(t)
	if err != nil || !i.moves() || l == nil {
		return err
	}
	if l.addr != i.old.addr || t.held(l) {
		return t.otherwise(l)
	}
	t.drop(l)
	return nil
}

// give is the second: what it is to have.
func (t *tx) give(i *bulkItem) error {
	p, l, err := i.now(t)
	if err != nil || i.new == nil {
		return err
	}
	if holder := p.addrs[i.new.addr]; holder != nil && holder.name != i.name {
		return t.otherwise(holder)
	}
	if err := t.usable(p, i.new.addr); err != nil {
		return fmt.Errorf("%w: by now %w", ErrClash, err)
	}
	if l == nil {
		c := *i.new
		c.pool, c.live, c.endpoint, c.unsure = p, false, "", false
		t.put(&c)
		return nil
	}
	if l.addr != i.new.addr || t.held(l) && l.hardware() != i.new.hardware() {
		return t.otherwise(l)
	}
	t.change(l, func(c *lease) {
		c.reserved = i.new.reserved
		if !t.held(l) {
			c.fixed, c.mac, c.macByUser = i.new.fixed, i.new.mac, i.new.macByUser
		}
	})
	return nil
}
