package ipam

import (
	"strings"
	"time"
)

// ChangeKind says what became of a lease.
type ChangeKind string

// The kinds of changes. A change that is several at once is the first of them
// in this order.
const (
	ChangeNew     ChangeKind = "new"     // a name got an address; there is no Old
	ChangeGone    ChangeKind = "gone"    // a name lost it; there is no New
	ChangeRenamed ChangeKind = "renamed" // the address stays, the name is another
	ChangeAddress ChangeKind = "address" // the name has another address
	ChangeLive    ChangeKind = "live"    // a container holds it
	ChangeParked  ChangeKind = "parked"  // no container holds it any more
	ChangeHost    ChangeKind = "host"    // its container runs on another host

	ChangeReserved   ChangeKind = "reserved"   // an operator keeps it for the name
	ChangeUnreserved ChangeKind = "unreserved" // and does no more
	ChangeOther      ChangeKind = "other"      // such as its MAC address
)

// Change is one of a lease, by this host or another.
type Change struct {
	At   time.Time
	Kind ChangeKind
	// Old and New are the lease before and after.
	Old, New Lease
}

// tellChanges tells what the batch changed about leases.
func (t *tx) tellChanges() {
	if t.r.cfg.Changed == nil || t.quiet {
		return
	}
	if all := t.changes(); len(all) > 0 {
		t.r.cfg.Changed(all)
	}
}

// became is a name's lease before and after a batch.
type became struct{ old, new *lease }

func (t *tx) changes() []Change {
	var order []nameIn
	all := map[nameIn]*became{}
	for _, s := range t.undo {
		if s.kind != stepLease {
			continue
		}
		at := nameIn{s.pool, s.name}
		if b := all[at]; b != nil {
			b.new = s.new
			continue
		}
		order = append(order, at)
		all[at] = &became{s.old, s.new}
	}
	// A lease that went from one name to another.
	left := map[addrIn]*became{}
	for _, b := range all {
		if b.old != nil && (b.new == nil || b.new.addr != b.old.addr) {
			left[addrIn{b.old.pool, b.old.addr}] = b
		}
	}
	out := make([]Change, 0, len(order))
	for _, at := range order {
		b := all[at]
		if b.new == nil || b.old != nil {
			continue
		}
		if from := left[addrIn{b.new.pool, b.new.addr}]; from != nil && from.new == nil {
			b.old, from.old = from.old, nil
		}
	}
	for _, at := range order {
		if c, told := t.tell(all[at]); told {
			out = append(out, c)
		}
	}
	return out
}

// tell is the change from one lease to another, if it is one that anybody wants
// to hear of.
func (t *tx) tell(b *became) (Change, bool) {
	c := Change{At: t.now}
	if b.old != nil {
		c.Old = t.r.public(b.old)
		c.Old.Name, _, _ = strings.Cut(c.Old.Name, placeholderMark)
	}
	if b.new != nil {
		c.New = t.r.public(b.new)
	}
	c.Old.Since, c.New.Since = c.Old.Since.UTC(), c.New.Since.UTC()
	switch {
	case b.new != nil && b.new.placeholder(), b.new == nil && (b.old == nil || b.old.placeholder()):
		return c, false // renamed, and nobody said yet how
	case b.old == nil:
		c.Kind = ChangeNew
	case b.new == nil:
		c.Kind = ChangeGone
	case c.Old.Name != c.New.Name:
		c.Kind = ChangeRenamed
	case c.Old.Addr != c.New.Addr:
		c.Kind = ChangeAddress
	case c.Old.State != c.New.State:
		c.Kind = ChangeParked
		if c.New.State == StateLive {
			c.Kind = ChangeLive
		}
	case c.New.State == StateLive && c.Old.Host != c.New.Host:
		c.Kind = ChangeHost
	case c.Old.Reserved != c.New.Reserved:
		c.Kind = ChangeUnreserved
		if c.New.Reserved {
			c.Kind = ChangeReserved
		}
	case c.Old.MAC != c.New.MAC || c.Old.Fixed != c.New.Fixed:
		c.Kind = ChangeOther
	default:
		return c, false
	}
	return c, true
}
