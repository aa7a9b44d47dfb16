package fabric

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// fakeVXLAN is a vxlan device in memory.
type fakeVXLAN struct {
	spec VXLANSpec
	// known are the permanent entries of MACs, flood the hosts of the others.
	known map[mac]netip.Addr
	flood map[netip.Addr]bool
}

func (l *fakeLinks) PutVXLAN(_ context.Context, spec VXLANSpec) error {
	if len(spec.Name) > 15 || spec.VNI == 0 || !spec.Local.IsValid() || spec.Port == 0 || spec.MTU == 0 || spec.Alias == "" {
		return fmt.Errorf("vxlan device %+v can't be made", spec)
	}
	l.mu.Lock()
	if l.failVXLAN != nil {
		l.mu.Unlock()
		return l.failVXLAN
	}
	if l.filter.Port != spec.Port {
		l.mu.Unlock()
		return errors.New("a tunnel without a filter: anybody could send")
	}
	old, there := l.vxlans[spec.Name]
	for name, v := range l.vxlans {
		if name != spec.Name && v.spec.VNI == spec.VNI && v.spec.Port == spec.Port {
			l.mu.Unlock()
			return fmt.Errorf("VNI %d has a device already", spec.VNI)
		}
	}
	same := there && old.spec.Local == spec.Local && old.spec.Port == spec.Port && old.spec.VNI == spec.VNI
	if same {
		old.spec = spec
		l.mu.Unlock()
		return nil
	}
	l.vxlans[spec.Name] = &fakeVXLAN{spec: spec, known: map[mac]netip.Addr{}, flood: map[netip.Addr]bool{}}
	l.mu.Unlock()
	l.add(Link{Name: spec.Name, Alias: spec.Alias})
	return nil
}

func (l *fakeLinks) ChangeFDB(_ context.Context, name string, c FDBChange) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := l.vxlans[name]
	if v == nil {
		return fmt.Errorf("no device %s", name)
	}
	if l.failFDB != nil {
		return l.failFDB
	}
	l.entries += len(c.Add) + len(c.Del)
	if c.Reset {
		clear(v.known)
		clear(v.flood)
	}
	for _, e := range c.Del {
		switch {
		case e.MAC == [6]byte{} && v.flood[e.VTEP]:
			delete(v.flood, e.VTEP)
		case e.MAC != [6]byte{} && v.known[e.MAC] == e.VTEP:
			delete(v.known, e.MAC)
		default:
			return fmt.Errorf("entry %v is not there", e)
		}
	}
	for _, e := range c.Add {
		if e.MAC == [6]byte{} {
			v.flood[e.VTEP] = true
		} else {
			v.known[e.MAC] = e.VTEP
		}
	}
	return nil
}

func (l *fakeLinks) RemoveVXLAN(_ context.Context, names ...string) error {
	for _, n := range names {
		l.remove(n)
	}
	return nil
}

func (l *fakeLinks) PutTunnelFilter(_ context.Context, filter TunnelFilter) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failFilter != nil {
		return l.failFilter
	}
	l.filter = filter
	return nil
}

// devices shows the vxlan devices with their FDBs.
func (l *fakeLinks) devices() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(l.vxlans)) {
		v := l.vxlans[name]
		fmt.Fprintf(&b, "%s vni=%d local=%s port=%d mtu=%d\n", name, v.spec.VNI, v.spec.Local, v.spec.Port, v.spec.MTU)
		for _, m := range slices.SortedFunc(maps.Keys(v.known), func(a, b mac) int { return slices.Compare(a[:], b[:]) }) {
			fmt.Fprintf(&b, "  %s at %s\n", m, v.known[m])
		}
		for _, vtep := range slices.SortedFunc(maps.Keys(v.flood), netip.Addr.Compare) {
			fmt.Fprintf(&b, "  all at %s\n", vtep)
		}
	}
	return b.String()
}
