package fabric

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// Status is how the fabric stands, for people.
type Status struct {
	SwitchState
	// Networks, Endpoints are how many are wanted.
	Networks, Endpoints int
	// Ports, Flows are how many the switch has of ours.
	Ports, Flows int
	// Tunnel is the way to the other hosts.
	Tunnel TunnelStatus
	// Displaced are endpoints whose address is another host's now.
	Displaced []Displaced
	// LastError is why what is wanted isn't so yet, empty when it is.
	LastError string
}

// TunnelStatus is how the way to other hosts stands.
type TunnelStatus struct {
	// Kind is TunnelFlow or TunnelKernel; empty where there is none, or none is
	// known yet.
	Kind string
	// VTEP and Port are where this host's tunnel ends.
	VTEP netip.Addr
	Port uint16
	// Peers is how many hosts frames are taken from.
	Peers int
	// Networks is how many networks have a tunnel, which is those with a container
	// here.
	Networks int
	// Remotes is how many addresses of containers on other hosts are known, in
	// these and other networks.
	Remotes int
	// Flows is how many of the flows are about other hosts.
	Flows int
	// Faults are peers that can't be used, and other things to put right.
	Faults []string
	// LastError is what is wrong with the tunnel itself.
	LastError string
}

// shown is what Status shows of the loop's own.
type shown struct {
	ports, flows int
	tunnel       TunnelStatus
	displaced    []Displaced
}

func (f *Fabric) showing(err error) shown {
	t := &f.have.tunnels
	s := shown{
		ports: len(f.have.ports), flows: len(f.have.flows) + f.far.count,
		tunnel: TunnelStatus{Networks: len(t.sites), Remotes: f.far.total, Flows: f.far.count, Faults: t.faults},
	}
	if g := t.ground; g != nil {
		s.tunnel.Kind, s.tunnel.VTEP, s.tunnel.Port, s.tunnel.Peers = g.kind, g.local, g.udp, len(g.peers)
	}
	if broken, ok := errors.AsType[*tunnelError](err); ok {
		s.tunnel.LastError = broken.Error()
	}
	for _, id := range slices.Sorted(maps.Keys(f.have.displaced)) {
		s.displaced = append(s.displaced, f.have.displaced[id])
	}
	return s
}

// Status returns how the fabric stands.
func (f *Fabric) Status() Status {
	state, _ := f.sw.State()
	f.mu.Lock()
	defer f.mu.Unlock()
	s := Status{
		SwitchState: state, Networks: len(f.want.networks), Endpoints: len(f.want.endpoints),
		Ports: f.shown.ports, Flows: f.shown.flows, Tunnel: f.shown.tunnel, Displaced: f.shown.displaced,
	}
	if f.lastErr != nil {
		s.LastError = f.lastErr.Error()
	}
	return s
}

// Alive is whether an endpoint may be in a container: where the kernel does not tell
// just now, nobody is to lose an address by that.
func (f *Fabric) Alive(endpointID string) bool {
	alive, err := f.InContainer(endpointID)
	return alive || err != nil
}

// InContainer is whether an endpoint's veth is there and its other end in a
// container; the error is why the kernel does not tell.
func (f *Fabric) InContainer(endpointID string) (bool, error) {
	f.mu.Lock()
	ep, known := f.want.endpoints[endpointID]
	f.mu.Unlock()
	if !known {
		return false, nil
	}
	l, found, err := f.links.Find(ep.port)
	if err != nil {
		return false, fmt.Errorf("look for the link of endpoint %s: %w", endpointID, err)
	}
	return found && l.PeerElsewhere, nil
}

// Drops returns how many packets of each endpoint port security has dropped
// since its port was made.
func (f *Fabric) Drops(ctx context.Context) (map[string]uint64, error) {
	byCookie, err := f.sw.Drops(ctx, tableSecurity)
	if err != nil {
		return nil, fmt.Errorf("read the drops: %w", err)
	}
	ports, err := f.sw.Ports(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the switch's ports: %w", err)
	}
	drops := make(map[string]uint64, len(ports))
	for _, p := range ports {
		if id := p.Facts[factEndpoint]; id != "" && p.Number > 0 {
			drops[id] = byCookie[memberCookie(p.Number)]
		}
	}
	return drops, nil
}

// Ready waits until the switch takes commands and the endpoints of an earlier
// run are known, and says why not when ctx ends first.
func (f *Fabric) Ready(ctx context.Context) error {
	if _, err := f.ready(ctx); err != nil {
		return err
	}
	for {
		st, changed := f.sw.State()
		if st.Up {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return f.explain(st, ctx.Err())
		}
	}
}

// SrcName returns the name of the endpoint's link that goes into a container,
// as Attach returned it; empty for an unknown endpoint.
func (f *Fabric) SrcName(endpointID string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, known := f.want.endpoints[endpointID]; !known {
		return ""
	}
	return f.cfg.peerName(endpointID)
}
