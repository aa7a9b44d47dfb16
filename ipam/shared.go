package ipam

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
)

// Several hosts may share a store. Each decides in its own memory, which is
// the store's content a little late, and commits on condition that the store
// still has what memory had under every key that the decision replaces or
// rests on. Where it hasn't, the decision is undone, memory learns, and it is
// decided anew.
//
// While the store is away, a host goes on with what is its own: names that ran
// here last. Their changes are written when it is back, unless somebody else
// took the names meanwhile (see settle).

const (
	// maxTries bounds how often a batch is decided.
	maxTries = 30
	// heldWait bounds the wait for this host's mark.
	heldWait = 2 * time.Second
)

// errUnread is what can't be said of a store that nobody has heard of yet.
var errUnread = fmt.Errorf("%w: it was not read since dockstack started", kv.ErrAway)

func (r *Registry) shared() bool { return r.cfg.Shared != nil }

// value is what the store is to have under a key, as memory has it; nil:
// nothing.
func (r *Registry) value(key string) ([]byte, error) {
	prefix, rest, _ := strings.Cut(key, "/")
	switch prefix += "/"; prefix {
	case poolPrefix:
		return r.poolValue(r.pools[rest])
	case vniPrefix:
		if vni, err := strconv.ParseUint(rest, 10, 32); err == nil {
			return r.vniOwner(uint32(vni)), nil
		}
	case importPrefix:
		return r.imports[key], nil
	case epochKey + "/":
		return strconv.AppendUint(nil, r.epoch, 10), nil
	}
	id, name, ok := splitKey(key, prefix)
	p := r.pools[id]
	if !ok || p == nil {
		return nil, nil
	}
	switch prefix {
	case leasePrefix:
		if l := p.names[name]; l != nil {
			return r.encodeLease(l), nil
		}
	case usePrefix:
		if u := r.useOf(p, name); u != nil {
			return encodeUse(u)
		}
	case addrPrefix:
		if addr, err := netip.ParseAddr(name); err == nil && p.addrs[addr] != nil {
			return []byte(p.addrs[addr].name), nil
		}
	}
	return nil, nil
}

func (r *Registry) poolValue(p *pool) ([]byte, error) {
	switch {
	case p == nil:
		return nil, nil
	case p.rec.raw != nil:
		return p.rec.raw, nil
	}
	return encodePool(&p.rec)
}

// stored is what the store has under a key, as far as is known.
func (r *Registry) stored(key string) []byte {
	if base, late := r.behind[key]; late {
		return base
	}
	if key == epochKey && r.epoch == 0 {
		return nil
	}
	value, err := r.value(key)
	if err != nil {
		return nil
	}
	return value
}

// vniOwner is the pool that stands for a VNI in the store: the first of those
// that have it.
func (r *Registry) vniOwner(vni uint32) []byte {
	var first string
	for id, p := range r.pools {
		if p.rec.VNI == vni && (first == "" || id < first) {
			first = id
		}
	}
	if first == "" {
		return nil
	}
	return []byte(first)
}

func (t *tx) writeVNI(vni uint32) {
	if vni != 0 && t.r.shared() {
		t.write(vniKey(vni))
	}
}

// countUse tells all hosts that a pool comes into use, so that no two of them
// begin to use overlapping ones at the same time.
func (t *tx) countUse(p *pool) {
	if !t.r.shared() {
		return
	}
	t.write(epochKey)
	t.setEpoch(t.r.epoch + 1)
	t.setPool(p, func(rec *poolRecord) { rec.Epoch = t.r.epoch })
}

func (t *tx) setEpoch(n uint64) {
	t.undo = append(t.undo, step{kind: stepEpoch, oldEpoch: t.r.epoch})
	t.r.epoch = n
}

// claim has the store learn whose an address is before a lease takes the
// place of another, and notes on what that rests.
func (t *tx) claim(old, l *lease) {
	if !t.r.shared() {
		return
	}
	if old != nil && (l == nil || l.addr != old.addr) {
		t.write(addrKey(old.pool.id, old.addr))
		t.leaveLate(leaseKey(old.pool.id, old.name))
	}
	if l != nil && (old == nil || l.addr != old.addr) {
		t.write(addrKey(l.pool.id, l.addr))
		t.vacateLate(l)
		// The gateway and the like are in the pool's record.
		t.guard(poolKey(l.pool.id))
	}
	stays := old != nil && l != nil && l.live && l.host == old.host && l.addr == old.addr // only reserved, or not
	if old != nil && old.live && old.host != me && old.host != nowhere && !stays {
		t.guardMark(t.r.hostID(old.host))
	}
	if old != nil && l != nil && l.addr == old.addr && t.r.isBehind(leaseKey(l.pool.id, l.name)) {
		t.bringLate(l)
	}
	if l != nil && l.live && l.host == me {
		t.guardOwnMark()
	}
}

// guardOwnMark says that decisions rest on this host's being alive.
func (t *tx) guardOwnMark() {
	key, value := t.r.cfg.Hosts.Mark()
	t.guards = append(t.guards, kv.Cond{Key: key, Value: value})
}

// guard says that decisions rest on what memory has under a key.
func (t *tx) guard(key string) { t.guards = append(t.guards, t.cond(key)) }

// guardMark says that decisions rest on a host's being dead.
func (t *tx) guardMark(host string) {
	t.guards = append(t.guards, kv.Cond{Key: t.r.marks() + host, Absent: true})
}

// marks is what the keys of all hosts' marks begin with.
func (r *Registry) marks() string {
	own, _ := r.cfg.Hosts.Mark()
	return strings.TrimSuffix(own, r.cfg.Host)
}

// doubt says that a refusal rests on what memory has under a key: it is made
// sure of before anybody is told.
func (t *tx) doubt(key string) {
	if t.r.shared() && !t.away {
		t.doubts = append(t.doubts, t.cond(key))
	}
}

func (t *tx) cond(key string) kv.Cond {
	was, written := t.written[key]
	if !written {
		was = t.r.stored(key)
	}
	return kv.Cond{Key: key, Value: was, Absent: was == nil}
}

// serveShared decides and writes a batch where others write too.
func (r *Registry) serveShared(ctx context.Context, batch []*call) {
	for tries := 0; len(batch) > 0; {
		r.drain()
		if batch[0].learns {
			t := r.newTx()
			batch[0].err = t.try(batch[0].do)
			t.publish(ctx)
			batch, tries = batch[1:], 0
			continue
		}
		t := r.newTx()
		t.retries = tries
		// What several hosts want at the same time gets through in small pieces.
		n := t.decide(batch, max(r.cfg.Shared.MaxOps()/2>>tries, 1))
		err := r.commitShared(ctx, t)
		var conflict *kv.Conflict
		switch {
		case err == nil:
			t.publish(ctx)
		case errors.As(err, &conflict) && tries < maxTries:
			t.back(mark{})
			tries++
			r.learnNow(ctx, conflict, tries)
			continue
		case errors.Is(err, kv.ErrAway), errors.Is(err, kv.ErrNoSpace):
			// A full store takes nothing, as one that is away.
			t.back(mark{})
			r.decideAway(ctx, batch[:n], err)
		default:
			t.back(mark{})
			notTaken(batch[:n], err)
		}
		rest := r.newTx()
		for _, c := range batch[:n] {
			if c.reads {
				c.err = rest.try(c.do)
			}
		}
		batch, tries = batch[n:], 0
	}
}

// notTaken tells those who decided that nothing came of it.
func notTaken(batch []*call, err error) {
	if conflict := (*kv.Conflict)(nil); errors.As(err, &conflict) {
		err = fmt.Errorf("other hosts changed what it rests on %d times meanwhile; try again, and if this stays upgrade dockstack on this host: %w", maxTries, err)
	}
	for _, c := range batch {
		if !c.reads && c.err == nil {
			c.err = fmt.Errorf("nothing was changed, the store did not take it: %w", err)
		}
	}
}

// decide makes the decisions of calls until as many keys are to be written as
// one commit may have, and returns how many calls that were: at least one, and
// none that learns.
func (t *tx) decide(batch []*call, budget int) int {
	for i, c := range batch {
		if i > 0 && (c.learns || len(t.keys)+len(t.guards)+len(t.doubts) >= budget) {
			return i
		}
		if c.reads {
			continue
		}
		if t.r.aside != nil && !c.joins {
			c.err = fmt.Errorf("%w: this host's names are just being taken along to it; try again", kv.ErrAway)
			continue
		}
		c.err = t.try(c.do)
	}
	return len(batch)
}

// commitShared writes what was decided, on condition that it rests on what the
// store has.
func (r *Registry) commitShared(ctx context.Context, t *tx) error {
	ops, err := t.ops()
	if err != nil {
		return err
	}
	kept := ops[:0]
	conds := make([]kv.Cond, 0, len(ops)+len(t.guards)+len(t.doubts))
	known := make(map[string]bool, cap(conds))
	for _, op := range ops {
		was := t.written[op.Key]
		known[op.Key] = true
		conds = append(conds, kv.Cond{Key: op.Key, Value: was, Absent: was == nil})
		if op.Delete && was == nil || !op.Delete && was != nil && bytes.Equal(op.Value, was) {
			continue // changed and changed back, or so it seems
		}
		kept = append(kept, op)
	}
	for _, more := range [][]kv.Cond{t.guards, t.doubts} {
		for _, c := range more {
			if !known[c.Key] {
				known[c.Key] = true
				conds = append(conds, c)
			}
		}
	}
	if len(conds) == 0 {
		return nil
	}
	if !r.synced {
		if away, _ := r.cfg.Shared.State(); errors.Is(away, kv.ErrAway) {
			return away // which says why
		}
		return errUnread
	}
	if err := r.cfg.Shared.Commit(ctx, kept, conds...); err != nil {
		return err
	}
	for _, op := range ops {
		delete(r.behind, op.Key)
	}
	return nil
}

// tellHosts passes on what a conflict told of hosts, which comes no more as a
// change.
func (r *Registry) tellHosts(c *kv.Conflict) {
	prefix := r.marks()
	var told []kv.Op
	for _, op := range c.Now {
		if strings.HasPrefix(op.Key, prefix) {
			told = append(told, op)
		}
	}
	if len(told) > 0 {
		r.cfg.Hosts.Learn(kv.Change{Ops: told})
	}
}

// learnNow takes over what a conflict told.
func (r *Registry) learnNow(ctx context.Context, c *kv.Conflict, tries int) {
	own, value := r.cfg.Hosts.Mark()
	t := r.newTx()
	more := r.lookAtUses(ctx, t, c.Now) || tries > 3 // many want the same
	r.tellHosts(c)
	for _, op := range c.Now {
		switch {
		case op.Key == own && (op.Delete || !bytes.Equal(op.Value, value)):
			// What comes of it shows in the next try.
			wait, cancel := context.WithTimeout(ctx, heldWait)
			_ = r.cfg.Hosts.Held(wait)
			cancel()
			more = true
		case strings.HasPrefix(op.Key, r.marks()):
			if op.Key != own && !op.Delete {
				t.foundAlive(strings.TrimPrefix(op.Key, r.marks()))
			}
		default:
			t.learn(op)
			if strings.HasPrefix(op.Key, addrPrefix) && !op.Delete && !sameValue(r.stored(op.Key), op) {
				r.claimed[op.Key] = struct{}{}
			}
		}
	}
	t.publish(ctx)
	if more {
		pause := time.NewTimer(time.Duration(rand.Int64N(int64(min(tries, 10)))+1) * 5 * time.Millisecond) //nolint:gosec // a pause
		defer pause.Stop()
		r.drainUntil(pause.C)
	}
	r.drain()
}

// decideAway decides what this host may decide alone.
func (r *Registry) decideAway(ctx context.Context, batch []*call, away error) {
	t := r.newTx()
	t.away = true
	for _, c := range batch {
		if c.reads {
			continue
		}
		m := t.mark()
		c.err = t.try(func(t *tx) error {
			if err := c.do(t); err != nil {
				return err
			}
			return t.aloneSince(m, away)
		})
	}
	for _, key := range t.keys {
		if _, late := r.behind[key]; !late {
			r.behind[key] = t.written[key]
		}
	}
	if len(t.keys) > 0 {
		r.flushSoon()
	}
	t.publish(ctx)
}

// aloneSince tells why what was decided since m takes the other hosts' word,
// nil where it takes none.
func (t *tx) aloneSince(m mark, away error) error {
	for _, s := range t.undo[m.undo:] {
		switch s.kind {
		case stepCursor:
		case stepUse:
			if s.name != t.r.cfg.Host || s.pool.mine != nil && s.oldUse == nil {
				return needOthers(away)
			}
		case stepLease:
			if err := t.ownLease(s, away); err != nil {
				return err
			}
		case stepPool, stepRecord, stepEpoch, stepImport:
			return needOthers(away)
		}
	}
	return nil
}

func needOthers(away error) error {
	return fmt.Errorf("%w; this takes the other hosts' word: try again when the store is back", away)
}

// ownLease tells why a lease's step takes the other hosts' word, if so: it
// doesn't where the name ran here last, and keeps its address.
func (t *tx) ownLease(s step, away error) error {
	switch {
	case s.old == nil:
		return fmt.Errorf("%w; container %q never ran on this host, so which address in %s is its own can't be told: start it when the store is back, names that ran here last start now as well",
			away, s.new.container(), &s.pool.rec)
	case s.old.host != me:
		return fmt.Errorf("%w; container %q ran last on host %s, and whether it still does can't be told: start it when the store is back",
			away, s.old.container(), t.r.hostName(s.old.host))
	case s.new == nil && s.old.placeholder():
		return nil
	case s.new == nil || s.new.host != me || s.new.addr != s.old.addr || s.new.name != s.old.name:
		return needOthers(away)
	}
	return nil
}

// isClaimed tells whether another host just took an address.
func (r *Registry) isClaimed(p *pool, addr netip.Addr) bool {
	if len(r.claimed) == 0 {
		return false
	}
	_, claimed := r.claimed[addrKey(p.id, addr)]
	return claimed
}
