package link

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/dockstack/dockstack/internal/fabric"
)

// A peer's container moves to a third host: the entry follows, what the kernel
// learned of others stays, and frames under a known MAC from elsewhere change
// nothing.
func TestChangeFDB(t *testing.T) {
	s := newSites(t, 1, false)[0]
	add := func(c fabric.FDBChange) {
		t.Helper()
		for range 2 {
			must(t, s.m.ChangeFDB(t.Context(), "dsx7", c))
		}
	}
	want := func(lines ...string) {
		t.Helper()
		if got := s.permanents(t); !slices.Equal(got, lines) {
			t.Errorf("got %q, want %q", got, lines)
		}
	}
	a, b := netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.3")
	mac := [6]byte{2, 0, 0, 0, 0, 1}
	add(fabric.FDBChange{Add: []fabric.FDBEntry{{MAC: mac, VTEP: a}, {VTEP: a}, {VTEP: b}}})
	want("00:00:00:00:00:00 192.0.2.2", "00:00:00:00:00:00 192.0.2.3", "02:00:00:00:00:01 192.0.2.2")
	// It moves; the removal of where it was comes in one change with it, or late.
	add(fabric.FDBChange{Add: []fabric.FDBEntry{{MAC: mac, VTEP: b}}, Del: []fabric.FDBEntry{{MAC: mac, VTEP: a}, {VTEP: a}}})
	want("00:00:00:00:00:00 192.0.2.3", "02:00:00:00:00:01 192.0.2.3")
	// The kernel learned two others; one of them becomes known.
	index := s.host.link(t, "dsx7").Attrs().Index
	known, learned := [6]byte{2, 0, 0, 0, 0, 2}, [6]byte{0, 0, 0x5e, 0, 1, 51}
	for _, m := range [][6]byte{known, learned} {
		must(t, s.host.NeighSet(&netlink.Neigh{
			LinkIndex: index, Family: unix.AF_BRIDGE, State: unix.NUD_REACHABLE, Flags: netlink.NTF_SELF, IP: a.AsSlice(), HardwareAddr: m[:],
		}))
	}
	add(fabric.FDBChange{Reset: true, Add: []fabric.FDBEntry{{VTEP: a}, {MAC: known, VTEP: b}}})
	want("00:00:00:00:00:00 192.0.2.2", "02:00:00:00:00:02 192.0.2.3")
	all, err := s.host.NeighList(index, unix.AF_BRIDGE)
	must(t, err)
	if !slices.ContainsFunc(all, func(n netlink.Neigh) bool { return slices.Equal(n.HardwareAddr, learned[:]) }) {
		t.Errorf("what was learned is gone: %v", all)
	}
	add(fabric.FDBChange{Reset: true})
	want()
	if err := s.m.ChangeFDB(t.Context(), "dsx8", fabric.FDBChange{}); err == nil || !strings.Contains(err.Error(), "dsx8") {
		t.Errorf("a device that isn't there: %v", err)
	}
}

func BenchmarkChangeFDB(b *testing.B) {
	const n = 10000
	m := newSpace(b).manager(b)
	must(b, m.PutVXLAN(b.Context(), fabric.VXLANSpec{Name: "dsx7", VNI: 7, Local: netip.MustParseAddr("192.0.2.1"), Port: tunnelPort, MTU: 1450}))
	change := fabric.FDBChange{Reset: true}
	for i := range n {
		change.Add = append(change.Add, fabric.FDBEntry{MAC: [6]byte{2, 0, 0, 0, byte(i >> 8), byte(i)}, VTEP: netip.AddrFrom4([4]byte{192, 0, 2, byte(2 + i%200)})})
	}
	for b.Loop() {
		for _, c := range []struct {
			unit   string
			change fabric.FDBChange
		}{{"add-ms", change}, {"same-ms", change}, {"remove-ms", fabric.FDBChange{Reset: true}}} {
			began := time.Now()
			must(b, m.ChangeFDB(b.Context(), "dsx7", c.change))
			b.ReportMetric(float64(time.Since(began).Milliseconds()), c.unit)
		}
	}
}
