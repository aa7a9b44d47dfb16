package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// The underlay is a bridge in a network namespace of its own; each host's eth0 is a veth into it.
const (
	underlayBridge = "underlay"
	underlayNet    = "192.0.2.%d/24"
	underlayGW     = 254 // the bridge itself: the hosts' default route, which leads nowhere else
)

// UnderlayNet is the path of the underlay's network namespace. What is at 192.0.2.254 there is outside of every host.
func (l *Lab) UnderlayNet() string { return fmt.Sprintf("/proc/%d/ns/net", l.underlay.pid) }

// UnderlayAddr is the underlay's own address, which is every host's default gateway.
func (l *Lab) UnderlayAddr() string { return underlayAddr(underlayGW) }

func (l *Lab) startUnderlay(ctx context.Context) error {
	place := func(int) error { return nil }
	var err error
	l.underlay, err = spawn(ctx, l.lock, syscall.CLONE_NEWNET, underlayName(l.ID), spec{}, place)
	if err != nil {
		return err
	}
	return inNetns(l.underlay.pid, func(n *netlink.Handle, _ netns.NsHandle) error {
		br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: underlayBridge}}
		if err := n.LinkAdd(br); err != nil {
			return fmt.Errorf("add bridge: %w", err)
		}
		return configure(n, underlayBridge, underlayGW)
	})
}

// underlayAddr is address n of the underlay.
func underlayAddr(n int) string { return strings.TrimSuffix(fmt.Sprintf(underlayNet, n), "/24") }

// plug joins the network namespace of pid to the underlay: there its link is called name, here eth0, with address n.
func (l *Lab) plug(pid int, name string, n int) error {
	return inNetns(pid, func(host *netlink.Handle, ns netns.NsHandle) error {
		err := inNetns(l.underlay.pid, func(under *netlink.Handle, _ netns.NsHandle) error {
			return cable(under, name, ns)
		})
		if err != nil {
			return err
		}
		if err := up(host, "lo"); err != nil {
			return err
		}
		if err := configure(host, "eth0", n); err != nil {
			return err
		}
		return defaultRoute(host)
	})
}

func defaultRoute(h *netlink.Handle) error {
	gw, err := netlink.ParseAddr(fmt.Sprintf(underlayNet, underlayGW))
	if err != nil {
		return err
	}
	if err := h.RouteAdd(&netlink.Route{Gw: gw.IP}); err != nil {
		return fmt.Errorf("add default route: %w", err)
	}
	return nil
}

// cable makes a veth from the underlay's bridge to the namespace to.
func cable(under *netlink.Handle, name string, to netns.NsHandle) error {
	br, err := under.LinkByName(underlayBridge)
	if err != nil {
		return err
	}
	// After a reboot the old veth may still be on its way out with the old namespace.
	if old, err := under.LinkByName(name); err == nil {
		if err := under.LinkDel(old); err != nil && !errors.Is(err, syscall.ENODEV) {
			return fmt.Errorf("remove the old link: %w", err)
		}
	}
	veth := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: name, MasterIndex: br.Attrs().Index},
		PeerName:  "eth0", PeerNamespace: netlink.NsFd(int(to)),
	}
	if err := under.LinkAdd(veth); err != nil {
		return fmt.Errorf("add veth: %w", err)
	}
	return under.LinkSetUp(veth)
}

// configure gives the link address n of the underlay and sets it up.
func configure(h *netlink.Handle, name string, n int) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return err
	}
	addr, err := netlink.ParseAddr(fmt.Sprintf(underlayNet, n))
	if err != nil {
		return err
	}
	if err := h.AddrAdd(link, addr); err != nil {
		return fmt.Errorf("address of %s: %w", name, err)
	}
	return up(h, name)
}

func up(h *netlink.Handle, name string) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return err
	}
	return h.LinkSetUp(link)
}

// inNetns runs do with a netlink socket in the network namespace of pid. This process stays where it is.
func inNetns(pid int, do func(*netlink.Handle, netns.NsHandle) error) error {
	ns, err := netns.GetFromPid(pid)
	if err != nil {
		return fmt.Errorf("network namespace of %d: %w", pid, err)
	}
	defer func() { _ = ns.Close() }()
	n, err := netlink.NewHandleAt(ns)
	if err != nil {
		return err
	}
	defer n.Close()
	return do(n, ns)
}
