package ipam

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
)

// Rename says that a running container has another name now: its live
// addresses go with it. An address that was parked for the new name is parked
// under the old one, so nothing is lost.
func (r *Registry) Rename(ctx context.Context, from, to string) error {
	if err := checkName(to); err != nil {
		return err
	}
	if from == "" || to == "" || from == to {
		return fmt.Errorf("%w: renaming %q to %q", ErrNoName, from, to)
	}
	return r.change(ctx, func(t *tx) error {
		for _, p := range t.r.pools {
			t.rename(p, r.keyName(p, from), r.keyName(p, to))
		}
		return nil
	})
}

func (t *tx) rename(p *pool, from, to string) {
	l := p.renamed(from)
	if l == nil {
		return
	}
	there := p.names[to]
	if there != nil && t.held(there) {
		t.warn("a renamed container's address stays under its old name: the new one has a running container",
			slog.String("network", p.rec.network()), slog.String("name", from), slog.String("addr", l.addr.String()), slog.String("to", to))
		return
	}
	t.drop(l)
	if there != nil {
		t.drop(there)
		t.leave(there, l, from)
	}
	moved := *l
	moved.name = to
	t.put(&moved)
}

// leave parks what the new name had under the old one, unless a new container
// has come under that meanwhile.
func (t *tx) leave(there, moving *lease, from string) {
	if moving.name != from {
		t.warn("a parked name loses its address: a running container was renamed to it and brings its own",
			slog.String("network", there.pool.rec.network()), slog.String("name", there.name), slog.String("addr", there.addr.String()), slog.String("to", moving.addr.String()))
		return
	}
	left := *there
	left.name, left.live, left.endpoint, left.unsure = from, false, "", false
	t.put(&left)
}

// renamed is the live lease of the container that used to be called from: the
// one set apart when a new container came under that name, else the name's.
func (p *pool) renamed(from string) *lease {
	var oldest *lease
	for name, l := range p.names {
		if l.live && l.host == me && strings.HasPrefix(name, from+placeholderMark) && (oldest == nil || l.since < oldest.since) {
			oldest = l
		}
	}
	if oldest != nil {
		return oldest
	}
	if l := p.names[from]; l != nil && l.live && l.host == me {
		return l
	}
	return nil
}

// Reserve keeps addr for the name by an operator's word; an invalid addr
// keeps the one that the name has, or a new one.
func (r *Registry) Reserve(ctx context.Context, pool, name string, addr netip.Addr) (netip.Prefix, error) {
	if err := checkName(name); err != nil {
		return netip.Prefix{}, err
	}
	if name == "" {
		return netip.Prefix{}, fmt.Errorf("%w: say for whom to reserve", ErrNoName)
	}
	var out netip.Prefix
	err := r.change(ctx, func(t *tx) error {
		p, err := t.pool(pool)
		if err != nil {
			return err
		}
		l, err := t.reserve(p, r.keyName(p, name), addr)
		if err != nil {
			return err
		}
		t.change(l, func(c *lease) { c.reserved = true })
		t.makeSure(p, l.name)
		out = p.prefix(l.addr)
		return nil
	})
	return out, err
}

// reserve finds or makes the lease to reserve.
func (t *tx) reserve(p *pool, name string, addr netip.Addr) (*lease, error) {
	own := p.names[name]
	if own != nil && (!addr.IsValid() || own.addr == addr) {
		return own, nil
	}
	if own != nil && t.held(own) {
		return nil, fmt.Errorf("%w: container %q runs in %s with %s; stop it before you reserve %s for it", ErrAddressTaken, name, &p.rec, own.addr, addr)
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
		if err := t.takeFrom(holder, name); err != nil {
			return nil, err
		}
	}
	l := &lease{pool: p, name: name, addr: addr, since: t.now.UnixMilli(), host: me}
	if own != nil && own.macByUser {
		l.mac, l.macByUser = own.mac, true
	}
	t.put(l)
	return l, nil
}

// Unreserve takes Reserve back. The name keeps the address as any other does.
// A name without a reservation is no error.
func (r *Registry) Unreserve(ctx context.Context, pool, name string) error {
	return r.change(ctx, func(t *tx) error {
		p, err := t.pool(pool)
		if err != nil {
			return err
		}
		key := r.keyName(p, name)
		if l := p.names[key]; l != nil {
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
