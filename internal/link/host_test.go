package link

import (
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestHostRoutes(t *testing.T) {
	host := newSpace(t)
	host.bridge(t, "uplink")
	host.addr(t, "uplink", "192.0.2.1/24")
	host.addr(t, "uplink", "2001:db8::1/64")
	host.addr(t, "lo", "198.51.100.7/32")
	host.route(t, "0.0.0.0/0", "192.0.2.254")
	host.route(t, "10.20.0.0/16", "192.0.2.254")
	host.route(t, "128.0.0.0/1", "192.0.2.254")
	must(t, host.RouteAdd(&netlink.Route{Dst: toIPNet(netip.MustParsePrefix("100.64.0.0/10")), LinkIndex: host.link(t, "uplink").Attrs().Index, Table: 52}))
	must(t, host.RouteAdd(&netlink.Route{Dst: toIPNet(netip.MustParsePrefix("10.99.0.0/16")), Type: unix.RTN_BLACKHOLE}))
	got, err := host.manager(t).HostRoutes(t.Context())
	must(t, err)
	for prefix, want := range map[string]bool{
		"192.0.2.0/24":     true, // connected
		"10.20.0.0/16":     true, // by a router
		"100.64.0.0/10":    true, // a VPN's own table
		"10.99.0.0/16":     true, // refused on purpose, so in use somewhere
		"198.51.100.7/32":  true, // the host itself
		"2001:db8::/64":    true,
		"127.0.0.0/8":      true,
		"0.0.0.0/0":        false,
		"128.0.0.0/1":      false, // half a default route
		"192.0.2.255/32":   false, // broadcast
		"fe80::/64":        false,
		"ff00::/8":         false,
		"224.0.0.0/4":      false,
		"198.51.100.0/24":  false,
		"2001:db8::1/64":   false,
		"172.17.0.0/16":    false, // of the machine outside
		"2001:db8:1::/64":  false,
		"198.51.100.77/32": false,
	} {
		if slices.Contains(got, netip.MustParsePrefix(prefix)) != want {
			t.Errorf("%s listed: %v, want %v", prefix, !want, want)
		}
	}
	if !slices.IsSortedFunc(got, comparePrefix) || len(slices.Compact(slices.Clone(got))) != len(got) {
		t.Errorf("not sorted and unique: %v", got)
	}
}

func TestHostAddrs(t *testing.T) {
	host := newSpace(t)
	m := host.manager(t)
	must(t, m.PutGateway(t.Context(), gwSpec("a", "172.16.0.1/16", "fd00:a::1/64")))
	got, err := m.HostAddrs(t.Context())
	must(t, err)
	want := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("172.16.0.1"), netip.MustParseAddr("::1"), netip.MustParseAddr("fd00:a::1")}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestUnderlayMTU(t *testing.T) {
	for name, tc := range map[string]struct {
		routes []netlink.Route
		want   int
	}{
		"no default route":                   {nil, 1500},
		"its interface's":                    {[]netlink.Route{{Gw: gwA}}, 1400},
		"the route's own":                    {[]netlink.Route{{Gw: gwA, MTU: 1300}}, 1300},
		"of two, that with the least metric": {[]netlink.Route{{Gw: gwA, Priority: 200}, {Gw: gwB, Priority: 100}}, 9000},
		"IPv6 only":                          {[]netlink.Route{{Gw: gwC, Dst: toIPNet(netip.MustParsePrefix("::/0"))}}, 1400},
		"several ways at once":               {[]netlink.Route{{Dst: toIPNet(netip.MustParsePrefix("0.0.0.0/0")), MultiPath: []*netlink.NexthopInfo{{Gw: gwB}, {Gw: gwA}}}}, 9000},
	} {
		t.Run(name, func(t *testing.T) {
			host := newSpace(t)
			for link, mtu := range map[string]int{"wan": 1400, "jumbo": 9000} {
				host.bridge(t, link)
				must(t, host.LinkSetMTU(host.link(t, link), mtu))
			}
			host.addr(t, "wan", "192.0.2.1/24")
			host.addr(t, "wan", "2001:db8::1/64")
			host.addr(t, "jumbo", "198.51.100.1/24")
			for i := range tc.routes {
				must(t, host.RouteAdd(&tc.routes[i]))
			}
			got, err := host.manager(t).UnderlayMTU(t.Context())
			if err != nil || got != tc.want {
				t.Errorf("got %d, %v; want %d", got, err, tc.want)
			}
		})
	}
}

var (
	gwA = netip.MustParseAddr("192.0.2.254").AsSlice()
	gwB = netip.MustParseAddr("198.51.100.254").AsSlice()
	gwC = netip.MustParseAddr("2001:db8::fe").AsSlice()
)

// TestKernelDatapath compares with the kernel's list of modules, which knows
// Open vSwitch only where it is there: in `make vm-test`.
func TestKernelDatapath(t *testing.T) {
	got, err := KernelDatapath()
	must(t, err)
	_, statErr := os.Stat("/sys/module/openvswitch") // after the question, which loads it
	if want := statErr == nil; got != want {
		t.Errorf("kernel datapath %v, but the module is there: %v", got, want)
	}
	if want := os.Getenv("DOCKSTACK_TEST_DATAPATH"); want == "kernel" && !got {
		t.Error("this is to be tested on a kernel with Open vSwitch, and it has none")
	}
}

func TestKernelDatapathInUse(t *testing.T) {
	host := newSpace(t)
	m := host.manager(t)
	for _, want := range []bool{false, true} {
		if got, err := m.KernelDatapathInUse(); err != nil || got != want {
			t.Errorf("got %v, %v; want %v", got, err, want)
		}
		if !want {
			host.bridge(t, "ovs-system") // only the name tells
		}
	}
}
