package fabric

import (
	"maps"
	"net/netip"
	"slices"
)

// bundleLimit is how many flows go into one bundle: 0.3 s on an idle machine.
// Nothing else can be changed meanwhile.
const bundleLimit = 10_000

// batch gathers a change of flows and FDB entries and sends it. Nearly always
// that's one bundle.
type batch struct {
	// limit is the bundles'.
	limit int
	send  func(FlowChange) error
	// tell changes a network's FDB. What fails there doesn't keep flows back.
	tell func(vni uint32, change FDBChange)

	next FlowChange
	fdbs map[uint32]*FDBChange
	// grown is by how much the flows about other hosts have become more.
	grown int
	// total is how many were changed.
	total int
}

// full is whether the rest had better wait: this host's own ports come between.
func (b *batch) full() bool { return b.total >= b.limit }

// replace makes flows others. Those that stay as they are cost nothing.
func (b *batch) replace(was, now []Flow) error {
	for _, w := range now {
		i := slices.IndexFunc(was, func(o Flow) bool { return o.key() == w.key() })
		if i >= 0 && was[i] == w {
			continue
		}
		if i < 0 {
			b.grown++
		}
		b.next.Add = append(b.next.Add, w)
		b.total++
	}
	for _, o := range was {
		if !slices.ContainsFunc(now, func(w Flow) bool { return o.key() == w.key() }) {
			b.next.Del = append(b.next.Del, o)
			b.grown--
			b.total++
		}
	}
	if len(b.next.Add)+len(b.next.Del) < b.limit {
		return nil
	}
	return b.flush()
}

// fdb is the change of a network's FDB.
func (b *batch) fdb(vni uint32) *FDBChange {
	c := b.fdbs[vni]
	if c == nil {
		c = &FDBChange{}
		if b.fdbs == nil {
			b.fdbs = map[uint32]*FDBChange{}
		}
		b.fdbs[vni] = c
	}
	return c
}

// entry makes a MAC's place another one.
func (b *batch) entry(vni uint32, m mac, was, now netip.Addr) {
	switch {
	case was == now:
	case now.IsValid():
		c := b.fdb(vni)
		c.Add = append(c.Add, FDBEntry{m, now})
	default:
		c := b.fdb(vni)
		c.Del = append(c.Del, FDBEntry{m, was})
	}
}

// flush sends what was gathered. The FDB comes first: a frame that leaves without
// an entry goes to all.
func (b *batch) flush() error {
	fdbs := b.fdbs
	b.fdbs = nil
	for _, vni := range slices.Sorted(maps.Keys(fdbs)) {
		if c := *fdbs[vni]; c.Reset || len(c.Add)+len(c.Del) > 0 {
			b.tell(vni, c)
		}
	}
	c := b.next
	b.next = FlowChange{}
	if !c.Reset && len(c.Wipe)+len(c.Add)+len(c.Del) == 0 {
		return nil
	}
	return b.send(c)
}
