package ipam

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
)

// What a network itself can want an address for.
const (
	asGateway = "the gateway (--gateway)"
	asAux     = "an auxiliary address (--aux-address)"
)

// RequestGateway gives the pool's gateway address: addr where the user named
// one, else the one that the pool had before, else the first that nobody
// holds.
func (r *Registry) RequestGateway(ctx context.Context, pool string, addr netip.Addr) (netip.Prefix, error) {
	var out netip.Prefix
	err := r.change(ctx, func(t *tx) error {
		p, err := t.pool(pool)
		if err != nil {
			return err
		}
		gw := addr
		if others := t.inUseBy(p); len(others) > 0 && gw.IsValid() && p.rec.Gateway.IsValid() && gw != p.rec.Gateway {
			t.doubt(poolKey(p.id))
			return fmt.Errorf("%w: on %s, %s has the gateway %s and not %s; create it with --gateway %s, or leave it out",
				ErrMismatch, t.hostNames(others), &p.rec, p.rec.Gateway, gw, p.rec.Gateway)
		}
		if !gw.IsValid() {
			gw, err = t.defaultGateway(p)
		} else {
			err = t.clearFor(p, gw, asGateway)
		}
		if err != nil {
			return err
		}
		t.asked(p)
		if r.shared() {
			t.guard(poolKey(p.id))
		}
		t.setPool(p, func(rec *poolRecord) { rec.Gateway, rec.LastGateway = gw, gw })
		out = p.prefix(gw)
		return nil
	})
	return out, err
}

// asked notes that the network being made asked for an address of its own.
func (t *tx) asked(p *pool) {
	t.setUse(p, func(u use) *use {
		if p.mine == nil {
			return nil
		}
		u.Asked = true
		return &u
	})
}

func (t *tx) defaultGateway(p *pool) (netip.Addr, error) {
	if p.rec.Gateway.IsValid() {
		return p.rec.Gateway, nil
	}
	free := func(a netip.Addr) bool {
		return a.IsValid() && p.rec.Subnet.Contains(a) && p.addrs[a] == nil && p.rec.setAside(a) == ""
	}
	if free(p.rec.LastGateway) {
		t.guardFree(p, p.rec.LastGateway)
		return p.rec.LastGateway, nil
	}
	for a := p.rec.Subnet.Addr(); p.rec.Subnet.Contains(a); a = a.Next() {
		if free(a) {
			t.guardFree(p, a)
			return a, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("%w: no address of %s is left for the gateway: names hold %d; name one with --gateway, which takes it from a parked name",
		ErrPoolFull, &p.rec, len(p.names))
}

// RequestAux sets an address aside for something that is no container
// (--aux-address). It may lie outside the range.
func (r *Registry) RequestAux(ctx context.Context, pool string, addr netip.Addr) (netip.Prefix, error) {
	var out netip.Prefix
	err := r.change(ctx, func(t *tx) error {
		p, err := t.pool(pool)
		if err != nil {
			return err
		}
		out = p.prefix(addr)
		t.asked(p)
		if slices.Contains(p.rec.Aux, addr) {
			return nil
		}
		if err := t.clearFor(p, addr, asAux); err != nil {
			return err
		}
		t.setPool(p, func(rec *poolRecord) { rec.Aux = append(slices.Clone(rec.Aux), addr) })
		return nil
	})
	return out, err
}

// guardFree says that a decision rests on nobody's having addr.
func (t *tx) guardFree(p *pool, addr netip.Addr) {
	if t.r.shared() {
		t.guard(addrKey(p.id, addr))
	}
}

// clearFor makes addr free for the network itself, where that is allowed.
func (t *tx) clearFor(p *pool, addr netip.Addr, use string) error {
	if !p.rec.Subnet.Contains(addr) {
		return fmt.Errorf("%w: %s can't be %s of %s", ErrOutsidePool, addr, use, &p.rec)
	}
	if use == asGateway && addr == p.rec.Gateway {
		return nil
	}
	if why := p.rec.setAside(addr); why != "" {
		kind := ErrAddressTaken
		if notHost(p.rec.Subnet, addr) != "" {
			kind = ErrNotUsable
		}
		return fmt.Errorf("%w: %s can't be %s of %s: it is %s; choose another", kind, addr, use, &p.rec, why)
	}
	l := p.addrs[addr]
	switch {
	case l == nil:
		t.guardFree(p, addr)
		return nil
	case t.held(l):
		return fmt.Errorf("%w: %s can't be %s of %s: %s has it; choose another, or stop that container",
			ErrAddressTaken, addr, use, &p.rec, l.who())
	case l.reserved:
		return fmt.Errorf("%w: %s can't be %s of %s: it is reserved for %q; choose another, or take the reservation back",
			ErrAddressTaken, addr, use, &p.rec, l.name)
	}
	t.drop(l)
	t.warn("a parked name loses its address to the network itself; its next start gets another",
		slog.String("network", p.rec.network()), slog.String("name", l.name), slog.String("addr", addr.String()), slog.String("use", use))
	return nil
}
