package doctor

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/dockstack/dockstack/ipam"
)

var leaseChecks = []check{
	{ids: []string{"stale-lease"}, twice: true, run: (*exam).leases},
	{ids: []string{"lost-host"}, twice: true, run: (*exam).lostHosts},
	{ids: []string{"import-left"}, twice: true, run: (*exam).imports},
	{ids: []string{"pool-full", "pool-overlap"}, run: (*exam).pools},
}

const (
	// starting is how long an address may be live before its container is: the
	// engine repeats calls for 15 s, and the leases wait a minute (ipam).
	starting = time.Minute
	// nearlyFull is the share of a pool's addresses that names have for good.
	nearlyFull = 0.9
)

// open ends checks of leases where there are none.
func (x *exam) open() error {
	if err := x.Store.Closed(); err != nil {
		return fmt.Errorf("the store is not open: %w", err)
	}
	return nil
}

// leases looks for live addresses of this host that no container has.
func (x *exam) leases(ctx context.Context) error {
	if err := x.open(); err != nil {
		return err
	}
	all, err := x.Store.Leases(ctx)
	if err != nil {
		return err
	}
	v, err := x.ask(ctx)
	if err != nil {
		return err // a container that has lost its link has its address still
	}
	has := map[string]bool{}
	for _, e := range v.Endpoints {
		has[e.ID] = true
	}
	held := map[netip.Addr]bool{}
	for _, e := range x.Fabric.Endpoints() {
		for _, a := range e.Addrs {
			held[a] = held[a] || has[e.ID] || x.Fabric.Alive(e.ID)
		}
	}
	for _, l := range all {
		if l.State != ipam.StateLive || !x.here(l.Host) || held[l.Addr] || time.Since(l.Since) < starting {
			continue
		}
		x.staleLeases = append(x.staleLeases, l)
		x.add(Finding{
			ID: "stale-lease", Subject: l.Name + " " + l.Addr.String(),
			What: fmt.Sprintf("%s counts as live with %s in %s since %s, and no container here has it", l.Name, l.Addr, l.Pool, l.Since.UTC().Format(time.DateTime)),
		})
	}
	return nil
}

func (x *exam) here(host string) bool { return x.Cluster == nil || host == x.Cluster.Self() }

// lostHosts looks for hosts that are gone and left something.
func (x *exam) lostHosts(ctx context.Context) error {
	if x.alone() {
		return nil
	}
	if err := x.open(); err != nil {
		return err
	}
	if _, err := x.Cluster.Away(); err != nil {
		return fmt.Errorf("the shared store is away: %w", err)
	}
	alive := map[string]bool{x.Cluster.Self(): true}
	for _, p := range x.Cluster.Peers() {
		alive[p.ID] = true
	}
	uses, err := x.Cluster.Uses(ctx)
	if err != nil {
		return err
	}
	all, err := x.Store.Leases(ctx)
	if err != nil {
		return err
	}
	live := map[string]int{}
	for _, l := range all {
		if l.State == ipam.StateLive {
			live[l.Host]++
		}
	}
	for _, id := range slices.Compact(slices.Sorted(slices.Values(append(keys(uses), keys(live)...)))) {
		if alive[id] || id == "" {
			continue
		}
		x.add(Finding{
			ID: "lost-host", Subject: id, What: fmt.Sprintf("host %s is not alive, and left %d networks in use and %d live names", id, len(uses[id]), live[id]),
			Command: "dockstack host forget " + quote(id),
		})
	}
	return nil
}

func (x *exam) imports(ctx context.Context) error {
	if x.alone() {
		return nil
	}
	if _, err := x.Cluster.Away(); err != nil {
		return fmt.Errorf("the shared store is away: %w", err)
	}
	ids, err := x.Cluster.Imports(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		f := Finding{ID: "import-left", Subject: id, What: fmt.Sprintf("an import of host %s was not finished", x.hostName(id)), Command: "dockstack host forget " + quote(id)}
		if id == x.Cluster.Self() {
			f.What, f.Command = "an import of this host was not finished", x.restart()
		}
		x.add(f)
	}
	return nil
}

// pools looks for what is used up, and for routes into subnets.
func (x *exam) pools(ctx context.Context) error {
	if err := x.open(); err != nil {
		return err
	}
	pools, err := x.Store.Pools(ctx)
	if err != nil {
		return err
	}
	for _, p := range pools {
		if p.NetworkID == "" {
			continue // nobody here asks for more
		}
		x.room(p)
		routes, err := x.Links.Overlaps(ctx, p.Subnet, innerPrefix)
		if err != nil {
			return err
		}
		for _, r := range routes {
			x.add(Finding{
				ID: "pool-overlap", Subject: p.ID + " " + r.To.String(), What: fmt.Sprintf("the route to %s by %s leads into %s, the subnet of network %s", r.To, r.Link, p.Subnet, p.Network),
				Command: fmt.Sprintf("ip route delete %s dev %s   # if it is not needed; else make the network with another --subnet", r.To, quote(r.Link)),
			})
		}
	}
	return nil
}

func (x *exam) room(p PoolUse) {
	total := float64(p.Free) + float64(p.Live+p.Parked)
	fixed := float64(p.Live + p.Reserved)
	if p.Free > 0 && fixed < nearlyFull*total || total == 0 {
		return
	}
	name := cmp.Or(p.Network, p.ID)
	f := Finding{
		ID: "pool-full", Subject: p.ID, What: fmt.Sprintf("network %s has %d addresses free: %d are live, %d parked, %d of these reserved", name, p.Free, p.Live, p.Parked, p.Reserved),
		Command: "dockstack ls --reserved --network " + quote(name) + "   # then dockstack release NAME",
	}
	switch {
	case p.Free == 0 && p.Parked <= p.Reserved:
		f.Severity = Error
	case p.Free == 0 && fixed < nearlyFull*total:
		f.Severity = Note
	}
	x.add(f)
}
