package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/dockstack/dockstack/internal/fabric"
)

func spec(host, peer string) fabric.VethSpec {
	return fabric.VethSpec{
		Host: host, Peer: peer, PeerMAC: net.HardwareAddr{2, 0x42, 10, 0, 0, 7},
		Alias: "dockstack endpoint 1", MTU: 1450, Offloads: fabric.OffloadAll,
	}
}

func TestAddVethMakesBothEndsAsAsked(t *testing.T) {
	host := newSpace(t)
	m := host.manager(t)
	s := spec("dsv1", "dsc1")
	for range 2 { // the second time completes, and changes nothing
		must(t, m.AddVeth(t.Context(), s))
	}
	port, peer := host.link(t, "dsv1"), host.link(t, "dsc1")
	if a := port.Attrs(); a.MTU != 1450 || a.Alias != s.Alias || a.Flags&net.FlagUp == 0 || a.RawFlags&unix.IFF_NOARP == 0 {
		t.Errorf("host end: %+v", a)
	}
	if a := peer.Attrs(); a.MTU != 1450 || a.HardwareAddr.String() != s.PeerMAC.String() || a.Flags&net.FlagUp != 0 || a.RawFlags&unix.IFF_NOARP != 0 {
		t.Errorf("peer: %+v", a)
	}
	for file, want := range map[string]string{
		"ipv4/conf/dsv1/forwarding": "0", "ipv4/conf/dsv1/arp_ignore": "8",
		"ipv4/conf/dsv1/drop_unicast_in_l2_multicast": "1", "ipv6/conf/dsv1/addr_gen_mode": "1",
	} {
		host.sysctlIs(t, file, want)
	}
	host.up(t, "dsc1") // carrier: now an address would come
	if addrs, err := host.AddrList(port, netlink.FAMILY_ALL); err != nil || len(addrs) != 0 {
		t.Errorf("the host end has addresses: %v, %v", addrs, err)
	}
}

func TestAddVethCompletesWhatDiffers(t *testing.T) {
	host := newSpace(t)
	m := host.manager(t)
	must(t, m.AddVeth(t.Context(), spec("dsv1", "dsc1")))
	must(t, host.LinkSetDown(host.link(t, "dsv1")))
	s := spec("dsv1", "dsc1")
	s.MTU, s.Alias, s.PeerMAC = 9000, "other", net.HardwareAddr{2, 0x42, 10, 0, 0, 8}
	index := host.link(t, "dsv1").Attrs().Index
	must(t, m.AddVeth(t.Context(), s))
	port, peer := host.link(t, "dsv1").Attrs(), host.link(t, "dsc1").Attrs()
	if port.MTU != 9000 || peer.MTU != 9000 || port.Alias != "other" || port.Flags&net.FlagUp == 0 || peer.HardwareAddr.String() != s.PeerMAC.String() {
		t.Errorf("not completed: %+v, %+v", port, peer)
	}
	if port.Index != index {
		t.Error("the pair was made anew for what can be changed in place")
	}
	must(t, m.AddVeth(t.Context(), spec("dsv1", "dsc2")))
	if !host.has("dsc2") || host.has("dsc1") {
		t.Error("a pair with another peer stayed")
	}
}

// What somebody set down or made smaller is seen, and put right; what is larger
// stays, and a link that is gone is nobody's fault.
func TestRaise(t *testing.T) {
	host := newSpace(t)
	m := host.manager(t)
	must(t, m.AddVeth(t.Context(), spec("dsv1", "dsc1")))
	is := func(down bool, mtu int) {
		t.Helper()
		if l, there, err := m.Find("dsv1"); err != nil || !there || l.Down != down || l.MTU != mtu {
			t.Errorf("it is %+v (%v, %v), want %v and %d", l, there, err, down, mtu)
		}
	}
	is(false, 1450)
	must(t, host.LinkSetDown(host.link(t, "dsv1")))
	must(t, host.LinkSetMTU(host.link(t, "dsv1"), 1300))
	is(true, 1300)
	must(t, m.Raise(t.Context(), "dsv1", 0))
	is(false, 1300)
	must(t, m.Raise(t.Context(), "dsv1", 1450))
	is(false, 1450)
	must(t, m.Raise(t.Context(), "dsv1", 1400))
	is(false, 1450)
	must(t, m.Raise(t.Context(), "dsnone", 1450))
}

func TestAddVethRefuses(t *testing.T) {
	host := newSpace(t)
	m := host.manager(t)
	host.bridge(t, "dsbridge")
	host.bridge(t, "dsc9")
	for name, tc := range map[string]struct {
		change func(*fabric.VethSpec)
		want   error
	}{
		"a name of 16 bytes":         {func(s *fabric.VethSpec) { s.Host = "dsv4567890123456" }, ErrBadSpec},
		"no peer's name":             {func(s *fabric.VethSpec) { s.Peer = "" }, ErrBadSpec},
		"an MTU that IPv4 forbids":   {func(s *fabric.VethSpec) { s.MTU = 67 }, ErrBadSpec},
		"an MTU beyond IPv4":         {func(s *fabric.VethSpec) { s.MTU = 65536 }, ErrBadSpec},
		"a group's MAC":              {func(s *fabric.VethSpec) { s.PeerMAC[0] |= 1 }, ErrBadSpec},
		"no MAC":                     {func(s *fabric.VethSpec) { s.PeerMAC = nil }, ErrBadSpec},
		"an alias of 256 bytes":      {func(s *fabric.VethSpec) { s.Alias = strings.Repeat("a", 256) }, ErrBadSpec},
		"unknown offloads":           {func(s *fabric.VethSpec) { s.Offloads = "some" }, ErrBadSpec},
		"the name of another link":   {func(s *fabric.VethSpec) { s.Host = "dsbridge" }, ErrNotOurs},
		"a peer with another's name": {func(s *fabric.VethSpec) { s.Peer = "dsc9" }, ErrNotOurs},
	} {
		t.Run(name, func(t *testing.T) {
			s := spec("dsv9", "dspeer")
			tc.change(&s)
			if err := m.AddVeth(t.Context(), s); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

func TestListTellsWhereThePeerIs(t *testing.T) {
	host, box := newSpace(t), newSpace(t)
	m := host.manager(t)
	must(t, m.AddVeth(t.Context(), spec("dsv1", "dsc1")))
	must(t, m.AddVeth(t.Context(), spec("dsv2", "dsc2")))
	box.take(t, host, "dsc1", "eth0")
	links, err := m.List(t.Context(), "dsv")
	must(t, err)
	got := map[string]bool{}
	for _, l := range links {
		got[l.Name] = l.PeerElsewhere
		if l.Alias != "dockstack endpoint 1" || l.Index == 0 {
			t.Errorf("incomplete: %+v", l)
		}
	}
	if len(got) != 2 || !got["dsv1"] || got["dsv2"] {
		t.Errorf("got %v, want dsv1's peer elsewhere and dsv2's here", got)
	}
	for _, l := range links {
		if one, found, err := m.Find(l.Name); err != nil || !found || one != l {
			t.Errorf("alone it is %+v, %t, %v; among all %+v", one, found, err, l)
		}
	}
	if l, found, err := m.Find("dsv3"); err != nil || found {
		t.Errorf("a link that isn't there is %+v, %v", l, err)
	}
	s := spec("dsv1", "dsc1")
	s.Alias = "known again"
	must(t, m.AddVeth(t.Context(), s))
	if a := host.link(t, "dsv1").Attrs(); a.Alias != s.Alias {
		t.Errorf("alias %q", a.Alias)
	}
	if a := box.link(t, "eth0").Attrs(); a.MTU != 1450 || a.HardwareAddr.String() != s.PeerMAC.String() || a.Flags&net.FlagUp == 0 {
		t.Errorf("the container's end was touched: %+v", a)
	}
}

func TestDeleteVeth(t *testing.T) {
	host := newSpace(t)
	m := host.manager(t)
	var names []string
	for i := range 20 {
		names = append(names, fmt.Sprintf("dsv%d", i))
		must(t, m.AddVeth(t.Context(), spec(names[i], fmt.Sprintf("dsc%d", i))))
	}
	names = append(names, "dsvabsent", names[0])
	must(t, m.DeleteVeth(t.Context(), names...))
	must(t, m.DeleteVeth(t.Context(), names...))
	if left, err := m.List(t.Context(), "ds"); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	host.bridge(t, "dsvbridge")
	if err := m.DeleteVeth(t.Context(), "dsvbridge"); !errors.Is(err, ErrNotOurs) || !host.has("dsvbridge") {
		t.Errorf("a bridge under our name: %v", err)
	}
}

func TestManyAtOnce(t *testing.T) {
	host := newSpace(t)
	m := host.manager(t)
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			name := fmt.Sprintf("dsv%d", i%20) // three callers for each pair
			if err := m.AddVeth(t.Context(), spec(name, fmt.Sprintf("dsc%d", i%20))); err != nil {
				t.Errorf("add %s: %v", name, err)
			}
			if _, err := m.List(t.Context(), "dsv"); err != nil {
				t.Errorf("list: %v", err)
			}
		})
	}
	wg.Wait()
	links, err := m.List(t.Context(), "dsv")
	must(t, err)
	if len(links) != 20 {
		t.Errorf("%d pairs, want 20", len(links))
	}
	for _, l := range links {
		wg.Go(func() {
			if err := m.DeleteVeth(t.Context(), l.Name); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// A host end gets a copy of what the container sends. The host must not answer
// there with its other addresses, nor take in what is sent to all.
func TestHostEndIsDeaf(t *testing.T) {
	for name, wired := range map[string]bool{"a plain veth answers, so the test can fail": false, "ours is silent": true} {
		t.Run(name, func(t *testing.T) {
			host, box := newSpace(t), newSpace(t)
			host.addr(t, "lo", "203.0.113.1/32")
			if wired {
				must(t, host.manager(t).AddVeth(t.Context(), spec("dsv1", "dsc1")))
				box.take(t, host, "dsc1", "eth0")
			} else {
				host.wire(t, "dsv1", box, "eth0")
			}
			box.addr(t, "eth0", "203.0.113.2/24")
			// A way back, or the host's rp_filter decides the matter.
			must(t, host.RouteAdd(&netlink.Route{LinkIndex: host.link(t, "dsv1").Attrs().Index, Dst: toIPNet(netip.MustParsePrefix("203.0.113.2/32"))}))
			wantReach(t, "from a container to the host by its host end", box, host, "203.0.113.1", !wired)
		})
	}
}
