package fabric

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// tunnels is what there is of them on this host. It belongs to the loop.
type tunnels struct {
	// ground is what is to be, nil until an underlay was told.
	ground *ground
	// from is what the ground was made from.
	from struct {
		rev      uint64
		datapath string
		trunk    int
	}
	// faults are peers that can't be used, and why.
	faults []string
	// sites of the networks that have a tunnel, by VNI.
	sites map[uint32]*site
	// idle is since when networks with a tunnel have had no container.
	idle map[uint32]time.Time
	// devices are the kernel's vxlan devices as last made, by VNI.
	devices map[uint32]VXLANSpec
	// index is that of vxlan devices when they were last seen, by name.
	index map[string]int
	// filter is the one in place, nil while that's unknown.
	filter *TunnelFilter
	// shared are the installed flows of all networks together.
	shared map[flowKey]Flow
}

// tunnelError is what is wrong with the tunnel itself. Containers of this host
// are served nevertheless.
type tunnelError struct{ error }

func (e *tunnelError) Unwrap() error { return e.error }

func brokenTunnel(errs ...error) error {
	if err := errors.Join(errs...); err != nil {
		return &tunnelError{err}
	}
	return nil
}

// active are the networks that have a tunnel: those with a container here. One
// whose last container has just ended keeps it for a while, most often another
// starts, and a network may have 100,000 addresses elsewhere.
func (f *Fabric) active(networks []Network, seats []seat) []Network {
	t := &f.have.tunnels
	busy := map[string]bool{}
	for _, s := range seats {
		if s.endpoint.ID != "" && s.displaced.Endpoint == "" {
			busy[s.network.ID] = true
		}
	}
	idle := map[uint32]time.Time{}
	var out []Network
	for _, n := range networks {
		if n.Alone || n.MTU == 0 { // the latter: recalled, not known yet
			continue
		}
		if !busy[n.ID] {
			if t.sites[n.VNI] == nil {
				continue
			}
			since, waiting := t.idle[n.VNI]
			if !waiting {
				since = time.Now()
			}
			if time.Since(since) >= f.cfg.LingerDelay {
				continue
			}
			idle[n.VNI] = since
		}
		out = append(out, n)
	}
	t.idle = idle
	return out
}

// plot decides on the tunnel, and makes what of it is the kernel's.
func (f *Fabric) plot(ctx context.Context, st SwitchState, under underlay, active []Network) error {
	if !under.told {
		return nil
	}
	t := &f.have.tunnels
	if t.ground == nil || t.from.rev != under.rev || t.from.datapath != st.Datapath {
		t.ground, t.faults = f.newGround(st.Datapath, under.Underlay)
		t.from.rev, t.from.datapath, t.from.trunk = under.rev, st.Datapath, 0
		for _, fault := range t.faults {
			f.log.WarnContext(ctx, "a host can't be reached", "error", fault)
		}
	}
	if t.ground.kind != TunnelKernel {
		return errors.Join(f.keepDevices(ctx, nil), f.putFilter(ctx, TunnelFilter{}))
	}
	if err := f.putFilter(ctx, TunnelFilter{Port: t.ground.udp, Peers: t.ground.peers}); err != nil {
		return err // without it anybody could send
	}
	return f.putDevices(ctx, active)
}

// newGround makes the ground, and tells which peers can't be used.
func (f *Fabric) newGround(datapath string, u Underlay) (*ground, []string) {
	g := &ground{vteps: map[hostRef]netip.Addr{}}
	if !u.VTEP.IsValid() || u.Port == 0 {
		return g, nil
	}
	g.nd, g.local, g.udp = ndModeOf(datapath), u.VTEP, u.Port
	g.kind, g.tunnel = f.cfg.tunnelOf(datapath)
	var faults []string
	owner := map[netip.Addr]string{}
	for _, p := range slices.SortedFunc(slices.Values(u.Peers), func(a, b Peer) int { return cmp.Compare(a.ID, b.ID) }) {
		v := p.VTEP.Unmap()
		switch {
		case !v.IsValid():
			faults = append(faults, fmt.Sprintf("host %s has no tunnel address", p.ID))
			continue
		case v == u.VTEP:
			faults = append(faults, fmt.Sprintf("host %s has this host's own tunnel address %s: give each host its own (DOCKSTACK_VTEP)", p.ID, v))
			continue
		case v.Is4() != u.VTEP.Is4():
			faults = append(faults, fmt.Sprintf("host %s has the tunnel address %s, this one %s: all must be of one family (DOCKSTACK_VTEP)", p.ID, v, u.VTEP))
			continue
		}
		if other, taken := owner[v]; taken {
			// Both are used: a host that was set up anew is there twice until its
			// former mark expires.
			faults = append(faults, fmt.Sprintf("hosts %s and %s have the same tunnel address %s", other, p.ID, v))
		}
		owner[v] = p.ID
		g.vteps[f.far.names.ref(p.ID)] = v
		g.peers = append(g.peers, v)
	}
	slices.SortFunc(g.peers, netip.Addr.Compare)
	g.peers = slices.Compact(g.peers)
	return g, faults
}

// tunnelBerths are the ports of the tunnel.
func (f *Fabric) tunnelBerths(active []Network) []berth {
	g := f.have.tunnels.ground
	if g == nil || g.kind == "" {
		return nil
	}
	if t, ok := g.tunnel.(flowTunnel); ok {
		if len(active) == 0 {
			return nil
		}
		return []berth{{ready: true, known: true, spec: PortSpec{
			Name: t.port(0), Facts: tunnelFacts(TunnelFlow), Type: "vxlan", Options: t.options(g.local, g.udp),
		}}}
	}
	var out []berth
	for _, n := range active {
		_, made := f.have.tunnels.devices[n.VNI]
		out = append(out, berth{ready: made, known: true, spec: PortSpec{
			Name: g.tunnel.port(n.VNI), Facts: tunnelFacts(n.ID),
		}})
	}
	return out
}

// site gives every network with a tunnel its place.
func (f *Fabric) site(active []Network, numbers map[string]int) {
	t := &f.have.tunnels
	if t.ground == nil {
		return
	}
	if n := numbers[f.cfg.Prefix+trunkName]; t.from.trunk != n {
		g := *t.ground
		g.trunk, t.from.trunk = n, n
		t.ground = &g
	}
	sites := map[uint32]*site{}
	if t.ground.kind != "" {
		for _, n := range active {
			s := &site{ground: t.ground, net: n, number: numbers[t.ground.tunnel.port(n.VNI)]}
			if len(n.Gateways) > 0 {
				copy(s.gateway[:], f.gatewayMAC(n))
			}
			if old := t.sites[n.VNI]; old != nil && old.ground == s.ground && old.same(s) && slices.Equal(old.net.VIPs, n.VIPs) {
				s = old
			}
			sites[n.VNI] = s
		}
	}
	t.sites = sites
}

// settleTunnels tells which ports of the tunnel the switch could not open.
func (f *Fabric) settleTunnels() error {
	g := f.have.tunnels.ground
	if g == nil || g.kind != TunnelFlow {
		return nil
	}
	p := f.have.ports[g.tunnel.port(0)]
	if p.Error == "" {
		return nil
	}
	f.have.audit = true
	hint := "something else on this host has that port (ss -ulnp); set another on every host (DOCKSTACK_VXLAN_PORT)"
	if g.udp == swarmPort {
		hint = "most likely Docker Swarm's overlay, whose port it is; set another on every host (DOCKSTACK_VXLAN_PORT)"
	}
	return fmt.Errorf("the switch can't open the tunnel on UDP port %d: %s: %s", g.udp, p.Error, hint)
}

// swarmPort is where Docker's own overlay listens.
const swarmPort = 4789
