package ipam

import (
	"context"
	"math/big"
	"net/netip"
	"slices"
)

// PoolUsage is what becomes of a pool's addresses.
type PoolUsage struct {
	// Live, Parked and Reserved count leases. A reserved one counts as that and
	// as live or parked.
	Live, Parked, Reserved int
	// Free is how many addresses of the range no name holds and nothing else
	// needs, at most MaxFree.
	Free int64
	// InUse: a network of this or another host has it.
	InUse bool
	// Excluded are set aside for no container: auxiliary addresses and VIPs.
	Excluded []netip.Addr
}

// MaxFree is where counting free addresses ends: IPv6 has too many.
const MaxFree = 1 << 40

// Usage is what becomes of all pools' addresses, by the pool's id, as of one
// moment.
func (r *Registry) Usage(ctx context.Context) (map[string]PoolUsage, error) {
	out := map[string]PoolUsage{}
	err := r.read(ctx, func(t *tx) {
		for id, p := range r.pools {
			out[id] = t.usage(p)
		}
	})
	return out, err
}

// PoolUsage is what becomes of one pool's addresses.
func (r *Registry) PoolUsage(ctx context.Context, id string) (PoolUsage, error) {
	var out PoolUsage
	var failed error
	err := r.read(ctx, func(t *tx) {
		var p *pool
		if p, failed = t.poolByID(id); p != nil {
			out = t.usage(p)
		}
	})
	if err == nil {
		err = failed
	}
	return out, err
}

func (t *tx) usage(p *pool) PoolUsage {
	u := PoolUsage{InUse: t.inUse(p), Excluded: slices.Concat(p.rec.Aux, p.rec.Exclude)}
	slices.SortFunc(u.Excluded, netip.Addr.Compare)
	taken := 0
	for _, l := range p.names {
		if l.live {
			u.Live++
		} else {
			u.Parked++
		}
		if l.reserved {
			u.Reserved++
		}
	}
	for addr := range p.addrs {
		if p.rec.Range.Contains(addr) {
			taken++
		}
	}
	aside := append([]netip.Addr{p.rec.Gateway, p.rec.Subnet.Addr(), lastOf(p.rec.Subnet)}, u.Excluded...)
	slices.SortFunc(aside, netip.Addr.Compare)
	for _, addr := range slices.Compact(aside) {
		if addr.IsValid() && p.rec.Range.Contains(addr) && p.addrs[addr] == nil && p.rec.setAside(addr) != "" {
			taken++
		}
	}
	u.Free = MaxFree
	all := new(big.Int).Lsh(big.NewInt(1), uint(p.rec.Range.Addr().BitLen()-p.rec.Range.Bits()))
	if free := all.Sub(all, big.NewInt(int64(taken))); free.Cmp(big.NewInt(MaxFree)) < 0 {
		u.Free = max(free.Int64(), 0)
	}
	return u
}
