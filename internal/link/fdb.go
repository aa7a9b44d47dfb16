package link

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/dockstack/dockstack/internal/fabric"
)

// permanent is the state of our entries: what the kernel learns from frames
// doesn't change them, and a frame that comes from elsewhere with such a MAC is
// dropped.
const permanent = unix.NUD_PERMANENT | unix.NUD_NOARP

// ChangeFDB changes the permanent entries of a vxlan device. What is new is
// there before what is old goes. One entry takes some 15 µs.
func (m *Manager) ChangeFDB(ctx context.Context, name string, change fabric.FDBChange) error {
	h, err := m.spare(ctx)
	if err != nil {
		return fmt.Errorf("change entries of %s: %w", name, err)
	}
	defer m.putBack(h)
	l, err := h.LinkByName(name)
	if err != nil {
		return fmt.Errorf("change entries of %s: %w", name, err)
	}
	if l.Type() != typeVXLAN {
		return fmt.Errorf("change entries of %s: %w: it is a %s", name, ErrNotOurs, l.Type())
	}
	f := fdb{h: h, index: l.Attrs().Index}
	if change.Reset {
		if err := m.resetFDB(ctx, f, &change); err != nil {
			return fmt.Errorf("change entries of %s: %w", name, err)
		}
	}
	if err := f.change(ctx, change); err != nil {
		return fmt.Errorf("change entries of %s: %w", name, err)
	}
	return nil
}

// resetFDB makes of a reset the difference from what is there.
func (m *Manager) resetFDB(ctx context.Context, f fdb, change *fabric.FDBChange) error {
	have, err := dump(ctx, func() ([]fabric.FDBEntry, error) { return m.listFDB(f.index) })
	if err != nil {
		return fmt.Errorf("list them: %w", err)
	}
	wanted := make(map[fabric.FDBEntry]bool, len(change.Add))
	for _, e := range change.Add {
		wanted[e] = true
	}
	there := make(map[fabric.FDBEntry]bool, len(have))
	change.Del = nil
	for _, e := range have {
		there[e] = true
		if !wanted[e] {
			change.Del = append(change.Del, e)
		}
	}
	missing := make([]fabric.FDBEntry, 0, max(len(wanted)-len(have), 0))
	for _, e := range change.Add {
		if !there[e] {
			missing = append(missing, e)
		}
	}
	change.Add = missing
	return nil
}

// listFDB returns the permanent entries of a device. The library's own listing
// asks for those of every device, which is too much where there are many.
func (m *Manager) listFDB(index int) ([]fabric.FDBEntry, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETNEIGH, unix.NLM_F_DUMP)
	req.Sockets = m.raw
	msg := nl.NewIfInfomsg(unix.AF_BRIDGE)
	msg.Index = int32(index)
	req.AddData(msg)
	answers, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWNEIGH)
	if err != nil {
		return nil, err
	}
	out := make([]fabric.FDBEntry, 0, len(answers))
	for _, a := range answers {
		n, err := netlink.NeighDeserialize(a)
		if err != nil {
			return nil, err
		}
		vtep, ok := netip.AddrFromSlice(n.IP)
		// A bridge that a device is a port of has entries for it as well.
		if !ok || n.LinkIndex != index || n.State&unix.NUD_PERMANENT == 0 || n.Flags&netlink.NTF_SELF == 0 || len(n.HardwareAddr) != 6 {
			continue
		}
		out = append(out, fabric.FDBEntry{MAC: [6]byte(n.HardwareAddr), VTEP: vtep.Unmap()})
	}
	return out, nil
}

// fdb is one device's table, changed over one socket.
type fdb struct {
	h     *netlink.Handle
	index int
}

func (f fdb) change(ctx context.Context, change fabric.FDBChange) error {
	for _, e := range change.Add {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n := f.neigh(e)
		put := f.h.NeighSet
		if e.MAC == ([6]byte{}) {
			put = f.h.NeighAppend // one beside the other
		}
		if err := put(&n); err != nil {
			return fmt.Errorf("add %s by %s: %w", n.HardwareAddr, e.VTEP, err)
		}
	}
	for _, e := range change.Del {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n := f.neigh(e)
		if err := f.h.NeighDel(&n); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("remove %s by %s: %w", n.HardwareAddr, e.VTEP, err)
		}
	}
	return nil
}

func (f fdb) neigh(e fabric.FDBEntry) netlink.Neigh {
	return netlink.Neigh{
		LinkIndex: f.index, Family: unix.AF_BRIDGE, State: permanent, Flags: netlink.NTF_SELF,
		IP: e.VTEP.Unmap().AsSlice(), HardwareAddr: e.MAC[:],
	}
}
