package ipam

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/dockstack/dockstack/internal/kv"
)

// LeaseFilter picks leases; an empty field takes all.
type LeaseFilter struct {
	Pool, Name, Network string
	State               State
}

// Each hands the leases that the filter takes to fn, as they were at one moment,
// in no order. The registry goes on meanwhile, and nothing is kept of them: fn
// may take its time, and pick.
func (r *Registry) Each(ctx context.Context, want LeaseFilter, fn func(Lease)) error {
	var all []*lease
	var hosts []string
	err := r.read(ctx, func(t *tx) {
		hosts = t.r.hosts.ids
		for _, p := range t.r.pools {
			if (want.Pool == "" || want.Pool == p.id) && (want.Network == "" || want.Network == p.network()) {
				all = slices.AppendSeq(slices.Grow(all, len(p.names)), maps.Values(p.names))
			}
		}
	})
	if err != nil {
		return err
	}
	for _, l := range all {
		if want.takes(l) {
			fn(l.public(hosts))
		}
	}
	return nil
}

// takes is whether the filter takes a lease of a pool that it takes.
func (want LeaseFilter) takes(l *lease) bool {
	return (want.Name == "" || want.Name == l.container()) && (want.State == "" || l.live == (want.State == StateLive))
}

// Leases lists leases by pool and address.
func (r *Registry) Leases(ctx context.Context, want LeaseFilter) ([]Lease, error) {
	var out []Lease
	err := r.Each(ctx, want, func(l Lease) { out = append(out, l) })
	slices.SortFunc(out, func(a, b Lease) int {
		if c := strings.Compare(a.Pool, b.Pool); c != 0 {
			return c
		}
		return a.Addr.Compare(b.Addr)
	})
	return out, err
}

// Lookup is the lease of addr, live or parked.
func (r *Registry) Lookup(ctx context.Context, pool string, addr netip.Addr) (Lease, error) {
	var out Lease
	var failed error
	err := r.read(ctx, func(t *tx) {
		p, err := t.pool(pool)
		if err != nil {
			failed = err
			return
		}
		if l := p.addrs[addr]; l != nil {
			out = r.public(l)
			return
		}
		failed = fmt.Errorf("%w: nobody holds %s in %s", ErrNoLease, addr, &p.rec)
	})
	if err != nil {
		return Lease{}, err
	}
	return out, failed
}

// Pools lists all pools by id, used or not. It does not wait.
func (r *Registry) Pools() []Pool {
	pools := r.snap.Load().pools
	out := make([]Pool, 0, len(pools))
	for _, p := range pools {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b Pool) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// Pool is the pool with that id. It does not wait.
func (r *Registry) Pool(id string) (Pool, bool) {
	p, ok := r.snap.Load().pools[id]
	if !ok {
		return Pool{}, false
	}
	return *p, true
}

// VIPs are the addresses of a pool that every container of its network may use,
// named or not. They are not to be changed. It does not wait.
func (r *Registry) VIPs(id string) []netip.Addr { return r.snap.Load().exclude[id] }

// PoolFor is the pool of a subnet in an overlay. It does not wait.
func (r *Registry) PoolFor(subnet netip.Prefix, overlay string) (Pool, bool) {
	return r.Pool(PoolID(subnet.Masked(), overlay))
}

func isNewer(err error) bool { return errors.Is(err, kv.ErrNewer) }
