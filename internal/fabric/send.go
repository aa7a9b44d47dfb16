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
	b := &batch{next: change, send: func(c FlowChange) error { return f.sw.ChangeFlows(ctx, c) }}
	// The FDB comes first: a frame that leaves without an entry goes to all.
	tunnelErr = f.changeFDB(ctx)
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
			n.told = false
			f.far.forget(n)
		}
	}
	for _, vni := range slices.Sorted(maps.Keys(t.sites)) {
		n, s := f.far.net(vni), t.sites[vni]
		if n.in == s && !n.spread && len(n.wasAddr)+len(n.wasMAC) == 0 {
			continue
		}
		if err := n.install(s, b); err != nil {
			return err
		}
	}
	return nil
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

// changeFDB makes the FDBs of the kernel's vxlan devices as they should be.
func (f *Fabric) changeFDB(ctx context.Context) error {
	t := &f.have.tunnels
	var failed error
	for _, vni := range slices.Sorted(maps.Keys(t.devices)) {
		n, s := f.far.net(vni), t.sites[vni]
		if s == nil || n.told && n.in == s && !n.spread && len(n.wasMAC) == 0 {
			continue
		}
		c := n.fdb(s)
		n.told = true
		if !c.Reset && len(c.Add)+len(c.Del) == 0 {
			continue
		}
		if err := f.links.ChangeFDB(ctx, t.devices[vni].Name, c); err != nil {
			n.told = false
			failed = errors.Join(failed, fmt.Errorf("tell the kernel where the containers of network %s are: %w", s.net.ID, err))
		}
	}
	return failed
}
