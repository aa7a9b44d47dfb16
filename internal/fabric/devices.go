package fabric

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// putFilter makes the filter of the tunnels' UDP port.
func (f *Fabric) putFilter(ctx context.Context, want TunnelFilter) error {
	t := &f.have.tunnels
	if t.filter != nil && t.filter.Port == want.Port && slices.Equal(t.filter.Peers, want.Peers) {
		return nil
	}
	if err := f.links.PutTunnelFilter(ctx, want); err != nil {
		t.filter = nil
		return fmt.Errorf("let only peers send to UDP port %d: %w", want.Port, err)
	}
	t.filter = &want
	return nil
}

// putDevices makes the kernel's vxlan devices that are not yet as wanted. A
// device made anew under its name has an empty FDB, and its port is dead.
func (f *Fabric) putDevices(ctx context.Context, active []Network) error {
	t := &f.have.tunnels
	devices := map[uint32]VXLANSpec{}
	var failed error
	var put []string
	for _, n := range active {
		spec := VXLANSpec{
			Name: t.ground.tunnel.port(n.VNI), Alias: tunnelAlias(n.VNI), VNI: n.VNI,
			Local: t.ground.local, Port: t.ground.udp, MTU: n.MTU,
		}
		if t.devices[n.VNI] == spec {
			devices[n.VNI] = spec
			continue
		}
		f.far.net(n.VNI).told = false
		if err := f.links.PutVXLAN(ctx, spec); err != nil {
			failed = errors.Join(failed, fmt.Errorf("the tunnel of network %s (VNI %d, UDP port %d, address %s): %w", n.ID, n.VNI, spec.Port, spec.Local, err))
			continue
		}
		devices[n.VNI] = spec
		put = append(put, spec.Name)
	}
	failed = errors.Join(failed, f.keepDevices(ctx, devices))
	if len(put) == 0 {
		return failed
	}
	links, err := f.links.List(ctx, f.cfg.Prefix+tunnelPart)
	if err != nil {
		t.devices = nil
		return errors.Join(failed, fmt.Errorf("read the host's links: %w", err))
	}
	for _, l := range links {
		if slices.Contains(put, l.Name) && t.index[l.Name] != l.Index {
			f.have.reopen(l.Name)
		}
	}
	t.noteIndex(links)
	return failed
}

// keepDevices lets go of all devices but these. One that is a port goes with it.
func (f *Fabric) keepDevices(ctx context.Context, keep map[uint32]VXLANSpec) error {
	t := &f.have.tunnels
	var gone []string
	for vni, spec := range t.devices {
		_, kept := keep[vni]
		if _, port := f.have.ports[spec.Name]; !kept && !port {
			gone = append(gone, spec.Name)
		}
	}
	t.devices = keep
	if len(gone) == 0 {
		return nil
	}
	if err := f.links.RemoveVXLAN(ctx, gone...); err != nil {
		return fmt.Errorf("remove tunnels of networks without containers: %w", err)
	}
	return nil
}

// noteIndex remembers which links there are, to know one that was made anew.
func (t *tunnels) noteIndex(links []Link) {
	t.index = map[string]int{}
	for _, l := range links {
		if _, ours := parseTunnelAlias(l.Alias); ours {
			t.index[l.Name] = l.Index
		}
	}
}

// missDevices notices vxlan devices that somebody removed.
func (f *Fabric) missDevices(byName map[string]Link) {
	t := &f.have.tunnels
	for vni, spec := range t.devices {
		if l, there := byName[spec.Name]; !there || l.Index != t.index[spec.Name] {
			delete(t.devices, vni)
			f.have.reopen(spec.Name)
		}
	}
}
