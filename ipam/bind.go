package ipam

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
)

// maxVNI is the largest number that a VXLAN header holds (RFC 7348, section 5)
// less those that are no overlay's: FirstLocalVNI and up are for networks that
// never leave their host.
const maxVNI = FirstLocalVNI - 1

// FirstLocalVNI is the first number that Bind never gives.
const FirstLocalVNI = 0xf00000

// Binding is what a network asks of its overlay.
type Binding struct {
	// Network is the engine's id of the network, Pools the ids of its pools.
	Network string
	Pools   []string
	// VIPs are addresses that no container gets, because they move between
	// containers.
	VIPs []netip.Addr
	// VIPNames are such addresses by name. A name has an address of each pool,
	// the same for ever, as a container's has.
	VIPNames []string
	// VNI is the number that the user named, 0 for any.
	VNI uint32
	// MTU is the one that the user named, in bytes, 0 for the overlay's, which
	// is DefaultMTU where it has none yet.
	MTU, DefaultMTU int
	// PerHost: each host has names of its own, so a container's name may run on
	// several.
	PerHost bool
}

// Bound is what the overlay has, on every host alike.
type Bound struct {
	VNI     uint32
	MTU     int
	VIPs    []netip.Addr
	PerHost bool
}

// Bind says that a network uses the pools from now on. Where other hosts have
// a network on them, what it asks for must be what they have.
func (r *Registry) Bind(ctx context.Context, b Binding) (Bound, error) {
	if b.Network == "" {
		return Bound{}, fmt.Errorf("%w: it has no id", ErrUnknownNetwork)
	}
	var out Bound
	err := r.change(ctx, func(t *tx) error {
		var err error
		out, err = t.bind(b)
		return err
	})
	return out, err
}

func (t *tx) bind(b Binding) (Bound, error) {
	pools, err := t.bindable(b.Network, b.Pools)
	if err != nil {
		return Bound{}, err
	}
	if err := excludable(pools, b.VIPs); err != nil {
		return Bound{}, err
	}
	out := Bound{VNI: b.VNI, MTU: b.MTU, VIPs: b.VIPs, PerHost: b.PerHost}
	for _, p := range pools {
		// Also where nothing is to be written: another host's last step of
		// removing the network may have crossed this one's first.
		if t.r.shared() {
			t.guard(poolKey(p.id))
		}
		if others := t.inUseBy(p); len(others) > 0 {
			if err := t.agree(p, others, b, &out); err != nil {
				t.doubt(poolKey(p.id))
				return Bound{}, err
			}
		}
	}
	// Names that there are on other hosts are taken over with all that the pool has.
	names := slices.Clone(b.VIPNames)
	for _, p := range pools {
		if len(t.inUseBy(p)) > 0 {
			names = slices.Concat(names, p.rec.VIPNames)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	out.MTU = cmp.Or(out.MTU, b.DefaultMTU)
	if out.VNI, err = t.vniFor(pools, out.VNI); err != nil {
		return Bound{}, err
	}
	for _, p := range pools {
		t.setPool(p, func(rec *poolRecord) {
			rec.VNI, rec.MTU, rec.PerHost = out.VNI, out.MTU, out.PerHost
			rec.Exclude = slices.DeleteFunc(slices.Clone(out.VIPs), func(a netip.Addr) bool { return !rec.Subnet.Contains(a) })
			if len(rec.Exclude) == 0 {
				rec.Exclude = nil
			}
		})
		if err := t.nameVIPs(p, names, &out); err != nil {
			return Bound{}, err
		}
		t.setUse(p, func(u use) *use {
			u.Network = b.Network
			return &u
		})
	}
	return out, nil
}

// agree takes what a pool has on other hosts into out, unless the network
// asks for something else.
func (t *tx) agree(p *pool, others []string, b Binding, out *Bound) error {
	differs := func(what string, there, here any, way string) error {
		return fmt.Errorf("%w: on %s, %s has %s %v and not %v; %s", ErrMismatch, t.hostNames(others), &p.rec, what, there, here, way)
	}
	rec := &p.rec
	switch {
	case b.VNI != 0 && rec.VNI != 0 && b.VNI != rec.VNI:
		return differs("the VNI", rec.VNI, b.VNI, "leave it out, or remove the network there first")
	case b.MTU != 0 && rec.MTU != 0 && b.MTU != rec.MTU:
		return differs("the MTU", rec.MTU, b.MTU, "leave it out, or create all of them with the same")
	case b.PerHost != rec.PerHost:
		return fmt.Errorf("%w: on %s, %s has names per %s; give the same dockstack.names on every host", ErrMismatch, t.hostNames(others), rec,
			map[bool]string{true: "host", false: "overlay"}[rec.PerHost])
	}
	var mine []netip.Addr
	for _, a := range b.VIPs {
		if rec.Subnet.Contains(a) {
			mine = append(mine, a)
		}
	}
	// Others that are about to make the network at this moment have said nothing yet.
	said := slices.ContainsFunc(others, func(id string) bool { return p.others[id] != nil && p.others[id].Network != "" })
	for _, a := range mine {
		if said && !slices.Contains(rec.Exclude, a) {
			return differs("the virtual addresses", rec.Exclude, mine, "give the same on every host")
		}
	}
	for _, name := range b.VIPNames {
		if said && !slices.Contains(rec.VIPNames, name) {
			return differs("the virtual addresses", rec.VIPNames, b.VIPNames, "give the same on every host")
		}
	}
	out.VNI, out.MTU = cmp.Or(out.VNI, rec.VNI), cmp.Or(out.MTU, rec.MTU)
	for _, a := range rec.Exclude {
		if !slices.Contains(out.VIPs, a) {
			out.VIPs = append(slices.Clip(out.VIPs), a)
		}
	}
	return nil
}

// vniFor gives the network of the pools its VNI: the one that is asked for,
// else the one that they had, else the next that no pool has.
func (t *tx) vniFor(pools []*pool, vni uint32) (uint32, error) {
	if vni > maxVNI {
		return 0, fmt.Errorf("%w: VNI %d: want 1 to %d", ErrNotUsable, vni, maxVNI)
	}
	holders := map[uint32]*pool{}
	for _, p := range t.r.pools {
		if !slices.Contains(pools, p) {
			holders[p.rec.VNI] = p
		}
	}
	if vni != 0 {
		if p := holders[vni]; p != nil {
			t.doubt(poolKey(p.id))
			return 0, fmt.Errorf("%w: VNI %d is that of %s; choose another, or leave it out", ErrPoolInUse, vni, &p.rec)
		}
		return vni, nil
	}
	for _, p := range pools {
		if p.rec.VNI != 0 && holders[p.rec.VNI] == nil {
			return p.rec.VNI, nil
		}
	}
	if t.retries > 0 {
		// Others look for one at the same time, and take the next as well.
		vni = t.skip(64)
	}
	for vni++; holders[vni] != nil; vni++ {
	}
	return vni, nil
}

// bindable are the pools that the network may have.
func (t *tx) bindable(networkID string, ids []string) ([]*pool, error) {
	pools := make([]*pool, 0, len(ids))
	for _, id := range ids {
		p, err := t.pool(id)
		if err != nil {
			return nil, err
		}
		if p.network() != "" && p.network() != networkID {
			return nil, fmt.Errorf("%w: %s is the subnet of network %s", ErrPoolInUse, p.rec.Subnet, p.label())
		}
		pools = append(pools, p)
	}
	return pools, nil
}

// excludable refuses virtual addresses that the network can't have.
func excludable(pools []*pool, addrs []netip.Addr) error {
	for _, a := range addrs {
		p := inNetwork(pools, a)
		if p == nil {
			return fmt.Errorf("%w: %s, a virtual address, lies in no subnet of the network; choose one that does", ErrOutsidePool, a)
		}
		if a == p.rec.Gateway {
			return fmt.Errorf("%w: %s, a virtual address, is the gateway of %s; choose another for one of the two (--gateway)", ErrAddressTaken, a, &p.rec)
		}
	}
	return nil
}
