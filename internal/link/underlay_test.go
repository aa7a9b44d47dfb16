package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// newUplinks is a host with two ways out and several kinds of addresses.
func newUplinks(t *testing.T) (*space, *Manager) {
	t.Helper()
	host := newSpace(t)
	for link, mtu := range map[string]int{"wan": 1500, "jumbo": 9000, "six": 1400, "many": 1500, "bare": 1500} {
		host.bridge(t, link)
		must(t, host.LinkSetMTU(host.link(t, link), mtu))
	}
	host.addr(t, "wan", "192.0.2.1/24")
	host.addr(t, "wan", "2001:db8::1/64")
	host.addr(t, "wan", "192.0.2.50/24") // the second one in its subnet, as a VIP is
	host.addr(t, "jumbo", "198.51.100.1/24")
	host.addr(t, "six", "2001:db8:6::1/64")
	host.addr(t, "many", "203.0.113.1/25")
	host.addr(t, "many", "203.0.113.129/25")
	host.addr(t, "lo", "192.0.2.200/32")
	host.route(t, "0.0.0.0/0", "192.0.2.254")
	return host, host.manager(t)
}

func TestVTEP(t *testing.T) {
	_, m := newUplinks(t)
	for setting, want := range map[string]string{
		"192.0.2.1":        "192.0.2.1",
		"::ffff:192.0.2.1": "192.0.2.1",
		"192.0.2.50":       "192.0.2.50", // one that was named may be any
		"192.0.2.200":      "192.0.2.200",
		"2001:db8::1":      "2001:db8::1",
		"wan":              "192.0.2.1",
		"jumbo":            "198.51.100.1",
		"six":              "2001:db8:6::1",
		"lo":               "192.0.2.200",
	} {
		if got, err := m.VTEP(t.Context(), setting); err != nil || got.String() != want {
			t.Errorf("%s: got %s, %v; want %s", setting, got, err, want)
		}
	}
}

func TestBadVTEP(t *testing.T) {
	_, m := newUplinks(t)
	for setting, says := range map[string]string{
		"192.0.2.77":   "no interface has this address; there are lo (192.0.2.200)",
		"eth7":         "no such interface; there are",
		"":             "no such interface",
		"many":         "several addresses, set the one that is meant: many (203.0.113.1, 203.0.113.129)",
		"bare":         "no address that other hosts could reach: bare",
		"127.0.0.1":    "no other host reaches",
		"0.0.0.0":      "no particular address",
		"224.0.0.9":    "multicast",
		"fe80::1":      "one link only",
		"fe80::1%wan":  "one link only",
		"192.0.2.1/24": "no such interface",
	} {
		got, err := m.VTEP(t.Context(), setting)
		if !errors.Is(err, ErrNoVTEP) || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "DOCKSTACK_VTEP="+setting) {
			t.Errorf("%q: got %s, %v; want an error that says %q", setting, got, err, says)
		}
	}
	if err := m.HasAddr(t.Context(), netip.MustParseAddr("192.0.2.1")); err != nil {
		t.Error(err)
	}
	if err := m.HasAddr(t.Context(), netip.MustParseAddr("192.0.2.2")); !errors.Is(err, ErrNoVTEP) || !strings.Contains(err.Error(), "wan (192.0.2.1, 2001:db8::1)") {
		t.Errorf("an address that is not there: %v", err)
	}
}

func TestSourceTo(t *testing.T) {
	_, m := newUplinks(t)
	for dst, want := range map[string]string{
		"192.0.2.9":        "192.0.2.1",
		"::ffff:192.0.2.9": "192.0.2.1",
		"9.9.9.9":          "192.0.2.1", // by the default route
		"198.51.100.9":     "198.51.100.1",
		"2001:db8:6::9":    "2001:db8:6::1",
		"192.0.2.1":        "192.0.2.1", // etcd on this host, by its address
		"127.0.0.1":        "",          // by the loopback one: that is nobody's
		"::1":              "",
		"2001:db8:7::9":    "", // no route
	} {
		got, err := m.SourceTo(t.Context(), netip.MustParseAddr(dst))
		switch {
		case want == "" && (err == nil || !strings.Contains(err.Error(), dst)):
			t.Errorf("%s: got %s, %v; want an error that names it", dst, got, err)
		case want != "" && (err != nil || got.String() != want):
			t.Errorf("%s: got %s, %v; want %s", dst, got, err, want)
		}
	}
	if _, err := m.SourceTo(t.Context(), netip.MustParseAddr("127.0.0.1")); !errors.Is(err, ErrNoVTEP) || !strings.Contains(err.Error(), "set DOCKSTACK_VTEP") {
		t.Errorf("the way out is missing: %v", err)
	}
}

func TestVTEPMTU(t *testing.T) {
	host, m := newUplinks(t)
	route := func(to, via string, mtu int) {
		must(t, host.RouteAdd(&netlink.Route{Dst: toIPNet(netip.MustParsePrefix(to)), Gw: net.ParseIP(via), MTU: mtu}))
	}
	vtep := func(a string, want int) {
		t.Helper()
		if got, err := m.VTEPMTU(t.Context(), netip.MustParseAddr(a)); err != nil || got != want {
			t.Errorf("from %s: got %d, %v; want %d", a, got, err, want)
		}
	}
	vtep("192.0.2.1", 1500)
	vtep("198.51.100.1", 9000)
	vtep("2001:db8:6::1", 1400)
	vtep("192.0.2.200", 1500) // on the loopback interface: that of the default route
	route("10.9.0.0/16", "198.51.100.254", 8000)
	vtep("198.51.100.1", 8000)
	for _, tc := range []struct {
		vtep, peer string
		want       int
	}{
		{"192.0.2.1", "192.0.2.2", 1500},
		{"198.51.100.1", "198.51.100.2", 9000},
		{"198.51.100.1", "10.9.0.1", 8000},
		{"192.0.2.1", "9.9.9.9", 1500},
		{"2001:db8:6::1", "2001:db8:6::2", 1400},
		{"198.51.100.1", "192.0.2.1", 8000}, // itself
	} {
		if got, err := m.MTUTo(t.Context(), netip.MustParseAddr(tc.vtep), netip.MustParseAddr(tc.peer)); err != nil || got != tc.want {
			t.Errorf("%s to %s: got %d, %v; want %d", tc.vtep, tc.peer, got, err, tc.want)
		}
	}
	if _, err := m.VTEPMTU(t.Context(), netip.MustParseAddr("192.0.2.2")); !errors.Is(err, ErrNoVTEP) {
		t.Errorf("of no address: %v", err)
	}
	if _, err := m.MTUTo(t.Context(), netip.MustParseAddr("2001:db8:6::1"), netip.MustParseAddr("2001:db8:7::1")); !errors.Is(err, unix.ENETUNREACH) {
		t.Errorf("no way: %v", err)
	}
}

// What a frame grows by is what the kernel adds: the largest packet of a network
// with that MTU fills the underlay's exactly.
func TestOverhead(t *testing.T) {
	for vtep, want := range map[string]int{"192.0.2.1": 50, "::ffff:192.0.2.1": 50, "2001:db8::1": 70} {
		if got := Overhead(netip.MustParseAddr(vtep)); got != want {
			t.Errorf("%s: %d, want %d", vtep, got, want)
		}
	}
	for name, six := range map[string]bool{"IPv4": false, "IPv6": true} {
		t.Run(name, func(t *testing.T) {
			s := newSites(t, 2, six)
			for i, a := range s {
				spec := a.spec()
				spec.MTU = 1500 - Overhead(a.vtep)
				must(t, a.m.PutVXLAN(t.Context(), spec))
				must(t, a.m.ChangeFDB(t.Context(), spec.Name, changeTo(s[1-i])))
				for _, l := range []string{"dsva", "net"} {
					must(t, a.host.LinkSetMTU(a.host.link(t, l), spec.MTU))
				}
				must(t, a.box.LinkSetMTU(a.box.link(t, "eth0"), spec.MTU))
			}
			got := atBox(t, s[0], s[1], 1500-Overhead(s[0].vtep)-28)
			if !got {
				t.Error("the largest packet didn't arrive")
			}
			if n := fragments(t, s[0].host); n != 0 {
				t.Errorf("%d fragments were made", n)
			}
		})
	}
}

func TestWatchAddrs(t *testing.T) {
	host := newSpace(t)
	host.bridge(t, "wan")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	m := host.manager(t)
	var changed <-chan struct{}
	host.in(t, func() (err error) {
		changed, err = m.WatchAddrs(ctx)
		return err
	})
	quiet := func() {
		for {
			select {
			case <-changed:
			case <-time.After(50 * time.Millisecond):
				return
			}
		}
	}
	quiet()
	said := func(what string) {
		t.Helper()
		select {
		case _, open := <-changed:
			if !open {
				t.Fatalf("%s: the watch ended", what)
			}
		case <-time.After(arrives):
			t.Errorf("%s: nothing was said", what)
		}
		quiet()
	}
	host.addr(t, "wan", "192.0.2.1/24")
	said("an address came")
	host.route(t, "0.0.0.0/0", "192.0.2.254")
	said("a route came")
	must(t, host.AddrDel(host.link(t, "wan"), &netlink.Addr{IPNet: toIPNet(netip.MustParsePrefix("192.0.2.1/24"))}))
	said("an address went")
	host.addr(t, "wan", "2001:db8::1/64")
	said("an IPv6 address came")
	for i := range 3000 { // nobody reads, and the socket's buffer is too small
		host.addr(t, "wan", fmt.Sprintf("10.%d.%d.1/24", i>>8, i&255))
	}
	said("many addresses came")
	stop()
	for range changed {
		continue // until it's closed
	}
}
