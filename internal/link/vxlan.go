package link

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/dockstack/dockstack/internal/fabric"
)

const (
	typeVXLAN = "vxlan"
	// maxVNI is the largest that the header has room for.
	maxVNI = 1<<24 - 1
)

// What a frame grows by between hosts: the inner Ethernet header, VXLAN, UDP and
// the outer IP header (RFC 7348, section 5).
const (
	overhead4 = 14 + 8 + 8 + 20
	overhead6 = 14 + 8 + 8 + 40
)

// Overhead is how much smaller a network's MTU is than that of the way between
// the hosts, for tunnels from this address.
func Overhead(vtep netip.Addr) int {
	if vtep.Unmap().Is6() {
		return overhead6
	}
	return overhead4
}

// PutVXLAN makes a vxlan device, or completes the one that is there. The
// kernel's routes say by which interface its packets leave, so that a host's way
// to the others may change under it.
//
// It sends UDP checksums, which cost nothing where the inner packet's is known,
// and which over IPv6 are all that guards the outer addresses. It takes packets
// without: Open vSwitch's kernel datapath on another host sends such.
func (m *Manager) PutVXLAN(ctx context.Context, spec fabric.VXLANSpec) error {
	if err := m.putVXLAN(ctx, spec); err != nil {
		return fmt.Errorf("make tunnel interface %s (VNI %d, UDP port %d, from %s): %w", spec.Name, spec.VNI, spec.Port, spec.Local, err)
	}
	return nil
}

func (m *Manager) putVXLAN(ctx context.Context, spec fabric.VXLANSpec) error {
	spec.Local = spec.Local.Unmap()
	if err := checkVXLAN(spec); err != nil {
		return err
	}
	l, err := m.findVXLAN(spec)
	if err != nil {
		return err
	}
	made := l == nil
	if made {
		if l, err = m.newVXLAN(ctx, spec); err != nil {
			return err
		}
	}
	p := pair{host: spec.Name, alias: spec.Alias, mtu: spec.MTU}
	if err := m.completePort(l, p); err != nil {
		err = upError(err)
		if made { // no half of a device
			err = errors.Join(err, m.nl.LinkDel(l))
		}
		return err
	}
	return nil
}

// upError explains why a device does not come up: only then the kernel opens
// its socket.
func upError(err error) error {
	if errors.Is(err, unix.EADDRINUSE) {
		return fmt.Errorf("%w: %w", ErrPortTaken, err)
	}
	return err
}

func checkVXLAN(s fabric.VXLANSpec) error {
	switch {
	case s.Name == "" || len(s.Name) >= unix.IFNAMSIZ:
		return fmt.Errorf("%w: a name has 1 to %d bytes", ErrBadSpec, unix.IFNAMSIZ-1)
	case len(s.Alias) > maxAlias:
		return fmt.Errorf("%w: alias of %d bytes, %d at most", ErrBadSpec, len(s.Alias), maxAlias)
	case s.VNI == 0 || s.VNI > maxVNI:
		return fmt.Errorf("%w: a VNI is 1 to %d", ErrBadSpec, maxVNI)
	case s.Port == 0:
		return fmt.Errorf("%w: no UDP port", ErrBadSpec)
	case s.MTU < minMTU || s.MTU > 65535:
		return fmt.Errorf("%w: MTU %d is not within %d to 65535", ErrBadSpec, s.MTU, minMTU)
	}
	if why := unfit(s.Local); why != "" {
		return fmt.Errorf("%w: tunnel address %s is %s", ErrBadSpec, s.Local, why)
	}
	return nil
}

// findVXLAN returns the device if it is there; nil if there is none, or if there
// was one that can't become what it should be, which it removed.
func (m *Manager) findVXLAN(spec fabric.VXLANSpec) (netlink.Link, error) {
	l, err := m.nl.LinkByName(spec.Name)
	if absent(err) {
		return nil, nil //nolint:nilnil // documented
	}
	if err != nil {
		return nil, fmt.Errorf("look for it: %w", err)
	}
	have, ok := l.(*netlink.Vxlan)
	if !ok {
		return nil, fmt.Errorf("%w: %s is a %s", ErrNotOurs, spec.Name, l.Type())
	}
	want := wantedVXLAN(spec)
	if sameVXLAN(have, want) {
		if have.SrcAddr.Equal(want.SrcAddr) {
			return l, nil
		}
		// A host that got another address keeps its entries this way, and the
		// switch its port.
		if m.setLocal(l, spec.Local) == nil {
			return l, nil
		}
	}
	if err := m.nl.LinkDel(l); err != nil && !absent(err) {
		return nil, fmt.Errorf("remove the older one: %w", err)
	}
	return nil, nil //nolint:nilnil // documented
}

func wantedVXLAN(spec fabric.VXLANSpec) *netlink.Vxlan {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.TxQLen = spec.Name, spec.MTU, txQueue
	return &netlink.Vxlan{
		LinkAttrs: attrs, VxlanId: int(spec.VNI), SrcAddr: spec.Local.AsSlice(), Port: int(spec.Port), Learning: true,
		UDPCSum: true, UDP6ZeroCSumRx: spec.Local.Is6(),
	}
}

// sameVXLAN compares all that a device can't change later; the local address
// can, within a family.
func sameVXLAN(a, b *netlink.Vxlan) bool {
	type fixed struct {
		id, port, dev                         int
		ipv6, group                           bool
		learning, csum, noCsumTx, noCsumRx    bool
		flow, proxy, rsc, l2miss, l3miss, gbp bool
	}
	of := func(v *netlink.Vxlan) fixed {
		return fixed{
			id: v.VxlanId, port: v.Port, dev: v.VtepDevIndex,
			ipv6: v.SrcAddr.To4() == nil, group: v.Group != nil && !v.Group.IsUnspecified(),
			learning: v.Learning, csum: v.UDPCSum, noCsumTx: v.UDP6ZeroCSumTx, noCsumRx: v.UDP6ZeroCSumRx,
			flow: v.FlowBased, proxy: v.Proxy, rsc: v.RSC, l2miss: v.L2miss, l3miss: v.L3miss, gbp: v.GBP,
		}
	}
	return of(a) == of(b)
}

// newVXLAN makes the device. It is down.
func (m *Manager) newVXLAN(ctx context.Context, spec fabric.VXLANSpec) (netlink.Link, error) {
	err := m.nl.LinkAdd(wantedVXLAN(spec))
	switch {
	case errors.Is(err, unix.EEXIST):
		// A second call for it was faster, or another device has the VNI.
		if l, ferr := m.nl.LinkByName(spec.Name); ferr == nil && l.Type() == typeVXLAN {
			return l, nil
		}
		return nil, fmt.Errorf("%w: %s: %w", ErrVNITaken, m.holderOf(ctx, spec), err)
	case noFamily(err):
		return nil, fmt.Errorf("%w: %w", ErrNoVXLAN, err)
	case err != nil:
		return nil, err
	}
	l, err := m.nl.LinkByName(spec.Name)
	if err != nil {
		return nil, fmt.Errorf("find the new one: %w", err)
	}
	return l, nil
}

// holderOf tells who has the VNI.
func (m *Manager) holderOf(ctx context.Context, spec fabric.VXLANSpec) string {
	all, err := dump(ctx, m.nl.LinkList)
	if err != nil {
		return "links can't be listed: " + err.Error()
	}
	for _, l := range all {
		if v, ok := l.(*netlink.Vxlan); ok && v.VxlanId == int(spec.VNI) && v.Port == int(spec.Port) {
			return "link " + v.Name
		}
	}
	return "no link here, so by one that was moved to another network namespace, as Docker's overlay driver does"
}

// setLocal gives the device another address of its own.
func (m *Manager) setLocal(l netlink.Link, local netip.Addr) error {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	req.Sockets = m.raw
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(l.Attrs().Index)
	req.AddData(msg)
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated(typeVXLAN))
	kind := nl.IFLA_VXLAN_LOCAL
	if local.Is6() {
		kind = nl.IFLA_VXLAN_LOCAL6
	}
	info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(kind, local.AsSlice())
	req.AddData(info)
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// RemoveVXLAN removes vxlan devices, side by side.
func (m *Manager) RemoveVXLAN(ctx context.Context, names ...string) error {
	return m.deleteAll(ctx, typeVXLAN, names)
}

// unfit says why an address can't be a host's end of tunnels, "" if it can.
func unfit(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return "no address"
	case a.IsUnspecified():
		return "no particular address"
	case a.IsLoopback():
		return "one that no other host reaches"
	case a.IsMulticast():
		return "a multicast address"
	case a.Is6() && a.IsLinkLocalUnicast(), a.Zone() != "":
		return "known on one link only"
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "the broadcast address"
	}
	return ""
}

// describe lists a link's addresses for people.
func describe(name string, addrs []netip.Addr) string {
	if len(addrs) == 0 {
		return name + " (no address)"
	}
	text := make([]string, len(addrs))
	for i, a := range addrs {
		text[i] = a.String()
	}
	return name + " (" + strings.Join(text, ", ") + ")"
}
