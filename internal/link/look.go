package link

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// procNet is the kernel's list of sockets, of the calling thread's namespace.
const procNet = "/proc/thread-self/net/"

// Bound returns the addresses on which sockets of this network namespace have a
// port, of a protocol "udp" or "tcp"; of TCP those that listen. The kernel's own,
// as vxlan devices have them, are among them. Whose they are only a look at the
// host's processes tells.
func Bound(protocol string, port uint16) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, file := range []string{protocol, protocol + "6"} {
		f, err := os.Open(procNet + file)
		if errors.Is(err, os.ErrNotExist) {
			continue // a kernel without the family
		}
		if err != nil {
			return nil, fmt.Errorf("list %s sockets: %w", protocol, err)
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			if at, listens := parseSocket(lines.Text(), protocol); listens && at.Port() == port {
				out = append(out, at.Addr())
			}
		}
		err = lines.Err()
		_ = f.Close()
		if err != nil {
			return nil, fmt.Errorf("list %s sockets: %w", protocol, err)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out), nil
}

// tcpListen is the state of a socket that listens, as the kernel prints it.
const tcpListen = "0A"

// parseSocket reads a line of the kernel's list.
func parseSocket(line, protocol string) (at netip.AddrPort, listens bool) {
	fields := strings.Fields(line)
	if len(fields) < 4 {
		return at, false
	}
	host, port, ok := strings.Cut(fields[1], ":")
	raw, err := hex.DecodeString(host)
	n, perr := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil || perr != nil || len(raw)%4 != 0 {
		return at, false
	}
	// Words in the machine's order, which is little endian wherever this runs.
	for i := 0; i < len(raw); i += 4 {
		slices.Reverse(raw[i : i+4])
	}
	a, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), ok && (protocol == "udp" || fields[3] == tcpListen)
}

// VXLANDevice is a vxlan device of this network namespace.
type VXLANDevice struct {
	Name, Alias string
	VNI         int
	// External: the packet's own data says where it goes, as Open vSwitch's does.
	// Such a one shares its UDP port with no other.
	External bool
	Up       bool
}

// VXLANs returns the vxlan devices that have a UDP port.
func (m *Manager) VXLANs(ctx context.Context, port uint16) ([]VXLANDevice, error) {
	all, err := dump(ctx, m.nl.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	var out []VXLANDevice
	for _, l := range all {
		if v, ok := l.(*netlink.Vxlan); ok && v.Port == int(port) {
			out = append(out, VXLANDevice{Name: v.Name, Alias: v.Alias, VNI: v.VxlanId, External: v.FlowBased, Up: v.Flags&1 != 0})
		}
	}
	return out, nil
}

// Supports is whether the kernel can make links of a kind. Nothing is made: a
// request that says too little is refused in another way than a kind that is not
// known. The kernel loads the module where there is one.
func (m *Manager) Supports(kind string) (bool, error) {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	req.Sockets = m.raw
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	req.AddData(msg)
	// A link can't have this address, so that kinds which need nothing else are
	// refused as well.
	req.AddData(nl.NewRtAttr(unix.IFLA_ADDRESS, []byte{1}))
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated(kind))
	req.AddData(info)
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	switch {
	case errors.Is(err, unix.EINVAL):
		return true, nil
	case errors.Is(err, unix.EOPNOTSUPP):
		return false, nil
	case err == nil:
		err = errors.New("a request that can't be served was")
	}
	return false, fmt.Errorf("ask the kernel for links of kind %s: %w", kind, err)
}

// HostRoute is a way of this host's.
type HostRoute struct {
	To   netip.Prefix
	Link string
}

// Overlaps returns the routes of this host that overlap a subnet, but for those
// by the links whose names begin with a prefix.
func (m *Manager) Overlaps(ctx context.Context, subnet netip.Prefix, but string) ([]HostRoute, error) {
	family := unix.AF_INET
	if subnet.Addr().Is6() {
		family = unix.AF_INET6
	}
	routes, err := dump(ctx, func() ([]netlink.Route, error) {
		return m.nl.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	})
	if noFamily(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	names := map[int]string{}
	var out []HostRoute
	for i := range routes {
		p := toPrefix(routes[i].Dst)
		if !taken(p, routes[i].Type) || !p.Overlaps(subnet) {
			continue
		}
		index := linkOf(&routes[i])
		if _, known := names[index]; !known {
			if l, err := m.nl.LinkByIndex(index); err == nil {
				names[index] = l.Attrs().Name
			}
		}
		if name := names[index]; !strings.HasPrefix(name, but) {
			out = append(out, HostRoute{To: p, Link: name})
		}
	}
	slices.SortFunc(out, func(a, b HostRoute) int { return comparePrefix(a.To, b.To) })
	return slices.Compact(out), nil
}

// PeerMTUs returns the MTU of the other end of each veth whose name begins with
// prefix, also where that is in a container.
func (m *Manager) PeerMTUs(ctx context.Context, prefix string) (map[string]int, error) {
	all, err := dump(ctx, m.nl.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	out := map[string]int{}
	for _, l := range all {
		a := l.Attrs()
		if !strings.HasPrefix(a.Name, prefix) || l.Type() != typeVeth || !peerElsewhere(l) {
			continue
		}
		mtu, err := m.mtuAt(a.NetNsID, a.ParentIndex)
		if absent(err) || errors.Is(err, unix.EINVAL) {
			continue // it has just gone
		}
		if err != nil {
			return nil, fmt.Errorf("look at the other end of %s: %w", a.Name, err)
		}
		out[a.Name] = mtu
	}
	return out, nil
}

// iflaTargetNetNS is IFLA_TARGET_NETNSID: it asks in another namespace, by the
// number that ours has for it.
const iflaTargetNetNS = 46

func (m *Manager) mtuAt(namespace, index int) (int, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_ACK)
	req.Sockets = m.raw
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(iflaTargetNetNS, nl.Uint32Attr(uint32(namespace))))
	answers, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil {
		return 0, err
	}
	if len(answers) == 0 {
		return 0, unix.ENODEV
	}
	l, err := netlink.LinkDeserialize(nil, answers[0])
	if err != nil {
		return 0, err
	}
	return l.Attrs().MTU, nil
}

// Ways are the interfaces by which packets between this host and another leave
// and come.
type Ways struct {
	// Out is the interface by which packets to the other host leave, Home the one
	// that has the address which they come to.
	Out, Home string
	// Strict: Home takes packets only from hosts to which packets leave by it
	// (rp_filter).
	Strict bool
}

// WaysTo returns the ways between an address of this host and another host.
func (m *Manager) WaysTo(ctx context.Context, from, to netip.Addr) (Ways, error) {
	routes, err := m.nl.RouteGetWithOptions(to.Unmap().AsSlice(), &netlink.RouteGetOptions{SrcAddr: from.Unmap().AsSlice()})
	if err == nil && len(routes) == 0 {
		err = unix.ENETUNREACH
	}
	if err != nil {
		return Ways{}, fmt.Errorf("find the way from %s to %s: %w", from, to, err)
	}
	out, err := m.nl.LinkByIndex(linkOf(&routes[0]))
	if err != nil {
		return Ways{}, fmt.Errorf("look for the interface towards %s: %w", to, err)
	}
	home, err := m.linkWith(ctx, from.Unmap())
	if err != nil {
		return Ways{}, err
	}
	w := Ways{Out: out.Attrs().Name, Home: home.name}
	if from.Unmap().Is4() {
		w.Strict = max(rpFilter("all"), rpFilter(home.name)) == 1
	}
	return w, nil
}

// rpFilter is the setting of a link, 0 if it can't be read.
func rpFilter(name string) int {
	text, err := os.ReadFile("/proc/sys/net/ipv4/conf/" + name + "/rp_filter")
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return n
}
