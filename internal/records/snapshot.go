package records

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/dockstack/dockstack/internal/cow"
)

// Snapshot is an immutable picture of the records. Its methods are safe for
// concurrent use and never wait; what they return must not be changed.
type Snapshot struct {
	names cow.Map[string, []Record]
	// below is how many names stand below a name.
	below cow.Map[string, int]
	addrs cow.Map[netip.Addr, []Record]
}

// At returns the records at exactly name, which is in lower case.
func (s *Snapshot) At(name string) []Record { return s.names.Get(name) }

// HasBelow tells whether records stand below name.
func (s *Snapshot) HasBelow(name string) bool { return s.below.Get(name) > 0 }

// For returns the A and AAAA records with addr, without wildcards.
func (s *Snapshot) For(addr netip.Addr) []Record { return s.addrs.Get(addr) }

// All yields every record, in no order, until yield returns false.
func (s *Snapshot) All(yield func(Record) bool) {
	for _, list := range s.names.All {
		for _, rec := range list {
			if !yield(rec) {
				return
			}
		}
	}
}

// edit is a Snapshot being made.
type edit struct {
	from    *Snapshot
	names   *cow.Edit[string, []Record]
	below   *cow.Edit[string, int]
	addrs   *cow.Edit[netip.Addr, []Record]
	changed bool
}

// edit begins a change; nothing is copied before there is one.
func (s *Snapshot) edit() *edit { return &edit{from: s} }

func (e *edit) begin() {
	if !e.changed {
		e.changed = true
		e.names, e.below, e.addrs = e.from.names.Edit(), e.from.below.Edit(), e.from.addrs.Edit()
	}
}

func (e *edit) done() *Snapshot {
	if !e.changed {
		return e.from
	}
	return &Snapshot{names: e.names.Done(), below: e.below.Done(), addrs: e.addrs.Done()}
}

// set puts list at name in place of what was there.
func (e *edit) set(name string, list []Record) {
	old := e.from.names.Get(name)
	if e.changed {
		old = e.names.Get(name)
	}
	if slices.Equal(old, list) {
		return
	}
	e.begin()
	for _, rec := range old {
		e.unindex(rec)
	}
	for _, rec := range list {
		e.index(rec)
	}
	e.count(name, min(len(list), 1)-min(len(old), 1))
	if len(list) == 0 {
		e.names.Delete(name)
		return
	}
	e.names.Set(name, list)
}

// count adds n to the number of names below each of name's ancestors.
func (e *edit) count(name string, n int) {
	for n != 0 {
		_, up, ok := strings.Cut(name, ".")
		if !ok {
			return
		}
		if all := e.below.Get(up) + n; all > 0 {
			e.below.Set(up, all)
		} else {
			e.below.Delete(up)
		}
		name = up
	}
}

// address is the address that the record leads to, if it is a name's own.
func (r Record) address() (netip.Addr, bool) {
	if r.Type != dns.TypeA && r.Type != dns.TypeAAAA || strings.HasPrefix(r.Name, "*") {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(r.Data)
	return addr, err == nil
}

func (e *edit) index(rec Record) {
	if addr, ok := rec.address(); ok {
		list := append(slices.Clone(e.addrs.Get(addr)), rec)
		slices.SortFunc(list, compare)
		e.addrs.Set(addr, list)
	}
}

func (e *edit) unindex(rec Record) {
	addr, ok := rec.address()
	if !ok {
		return
	}
	list := slices.DeleteFunc(slices.Clone(e.addrs.Get(addr)), func(r Record) bool { return r == rec })
	if len(list) == 0 {
		e.addrs.Delete(addr)
		return
	}
	e.addrs.Set(addr, list)
}

func compare(a, b Record) int {
	return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.Type, b.Type), strings.Compare(a.Data, b.Data))
}
