package ipam

import (
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
)

// tx is the decisions of one batch: applied to memory at once, written to the
// store together, or undone together.
type tx struct {
	r   *Registry
	now time.Time
	// undo holds what each step replaced, oldest first.
	undo []step
	// written are the keys that the store must learn, each once, with what it
	// has there now (nil: nothing; only noted where the store is shared).
	written map[string][]byte
	keys    []string
	// guards are what else must hold in a shared store for the decisions to be
	// right; doubts are why some were refused, and stay when they are undone.
	guards, doubts []kv.Cond
	// notes are log records that are true only once the batch is written.
	notes []note
	// away: the shared store can't be asked.
	away bool
	// retries is how often the batch was decided already, in vain.
	retries int
	// whole are the networks of which everything on other hosts is to be told.
	whole bool
	// quiet: what is learned is no change but what there was.
	quiet bool
}

// step is one replacement: of a lease, or of what else is set.
type step struct {
	kind     stepKind
	pool     *pool
	name     string
	old, new *lease
	// What the step replaced, according to its kind. name is the host's id
	// where that is a use.
	oldRec    *poolRecord
	oldUse    *use
	oldCursor netip.Addr
	oldEpoch  uint64
	oldImport []byte
}

type stepKind uint8

const (
	stepLease stepKind = iota
	stepPool           // a new pool
	stepRecord
	stepUse
	stepCursor
	stepEpoch
	stepImport // part of a record of an import under way; name is its key
)

type note struct {
	level slog.Level
	msg   string
	attrs []slog.Attr
}

// mark is a point to come back to.
type mark struct{ undo, keys, notes, guards int }

func (t *tx) mark() mark { return mark{len(t.undo), len(t.keys), len(t.notes), len(t.guards)} }

// back undoes everything since m.
func (t *tx) back(m mark) {
	for i := len(t.undo) - 1; i >= m.undo; i-- {
		s := t.undo[i]
		switch s.kind {
		case stepPool:
			delete(t.r.pools, s.pool.id)
		case stepRecord:
			s.pool.rec = *s.oldRec
			s.pool.noFree, s.pool.idle = false, nil
		case stepUse:
			t.r.putUse(s.pool, s.name, s.oldUse)
		case stepCursor:
			s.pool.cursor = s.oldCursor
		case stepEpoch:
			t.r.epoch = s.oldEpoch
		case stepImport:
			t.r.putImport(s.name, s.oldImport)
		case stepLease:
			t.r.apply(s.pool, s.name, s.old)
		}
	}
	for _, k := range t.keys[m.keys:] {
		delete(t.written, k)
	}
	t.undo, t.keys, t.notes, t.guards = t.undo[:m.undo], t.keys[:m.keys], t.notes[:m.notes], t.guards[:m.guards]
}

// write has the store learn a key. It is called before memory changes: what
// is there now is what a shared store must still have.
func (t *tx) write(key string) {
	if _, ok := t.written[key]; ok {
		return
	}
	var was []byte
	if t.r.shared() {
		was = t.r.stored(key)
	}
	t.written[key] = was
	t.keys = append(t.keys, key)
}

// put gives the name a lease in its pool, in place of the one it has. Who
// else holds the address must have been dropped before.
func (t *tx) put(l *lease) {
	old := l.pool.names[l.name]
	key := leaseKey(l.pool.id, l.name)
	switch {
	case old == nil || !sameButState(old, l) || !l.live && (old.live || l.since != old.since):
		t.write(key)
	case l.live && !old.live && t.r.shared():
		// Others must know before it runs.
		t.write(key)
	case l.live && !old.live:
		t.r.late(key)
	}
	if _, told := t.written[key]; told {
		// Where others learn nothing there is nothing to make sure of: which
		// endpoint has a lease is this host's own business, and costs no commit.
		t.claim(old, l)
	}
	t.replace(l.pool, l.name, old, l)
}

// drop takes the name's lease away.
func (t *tx) drop(l *lease) {
	t.write(leaseKey(l.pool.id, l.name))
	t.claim(l, nil)
	t.replace(l.pool, l.name, l, nil)
}

func (t *tx) replace(p *pool, name string, old, l *lease) {
	t.undo = append(t.undo, step{pool: p, name: name, old: old, new: l})
	t.r.apply(p, name, l)
}

// change puts an altered copy of l in its place and returns it.
func (t *tx) change(l *lease, alter func(*lease)) *lease {
	c := *l
	alter(&c)
	if c != *l {
		t.put(&c)
	}
	return &c
}

// park says that no container holds the lease any more.
func (t *tx) park(l *lease) {
	if l.placeholder() {
		t.drop(l)
		return
	}
	t.r.solved(leaseKey(l.pool.id, l.name))
	t.change(l, func(c *lease) {
		if c.live {
			c.since = t.now.UnixMilli()
		}
		c.live, c.endpoint, c.unsure = false, "", false
	})
}

func (t *tx) addPool(p *pool) {
	t.write(poolKey(p.id))
	t.r.pools[p.id] = p
	t.undo = append(t.undo, step{kind: stepPool, pool: p})
}

// setPool puts an altered copy of the pool's record in its place.
func (t *tx) setPool(p *pool, alter func(*poolRecord)) {
	old, changed := p.rec, p.rec
	alter(&changed)
	if changed.equal(&old) {
		return
	}
	changed.raw = nil
	t.write(poolKey(p.id))
	if changed.VNI != old.VNI {
		t.writeVNI(old.VNI)
		t.writeVNI(changed.VNI)
		t.whole = true
	}
	p.rec = changed
	t.undo = append(t.undo, step{kind: stepRecord, pool: p, oldRec: &old})
	p.noFree, p.idle = false, nil
}

// moveCursor has the pool's next search begin after addr.
func (t *tx) moveCursor(p *pool, addr netip.Addr) {
	t.undo = append(t.undo, step{kind: stepCursor, pool: p, oldCursor: p.cursor})
	p.cursor = addr
}

func (t *tx) note(level slog.Level, msg string, attrs ...slog.Attr) {
	t.notes = append(t.notes, note{level: level, msg: msg, attrs: attrs})
}

func (t *tx) pool(id string) (*pool, error) {
	p := t.r.pools[id]
	if p == nil && t.r.shared() && !t.r.synced {
		return nil, fmt.Errorf("%w: it was not read since dockstack started, and this host has not heard of pool %q before; try again when the store is back", kv.ErrAway, id)
	}
	if p == nil {
		return nil, fmt.Errorf("%w %q: dockstack's store does not have it; remove the network and create it again", ErrUnknownPool, id)
	}
	return p, nil
}

// held tells whether a container really has the lease. A lease that was asked
// for and not attached to an endpoint within a minute, or whose endpoint is
// gone, was left behind: the engine does not release an IPv4 address when the
// IPv6 one fails, and calls get lost.
func (t *tx) held(l *lease) bool {
	switch {
	case !l.live:
		return false
	case l.host != me:
		return t.r.up(l.host)
	case l.unsure || t.now.Sub(l.wantedAt()) <= attachWithin:
		// Its endpoint comes, or its link is on the way into the container.
		return true
	default:
		return l.endpoint != "" && (t.r.cfg.Alive == nil || t.r.cfg.Alive(l.endpoint))
	}
}

// ops are the writes that bring the store to what memory has. Keys of an
// earlier batch whose fate is unknown come along.
func (t *tx) ops() ([]kv.Op, error) {
	ops := make([]kv.Op, 0, len(t.keys)+len(t.r.behind))
	for k := range t.r.behind {
		if _, ok := t.written[k]; !ok && !t.r.shared() {
			t.keys = append(t.keys, k)
		}
	}
	for _, k := range t.keys {
		op, err := t.r.op(k)
		if err != nil {
			return nil, err
		}
		ops = append(ops, op)
	}
	return ops, nil
}

// op is the write that brings one key to what memory has.
func (r *Registry) op(key string) (kv.Op, error) {
	value, err := r.value(key)
	return kv.Op{Key: key, Value: value, Delete: value == nil}, err
}

// apply puts l, or nothing, in the place of the name's lease.
func (r *Registry) apply(p *pool, name string, l *lease) {
	old := p.names[name]
	if old != nil {
		if p.addrs[old.addr] == old {
			delete(p.addrs, old.addr)
		}
		r.detached(old)
	}
	if l == nil {
		delete(p.names, name)
	} else {
		p.names[name] = l
		p.contest(l)
		// Late news of a name that had the address before takes it from nobody who
		// runs here: its stop would find the wrong one, and be lost.
		if holder := p.addrs[l.addr]; holder == nil || holder.name == l.name || !holder.runsHere() || l.runsHere() {
			p.addrs[l.addr] = l
		}
		r.attached(l)
	}
	if old != nil && (l == nil || l.addr != old.addr) {
		p.noFree = false
	}
	if l != nil && !l.live && (old == nil || !old.live) {
		// Not just parked: it may be older than those in line.
		p.idle = nil
	}
}

func (r *Registry) attached(l *lease) {
	if l.endpoint != "" {
		r.endpoints[l.endpoint] = append(r.endpoints[l.endpoint], l)
	}
}

func (r *Registry) detached(l *lease) {
	if l.endpoint == "" {
		return
	}
	keep := make([]*lease, 0, 1)
	for _, o := range r.endpoints[l.endpoint] {
		if o != l {
			keep = append(keep, o)
		}
	}
	if len(keep) == 0 {
		delete(r.endpoints, l.endpoint)
		return
	}
	r.endpoints[l.endpoint] = keep
}

// sameButState tells whether two leases are the same in the store, but for
// being live or not and since when.
func sameButState(a, b *lease) bool {
	x, y := *a, *b
	x.endpoint, y.endpoint, x.unsure, y.unsure = "", "", false, false
	x.live, y.live, x.since, y.since, x.asked, y.asked = false, false, 0, 0, 0, 0
	return x == y
}

// networkPools are the pools that the network has, in no particular order.
func (r *Registry) networkPools(network string) []*pool {
	var out []*pool
	for _, p := range r.pools {
		if network != "" && p.network() == network {
			out = append(out, p)
		}
	}
	return out
}

// inNetwork finds the pool among pools that addr belongs to.
func inNetwork(pools []*pool, addr netip.Addr) *pool {
	for _, p := range pools {
		if p.rec.Subnet.Contains(addr) {
			return p
		}
	}
	return nil
}
