package link

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// shownLinks is how many of a host's links an error lists.
const shownLinks = 12

// SourceTo returns the address from which this host sends to dst: what its
// tunnels begin at, unless a setting says otherwise.
func (m *Manager) SourceTo(_ context.Context, dst netip.Addr) (netip.Addr, error) {
	routes, err := m.nl.RouteGet(dst.Unmap().AsSlice())
	if err == nil && len(routes) == 0 {
		err = unix.ENETUNREACH
	}
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find the way to %s: %w", dst, err)
	}
	src, _ := netip.AddrFromSlice(routes[0].Src)
	src = src.Unmap()
	if why := unfit(src); why != "" {
		return netip.Addr{}, fmt.Errorf("%w: the way to %s begins at %s, which is %s; set DOCKSTACK_VTEP", ErrNoVTEP, dst, src, why)
	}
	return src, nil
}

// VTEP returns the address that a setting means: an address of this host, or an
// interface that has exactly one.
func (m *Manager) VTEP(ctx context.Context, setting string) (netip.Addr, error) {
	have, err := m.addrsByLink(ctx)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("DOCKSTACK_VTEP=%s: %w", setting, err)
	}
	want, perr := netip.ParseAddr(setting)
	var out netip.Addr
	if perr == nil {
		out, err = vtepByAddr(have, want.Unmap())
	} else {
		out, err = vtepByName(have, setting)
	}
	if err != nil {
		return netip.Addr{}, fmt.Errorf("DOCKSTACK_VTEP=%s: %w", setting, err)
	}
	return out, nil
}

func vtepByAddr(have []linkAddrs, want netip.Addr) (netip.Addr, error) {
	if why := unfit(want); why != "" {
		return netip.Addr{}, fmt.Errorf("%w: it is %s", ErrNoVTEP, why)
	}
	for _, l := range have {
		if slices.Contains(l.all, want) {
			return want, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("%w: no interface has this address; there are %s", ErrNoVTEP, listed(have))
}

func vtepByName(have []linkAddrs, name string) (netip.Addr, error) {
	i := slices.IndexFunc(have, func(l linkAddrs) bool { return l.name == name })
	if i < 0 {
		return netip.Addr{}, fmt.Errorf("%w: no such interface; there are %s", ErrNoVTEP, listed(have))
	}
	l := have[i]
	// Of an interface with both families IPv4 is taken, on every host the same.
	candidates := slices.DeleteFunc(slices.Clone(l.usable), netip.Addr.Is6)
	if len(candidates) == 0 {
		candidates = l.usable
	}
	switch len(candidates) {
	case 0:
		return netip.Addr{}, fmt.Errorf("%w: the interface has no address that other hosts could reach: %s", ErrNoVTEP, describe(l.name, l.all))
	case 1:
		return candidates[0], nil
	}
	return netip.Addr{}, fmt.Errorf("%w: the interface has several addresses, set the one that is meant: %s", ErrNoVTEP, describe(l.name, candidates))
}

// linkAddrs are the addresses of one link.
type linkAddrs struct {
	name  string
	index int
	mtu   int
	// all are in the kernel's order, usable those that may be a tunnel's end
	// without being named: neither temporary nor an interface's second one, such
	// as a VIP.
	all, usable []netip.Addr
}

// notMeant are the flags of addresses that nobody means by an interface's name.
const notMeant = unix.IFA_F_SECONDARY | unix.IFA_F_DEPRECATED | unix.IFA_F_DADFAILED

// addrsByLink returns every link with its addresses.
func (m *Manager) addrsByLink(ctx context.Context) ([]linkAddrs, error) {
	links, err := dump(ctx, m.nl.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	addrs, err := dump(ctx, func() ([]netlink.Addr, error) { return m.nl.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	out := make([]linkAddrs, 0, len(links))
	place := make(map[int]int, len(links))
	for _, l := range links {
		place[l.Attrs().Index] = len(out)
		out = append(out, linkAddrs{name: l.Attrs().Name, index: l.Attrs().Index, mtu: l.Attrs().MTU})
	}
	for i := range addrs {
		at, ok := place[addrs[i].LinkIndex]
		a := toPrefix(addrs[i].IPNet).Addr()
		if !ok || !a.IsValid() {
			continue
		}
		out[at].all = append(out[at].all, a)
		if unfit(a) == "" && addrs[i].Flags&notMeant == 0 {
			out[at].usable = append(out[at].usable, a)
		}
	}
	return out, nil
}

// listed are links that may be meant, for people.
func listed(have []linkAddrs) string {
	var text []string
	for _, l := range have {
		if len(l.usable) > 0 {
			text = append(text, describe(l.name, l.usable))
		}
	}
	switch {
	case len(text) == 0:
		return "none with an address"
	case len(text) > shownLinks:
		text = append(text[:shownLinks], "…")
	}
	return strings.Join(text, ", ")
}

// VTEPMTU returns the MTU from a tunnel address of this host towards others:
// that of its interface, or of a route by that interface where one is smaller.
// A VTEP on an interface that leads nowhere, as the loopback one, has that of
// the default route.
func (m *Manager) VTEPMTU(ctx context.Context, vtep netip.Addr) (int, error) {
	vtep = vtep.Unmap()
	l, err := m.linkWith(ctx, vtep)
	if err != nil {
		return 0, err
	}
	if l.name == loopback {
		return m.UnderlayMTU(ctx)
	}
	family := unix.AF_INET
	if vtep.Is6() {
		family = unix.AF_INET6
	}
	routes, err := dump(ctx, func() ([]netlink.Route, error) { return m.nl.RouteList(nil, family) })
	if err != nil {
		return 0, fmt.Errorf("list routes: %w", err)
	}
	mtu := l.mtu
	for i := range routes {
		if r := &routes[i]; linkOf(r) == l.index && r.MTU > 0 {
			mtu = min(mtu, r.MTU)
		}
	}
	return mtu, nil
}

// MTUTo returns the MTU from a tunnel address of this host to another host:
// that of the route, or of the interface that it leaves by.
func (m *Manager) MTUTo(ctx context.Context, vtep, peer netip.Addr) (int, error) {
	routes, err := m.nl.RouteGetWithOptions(peer.Unmap().AsSlice(), &netlink.RouteGetOptions{SrcAddr: vtep.Unmap().AsSlice()})
	if err == nil && len(routes) == 0 {
		err = unix.ENETUNREACH
	}
	if err != nil {
		return 0, fmt.Errorf("find the way from %s to %s: %w", vtep, peer, err)
	}
	if routes[0].MTU > 0 {
		return routes[0].MTU, nil
	}
	l, err := m.nl.LinkByIndex(linkOf(&routes[0]))
	if err != nil {
		return 0, fmt.Errorf("look for the interface towards %s: %w", peer, err)
	}
	if l.Attrs().Name == loopback {
		return m.VTEPMTU(ctx, vtep)
	}
	return l.Attrs().MTU, nil
}

// loopback is the name of that interface.
const loopback = "lo"

// linkWith returns the link that has an address.
func (m *Manager) linkWith(ctx context.Context, a netip.Addr) (linkAddrs, error) {
	have, err := m.addrsByLink(ctx)
	if err != nil {
		return linkAddrs{}, err
	}
	i := slices.IndexFunc(have, func(l linkAddrs) bool { return slices.Contains(l.all, a) })
	if i < 0 {
		return linkAddrs{}, fmt.Errorf("%w: no interface has %s; there are %s", ErrNoVTEP, a, listed(have))
	}
	return have[i], nil
}

// HasAddr returns nil if an interface of this host has the address, and an
// error that lists what there is otherwise.
func (m *Manager) HasAddr(ctx context.Context, a netip.Addr) error {
	_, err := m.linkWith(ctx, a.Unmap())
	if err != nil && !errors.Is(err, ErrNoVTEP) {
		return fmt.Errorf("look for %s: %w", a, err)
	}
	return err
}
