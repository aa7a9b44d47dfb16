package ipam

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// now is the clock in the store's precision.
func now(cfg Config) time.Time { return cfg.Now().UTC().Truncate(time.Millisecond) }

// Attach ties the leases of an endpoint's addresses to it and returns its
// hardware address: the one the user named, now or earlier, else the one that
// follows from the IPv4 address, else from the IPv6 one.
func (r *Registry) Attach(ctx context.Context, ep Endpoint) (string, error) {
	var wanted mac
	if ep.MAC != "" {
		var err error
		if wanted, err = parseMAC(ep.MAC); err != nil {
			return "", err
		}
	}
	var out mac
	err := r.change(ctx, func(t *tx) error {
		leases, err := t.leasesOf(ep)
		if err != nil {
			return err
		}
		if wanted != (mac{}) {
			if err := t.macFree(ep, leases, wanted); err != nil {
				return err
			}
		}
		out = hardware(leases, wanted)
		for _, l := range leases {
			t.change(l, func(c *lease) {
				c.endpoint, c.unsure = ep.ID, false
				c.setMAC(out, wanted)
			})
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return out.String(), nil
}

// setMAC records the endpoint's hardware address where it does not follow
// from the lease's own.
func (l *lease) setMAC(m, byUser mac) {
	if byUser != (mac{}) {
		l.macByUser = true
	}
	if l.mac = m; !l.macByUser && m == macOf(l.addr) {
		l.mac = mac{}
	}
}

// hardware chooses an endpoint's MAC. leases are sorted, IPv4 first.
func hardware(leases []*lease, byUser mac) mac {
	if byUser != (mac{}) {
		return byUser
	}
	for _, l := range leases {
		if l.macByUser {
			return l.mac
		}
	}
	if leases[0].addr.Is4() {
		return macOf(leases[0].addr)
	}
	return leases[0].hardware()
}

// leasesOf finds the live leases of an endpoint's addresses, IPv4 first.
func (t *tx) leasesOf(ep Endpoint) ([]*lease, error) {
	pools := t.r.networkPools(ep.Network)
	if len(pools) == 0 {
		return nil, fmt.Errorf("%w %s: no pool belongs to it, so endpoint %s has no address there; remove the network and create it again",
			ErrUnknownNetwork, short(ep.Network), short(ep.ID))
	}
	leases := make([]*lease, 0, len(ep.Addrs))
	for _, a := range ep.Addrs {
		p := inNetwork(pools, a)
		if p == nil {
			return nil, fmt.Errorf("%w: %s, of endpoint %s, is in no subnet of network %s", ErrOutsidePool, a, short(ep.ID), pools[0].label())
		}
		l := p.addrs[a]
		if l != nil && t.forgot(l) {
			l = t.hold(l, l.fixed)
		}
		if l == nil || !l.live || l.host != me {
			return nil, fmt.Errorf("%w: %s in %s was not requested for endpoint %s, or was released since; start the container again", ErrNoLease, a, &p.rec, short(ep.ID))
		}
		leases = append(leases, l)
	}
	if len(leases) == 0 {
		return nil, fmt.Errorf("%w: endpoint %s has no address in network %s", ErrNoLease, short(ep.ID), pools[0].label())
	}
	slices.SortFunc(leases, func(a, b *lease) int { return a.addr.Compare(b.addr) })
	return leases, nil
}

// forgot tells whether a name may have been given its address by the process
// before this one, which ended before the store had it: a known name's request
// is answered first. Nobody asked for or released it since, and the engine,
// which comes with the address now, knows it from us. Not so where this process
// gave the address to another name, which lost it before its endpoint came.
func (t *tx) forgot(l *lease) bool {
	opened := t.r.opened
	_, anothers := t.r.gone[addrKey(l.pool.id, l.addr)]
	return !anothers && !l.live && l.host == me && !l.placeholder() && l.wantedAt().Before(opened) && t.now.Sub(opened) <= attachWithin
}

// macFree refuses a hardware address that another container of the network
// has, or that goes with an address which one may get.
func (t *tx) macFree(ep Endpoint, own []*lease, wanted mac) error {
	network := own[0].pool.label()
	if wanted.ours() && !slices.ContainsFunc(own, func(l *lease) bool { return macOf(l.addr) == wanted }) {
		return fmt.Errorf("%w: MAC address %s is one that dockstack gives out itself; choose one for endpoint %s in network %s that begins with neither %02x:%02x nor %02x",
			ErrNotUsable, wanted, short(ep.ID), network, macPrefix4>>8, macPrefix4&0xff, macPrefix6)
	}
	for _, p := range t.r.networkPools(ep.Network) {
		for _, l := range p.names {
			if l.mac == wanted && l.name != own[0].name && l.endpoint != ep.ID && t.held(l) {
				return fmt.Errorf("%w: MAC address %s in network %s belongs to %s; choose another", ErrAddressTaken, wanted, network, l.who())
			}
		}
	}
	return nil
}

// Detach says that the endpoint is gone. Its leases stay live until they are
// released. An unknown one is no error.
func (r *Registry) Detach(ctx context.Context, endpointID string) error {
	return r.change(ctx, func(t *tx) error {
		if key, lost := r.lost[endpointID]; lost {
			delete(r.lost, endpointID)
			r.solved(key)
		}
		for _, l := range slices.Clone(r.endpoints[endpointID]) {
			t.change(l, func(c *lease) {
				c.endpoint = ""
				c.asked = t.now.UnixMilli()
			})
		}
		return nil
	})
}

// Sweep is told at start which endpoints there still are. Their leases are
// tied to them again; every other live lease that is older than a minute was
// left behind by a crash and is parked.
func (r *Registry) Sweep(ctx context.Context, attached []Endpoint) error {
	// Each chunk in a commit of its own: after a reboot it may be all leases
	// there are, and containers that start then should not wait for that.
	for some := range slices.Chunk(attached, r.atOnce()) {
		err := r.change(ctx, func(t *tx) error {
			for _, ep := range some {
				t.reattach(ep)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	var left []*lease
	err := r.read(ctx, func(t *tx) { left = t.unattached() })
	for some := range slices.Chunk(left, r.atOnce()) {
		if err != nil {
			break
		}
		err = r.change(ctx, func(t *tx) error {
			for _, l := range some {
				// Not if it changed meanwhile: somebody wants it.
				if l.pool.names[l.name] == l {
					t.sweep(l)
				}
			}
			return nil
		})
	}
	return err
}

// unattached are the live leases without an endpoint, in the order of their
// keys: neighbours share the store's pages.
func (t *tx) unattached() []*lease {
	var out []*lease
	for _, p := range t.r.pools {
		for _, l := range p.names {
			if l.live && l.host == me && l.endpoint == "" {
				out = append(out, l)
			}
		}
	}
	slices.SortFunc(out, func(a, b *lease) int {
		return cmp.Or(strings.Compare(a.pool.id, b.pool.id), strings.Compare(a.name, b.name))
	})
	return out
}

// sweep parks a live lease without an endpoint, unless it may yet get one.
func (t *tx) sweep(l *lease) {
	if t.now.Sub(l.wantedAt()) > attachWithin {
		t.park(l)
		return
	}
	t.change(l, func(c *lease) { c.unsure = false })
}

func (t *tx) reattach(ep Endpoint) {
	pools := t.r.networkPools(ep.Network)
	for _, a := range ep.Addrs {
		if p := inNetwork(pools, a); p != nil && p.addrs[a] != nil && !t.over(p.addrs[a], ep.ID) {
			t.revive(p.addrs[a], ep.ID)
		}
	}
}

// over is whether an endpoint ended since it was found alive, with its lease: that one
// stays as it was left, or is another's by now.
func (t *tx) over(l *lease, endpoint string) bool {
	tied := l.runsHere() && l.endpoint == endpoint
	return !tied && t.r.cfg.Alive != nil && !t.r.cfg.Alive(endpoint)
}

func (t *tx) revive(l *lease, endpoint string) {
	key := leaseKey(l.pool.id, l.name)
	switch lostIt, lost := t.r.lost[endpoint]; {
	case t.elsewhere(l), l.host != me && t.away:
		return // it moved away
	case l.host == me:
	case lost && lostIt != key, !lost && !l.live:
		return // another name has the address since
	}
	delete(t.r.lost, endpoint)
	t.r.solved(key)
	t.change(l, func(c *lease) {
		c.host = me
		if !c.live {
			c.since = t.now.UnixMilli()
		}
		c.live, c.unsure, c.endpoint = true, false, endpoint
	})
}
