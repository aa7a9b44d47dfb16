package link

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// datapathFamily is the generic netlink family of openvswitch.ko.
	datapathFamily = "ovs_datapath"
	// datapathLink is the link that a kernel datapath has.
	datapathLink = "ovs-system"
	// defaultLike is the longest prefix that counts as a default route: VPNs
	// write 0.0.0.0/1 and 128.0.0.0/1, and 2000::/3 is all of today's IPv6.
	defaultLike = 3
	// fallbackMTU is Ethernet's, for a host without a default route.
	fallbackMTU = 1500
)

// KernelDatapath is whether the kernel has Open vSwitch's datapath. Asking
// makes the kernel load the module where there is one, so neither the module
// nor a capability for it is needed here.
func KernelDatapath() (bool, error) {
	_, err := netlink.GenlFamilyGet(datapathFamily)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.ENOENT):
		return false, nil
	default:
		return false, fmt.Errorf("ask the kernel for %s: %w", datapathFamily, err)
	}
}

// KernelDatapathInUse is whether someone's Open vSwitch runs a kernel datapath
// in this network namespace. A second one would destroy its ports.
func (m *Manager) KernelDatapathInUse() (bool, error) {
	_, err := m.nl.LinkByName(datapathLink)
	if absent(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for %s: %w", datapathLink, err)
	}
	return true, nil
}

// HostRoutes returns what this host has routes to, or is itself, in all
// tables: what an automatic pool must not overlap. Default routes, multicast
// and link-local ones are not among them.
func (m *Manager) HostRoutes(ctx context.Context) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, family := range families {
		// Without a table in the filter the library shows the main one only.
		routes, err := dump(ctx, func() ([]netlink.Route, error) {
			return m.nl.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		})
		if noFamily(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		for i := range routes {
			if p := toPrefix(routes[i].Dst); taken(p, routes[i].Type) {
				out = append(out, p)
			}
		}
	}
	slices.SortFunc(out, comparePrefix)
	return slices.Compact(out), nil
}

// taken is whether a route means that its destination is in use.
func taken(p netip.Prefix, kind int) bool {
	switch kind {
	case unix.RTN_BROADCAST, unix.RTN_MULTICAST, unix.RTN_ANYCAST:
		return false
	}
	a := p.Addr()
	return p.IsValid() && p.Bits() > defaultLike && !a.IsMulticast() && !a.IsLinkLocalUnicast()
}

func comparePrefix(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// HostAddrs returns the host's own addresses, those of gateways and of the
// loopback interface included.
func (m *Manager) HostAddrs(ctx context.Context) ([]netip.Addr, error) {
	list, err := dump(ctx, func() ([]netlink.Addr, error) { return m.nl.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	out := make([]netip.Addr, 0, len(list))
	for _, a := range list {
		out = append(out, toPrefix(a.IPNet).Addr())
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out), nil
}

// UnderlayMTU returns the MTU towards other hosts: that of the preferred
// default route, or of its interface where the route has none.
func (m *Manager) UnderlayMTU(ctx context.Context) (int, error) {
	for _, family := range families {
		routes, err := dump(ctx, func() ([]netlink.Route, error) { return m.nl.RouteList(nil, family) })
		if noFamily(err) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("list routes: %w", err)
		}
		best := preferredDefault(routes)
		if best == nil {
			continue
		}
		if best.MTU > 0 {
			return best.MTU, nil
		}
		l, err := m.nl.LinkByIndex(linkOf(best))
		if err != nil {
			return 0, fmt.Errorf("look for the default route's interface: %w", err)
		}
		return l.Attrs().MTU, nil
	}
	return fallbackMTU, nil
}

// preferredDefault returns the default route with the least metric.
func preferredDefault(routes []netlink.Route) *netlink.Route {
	var best *netlink.Route
	for i := range routes {
		r := &routes[i]
		if r.Dst != nil && toPrefix(r.Dst).Bits() != 0 || linkOf(r) == 0 {
			continue
		}
		if best == nil || r.Priority < best.Priority {
			best = r
		}
	}
	return best
}

// linkOf returns the interface that a route leaves by; of several, the first.
func linkOf(r *netlink.Route) int {
	if r.LinkIndex != 0 || len(r.MultiPath) == 0 {
		return r.LinkIndex
	}
	return r.MultiPath[0].LinkIndex
}
