package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/dockstack/dockstack/internal/fabric"
)

// PutGateway makes the host's own interface in a network. The rules that keep
// forwarded traffic out are there before the route that lets any in.
func (m *Manager) PutGateway(ctx context.Context, spec fabric.GatewaySpec) error {
	if err := m.putGateway(ctx, spec); err != nil {
		return fmt.Errorf("make gateway interface %s: %w", spec.Inner, err)
	}
	return nil
}

func (m *Manager) putGateway(ctx context.Context, spec fabric.GatewaySpec) error {
	p := pair{host: spec.Host, inner: spec.Inner, mac: spec.MAC, alias: spec.Alias, mtu: spec.MTU, offloads: spec.Offloads}
	inner, err := m.putPair(ctx, p)
	if err != nil {
		return err
	}
	if inner == nil {
		return fmt.Errorf("%w: the peer of %s is in another network namespace", ErrNotOurs, spec.Host)
	}
	if err := m.configure(inner, gatewayConf()); err != nil {
		return err
	}
	if err := m.guard(ctx, spec.Inner, spec.Addrs); err != nil {
		return err
	}
	// A family that the host refuses must not keep the other one from working.
	addrErr := m.setAddrs(ctx, inner, spec.Addrs)
	if inner.Attrs().Flags&net.FlagUp == 0 {
		if err := m.nl.LinkSetUp(inner); err != nil {
			return fmt.Errorf("set %s up: %w", spec.Inner, err)
		}
	}
	return errors.Join(addrErr, m.SweepRules(ctx))
}

// setAddrs makes addrs the only addresses of l.
func (m *Manager) setAddrs(ctx context.Context, l netlink.Link, addrs []netip.Prefix) error {
	have, err := dump(ctx, func() ([]netlink.Addr, error) { return m.nl.AddrList(l, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("list addresses of %s: %w", l.Attrs().Name, err)
	}
	missing := make(map[netip.Prefix]bool, len(addrs))
	for _, a := range addrs {
		missing[a] = true
	}
	var errs []error
	for i := range have {
		if a := toPrefix(have[i].IPNet); missing[a] {
			delete(missing, a)
			continue
		}
		if err := m.nl.AddrDel(l, &have[i]); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			errs = append(errs, fmt.Errorf("remove address %s of %s: %w", have[i].IPNet, l.Attrs().Name, err))
		}
	}
	for _, a := range addrs {
		if missing[a] {
			errs = append(errs, m.addAddr(l, a))
		}
	}
	return errors.Join(errs...)
}

func (m *Manager) addAddr(l netlink.Link, a netip.Prefix) error {
	addr := &netlink.Addr{IPNet: toIPNet(a)}
	if a.Addr().Is6() {
		// Every host has this address: looking for a duplicate would find one.
		addr.Flags = unix.IFA_F_NODAD
	}
	err := m.nl.AddrAdd(l, addr)
	switch {
	case err == nil || errors.Is(err, unix.EEXIST):
		return nil
	case a.Addr().Is6() && (noFamily(err) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)):
		return fmt.Errorf("add address %s to %s: %w (%w)", a, l.Attrs().Name, ErrNoIPv6, err)
	default:
		return fmt.Errorf("add address %s to %s: %w", a, l.Attrs().Name, err)
	}
}

// RemoveGateway removes what PutGateway made. Rules of a gateway whose
// interface someone else removed go as well.
func (m *Manager) RemoveGateway(ctx context.Context, host string) error {
	if err := m.deleteOne(ctx, typeVeth, host); err != nil {
		return err
	}
	return m.SweepRules(ctx)
}

// toPrefix and toIPNet convert at netlink's edge, which speaks package net.
func toPrefix(n *net.IPNet) netip.Prefix { //nolint:forbidigo // netlink's edge
	if n == nil {
		return netip.Prefix{}
	}
	a, _ := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), ones)
}

func toIPNet(p netip.Prefix) *net.IPNet { //nolint:forbidigo // netlink's edge
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())} //nolint:forbidigo // netlink's edge
}
