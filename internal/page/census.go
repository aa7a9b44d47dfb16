package page

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/dockstack/dockstack/internal/admin"
)

// census is what was counted of the leases. It holds on to none of them.
type census struct {
	pools []poolCount
	// hosts are all that names may stand on, this one first and then by name.
	hosts []hostCount
	// networks are the names that people can pick one by.
	networks []string
	total    int
}

// poolCount is a pool with its small map.
type poolCount struct {
	pool admin.Pool
	grid grid
	// small is what its card shows.
	small grid
}

// hostCount is a host with what stands on it.
type hostCount struct {
	admin.Host
	// Gone: it is not alive.
	Gone   bool
	Parked int
}

func takeCensus(ctx context.Context, src Source, s admin.Status) (*census, error) {
	known, err := src.Hosts(ctx)
	if err != nil {
		return nil, err
	}
	c := &census{}
	sketches := make(map[string]*sketch, len(s.Pools))
	for _, p := range s.Pools {
		sketches[p.ID] = newSketch(p, p.Subnet, withoutLeases)
	}
	type where struct{ live, parked int }
	on := map[string]where{}
	names := map[string]string{}
	_, err = src.Leases(ctx, func(l admin.Lease) bool {
		c.total++
		if sk := sketches[l.Pool]; sk != nil {
			sk.add(l)
		}
		w := on[l.HostID]
		if l.State == admin.StateLive {
			w.live++
		} else {
			w.parked++
		}
		on[l.HostID] = w
		names[l.HostID] = l.Host
		return false
	})
	if err != nil {
		return nil, err
	}
	for _, p := range s.Pools {
		c.addPool(p, sketches[p.ID])
	}
	slices.Sort(c.networks)
	c.networks = slices.Compact(c.networks)
	c.sortPools()

	alive := map[string]bool{}
	for _, h := range s.Hosts {
		alive[h.ID] = true
		c.hosts = append(c.hosts, hostCount{Host: h, Parked: on[h.ID].parked})
		delete(on, h.ID)
	}
	for _, h := range known {
		if alive[h.ID] {
			continue
		}
		h.Live = on[h.ID].live
		c.hosts = append(c.hosts, hostCount{Host: h, Gone: true, Parked: on[h.ID].parked})
		delete(on, h.ID)
	}
	delete(on, "")
	for id, w := range on {
		c.hosts = append(c.hosts, hostCount{Host: admin.Host{ID: id, Name: cmp.Or(names[id], id), Live: w.live}, Gone: true, Parked: w.parked})
	}
	slices.SortFunc(c.hosts, func(a, b hostCount) int {
		if a.Self != b.Self {
			if a.Self {
				return -1
			}
			return 1
		}
		return cmp.Or(naturally(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
	return c, nil
}

func (c *census) addPool(p admin.Pool, s *sketch) {
	g := s.done()
	c.pools = append(c.pools, poolCount{pool: p, grid: g, small: s.small(g)})
	c.networks = append(c.networks, networkOf(p.Network, p.ID))
}

// sortPools puts networks with containers first, the largest at the top, and the
// families of one beside each other.
func (c *census) sortPools() {
	most := map[string]int{}
	for _, pc := range c.pools {
		key := networkOf(pc.pool.Network, pc.pool.ID)
		most[key] = max(most[key], pc.pool.Live+pc.pool.Parked)
	}
	slices.SortStableFunc(c.pools, func(a, b poolCount) int {
		ka, kb := networkOf(a.pool.Network, a.pool.ID), networkOf(b.pool.Network, b.pool.ID)
		if ka == kb {
			return cmp.Compare(a.pool.Subnet.Addr().BitLen(), b.pool.Subnet.Addr().BitLen())
		}
		return cmp.Or(cmp.Compare(most[kb], most[ka]), naturally(ka, kb))
	})
}

// networkOf is what people call a lease's or pool's network.
func networkOf(network, pool string) string {
	if network != "" {
		return network
	}
	return pool
}

// naturally orders names as people do: node2 before node10.
func naturally(a, b string) int {
	for a != "" && b != "" {
		na, nb := digits(a), digits(b)
		if na > 0 && nb > 0 {
			ta, tb := strings.TrimLeft(a[:na], "0"), strings.TrimLeft(b[:nb], "0")
			if n := cmp.Or(cmp.Compare(len(ta), len(tb)), strings.Compare(ta, tb)); n != 0 {
				return n
			}
			a, b = a[na:], b[nb:]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}

// digits is how many a text begins with.
func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}
