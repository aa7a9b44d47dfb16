package ipam

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// autoSubnet chooses the subnet of a pool for which the user named none.
//
// A remembered one that nobody uses comes first, the one that was asked for
// longest ago before the others: networks that are removed and created again
// in the same order get the subnets that they had. Else the next free block.
func (t *tx) autoSubnet(req PoolRequest, routes []netip.Prefix) (netip.Prefix, error) {
	routes = slices.DeleteFunc(slices.Clone(routes), func(p netip.Prefix) bool { return !p.IsValid() || p.Bits() == 0 })
	var unused []*pool
	for _, p := range t.r.pools {
		// A pool that was asked for and not released is never offered again
		// while its create may go on: the engine asks repeatedly, and holds
		// the answers it did not like.
		if p.rec.Subnet.Addr().Is6() != req.V6 || p.rec.Overlay != req.Overlay {
			continue
		}
		if req.Overlay != "" && !t.inUseHere(p) && len(t.inUseBy(p)) > 0 {
			// The overlay has a subnet on other hosts: it is this one.
			return p.rec.Subnet, nil
		}
		if p.rec.Auto && !t.inUse(p) &&
			!overlapsAny(p.rec.Subnet, routes) && t.overlapping(p.rec.Subnet, p.rec.Overlay, p.id) == nil {
			unused = append(unused, p)
		}
	}
	if len(unused) > 0 {
		return slices.MinFunc(unused, func(a, b *pool) int {
			return cmp.Or(
				cmp.Compare(unnamed(a), unnamed(b)),
				a.rec.RequestedAt.Compare(b.rec.RequestedAt),
				a.rec.Subnet.Addr().Compare(b.rec.Subnet.Addr()),
			)
		}).rec.Subnet, nil
	}
	return t.freshSubnet(req, routes)
}

// unnamed sorts pools behind that never had a name.
func unnamed(p *pool) int {
	if len(p.names) == 0 {
		return 1
	}
	return 0
}

// freshSubnet is the first block of the supernet that overlaps no route and
// no pool at all, else one that overlaps only pools that nobody uses.
func (t *tx) freshSubnet(req PoolRequest, routes []netip.Prefix) (netip.Prefix, error) {
	super, bits := t.r.cfg.Supernet4, t.r.cfg.AutoBits4
	family := "IPv4"
	if req.V6 {
		super, bits, family = t.r.cfg.Supernet6, t.r.cfg.AutoBits6, "IPv6"
	}
	if !super.IsValid() || super.Bits() > bits {
		return netip.Prefix{}, fmt.Errorf("%w: no %s supernet is set to take subnets from; name one with --subnet", ErrNoSubnet, family)
	}
	used, known := slices.Clone(routes), slices.Clone(routes)
	inUse := 0
	for _, p := range t.r.pools {
		known = append(known, p.rec.Subnet)
		if t.inUse(p) {
			inUse++
			used = append(used, p.rec.Subnet)
		}
	}
	for _, avoid := range [][]netip.Prefix{known, used} {
		if block, ok := nextBlock(super.Masked(), bits, avoid); ok {
			return block, nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("%w: every /%d of supernet %s is taken by the %d pools in use or the host's %d routes; name one with --subnet, remove unused networks, or set a larger supernet",
		ErrNoSubnet, bits, super, inUse, len(routes))
}

// nextBlock is the first block of super that overlaps nothing of avoid. It
// jumps over what is in the way, so its cost does not depend on super's size.
func nextBlock(super netip.Prefix, bits int, avoid []netip.Prefix) (netip.Prefix, bool) {
	for at := super.Addr(); at.IsValid() && super.Contains(at); {
		block := netip.PrefixFrom(at, bits).Masked()
		way := slices.IndexFunc(avoid, block.Overlaps)
		if way < 0 {
			return block, true
		}
		wide := block
		if avoid[way].Bits() < bits {
			wide = avoid[way]
		}
		at = lastOf(wide).Next()
	}
	return netip.Prefix{}, false
}

func overlapsAny(subnet netip.Prefix, all []netip.Prefix) bool {
	return slices.ContainsFunc(all, subnet.Overlaps)
}
