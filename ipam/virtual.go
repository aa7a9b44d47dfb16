package ipam

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
)

// virtual tells whether name is that of a virtual address of the network that
// the pool has, here or on another host. Such a name has a lease that is
// reserved and that no container holds.
func (p *pool) virtual(name string) bool {
	return slices.Contains(p.rec.VIPNames, name) && (p.network() != "" || len(p.others) > 0)
}

// virtualAt tells whether addr is the one that the virtual name has.
func (p *pool) virtualAt(name string, addr netip.Addr) bool {
	l := p.names[name]
	return l != nil && l.addr == addr && p.virtual(name)
}

// notVirtual refuses what would take a virtual address' name, or would give it
// another address.
func (t *tx) notVirtual(p *pool, name, way string) error {
	if !p.virtual(name) {
		return nil
	}
	t.doubt(poolKey(p.id))
	return fmt.Errorf("%w: %q is a virtual address of %s (dockstack.vip); %s", ErrAddressTaken, name, &p.rec, way)
}

// nameVIPs gives each name the address that it has in the pool, or a new one,
// and lets every container of the network use it.
func (t *tx) nameVIPs(p *pool, names []string, out *Bound) error {
	for _, name := range names {
		l, err := t.nameVIP(p, name)
		if err != nil {
			return err
		}
		if !slices.Contains(out.VIPs, l.addr) {
			out.VIPs = append(slices.Clip(out.VIPs), l.addr)
		}
		t.setPool(p, func(rec *poolRecord) {
			if !slices.Contains(rec.Exclude, l.addr) {
				rec.Exclude = append(slices.Clip(rec.Exclude), l.addr)
			}
		})
	}
	t.setPool(p, func(rec *poolRecord) { rec.VIPNames = names })
	return nil
}

func (t *tx) nameVIP(p *pool, name string) (*lease, error) {
	if err := checkContainer(name); err != nil {
		return nil, err
	}
	own := p.names[name]
	if own != nil && t.held(own) {
		t.doubt(leaseKey(p.id, name))
		return nil, fmt.Errorf("%w: %s; choose another name for the virtual address", ErrAddressTaken, t.runs(own))
	}
	if own != nil && !slices.Contains(p.rec.Exclude, own.addr) {
		if why := p.rec.setAside(own.addr); why != "" {
			t.drop(own)
			t.warn("a virtual address is another one now, because the network has another use for the one that it was",
				slog.String("network", p.rec.network()), slog.String("name", name), slog.String("addr", own.addr.String()), slog.String("use", why))
			own = nil
		}
	}
	if own == nil {
		if err := t.needStore(); err != nil {
			return nil, err
		}
		var err error
		if own, err = t.reserve(p, name, netip.Addr{}); err != nil {
			return nil, err
		}
	}
	own = t.change(own, func(c *lease) { c.reserved = true })
	t.makeSure(p, name)
	return own, nil
}

// joinVIPs has the virtual addresses of a pool that comes along be those which
// their names have among the others.
func (t *tx) joinVIPs(old, p *pool) {
	for _, name := range p.rec.VIPNames {
		there, here := p.names[name], old.names[name]
		if there == nil || here == nil || there.addr == here.addr {
			continue
		}
		t.setPool(p, func(rec *poolRecord) {
			rec.Exclude = slices.Clone(rec.Exclude)
			if at := slices.Index(rec.Exclude, here.addr); at >= 0 {
				rec.Exclude[at] = there.addr
			}
		})
	}
}

// vips are the pool's virtual addresses that have a name, as DNS shows them.
func (p *pool) vips(yield func(*lease) bool) {
	for _, name := range p.rec.VIPNames {
		if l := p.names[name]; l != nil && p.virtual(name) && !yield(l) {
			return
		}
	}
}
