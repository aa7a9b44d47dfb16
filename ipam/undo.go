package ipam

import "log/slog"

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

// takeBack undoes give. A container that came meanwhile keeps what it runs with.
func (t *tx) takeBack(i *bulkItem) {
	p, l, err := i.now(t)
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
	if err != nil || !i.moves() || l != nil {
		return
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
