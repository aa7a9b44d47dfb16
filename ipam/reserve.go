package ipam

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
)

// Reserve keeps addr for the name by an operator's word; an invalid addr
// keeps the one that the name has, or a new one. See ReserveAs.
func (r *Registry) Reserve(ctx context.Context, pool, name string, addr netip.Addr) (netip.Prefix, error) {
	l, err := r.ReserveAs(ctx, Reservation{Pool: pool, Name: name, Addr: addr})
	if err != nil {
		return netip.Prefix{}, err
	}
	subnet, _, err := ParsePoolID(l.Pool)
	return netip.PrefixFrom(l.Addr, subnet.Bits()), err
}

// ReserveAs keeps an address for a name by an operator's word, also in a pool
// that has no network yet. Pool "" is the one in which Addr lies, or without
// Addr the one in which the name has an address.
//
// A name that runs keeps the address with which it runs, so it can be reserved
// that one only. The address may be parked for another name, which then gets
// another at its next start: an operator's word counts as much as --ip does.
// It is refused where that one runs, where it is reserved for it, and where
// that container names it (--ip, ipv4_address) and would not start without it.
func (r *Registry) ReserveAs(ctx context.Context, what Reservation) (Lease, error) {
	what.Addr = what.Addr.Unmap()
	if err := checkContainer(what.Name); err != nil {
		return Lease{}, err
	}
	var hw mac
	if what.MAC != "" {
		var err error
		if hw, err = parseMAC(what.MAC); err != nil {
			return Lease{}, err
		}
	}
	var out Lease
	err := r.change(ctx, func(t *tx) error {
		p, err := t.poolFor(what)
		if err == nil {
			err = t.needStore()
		}
		if err != nil {
			return err
		}
		l, err := t.reserve(p, r.keyName(p, what.Name), what.Addr)
		if err == nil {
			l, err = t.reserveMAC(l, hw)
		}
		if err != nil {
			return err
		}
		l = t.change(l, func(c *lease) { c.reserved = true })
		t.makeSure(p, l.name)
		out = r.public(l)
		return nil
	})
	return out, r.hint(ctx, err)
}

// poolFor is the pool that a reservation is meant for.
func (t *tx) poolFor(what Reservation) (*pool, error) {
	switch {
	case what.Pool != "":
		return t.poolByID(what.Pool)
	case what.Addr.IsValid():
		return t.poolOf(what.Addr)
	}
	found, err := t.named(nil, what.Name)
	if err != nil {
		return nil, err
	}
	if len(found) > 1 {
		return nil, fmt.Errorf("%w: %q has %s in %s and %s in %s; say which address", ErrAmbiguous, what.Name,
			found[0].addr, &found[0].pool.rec, found[1].addr, &found[1].pool.rec)
	}
	return found[0].pool, nil
}

// reserve finds or makes the lease to reserve.
func (t *tx) reserve(p *pool, name string, addr netip.Addr) (*lease, error) {
	own := p.names[name]
	if own != nil && (!addr.IsValid() || own.addr == addr) {
		return own, nil
	}
	if err := t.notVirtual(p, name, "its address can be another where the network is removed first, on every host"); own != nil && err != nil {
		return nil, err
	}
	if own != nil && t.held(own) {
		t.doubt(leaseKey(p.id, name))
		return nil, fmt.Errorf("%w: %s; stop it before you reserve %s for it", ErrAddressTaken, t.runs(own), addr)
	}
	if !addr.IsValid() {
		var err error
		if addr, err = t.allocate(p, name); err != nil {
			return nil, err
		}
	} else if err := t.usable(p, addr); err != nil {
		return nil, err
	}
	if holder := p.addrs[addr]; holder != nil {
		if holder.fixed && !t.held(holder) && !holder.reserved {
			t.doubt(leaseKey(p.id, holder.name))
			return nil, fmt.Errorf("%w: %s; change that one, or release %s", ErrAddressTaken, t.keeps(holder), holder.container())
		}
		if err := t.takeFrom(holder, name); err != nil {
			return nil, err
		}
	}
	l := &lease{pool: p, name: name, addr: addr, since: t.now.UnixMilli(), host: me}
	if own != nil && own.macByUser {
		l.mac, l.macByUser = own.mac, true
	}
	if own != nil {
		t.note(slog.LevelInfo, "a name's address is exchanged by an operator's word",
			slog.String("network", p.rec.network()), slog.String("name", own.container()), slog.String("addr", own.addr.String()), slog.String("to", addr.String()))
	}
	t.put(l)
	return l, nil
}

// reserveMAC gives a lease the hardware address that an operator wants.
func (t *tx) reserveMAC(l *lease, wanted mac) (*lease, error) {
	if wanted == (mac{}) || wanted == l.hardware() {
		return l, nil
	}
	if t.held(l) {
		t.doubt(leaseKey(l.pool.id, l.name))
		return nil, fmt.Errorf("%w: %s, and MAC address %s; stop it before you reserve %s for it", ErrLive, t.runs(l), l.hardware(), wanted)
	}
	if err := t.macUsable(l, wanted); err != nil {
		return nil, err
	}
	return t.change(l, func(c *lease) { c.setMAC(wanted, wanted) }), nil
}

// macUsable refuses a hardware address that goes with another address, or that
// another name of the network keeps.
func (t *tx) macUsable(l *lease, wanted mac) error {
	if wanted.ours() && macOf(l.addr) != wanted {
		return fmt.Errorf("%w: MAC address %s is one that dockstack gives out itself; choose one that begins with neither %02x:%02x nor %02x",
			ErrNotUsable, wanted, macPrefix4>>8, macPrefix4&0xff, macPrefix6)
	}
	for _, p := range t.siblings(l.pool) {
		for _, o := range p.names {
			if o.mac == wanted && o.name != l.name {
				t.doubt(leaseKey(p.id, o.name))
				return fmt.Errorf("%w: MAC address %s is kept for %q in %s; choose another", ErrAddressTaken, wanted, o.container(), &p.rec)
			}
		}
	}
	return nil
}

// siblings are the pools of the network that has p, and p.
func (t *tx) siblings(p *pool) []*pool {
	if all := t.r.networkPools(p.network()); len(all) > 0 {
		return all
	}
	return []*pool{p}
}

// Unreserve takes Reserve back. The name keeps the address as any other does.
// A name without a reservation is no error, nor is a virtual address', which
// stays reserved while there is the network. As all of an operator's words it
// takes the store: decided alone it would be written later, over a reservation
// that was made meanwhile.
func (r *Registry) Unreserve(ctx context.Context, pool, name string) error {
	return r.change(ctx, func(t *tx) error {
		p, err := t.pool(pool)
		if err == nil {
			err = t.needStore()
		}
		if err != nil {
			return err
		}
		key := r.keyName(p, name)
		if l := p.names[key]; l != nil && !p.virtual(key) {
			t.change(l, func(c *lease) { c.reserved = false })
		}
		t.makeSure(p, key)
		return nil
	})
}

// makeSure has others' news come first: where nothing is to be written, that
// rests on what memory has.
func (t *tx) makeSure(p *pool, name string) {
	if t.r.shared() {
		t.guard(leaseKey(p.id, name))
	}
}
