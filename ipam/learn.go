package ipam

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
)

// Learn takes over what other hosts wrote. Keys that are not the registry's
// are passed over. Its caller gives it every change, in order; the first has
// everything there is.
func (r *Registry) Learn(ctx context.Context, c kv.Change) error {
	return r.hear(ctx, func() {
		t := r.newTx()
		first := !r.synced
		t.quiet = first
		t.learnChange(c.Fresh())
		t.publish(ctx)
		if first && !r.cfg.Standalone {
			close(r.syncedC) // who waits for it reads the names at once
		}
	})
}

// hear returns when take has taken news over, which it does between others'
// decisions.
func (r *Registry) hear(ctx context.Context, take func()) error {
	n := news{take: take, learned: make(chan struct{})}
	r.newsMu.Lock()
	r.news = append(r.news, n)
	r.newsMu.Unlock()
	select {
	case r.newsCame <- struct{}{}:
	default:
	}
	served := make(chan error, 1)
	go func() { served <- r.run(ctx, &call{learns: true, do: func(*tx) error { return nil }}) }()
	select {
	case <-n.learned:
		// Whoever decides at this moment took it along between two tries, which
		// may need the change after this one as well.
		return nil
	case err := <-served:
		return err
	}
}

// news is what waits to be learned.
type news struct {
	take    func()
	learned chan struct{}
}

// drainUntil takes over news for a while. One that waits for its turn holds up
// all that come after it, and there may be hundreds.
func (r *Registry) drainUntil(over <-chan time.Time) {
	for {
		r.drain()
		select {
		case <-r.newsCame:
		case <-over:
			return
		}
	}
}

// drain takes over the news that wait.
func (r *Registry) drain() {
	r.newsMu.Lock()
	waiting := r.news
	r.news = nil
	r.newsMu.Unlock()
	for _, n := range waiting {
		n.take()
		close(n.learned)
	}
}

func (t *tx) learnChange(c kv.Change) {
	r := t.r
	if c.Whole && r.cfg.Standalone && r.aside == nil && !r.synced {
		r.putAside()
		t.whole = true
	}
	ops := lastOps(c.Ops)
	var running []string
	if c.Whole {
		running = t.running()
		clear(r.claimed)
		// It may be lower than what was known: the store is another one, or was
		// put back from a backup.
		t.setEpoch(epochIn(ops))
	}
	// Pools come before what lies in them, and who gives up an address before
	// who gets it.
	t.learnAll(ops, func(op kv.Op) bool { return !op.Delete && !strings.HasPrefix(op.Key, leasePrefix) })
	t.learnAll(ops, func(op kv.Op) bool { return op.Delete })
	if c.Whole {
		t.forget(ops)
	}
	t.learnAll(ops, func(op kv.Op) bool { return !op.Delete && strings.HasPrefix(op.Key, leasePrefix) })
	r.synced = true
	t.asBefore(running)
	if len(r.behind) > 0 || r.unfinished.Load() {
		r.flushSoon()
	}
}

// epochIn is the number of pools that came into use, by everything there is.
func epochIn(all []kv.Op) uint64 {
	for _, op := range all {
		if op.Key == epochKey && !op.Delete {
			n, _ := strconv.ParseUint(string(op.Value), 10, 64)
			return n
		}
	}
	return 0
}

// lastOps are the last ops of each key: one change may have several commits,
// and what it leaves is learned in another order than they were made.
func lastOps(ops []kv.Op) []kv.Op {
	last := make(map[string]int, len(ops))
	for i, op := range ops {
		last[op.Key] = i
	}
	if len(last) == len(ops) {
		return ops
	}
	out := make([]kv.Op, 0, len(last))
	for i, op := range ops {
		if last[op.Key] == i {
			out = append(out, op)
		}
	}
	return out
}

// Synced is closed once memory has what the shared store has.
func (r *Registry) Synced() <-chan struct{} { return r.syncedC }

func (t *tx) learnAll(ops []kv.Op, which func(kv.Op) bool) {
	for _, op := range ops {
		if which(op) {
			t.learn(op)
		}
	}
}

// forget drops what a whole picture of the store lacks.
func (t *tx) forget(ops []kv.Op) {
	seen := make(map[string]struct{}, len(ops))
	for _, op := range ops {
		seen[op.Key] = struct{}{}
	}
	there := func(key string) bool {
		_, there := seen[key]
		return there
	}
	gone := func(key string) {
		if !there(key) {
			t.learn(kv.Op{Key: key, Delete: true})
		}
	}
	for id, p := range t.r.pools {
		for name := range p.names {
			gone(leaseKey(id, name))
		}
		for host := range p.others {
			gone(useKey(id, host))
		}
		if !there(useKey(id, t.r.cfg.Host)) {
			t.missing(p)
		}
		if !there(poolKey(id)) {
			t.missingPool(p, there)
		}
	}
	for key := range t.r.imports {
		gone(key)
	}
	for key := range t.r.behind {
		if strings.HasPrefix(key, leasePrefix) || strings.HasPrefix(key, usePrefix) {
			gone(key)
		}
	}
}

// learn brings memory to what the store has under one key.
func (t *tx) learn(op kv.Op) {
	var err error
	switch prefix, rest, _ := strings.Cut(op.Key, "/"); prefix + "/" {
	case leasePrefix:
		err = t.learnLease(op)
	case poolPrefix:
		err = t.learnPool(rest, op)
	case usePrefix:
		err = t.learnUse(op)
	case addrPrefix:
		t.learnAddr(op)
	case importPrefix:
		t.setImport(op.Key, valueOf(op))
	case vniPrefix:
		if !op.Delete {
			delete(t.r.behind, op.Key)
		}
	}
	if err != nil {
		t.r.unreadable(op.Key, err)
		return
	}
	t.r.solved(unreadableMark + op.Key)
}

// unreadableMark tells a problem with a record from one with what it is about.
const unreadableMark = "?"

// unreadable notes a record that another host wrote and this one can't read.
func (r *Registry) unreadable(key string, err error) {
	if _, known := r.moved[unreadableMark+key]; !known {
		r.cfg.Log.Warn("a record in the shared store can't be read and is passed over", "key", key, "error", err)
		r.problem(unreadableMark+key, fmt.Sprintf("record %q in the store can't be read and is passed over: %v; upgrade this host, or remove the key", key, err))
	}
}

func sameValue(base []byte, op kv.Op) bool {
	return op.Delete == (base == nil) && bytes.Equal(base, op.Value)
}

func (t *tx) learnPool(id string, op kv.Op) error {
	p := t.r.pools[id]
	if op.Delete {
		if p != nil && !t.r.isBehind(op.Key) {
			t.missingPool(p, func(string) bool { return true })
		}
		return nil
	}
	delete(t.r.behind, op.Key) // who was first to write it again has the word
	rec, err := decodePool(id, op.Value)
	if err != nil {
		return err
	}
	rec.raw = bytes.Clone(op.Value)
	if p != nil {
		rec.here = p.rec.here
	}
	if p == nil {
		p = newPool(id)
		t.r.pools[id] = p
		t.undo = append(t.undo, step{kind: stepPool, pool: p})
	} else if p.rec.equal(&rec) {
		p.rec.raw = rec.raw
		return nil
	}
	if p.rec.VNI != rec.VNI {
		t.whole = true
	}
	if rec.Epoch > t.r.epoch {
		t.setEpoch(rec.Epoch)
	}
	old := p.rec
	p.rec = rec
	t.undo = append(t.undo, step{kind: stepRecord, pool: p, oldRec: &old})
	p.noFree, p.idle = false, nil
	return nil
}

func (t *tx) learnUse(op kv.Op) error {
	id, host, ok := splitKey(op.Key, usePrefix)
	if !ok {
		return errRecord
	}
	p := t.r.pools[id]
	if p == nil {
		return nil
	}
	if base, late := t.r.behind[op.Key]; late {
		if !sameValue(base, op) {
			// What this host does with a pool only this host knows.
			t.r.behind[op.Key] = valueOf(op)
		}
		return nil
	}
	var u *use
	if !op.Delete {
		var err error
		if u, err = decodeUse(op.Value); err != nil {
			return err
		}
	}
	old := t.r.useOf(p, host)
	if old == nil && u == nil || old != nil && u != nil && *old == *u {
		return nil
	}
	if host == t.r.cfg.Host {
		t.whole = true
	}
	t.undo = append(t.undo, step{kind: stepUse, pool: p, name: host, oldUse: old})
	t.r.putUse(p, host, u)
	return nil
}

func valueOf(op kv.Op) []byte {
	if op.Delete {
		return nil
	}
	return bytes.Clone(op.Value)
}

func (t *tx) learnLease(op kv.Op) error {
	id, name, ok := splitLeaseKey(op.Key)
	if !ok {
		return errRecord
	}
	p := t.r.pools[id]
	if p == nil {
		if op.Delete {
			return nil
		}
		return fmt.Errorf("%w: its pool is missing", errRecord)
	}
	old := p.names[name]
	l, err := t.r.readLease(p, name, op)
	if err != nil {
		return err
	}
	if base, late := t.r.behind[op.Key]; late {
		if sameValue(base, op) || t.settle(op, old, l) {
			return nil
		}
		delete(t.r.behind, op.Key)
	}
	if old != nil && l != nil && l.host == me && old.host == me && l.addr == old.addr && l.live && old.live {
		l.endpoint, l.unsure, l.asked = old.endpoint, old.unsure, old.asked
	}
	if old == nil && l == nil || old != nil && l != nil && *old == *l {
		return nil
	}
	t.take(p, name, old, l)
	return nil
}

// take puts what was learned of a name in place of what was known.
func (t *tx) take(p *pool, name string, old, l *lease) {
	for _, known := range []*lease{old, l} {
		if known != nil && len(t.r.claimed) > 0 {
			delete(t.r.claimed, addrKey(p.id, known.addr))
		}
	}
	t.movedAway(old, l)
	if l != nil {
		if other := p.addrs[l.addr]; other != nil && other.name != name && t.r.isBehind(leaseKey(p.id, other.name)) {
			t.supplant(other)
		}
	}
	t.replace(p, name, old, l)
	if old != nil {
		p.settled(old.addr)
	}
}

// readLease is the lease that op holds, nil where it removes one.
func (r *Registry) readLease(p *pool, name string, op kv.Op) (*lease, error) {
	if op.Delete {
		return nil, nil //nolint:nilnil // documented
	}
	l := &lease{pool: p, name: name}
	if err := r.decodeLease(l, op.Value); err != nil {
		return nil, err
	}
	if !p.rec.Subnet.Contains(l.addr) {
		return nil, fmt.Errorf("%w: %s lies outside", errRecord, l.addr)
	}
	return l, nil
}

// learnAddr looks whether an address that this host was late to claim again is
// another name's now. Apart from that, leases say whose an address is.
func (t *tx) learnAddr(op kv.Op) {
	delete(t.r.claimed, op.Key)
	if base, late := t.r.behind[op.Key]; late && !sameValue(base, op) {
		delete(t.r.behind, op.Key)
	}
	id, text, _ := splitKey(op.Key, addrPrefix)
	addr, err := netip.ParseAddr(text)
	p := t.r.pools[id]
	if err != nil || p == nil || op.Delete {
		return
	}
	if l := p.addrs[addr]; l != nil && l.name != string(op.Value) && t.r.isBehind(leaseKey(id, l.name)) {
		t.supplant(l)
	}
	if l := p.names[string(op.Value)]; l != nil && l.addr == addr {
		p.addrs[addr] = l // of several that seem to have it
	}
}

// HostsChanged has the registry look again at which hosts are alive.
func (r *Registry) HostsChanged(ctx context.Context) error {
	return r.hear(ctx, func() {
		t := r.newTx()
		t.lookAtHosts()
		t.publish(ctx)
	})
}

func (t *tx) lookAtHosts() {
	r := t.r
	alive := make([]bool, len(r.hosts.alive))
	for n := range alive {
		alive[n] = hostNumber(n) == me || hostNumber(n) != nowhere && r.cfg.Hosts.Alive(r.hosts.ids[n])
	}
	if !slices.Equal(alive, r.hosts.alive) {
		t.setAlive(alive)
	}
}

// setAlive says which hosts are alive, by number.
func (t *tx) setAlive(alive []bool) {
	r := t.r
	for _, p := range r.pools {
		for _, l := range p.names {
			if l.live && alive[l.host] != r.hosts.alive[l.host] {
				// It stays as it is, and looks different.
				t.undo = append(t.undo, step{pool: p, name: l.name, old: l, new: l})
			}
		}
	}
	r.hosts.alive = alive
	// What this host was about to take from a dead one stays that one's if it
	// lives.
	for key := range r.behind {
		if base := r.base(key); base != nil && t.elsewhere(base) {
			mine := base.pool.names[base.name]
			delete(r.behind, key)
			t.movedAway(mine, base)
			t.replace(base.pool, base.name, mine, base)
		}
	}
}

// foundAlive says that a host which was taken for dead is not.
func (t *tx) foundAlive(id string) {
	n, known := t.r.hosts.numbers[id]
	if !known || t.r.hosts.alive[n] {
		return
	}
	alive := slices.Clone(t.r.hosts.alive)
	alive[n] = true
	t.setAlive(alive)
}
