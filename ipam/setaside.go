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
		if !addr.IsValid() {
			addr, err = t.defaultGateway(p)
		} else {
			err = t.clearFor(p, addr, asGateway)
		}
		if err != nil {
			return err
		}
		t.setPool(p, func(rec *poolRecord) { rec.Gateway, rec.LastGateway = addr, addr })
		out = p.prefix(addr)
		return nil
	})
	return out, err
}

func (t *tx) defaultGateway(p *pool) (netip.Addr, error) {
	if p.rec.Gateway.IsValid() {
		return p.rec.Gateway, nil
	}
	free := func(a netip.Addr) bool {
		return a.IsValid() && p.rec.Subnet.Contains(a) && p.addrs[a] == nil && p.rec.setAside(a) == ""
	}
	if free(p.rec.LastGateway) {
		return p.rec.LastGateway, nil
	}
	for a := p.rec.Subnet.Addr(); p.rec.Subnet.Contains(a); a = a.Next() {
		if free(a) {
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
