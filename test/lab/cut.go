package lab

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Cut takes the host off the underlay, as a pulled plug behind its switch does: its own link stays up. A reboot mends it.
func (h *Host) Cut(context.Context) error {
	return h.lab.port(h.Name, func(n *netlink.Handle, port, _ netlink.Link) error { return n.LinkSetNoMaster(port) })
}

// Mend ends a Cut.
func (h *Host) Mend(context.Context) error {
	return h.lab.port(h.Name, func(n *netlink.Handle, port, br netlink.Link) error {
		if port.Attrs().MasterIndex == br.Attrs().Index {
			return nil // the kernel would take it off and join it again
		}
		return n.LinkSetMaster(port, br)
	})
}

// port calls do with the underlay's end of a machine's link, and with the bridge.
func (l *Lab) port(name string, do func(n *netlink.Handle, port, br netlink.Link) error) error {
	return inNetns(l.underlay.pid, func(n *netlink.Handle, _ netns.NsHandle) error {
		port, err := n.LinkByName(name)
		if err != nil {
			return fmt.Errorf("the underlay's link to %s: %w", name, err)
		}
		br, err := n.LinkByName(underlayBridge)
		if err != nil {
			return err
		}
		return do(n, port, br)
	})
}

// CutEtcd keeps the host and the given etcd members apart, or all members if none is given. Whatever else is on the
// underlay still reaches both.
func (h *Host) CutEtcd(ctx context.Context, members ...*Member) error {
	return h.lab.between(ctx, "add", h.Name, h.lab.named(members))
}

// MendEtcd ends a CutEtcd.
func (h *Host) MendEtcd(ctx context.Context, members ...*Member) error {
	return h.lab.between(ctx, "delete", h.Name, h.lab.named(members))
}

// Cut keeps the member and the other members apart. Hosts still reach them all.
func (m *Member) Cut(ctx context.Context) error { return m.lab.between(ctx, "add", m.Name, m.others()) }

// Mend ends a Cut.
func (m *Member) Mend(ctx context.Context) error {
	return m.lab.between(ctx, "delete", m.Name, m.others())
}

func (m *Member) others() []string {
	var all []string
	for _, o := range m.lab.Etcd {
		if o != m {
			all = append(all, o.Name)
		}
	}
	return all
}

func (l *Lab) named(members []*Member) []string {
	if len(members) == 0 {
		members = l.Etcd
	}
	var all []string
	for _, m := range members {
		all = append(all, m.Name)
	}
	return all
}

// between adds or deletes, in the filter of the underlay's bridge, that a machine and others are kept apart.
func (l *Lab) between(ctx context.Context, verb, name string, others []string) error {
	if len(others) == 0 {
		return errors.New("nothing to be cut from: this lab has no such etcd member")
	}
	var pairs []string
	for _, o := range others {
		pairs = append(pairs, fmt.Sprintf("%q . %q, %q . %q", name, o, o, name))
	}
	list := strings.Join(pairs, ", ")
	// The sets are declared over and over, and pairs are added before they are deleted: either may be there or not.
	script := `add table bridge dslab
add set bridge dslab apart { type ifname . ifname; }
add chain bridge dslab forward { type filter hook forward priority 0; }
flush chain bridge dslab forward
add rule bridge dslab forward iifname . oifname @apart drop
add element bridge dslab apart { ` + list + " }\n"
	if verb == "delete" {
		script += "delete element bridge dslab apart { " + list + " }\n"
	}
	cmd := exec.CommandContext(ctx, "nsenter", "-t", strconv.Itoa(l.underlay.pid), "-n", "--", "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	_, err := output(cmd, "nft on the underlay")
	return err
}

// Readdress gives the host another address on the underlay instead of its own, until it reboots.
func (h *Host) Readdress(_ context.Context, addr string) error {
	return inNetns(h.init.pid, func(n *netlink.Handle, _ netns.NsHandle) error {
		link, err := n.LinkByName("eth0")
		if err != nil {
			return err
		}
		to, err := netlink.ParseAddr(addr + "/24")
		if err != nil {
			return err
		}
		from, err := netlink.ParseAddr(h.Addr + "/24")
		if err != nil {
			return err
		}
		if err := n.AddrDel(link, from); err != nil {
			return fmt.Errorf("remove %s: %w", h.Addr, err)
		}
		if err := n.AddrAdd(link, to); err != nil {
			return fmt.Errorf("add %s: %w", addr, err)
		}
		h.Addr = addr
		return defaultRoute(n) // went with the old address
	})
}

// SetMTU changes the MTU of the host's link to the underlay, at both ends, until the host reboots.
func (h *Host) SetMTU(_ context.Context, mtu int) error {
	err := h.lab.port(h.Name, func(n *netlink.Handle, port, _ netlink.Link) error { return n.LinkSetMTU(port, mtu) })
	if err != nil {
		return err
	}
	return inNetns(h.init.pid, func(n *netlink.Handle, _ netns.NsHandle) error {
		link, err := n.LinkByName("eth0")
		if err != nil {
			return err
		}
		return n.LinkSetMTU(link, mtu)
	})
}
