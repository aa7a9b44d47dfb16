package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/dockstack/dockstack/internal/fabric"
)

const tunnelPort = 14789

// Frames go to the host that has the container, and those to all to every host;
// over IPv4 and over IPv6.
func TestTunnelCarriesFrames(t *testing.T) {
	for name, six := range map[string]bool{"IPv4 underlay": false, "IPv6 underlay": true} {
		t.Run(name, func(t *testing.T) {
			s := newSites(t, 3, six)
			for i, a := range s {
				others := slices.Delete(slices.Clone(s), i, i+1)
				must(t, a.m.PutTunnelFilter(t.Context(), fabric.TunnelFilter{Port: tunnelPort, Peers: vteps(others)}))
				for range 2 { // again changes nothing
					must(t, a.m.PutVXLAN(t.Context(), a.spec()))
					must(t, a.m.ChangeFDB(t.Context(), "dsx7", fabric.FDBChange{Reset: true, Add: entries(others...)}))
				}
				if got := a.permanents(t); len(got) != 4 {
					t.Errorf("host %d has entries %v", i, got)
				}
			}
			for _, to := range s[1:] {
				last := to.mac[5]
				for _, addr := range []string{fmt.Sprintf("10.0.0.%d", last), fmt.Sprintf("fd00::%d", last)} {
					if err := tcp(t, s[0].box, to.box, addr); err != nil {
						t.Errorf("TCP to %s: %v", addr, err)
					}
				}
			}
			if got := s[0].host.link(t, "dsx7").Attrs(); got.Flags&net.FlagUp == 0 || got.RawFlags&unix.IFF_NOARP == 0 || got.Alias != "tunnel of 7" || got.MTU != 1430 {
				t.Errorf("the device is %+v", got)
			}
			addrs, err := s[0].host.AddrList(s[0].host.link(t, "dsx7"), netlink.FAMILY_ALL)
			if err != nil || len(addrs) > 0 {
				t.Errorf("the device has addresses of its own: %v, %v", addrs, err)
			}
		})
	}
}

// An open kernel datapath on another host sends no checksums over IPv6.
func TestTunnelTakesPacketsWithoutChecksum(t *testing.T) {
	s := newSites(t, 2, true)
	for i, a := range s {
		must(t, a.m.ChangeFDB(t.Context(), "dsx7", fabric.FDBChange{Add: entries(s[1-i])}))
	}
	must(t, s[1].host.LinkDel(s[1].host.link(t, "dsx7")))
	theirs := wantedVXLAN(s[1].spec())
	theirs.UDP6ZeroCSumTx = true
	must(t, s[1].host.LinkAdd(theirs))
	s[1].host.up(t, "dsx7")
	s[1].host.enslave(t, "dsx7", "net")
	must(t, s[1].m.ChangeFDB(t.Context(), "dsx7", fabric.FDBChange{Add: entries(s[0])}))
	if err := tcp(t, s[0].box, s[1].box, "10.0.0.2"); err != nil {
		t.Error(err)
	}
}

// A device that was left by an earlier process is completed; what can't be
// changed makes it anew; an address is changed in place.
func TestPutVXLANMakesItSo(t *testing.T) {
	one := netip.MustParseAddr("192.0.2.1")
	base := fabric.VXLANSpec{Name: "dsx7", Alias: "a", VNI: 7, Local: one, Port: tunnelPort, MTU: 1450}
	entry := fabric.FDBEntry{MAC: [6]byte{2, 0, 0, 0, 0, 9}, VTEP: netip.MustParseAddr("192.0.2.9")}
	for name, tc := range map[string]struct {
		change func(*fabric.VXLANSpec)
		anew   bool
	}{
		"nothing":        {func(*fabric.VXLANSpec) {}, false},
		"alias and MTU":  {func(s *fabric.VXLANSpec) { s.Alias, s.MTU = "b", 1400 }, false},
		"address":        {func(s *fabric.VXLANSpec) { s.Local = one.Next() }, false},
		"VNI":            {func(s *fabric.VXLANSpec) { s.VNI = 8 }, true},
		"port":           {func(s *fabric.VXLANSpec) { s.Port++ }, true},
		"address family": {func(s *fabric.VXLANSpec) { s.Local = netip.MustParseAddr("2001:db8::1") }, true},
	} {
		t.Run(name, func(t *testing.T) {
			host := newSpace(t)
			m := host.manager(t)
			must(t, m.PutVXLAN(t.Context(), base))
			must(t, m.ChangeFDB(t.Context(), "dsx7", fabric.FDBChange{Add: []fabric.FDBEntry{entry}}))
			index := host.link(t, "dsx7").Attrs().Index
			want := base
			tc.change(&want)
			must(t, host.manager(t).PutVXLAN(t.Context(), want))
			l, ok := host.link(t, "dsx7").(*netlink.Vxlan)
			if !ok {
				t.Fatal("no vxlan device any more")
			}
			src, _ := netip.AddrFromSlice(l.SrcAddr)
			if l.VxlanId != int(want.VNI) || l.Port != int(want.Port) || src.Unmap() != want.Local || l.MTU != want.MTU || l.Alias != want.Alias || !l.Learning || l.Flags&net.FlagUp == 0 {
				t.Errorf("the device is %+v", l)
			}
			if anew := l.Index != index; anew != tc.anew {
				t.Errorf("made anew: %v, want %v", anew, tc.anew)
			}
			left, err := m.listFDB(l.Index)
			must(t, err)
			if kept := slices.Contains(left, entry); kept == tc.anew {
				t.Errorf("entry kept: %v; have %v", kept, left)
			}
		})
	}
}

// What somebody made under our name with other settings would not work.
func TestForeignVXLANIsMadeAnew(t *testing.T) {
	host := newSpace(t)
	spec := fabric.VXLANSpec{Name: "dsx7", VNI: 7, Local: netip.MustParseAddr("192.0.2.1"), Port: tunnelPort, MTU: 1450}
	for name, change := range map[string]func(*netlink.Vxlan){
		"no learning": func(v *netlink.Vxlan) { v.Learning = false },
		"a group":     func(v *netlink.Vxlan) { v.Group = net.IPv4(192, 0, 2, 200) },
		"proxy":       func(v *netlink.Vxlan) { v.Proxy = true },
	} {
		t.Run(name, func(t *testing.T) {
			v := wantedVXLAN(spec)
			change(v)
			must(t, host.LinkAdd(v))
			index := host.link(t, "dsx7").Attrs().Index
			m := host.manager(t)
			must(t, m.PutVXLAN(t.Context(), spec))
			if host.link(t, "dsx7").Attrs().Index == index {
				t.Error("it was kept")
			}
			for range 2 {
				must(t, m.RemoveVXLAN(t.Context(), "dsx7", "dsx8"))
			}
			if host.has("dsx7") {
				t.Error("it is still there")
			}
		})
	}
}

func TestBadTunnels(t *testing.T) {
	good := fabric.VXLANSpec{Name: "dsx7", VNI: 7, Local: netip.MustParseAddr("192.0.2.1"), Port: 4789, MTU: 1450}
	theirs := wantedVXLAN(good)
	theirs.Name = "somebodys"
	elsewhere := newSpace(t)
	for name, tc := range map[string]struct {
		change func(*fabric.VXLANSpec)
		before func(*space) error
		want   error
		says   string
	}{
		"no VNI":           {change: func(s *fabric.VXLANSpec) { s.VNI = 0 }, want: ErrBadSpec, says: "VNI"},
		"VNI too large":    {change: func(s *fabric.VXLANSpec) { s.VNI = 1 << 24 }, want: ErrBadSpec, says: "16777215"},
		"no port":          {change: func(s *fabric.VXLANSpec) { s.Port = 0 }, want: ErrBadSpec, says: "port"},
		"no address":       {change: func(s *fabric.VXLANSpec) { s.Local = netip.Addr{} }, want: ErrBadSpec, says: "no address"},
		"loopback address": {change: func(s *fabric.VXLANSpec) { s.Local = netip.IPv6Loopback() }, want: ErrBadSpec, says: "no other host"},
		"long name":        {change: func(s *fabric.VXLANSpec) { s.Name = "dsx3456789012345" }, want: ErrBadSpec, says: "15 bytes"},
		"long alias":       {change: func(s *fabric.VXLANSpec) { s.Alias = strings.Repeat("a", 256) }, want: ErrBadSpec, says: "alias"},
		"MTU too small":    {change: func(s *fabric.VXLANSpec) { s.MTU = 60 }, want: ErrBadSpec, says: "MTU"},
		"the name is taken": {before: func(h *space) error {
			return h.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "dsx7"}})
		}, want: ErrNotOurs, says: "bridge"},
		"another device has the VNI": {before: func(h *space) error { return h.LinkAdd(theirs) }, want: ErrVNITaken, says: "link somebodys"},
		"Docker's overlay has the VNI": {before: func(h *space) error {
			if err := h.LinkAdd(theirs); err != nil {
				return err
			}
			l, err := h.LinkByName(theirs.Name)
			if err != nil {
				return err
			}
			return h.LinkSetNsFd(l, int(elsewhere.fd))
		}, want: ErrVNITaken, says: "Docker"},
		"another program has the port": {before: func(*space) error {
			pc, err := net.ListenPacket("udp4", "0.0.0.0:4789")
			if err == nil {
				t.Cleanup(func() { _ = pc.Close() })
			}
			return err
		}, want: ErrPortTaken, says: "DOCKSTACK_VXLAN_PORT"},
	} {
		t.Run(name, func(t *testing.T) {
			host := newSpace(t)
			s := good
			if tc.change != nil {
				tc.change(&s)
			}
			if tc.before != nil {
				host.in(t, func() error { return tc.before(host) })
			}
			err := host.manager(t).PutVXLAN(t.Context(), s)
			if !errors.Is(err, tc.want) || !strings.Contains(fmt.Sprint(err), tc.says) {
				t.Fatalf("got %v; want %v that says %q", err, tc.want, tc.says)
			}
			t.Log(err)
			if l, lerr := host.LinkByName(s.Name); lerr == nil && l.Type() == typeVXLAN {
				t.Error("half a device is left")
			}
		})
	}
}
