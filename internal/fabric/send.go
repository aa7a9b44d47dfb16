package fabric

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// sendFlows makes flows, and the kernel's FDB, as they should be: change is what
// differs about this host, and what differs about others is found here.
//
// What goes wrong with the tunnel alone is told apart: this host's containers
// are served nevertheless.
func (f *Fabric) sendFlows(ctx context.Context, change FlowChange) (tunnelErr, err error) {
	b := &batch{
		limit: f.cfg.bundle, next: change,
		send: func(c FlowChange) error { return f.sw.ChangeFlows(ctx, c) },
		tell: func(vni uint32, c FDBChange) { tunnelErr = errors.Join(tunnelErr, f.tellFDB(ctx, vni, c)) },
	}
	if err = f.layFar(b); err == nil {
		err = b.flush()
	}
	if err != nil {
		f.have.flows = nil
		f.loseFar()
		return tunnelErr, fmt.Errorf("change flows: %w", err)
	}
	f.far.count += b.grown
	if f.have.tunnels.ground != nil {
		f.far.on = f.have.tunnels.ground
	}
	f.have.take(change)
	if f.busy() {
		f.poke()
	}
	return tunnelErr, nil
}

// take notes flows about this host as installed.
func (h *have) take(change FlowChange) {
	if len(change.Wipe) > 0 {
		h.flows = make(map[flowKey]Flow, len(change.Add))
	}
	for _, d := range change.Del {
		delete(h.flows, d.key())
	}
	for _, a := range change.Add {
		h.flows[a.key()] = a
	}
}

// layFar finds the difference of the flows about other hosts.
func (f *Fabric) layFar(b *batch) error {
	t := &f.have.tunnels
	g := t.ground
	if g == nil {
		return nil // what there is goes on
	}
	if f.far.on == nil || f.far.on.basis != g.basis {
		b.next.Wipe = append(b.next.Wipe, FarFlows)
		f.loseFar()
	}
	if f.far.on != g {
		var shared []Flow
		if g.tunnel != nil {
			shared = g.tunnel.shared(g)
		}
		c := diffFlows(t.shared, shared)
		b.grown -= len(t.shared)
		b.next.Add, b.next.Del = append(b.next.Add, c.Add...), append(b.next.Del, c.Del...)
		t.shared = make(map[flowKey]Flow, len(shared))
		for _, s := range shared {
			t.shared[s.key()] = s
		}
		b.grown += len(t.shared)
	}
	for _, n := range f.far.inOrder() {
		if n.in != nil && t.sites[n.vni] == nil {
			n.wipe(b)
			n.lost()
			f.far.forget(n)
		}
	}
	for _, vni := range slices.Sorted(maps.Keys(t.sites)) {
		n, s := f.far.net(vni), t.sites[vni]
		_, device := t.devices[vni]
		if n.in == s && !n.spread && !n.busy() && n.told == device {
			continue
		}
		if err := n.install(s, b, device); err != nil {
			return err
		}
	}
	return nil
}

// tellFDB changes the FDB of a network's vxlan device.
func (f *Fabric) tellFDB(ctx context.Context, vni uint32, c FDBChange) error {
	if err := f.links.ChangeFDB(ctx, f.have.tunnels.devices[vni].Name, c); err != nil {
		f.far.net(vni).told = false
		return fmt.Errorf("tell the kernel where the containers of VNI %d are: %w", vni, err)
	}
	return nil
}

// busy is whether there is more to install of what other hosts have.
func (f *Fabric) busy() bool {
	for vni := range f.have.tunnels.sites {
		if f.far.net(vni).busy() {
			return true
		}
	}
	return false
}

// loseFar notes that nothing is installed about other hosts, or that it's unknown
// what.
func (f *Fabric) loseFar() {
	for _, n := range f.far.nets {
		n.lost()
	}
	f.far.on, f.far.count = nil, 0
	f.have.tunnels.shared = map[flowKey]Flow{}
}
