package fabric

import (
	"context"
	"errors"
	"fmt"
)

// fallen is whether somebody set a link down, or lowered its MTU: frames are
// lost without a trace. One above the network's does no harm. mtu is 0 where it
// is not known.
func (l Link) fallen(mtu int) bool { return l.Down || l.MTU > 0 && l.MTU < mtu }

// noteFallen has links that somebody set down, or that lost MTU, be made as they
// should be: gateways and tunnels by what makes them, endpoints' by raise.
func (f *Fabric) noteFallen(ctx context.Context, seats []seat, links map[string]Link) error {
	inner, err := f.links.List(ctx, innerPart+f.cfg.Prefix)
	if err != nil {
		return fmt.Errorf("read the host's links: %w", err)
	}
	for _, l := range inner {
		links[l.Name] = l
	}
	warn := func(name string) {
		f.log.WarnContext(ctx, "a link was set down, or its MTU lowered, by somebody else; it is put right", "name", name)
	}
	f.have.fallen = map[string]int{}
	for _, s := range seats {
		port := links[s.port]
		switch {
		case s.endpoint.ID != "" && port.fallen(s.network.MTU):
			warn(port.Name)
			f.have.fallen[port.Name] = s.network.MTU
		case s.endpoint.ID != "":
		case port.fallen(s.network.MTU), links[f.cfg.innerName(s.network.ID)].fallen(s.network.MTU):
			warn(port.Name)
			delete(f.have.gates, s.network.ID)
		}
	}
	for vni, spec := range f.have.tunnels.devices {
		if links[spec.Name].fallen(spec.MTU) {
			warn(spec.Name)
			delete(f.have.tunnels.devices, vni)
		}
	}
	return nil
}

// raise puts up endpoints' links that somebody set down. One that can't be is
// tried again, and keeps nothing else from its place.
func (f *Fabric) raise(ctx context.Context) error {
	var failed error
	for name, mtu := range f.have.fallen {
		if err := f.links.Raise(ctx, name, mtu); err != nil {
			failed = errors.Join(failed, fmt.Errorf("put the link %s up again: %w", name, err))
			continue
		}
		delete(f.have.fallen, name)
	}
	return failed
}
