package ipam

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"time"
)

// How long a pool that was asked for, and has no network yet, belongs to the
// network create that asked. The engine asks for the gateway right after the
// pool and creates the network right after that; what took longer was lost.
const (
	gatewayWithin = 2 * time.Second
	createWithin  = 15 * time.Second
)

// RequestPool gives the pool of a subnet, or one from the supernet. The same
// subnet and overlay always give the same pool, with the names that it had.
func (r *Registry) RequestPool(ctx context.Context, req PoolRequest) (Pool, error) {
	req, err := checkPool(req)
	if err != nil {
		return Pool{}, err
	}
	var routes []netip.Prefix
	if !req.Subnet.IsValid() && r.cfg.HostRoutes != nil {
		routes = r.cfg.HostRoutes()
	}
	var out Pool
	err = r.change(ctx, func(t *tx) error {
		wanted := req
		auto := !req.Subnet.IsValid()
		if auto {
			if wanted.Subnet, err = t.autoSubnet(req, routes); err != nil {
				return err
			}
			if p := r.pools[PoolID(wanted.Subnet, req.Overlay)]; p != nil && len(t.inUseBy(p)) > 0 {
				wanted.Range = p.rec.Range
			}
		}
		p, err := t.requestPool(wanted, auto)
		if err != nil {
			return err
		}
		out = p.public()
		return nil
	})
	return out, err
}

// checkPool refuses requests that make no sense, and drops host bits as
// Docker's command line does ("172.16.0.5/16" means 172.16.0.0/16).
func checkPool(req PoolRequest) (PoolRequest, error) {
	if len(req.Overlay) > maxOverlay {
		return req, fmt.Errorf("%w: an overlay name of %d bytes: %d is the most", ErrNotUsable, len(req.Overlay), maxOverlay)
	}
	if !req.Subnet.IsValid() {
		if req.Range.IsValid() {
			return req, fmt.Errorf("%w: --ip-range %s without a subnet: add --subnet", ErrNotUsable, req.Range)
		}
		return req, nil
	}
	req.Subnet = req.Subnet.Masked()
	first := req.Subnet.Addr()
	switch {
	case first.Is4In6():
		return req, fmt.Errorf("%w: subnet %s: write it as an IPv4 subnet", ErrNotUsable, req.Subnet)
	case req.Subnet.Bits() == 0 || first.IsUnspecified() || first.IsLoopback() || first.IsMulticast() || first.IsLinkLocalUnicast():
		return req, fmt.Errorf("%w: subnet %s is not for containers: choose a private one, such as 172.16.0.0/16 or fd00:1::/64", ErrNotUsable, req.Subnet)
	}
	if !req.Range.IsValid() {
		req.Range = req.Subnet
	}
	req.Range = req.Range.Masked()
	if req.Range.Bits() < req.Subnet.Bits() || !req.Subnet.Contains(req.Range.Addr()) {
		return req, fmt.Errorf("%w: --ip-range %s does not lie within --subnet %s", ErrOutsidePool, req.Range, req.Subnet)
	}
	return req, nil
}

// requestPool marks the subnet's pool as in use.
func (t *tx) requestPool(req PoolRequest, auto bool) (*pool, error) {
	id := PoolID(req.Subnet, req.Overlay)
	p := t.r.pools[id]
	if !req.Range.IsValid() {
		req.Range = req.Subnet
	}
	var others []string
	if p != nil {
		if err := t.available(p); err != nil {
			return nil, err
		}
		if others = t.inUseBy(p); len(others) > 0 && p.rec.Range != req.Range {
			t.doubt(poolKey(id))
			return nil, fmt.Errorf("%w: on %s, %s has the range %s and not %s; create it with --ip-range %s, as there",
				ErrMismatch, t.hostNames(others), &p.rec, p.rec.Range, req.Range, p.rec.Range)
		}
	}
	if other := t.overlapping(req.Subnet, req.Overlay, id); other != nil {
		return nil, fmt.Errorf("%w: %s shares addresses with %s of %s%s; choose another --subnet%s",
			ErrOverlap, req.Subnet, other.rec.Subnet, other.user(), t.onHosts(other), overlayHint(req.Overlay))
	}
	if p == nil {
		p = newPool(id)
		t.addPool(p)
	}
	if len(others) == 0 {
		t.countUse(p)
		t.setPool(p, func(rec *poolRecord) {
			rec.free()
			rec.Subnet, rec.Overlay, rec.Auto = req.Subnet, req.Overlay, auto
			rec.Range, rec.RequestedAt = req.Range, t.now
		})
	}
	t.setUse(p, func(use) *use { return &use{At: t.now} })
	return p, nil
}

// available tells why the pool can't be asked for again, if so.
func (t *tx) available(p *pool) error {
	if p.mine == nil {
		return nil
	}
	if p.mine.Network != "" {
		return fmt.Errorf("%w: %s is the subnet of network %s; choose another --subnet, or remove that network",
			ErrPoolInUse, p.rec.Subnet, p.label())
	}
	within := gatewayWithin
	if p.mine.Asked {
		within = createWithin
	}
	if age := t.now.Sub(p.mine.At); age >= 0 && age < within {
		return fmt.Errorf("%w: another network is being created on %s since %s; choose another --subnet, or try again in %s if that one failed",
			ErrPoolInUse, p.rec.Subnet, cmp.Or(age.Round(time.Millisecond), time.Millisecond), (within-age).Round(time.Second)+time.Second)
	}
	return nil
}

// inUse tells whether other networks must keep off the pool's addresses.
func (t *tx) inUse(p *pool) bool { return t.inUseHere(p) || len(t.inUseBy(p)) > 0 }

// inUseHere tells the same of this host's networks alone.
func (t *tx) inUseHere(p *pool) bool {
	return p.mine != nil && (p.mine.Network != "" || t.fresh(p.mine))
}

// fresh tells whether a network may yet come of a use.
func (t *tx) fresh(u *use) bool {
	age := t.now.Sub(u.At)
	return age >= 0 && age < bindWithin
}

// overlapping finds a pool in use, other than id, that shares addresses with
// subnet in the same overlay.
func (t *tx) overlapping(subnet netip.Prefix, overlay, id string) *pool {
	for _, p := range t.r.pools {
		if p.id != id && p.rec.Overlay == overlay && p.rec.Subnet.Overlaps(subnet) && t.inUse(p) {
			return p
		}
	}
	return nil
}

// user names who uses the pool.
func (p *pool) user() string {
	if p.network() != "" || len(p.others) > 0 {
		return "network " + p.label()
	}
	return "a network that is being created"
}

// onHosts names the hosts that use a pool which this one does not.
func (t *tx) onHosts(p *pool) string {
	if others := t.inUseBy(p); p.mine == nil && len(others) > 0 {
		return " on " + t.hostNames(others)
	}
	return ""
}

// label is the name of the pool's network, or the beginning of its id.
func (p *pool) label() string {
	return cmp.Or(p.networkName(), short(p.network()), p.rec.Subnet.String())
}

func overlayHint(overlay string) string {
	if overlay != "" {
		return ""
	}
	return ", or name an overlay of its own for it"
}

// free forgets what belonged to the network that had the pool.
func (r *poolRecord) free() {
	if r.Gateway.IsValid() {
		r.LastGateway = r.Gateway
	}
	r.Gateway, r.Aux, r.Exclude, r.VIPNames = netip.Addr{}, nil, nil, nil
}

// ReleasePool marks a pool as unused. Its names keep their addresses.
func (r *Registry) ReleasePool(ctx context.Context, id string) error {
	for more := true; more; {
		err := r.change(ctx, func(t *tx) error {
			p, err := t.pool(id)
			if err != nil {
				return err
			}
			more = t.releasePool(p)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// releasePool ends this host's use of the pool, and tells whether it has to be
// called again, because one commit can't do it all.
func (t *tx) releasePool(p *pool) (more bool) {
	// The engine removes no network that has containers: what is live still
	// was left behind.
	most := t.r.atOnce()
	for _, l := range p.names {
		if !l.live || l.host != me {
			continue
		}
		if most--; most < 0 {
			return true
		}
		t.park(l)
	}
	// Where several hosts have the record it stays as it is: one that is just
	// booting, or of which no news came yet, may have the network still. Who
	// makes it anew while nobody has it begins with an empty one.
	if !t.r.shared() {
		t.setPool(p, (*poolRecord).free)
	}
	t.setUse(p, func(use) *use { return nil })
	return false
}

// Unbind says that the network is gone. An unknown one is no error.
func (r *Registry) Unbind(ctx context.Context, networkID string) error {
	for more := true; more; {
		err := r.change(ctx, func(t *tx) error {
			more = false
			for _, p := range t.r.networkPools(networkID) {
				more = t.releasePool(p) || more
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// SetNetworkName remembers what the network is called, for people and DNS.
func (r *Registry) SetNetworkName(ctx context.Context, networkID, name string) error {
	return r.change(ctx, func(t *tx) error {
		pools := t.r.networkPools(networkID)
		if len(pools) == 0 {
			return fmt.Errorf("%w %s: no pool belongs to it", ErrUnknownNetwork, short(networkID))
		}
		for _, p := range pools {
			t.setUse(p, func(u use) *use {
				u.Name = name
				return &u
			})
			// The others may call it something else: whoever was first stays.
			if p.rec.NetworkName == "" || !t.away && len(t.inUseBy(p)) == 0 {
				t.setPool(p, func(rec *poolRecord) { rec.NetworkName = name })
			}
		}
		return nil
	})
}

func (t *tx) warn(msg string, attrs ...slog.Attr) { t.note(slog.LevelWarn, msg, attrs...) }
