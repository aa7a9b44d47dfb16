package ipam

import (
	"context"
	"errors"
	"net/netip"
	"slices"
)

// ReleaseAddress parks the lease of addr, or gives up the gateway's or an
// auxiliary address. It is no error when nobody has it: calls come twice.
func (r *Registry) ReleaseAddress(ctx context.Context, pool string, addr netip.Addr) error {
	return r.change(ctx, func(t *tx) error {
		p, err := t.pool(pool)
		if err != nil {
			return err
		}
		// Other hosts' networks have the same gateway: see releasePool.
		if !r.shared() {
			t.setPool(p, func(rec *poolRecord) {
				if addr == rec.Gateway {
					rec.Gateway = netip.Addr{}
				}
				if slices.Contains(rec.Aux, addr) {
					rec.Aux = slices.DeleteFunc(slices.Clone(rec.Aux), func(a netip.Addr) bool { return a == addr })
				}
			})
		}
		l := p.addrs[addr]
		switch {
		case l == nil:
		case l.runsHere():
			t.park(l)
		case l.host != me:
			// It had moved away already.
			t.r.solved(leaseKey(p.id, l.name))
		}
		return nil
	})
}

// ParkUnheld parks a lease that no container has. It is no error where that is
// otherwise by now: where the pool is gone, the lease has changed, or a container has the address or
// asked for it within the last minute.
func (r *Registry) ParkUnheld(ctx context.Context, seen Lease) error {
	return r.change(ctx, func(t *tx) error {
		p, err := t.pool(seen.Pool)
		if errors.Is(err, ErrUnknownPool) {
			return nil
		}
		if err != nil {
			return err
		}
		if l := p.addrs[seen.Addr]; l != nil && l.runsHere() && r.public(l) == seen && !t.held(l) {
			t.park(l)
		}
		return nil
	})
}
