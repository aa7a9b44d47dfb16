package ipam

import (
	"fmt"
	"log/slog"

	"github.com/dockstack/dockstack/internal/kv"
)

// supplant takes back what this host changed about a lease whose address the
// store gave to another name. What became of the name is on its way, if it is
// not known.
func (t *tx) supplant(l *lease) {
	key := leaseKey(l.pool.id, l.name)
	base := t.r.base(key)
	delete(t.r.behind, key)
	delete(t.r.behind, addrKey(l.pool.id, l.addr))
	t.movedAway(l, nil)
	t.replace(l.pool, l.name, l, base)
}

// isBehind tells whether the store is to learn the key yet.
func (r *Registry) isBehind(key string) bool {
	_, late := r.behind[key]
	return late
}

// settle decides about a lease that this host changed while the store was
// away, and that isn't in the store as it was before. It reports whether this
// host's word stands; it is then written again on top of what is there now.
func (t *tx) settle(op kv.Op, mine, theirs *lease) bool {
	switch {
	case mine == nil:
		// A name made up for a renamed container, and given up. If it is still
		// ours, it goes.
		if theirs == nil || theirs.host != me {
			return false
		}
	case theirs == nil:
		// Given away, to a name that needed the address, or removed.
		if !mine.live || mine.pool.addrs[mine.addr] != mine {
			return false
		}
		t.r.behind[addrKey(mine.pool.id, mine.addr)] = nil
	case t.elsewhere(theirs), theirs.addr != mine.addr && (theirs.host != me || theirs.live || !mine.live):
		return false
	case theirs.addr != mine.addr:
		// What this host's name had before, in a store that was put back, or got by
		// an operator's word here before a restart from an old copy. What runs
		// keeps its address.
		t.r.behind[addrKey(mine.pool.id, mine.addr)] = nil
		t.r.behind[addrKey(mine.pool.id, theirs.addr)] = []byte(mine.name)
	case theirs.host != me && !mine.live:
		return false
	}
	if mine != nil {
		t.keepReservation(mine, theirs != nil && theirs.reserved)
	}
	t.r.behind[op.Key] = valueOf(op)
	return true
}

// keepReservation has the name reserved, or not, as the store has it: that is
// changed with the store or not at all, so what differs another host did. A name
// that an operator gave up, and whose container runs on here, is reserved no more.
func (t *tx) keepReservation(mine *lease, reserved bool) {
	if mine.reserved == reserved {
		return
	}
	c := *mine
	c.reserved = reserved
	t.replace(c.pool, c.name, mine, &c)
}

// base is the lease that the store has under a key which it is behind with, nil
// for none.
func (r *Registry) base(key string) *lease {
	id, name, ok := splitLeaseKey(key)
	value := r.behind[key]
	if !ok || value == nil || r.pools[id] == nil {
		return nil
	}
	l, err := r.readLease(r.pools[id], name, kv.Op{Key: key, Value: value})
	if err != nil {
		return nil
	}
	return l
}

// movedAway notes where a name that runs here turned out to be another host's.
func (t *tx) movedAway(old, l *lease) {
	if old == nil || !old.live || old.host != me {
		return
	}
	key := leaseKey(old.pool.id, old.name)
	switch kept := l != nil && l.host == me && l.addr == old.addr; {
	case kept:
	case old.endpoint != "":
		t.r.lost[old.endpoint] = key
	default:
		t.r.gone[addrKey(old.pool.id, old.addr)] = struct{}{}
	}
	var text string
	switch {
	case l == nil:
		text = fmt.Sprintf("container %q runs here with %s in %s, but its address was given away while this host was cut off", old.container(), old.addr, &old.pool.rec)
	case l.addr != old.addr:
		text = fmt.Sprintf("container %q runs here with %s in %s, but the address of that name is %s now", old.container(), old.addr, &old.pool.rec, l.addr)
	case l.host != me && l.live:
		text = fmt.Sprintf("container %q runs here with %s in %s, but its name moved to host %s while this host was cut off", old.container(), old.addr, &old.pool.rec, t.r.hostName(l.host))
	default:
		return
	}
	if old.endpoint == "" {
		return
	}
	t.warn("a name moved away while this host was cut off, and its container here is kept off the network",
		slog.String("network", old.pool.rec.network()), slog.String("name", old.container()), slog.String("addr", old.addr.String()), slog.String("cause", text))
	t.r.problem(key, text+"; it is kept off the network: stop it here, and start it where it is to run")
}
