package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/dockstack/dockstack/internal/fabric"
)

const (
	typeVeth = "veth"
	// maxAlias is the kernel's IFALIASZ less its end.
	maxAlias = 255
	// minMTU is the least that IPv4 allows.
	minMTU = 68
	// txQueue is the usual length; a virtual link would have none, and drops
	// instead of waiting under load.
	txQueue = 1000
)

// pair is what both kinds of veth pair have in common.
type pair struct {
	host, inner string
	mac         net.HardwareAddr
	alias       string
	mtu         int
	offloads    fabric.Offloads
}

// AddVeth makes a container's veth pair, or completes one that is there. Where
// the peer is in a container already, only the host's end is looked after.
func (m *Manager) AddVeth(ctx context.Context, spec fabric.VethSpec) error {
	p := pair{host: spec.Host, inner: spec.Peer, mac: spec.PeerMAC, alias: spec.Alias, mtu: spec.MTU, offloads: spec.Offloads}
	_, err := m.putPair(ctx, p)
	if err != nil {
		return fmt.Errorf("make interface %s: %w", spec.Host, err)
	}
	return nil
}

// putPair makes the pair be there and its host end be up. The inner end's link
// is nil when it is in another network namespace.
func (m *Manager) putPair(ctx context.Context, p pair) (netlink.Link, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	host, inner, err := m.findPair(p)
	if err != nil {
		return nil, err
	}
	if host == nil {
		if host, inner, err = m.newPair(p); err != nil {
			return nil, err
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err := m.completePort(host, p); err != nil {
		return nil, err
	}
	if inner == nil {
		return nil, nil //nolint:nilnil // documented: the inner end is elsewhere
	}
	return inner, m.completeInner(inner, p)
}

func (p pair) check() error {
	for _, n := range []string{p.host, p.inner} {
		if n == "" || len(n) >= unix.IFNAMSIZ {
			return fmt.Errorf("%w: a name has 1 to %d bytes, not %q", ErrBadSpec, unix.IFNAMSIZ-1, n)
		}
	}
	switch {
	case len(p.alias) > maxAlias:
		return fmt.Errorf("%w: alias of %d bytes, %d at most", ErrBadSpec, len(p.alias), maxAlias)
	case p.mtu < minMTU || p.mtu > 65535:
		return fmt.Errorf("%w: MTU %d is not within %d to 65535", ErrBadSpec, p.mtu, minMTU)
	case len(p.mac) != 6 || p.mac[0]&1 != 0:
		return fmt.Errorf("%w: %q is no unicast MAC", ErrBadSpec, p.mac)
	}
	return nil
}

// findPair returns the ends of a pair that is there; nil where there is none,
// or where there was one with another inner end, which it removed.
func (m *Manager) findPair(p pair) (host, inner netlink.Link, err error) {
	host, err = m.nl.LinkByName(p.host)
	if absent(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("look for %s: %w", p.host, err)
	}
	if host.Type() != typeVeth {
		return nil, nil, fmt.Errorf("%w: %s is a %s", ErrNotOurs, p.host, host.Type())
	}
	if peerElsewhere(host) {
		return host, nil, nil
	}
	inner, err = m.nl.LinkByIndex(host.Attrs().ParentIndex)
	if err != nil && !absent(err) {
		return nil, nil, fmt.Errorf("look for the peer of %s: %w", p.host, err)
	}
	if err == nil && inner.Attrs().Name == p.inner {
		return host, inner, nil
	}
	if err := m.nl.LinkDel(host); err != nil && !absent(err) {
		return nil, nil, fmt.Errorf("remove an older %s: %w", p.host, err)
	}
	return nil, nil, nil
}

// newPair makes a pair in one request: both ends appear together.
func (m *Manager) newPair(p pair) (host, inner netlink.Link, err error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.TxQLen = p.host, p.mtu, txQueue
	v := netlink.NewVeth(attrs)
	v.PeerName, v.PeerHardwareAddr = p.inner, p.mac
	v.PeerMTU, v.PeerTxQLen = uint32(p.mtu), txQueue
	err = m.nl.LinkAdd(v)
	if errors.Is(err, unix.EEXIST) {
		// A second call for the same pair was faster, or the inner name is
		// someone else's.
		host, inner, ferr := m.findPair(p)
		if ferr == nil && host == nil {
			ferr = fmt.Errorf("%w: %s", ErrNotOurs, p.inner)
		}
		return host, inner, ferr
	}
	if err != nil {
		return nil, nil, fmt.Errorf("add veth %s: %w", p.host, err)
	}
	if host, err = m.nl.LinkByName(p.host); err != nil {
		return nil, nil, fmt.Errorf("find new %s: %w", p.host, err)
	}
	if inner, err = m.nl.LinkByName(p.inner); err != nil {
		return nil, nil, fmt.Errorf("find new %s: %w", p.inner, err)
	}
	return host, inner, nil
}

// completePort makes the switch's end as it should be, and up.
func (m *Manager) completePort(l netlink.Link, p pair) error {
	if err := m.setMTU(l, p.mtu); err != nil {
		return err
	}
	if l.Attrs().Alias != p.alias {
		if err := m.nl.LinkSetAlias(l, p.alias); err != nil {
			return fmt.Errorf("set alias of %s: %w", p.host, err)
		}
	}
	if err := m.configure(l, portConf()); err != nil {
		return err
	}
	if l.Attrs().RawFlags&unix.IFF_NOARP == 0 {
		if err := m.nl.LinkSetARPOff(l); err != nil {
			return fmt.Errorf("turn off ARP on %s: %w", p.host, err)
		}
	}
	if l.Attrs().Flags&net.FlagUp == 0 {
		if err := m.nl.LinkSetUp(l); err != nil {
			return fmt.Errorf("set %s up: %w", p.host, err)
		}
	}
	return nil
}

// completeInner makes the other end as it should be, but leaves it down.
func (m *Manager) completeInner(l netlink.Link, p pair) error {
	if err := m.setMTU(l, p.mtu); err != nil {
		return err
	}
	if !bytes.Equal(l.Attrs().HardwareAddr, p.mac) {
		if err := m.nl.LinkSetHardwareAddr(l, p.mac); err != nil {
			return fmt.Errorf("set MAC of %s to %s: %w", p.inner, p.mac, err)
		}
	}
	return m.eth.limit(p.inner, p.offloads)
}

func (m *Manager) setMTU(l netlink.Link, mtu int) error {
	if l.Attrs().MTU == mtu {
		return nil
	}
	if err := m.nl.LinkSetMTU(l, mtu); err != nil {
		return fmt.Errorf("set MTU of %s to %d: %w", l.Attrs().Name, mtu, err)
	}
	return nil
}

// Raise implements fabric.Links.
func (m *Manager) Raise(_ context.Context, name string, mtu int) error {
	l, err := m.nl.LinkByName(name)
	if absent(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for %s: %w", name, err)
	}
	if err := m.setMTU(l, max(mtu, l.Attrs().MTU)); err != nil {
		return err
	}
	if l.Attrs().Flags&net.FlagUp != 0 {
		return nil
	}
	if err := m.nl.LinkSetUp(l); err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	return nil
}

// DeleteVeth removes pairs by their host ends. One deletion waits some 17 ms
// for the kernel to be done with the link, so they wait side by side.
func (m *Manager) DeleteVeth(ctx context.Context, hosts ...string) error {
	return m.deleteAll(ctx, typeVeth, hosts)
}

// deleteAll removes links of one type.
func (m *Manager) deleteAll(ctx context.Context, kind string, names []string) error {
	var g errgroup.Group
	g.SetLimit(deleters)
	errs := make([]error, len(names))
	for i, name := range names {
		g.Go(func() error {
			errs[i] = m.deleteOne(ctx, kind, name)
			return nil
		})
	}
	_ = g.Wait() // the errors are in errs: each deletion is tried
	return errors.Join(errs...)
}

func (m *Manager) deleteOne(ctx context.Context, kind, name string) error {
	h, err := m.spare(ctx)
	if err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	defer m.putBack(h)
	l, err := h.LinkByName(name)
	if absent(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for %s: %w", name, err)
	}
	if l.Type() != kind {
		return fmt.Errorf("remove %s: %w: it is a %s", name, ErrNotOurs, l.Type())
	}
	if err := h.LinkDel(l); err != nil && !absent(err) {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}
