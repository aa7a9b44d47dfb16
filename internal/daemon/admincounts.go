package daemon

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/ipam"
)

const (
	// countWithin bounds how long a status waits for numbers.
	countWithin = 2 * time.Second
	// countShare is how many times longer numbers are good than it took to count
	// them: with 100,000 leases that takes a while, and somebody asks each second.
	countShare = 50
)

// counts are numbers of leases, which may be a little old.
type counts struct {
	mu    sync.Mutex
	of    *opened      // guarded by mu
	until time.Time    // guarded by mu
	pools []admin.Pool // guarded by mu
	hosts map[string]int
}

// fill adds the numbers to a status.
func (c *counts) fill(ctx context.Context, o *opened, s *admin.Status) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if began := time.Now(); c.of != o || began.After(c.until) {
		ctx, cancel := context.WithTimeout(ctx, countWithin)
		defer cancel()
		if pools, hosts, err := count(ctx, o); err == nil {
			c.of, c.pools, c.hosts = o, pools, hosts
		}
		now := time.Now()
		c.until = now.Add(countShare * now.Sub(began))
	}
	if c.of != o {
		return
	}
	s.Pools = slices.Clone(c.pools)
	for i := range s.Hosts {
		s.Hosts[i].Live = c.hosts[s.Hosts[i].ID]
	}
}

// count counts leases by pool and by host.
func count(ctx context.Context, o *opened) ([]admin.Pool, map[string]int, error) {
	usage, err := o.Leases.Usage(ctx)
	if err != nil {
		return nil, nil, err
	}
	pools := []admin.Pool{}
	live := 0
	for _, p := range o.Leases.Pools() {
		u := usage[p.ID]
		live += u.Live
		if !u.InUse && u.Live+u.Parked == 0 {
			continue
		}
		out := adminPool(p)
		out.Live, out.Parked, out.Reserved, out.Free = u.Live, u.Parked, u.Reserved, u.Free
		out.InUse, out.Excluded = u.InUse, u.Excluded
		pools = append(pools, out)
	}
	if o.cluster == nil {
		return pools, map[string]int{o.id: live}, nil
	}
	hosts := map[string]int{}
	err = o.Leases.Each(ctx, ipam.LeaseFilter{State: ipam.StateLive}, func(l ipam.Lease) { hosts[l.Host]++ })
	return pools, hosts, err
}

func adminPool(p ipam.Pool) admin.Pool {
	return admin.Pool{
		ID: p.ID, Subnet: p.Subnet, Range: p.Range, Gateway: p.Gateway, Overlay: p.Overlay,
		Network: p.NetworkName, NetworkID: p.Network, VNI: p.VNI, MTU: p.MTU,
	}
}
