package ipam_test

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"

	"pgregory.net/rapid"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/ipam"
)

// An operator's steps of the model.

func (m *model) stepGiveUp(t *rapid.T) {
	m.tick()
	name := m.name(t)
	err := m.reg.Release(m.ctx, name)
	e := m.names[name]
	var want error
	switch {
	case e == nil:
		want = ipam.ErrNoLease
	case e.live:
		want = ipam.ErrLive
	}
	if !errors.Is(err, want) {
		t.Fatalf("giving up %s %+v: %v, want %v", name, e, err, want)
	}
	if err == nil {
		delete(m.names, name)
	}
}

func (m *model) stepRename(t *rapid.T) {
	m.tick()
	from, to := m.name(t), m.name(t)
	err := m.reg.RenameLease(m.ctx, from, to)
	e := m.names[from]
	var want error
	switch {
	case from == to:
		want = ipam.ErrNotUsable
	case e == nil:
		want = ipam.ErrNoLease
	case e.live:
		want = ipam.ErrLive
	case m.names[to] != nil:
		want = ipam.ErrClash
	}
	if !errors.Is(err, want) {
		t.Fatalf("renaming %s %+v to %s: %v, want %v", from, e, to, err, want)
	}
	if err == nil {
		delete(m.names, from)
		m.names[to] = e
	}
}

// stepImport imports some names at once: all of them, or none.
func (m *model) stepImport(t *rapid.T) {
	at := m.tick()
	in := ipam.Import{DryRun: rapid.Bool().Draw(t, "dry run")}
	wanted, takers := map[string]string{}, map[string]string{}
	allowed := true
	for range rapid.IntRange(1, 4).Draw(t, "many") {
		name, addr := m.name(t), m.addr(t)
		in.Reservations = append(in.Reservations, ipam.Reservation{Name: name, Addr: addr})
		if was, twice := wanted[name]; twice && was != addr.String() {
			allowed = false
		}
		if was, twice := takers[addr.String()]; twice && was != name {
			allowed = false
		}
		wanted[name], takers[addr.String()] = addr.String(), name
		allowed = allowed && m.set(addr)
	}
	for name, addr := range wanted {
		e, holder := m.names[name], m.holder(addr)
		if e != nil && e.live && e.addr != addr {
			allowed = false
		}
		if holder == "" || holder == name {
			continue
		}
		if to, leaves := wanted[holder]; m.names[holder].live || !leaves || to == addr {
			allowed = false
		}
	}
	plan, err := m.reg.Import(m.ctx, in)
	if allowed != (err == nil) || err != nil && !errors.Is(err, ipam.ErrClash) || plan.Done != (allowed && !in.DryRun) {
		t.Fatalf("importing %v (%t): %+v, %v", in.Reservations, allowed, plan, err)
	}
	if !plan.Done {
		return
	}
	for name, addr := range wanted {
		if e := m.names[name]; e != nil && e.addr == addr {
			e.reserved = true
		} else {
			m.names[name] = &entry{addr: addr, reserved: true, parked: at}
		}
	}
}

func (m *model) backUp() ([]kv.Op, map[string]entry) {
	dump, err := m.reg.Dump(m.ctx)
	m.ok(err)
	has := map[string]entry{}
	for name, e := range m.names {
		has[name] = *e
	}
	return dump, has
}

// stepRestore puts the last backup back: every name has what it had, but for
// those that came since and run.
func (m *model) stepRestore(t *rapid.T) {
	m.tick()
	if m.dump == nil {
		return
	}
	allowed := true
	for name, e := range m.names {
		if !e.live {
			continue
		}
		for then, was := range m.dumped {
			if then == name && was.addr != e.addr || then != name && was.addr == e.addr {
				allowed = false
			}
		}
	}
	for _, was := range m.dumped {
		allowed = allowed && m.set(netip.MustParseAddr(was.addr))
	}
	report, err := m.reg.RestoreDump(m.ctx, ipam.Restore{Records: m.dump})
	if allowed != (err == nil) || err != nil && !errors.Is(err, ipam.ErrClash) || report.Done != allowed {
		t.Fatalf("restoring %v on %v: %+v, %v", m.dumped, m.names, report, err)
	}
	if err != nil {
		return
	}
	for name := range maps.Clone(m.names) {
		if _, there := m.dumped[name]; !there && !m.names[name].live {
			delete(m.names, name)
		}
	}
	for name, was := range m.dumped {
		e := m.names[name]
		if e == nil || e.addr != was.addr {
			c := was
			c.live = false
			if was.live {
				// Since when it was live then is nobody's concern.
				c.parked = m.since(name)
			}
			m.names[name] = &c
			continue
		}
		e.reserved = was.reserved
		if !e.live {
			e.fixed = was.fixed
		}
	}
}

// since is when the name's lease changed, as the registry has it.
func (m *model) since(name string) int {
	all, err := m.reg.Leases(m.ctx, ipam.LeaseFilter{Name: name})
	m.ok(err)
	if len(all) != 1 {
		m.t.Fatalf("%s has %v", name, fmt.Sprint(all))
	}
	return int(all[0].Since.UnixMilli())
}
