package link

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/dockstack/dockstack/test/stall"
)

// road is two hosts with something between them.
type road struct {
	a, b, mid *space
	to        netip.Addr
	from      netip.Addr
}

// newRoad joins two hosts by a router, or a switch where routed is false, whose
// second link has its own MTU.
func newRoad(t *testing.T, kind, family string, mtu int) *road {
	t.Helper()
	r := &road{a: newSpace(t), b: newSpace(t), mid: newSpace(t)}
	for _, s := range []*space{r.a, r.b, r.mid} {
		// A router looks for nobody while its own address may be another's, and on a
		// busy machine that can take it longer than packets wait.
		s.sysctl(t, "ipv6/conf/default/accept_dad", "0")
	}
	r.mid.wire(t, "to-a", r.a, "eth0")
	r.mid.wire(t, "to-b", r.b, "eth0")
	must(t, r.mid.LinkSetMTU(r.mid.link(t, "to-b"), mtu))
	addrs := []string{"192.0.2.1/24", "192.0.2.254/24", "198.51.100.254/24", "198.51.100.1/24", "0.0.0.0/0"}
	if family == "IPv6" {
		addrs = []string{"2001:db8:1::1/64", "2001:db8:1::fe/64", "2001:db8:2::fe/64", "2001:db8:2::1/64", "::/0"}
	}
	if kind == "switch" {
		addrs[3] = strings.Replace(addrs[0], "1/", "2/", 1)
		r.mid.bridge(t, "br")
		r.mid.enslave(t, "to-a", "br")
		r.mid.enslave(t, "to-b", "br")
		must(t, r.mid.LinkSetMTU(r.mid.link(t, "to-b"), mtu))
	} else {
		r.mid.sysctl(t, "ipv4/ip_forward", "1")
		r.mid.sysctl(t, "ipv6/conf/all/forwarding", "1")
		r.mid.addr(t, "to-a", addrs[1])
		r.mid.addr(t, "to-b", addrs[2])
	}
	r.a.addr(t, "eth0", addrs[0])
	r.b.addr(t, "eth0", addrs[3])
	if kind != "switch" {
		r.a.route(t, addrs[4], netip.MustParsePrefix(addrs[1]).Addr().String())
		r.b.route(t, addrs[4], netip.MustParsePrefix(addrs[2]).Addr().String())
	}
	r.from, r.to = netip.MustParsePrefix(addrs[0]).Addr(), netip.MustParsePrefix(addrs[3]).Addr()
	return r
}

// nft has nftables' own program change the namespace.
func (s *space) nft(tb testing.TB, script string) {
	tb.Helper()
	s.in(tb, func() error {
		out, err := exec.CommandContext(tb.Context(), "nft", script).CombinedOutput()
		if err != nil {
			return fmt.Errorf("nft %s (make deps installs it): %w: %s", script, err, out)
		}
		return nil
	})
}

func (r *road) probe(t *testing.T, size int) Path {
	t.Helper()
	var p Path
	r.a.in(t, func() (err error) {
		p, err = ProbePath(t.Context(), r.from, r.to, size)
		return err
	})
	return p
}

func TestPathMTU(t *testing.T) {
	for _, family := range []string{"IPv4", "IPv6"} {
		for _, c := range []struct {
			kind   string
			mtu    int
			size   int
			want   int
			silent bool // nobody says what is too big
		}{
			{"router", 1500, 1500, 1500, false},
			{"router", 1400, 1500, 1400, false},
			{"router", 1400, 1400, 1400, false},
			{"mute router", 1337, 1500, 1337, true},
			{"switch", 1400, 1500, 1400, true},
			{"switch", 1499, 1500, 1499, true},
			{"switch", 1500, 1500, 1500, true},
			{"switch", 1500, 9000, 1500, true}, // larger than this host's own link takes
		} {
			t.Run(fmt.Sprintf("%s %s %d for %d", family, c.kind, c.mtu, c.size), func(t *testing.T) {
				t.Parallel()
				r := newRoad(t, c.kind, family, c.mtu)
				if c.kind == "mute router" {
					r.a.nft(t, "add table inet t; add chain inet t in { type filter hook input priority -400; }; "+
						"add rule inet t in icmp type destination-unreachable drop; add rule inet t in icmpv6 type packet-too-big drop")
				}
				p := r.probe(t, c.size)
				if !p.Answers || p.MTU != c.want || p.Fits != (c.want >= c.size) || p.Refused != "" {
					t.Errorf("got %+v, want %d", p, c.want)
				}
				if told := p.Limit.IsValid(); told != (!c.silent && c.want < c.size) {
					t.Errorf("who said it: %+v", p)
				}
			})
		}
	}
}

// Packets get lost for other reasons than their size.
func TestPathMTUWithLoss(t *testing.T) {
	for _, family := range []string{"IPv4", "IPv6"} {
		for what, c := range map[string]struct {
			lost string // what is dropped on the way
			mtu  int
		}{
			"the first of full size":    {"meta length 1500 limit rate 1/hour burst 3 packets drop", 1500},
			"the first large ones":      {"meta length > 800 limit rate 1/hour burst 40 packets drop", 1400},
			"the first of all, and fit": {"limit rate 1/hour burst 6 packets drop", 1500},
		} {
			t.Run(family+" "+what, func(t *testing.T) {
				t.Parallel()
				r := newRoad(t, "switch", family, c.mtu)
				r.b.nft(t, "add table inet t; add chain inet t in { type filter hook input priority 0; }; add rule inet t in meta l4proto icmp "+c.lost+
					"; add rule inet t in icmpv6 type echo-request "+c.lost)
				if p := r.probe(t, 1500); !p.Answers || p.MTU != c.mtu || p.Fits != (c.mtu == 1500) {
					t.Errorf("got %+v, want %d", p, c.mtu)
				}
			})
		}
	}
}

// A router that found nobody says so, once, though the host is there.
func TestPathRefusedOnce(t *testing.T) {
	t.Parallel()
	r := newRoad(t, "router", "IPv4", 1500)
	addr := &netlink.Addr{IPNet: toIPNet(netip.MustParsePrefix("198.51.100.1/24"))}
	must(t, r.b.AddrDel(r.b.link(t, "eth0"), addr))
	eth0 := r.b.link(t, "eth0")
	ctx, cancel := context.WithCancel(t.Context())
	searches := make(chan netlink.NeighUpdate)
	must(t, netlink.NeighSubscribeAt(r.mid.fd, searches, ctx.Done()))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		for s := range searches { // until the router gave up, which takes it 3 s
			if s.IP.Equal(addr.IP) && s.State == netlink.NUD_FAILED {
				break
			}
		}
		if err := r.b.AddrAdd(eth0, addr); err != nil {
			t.Error(err)
		}
		if err := r.b.RouteAdd(&netlink.Route{Dst: toIPNet(netip.MustParsePrefix("0.0.0.0/0")), Gw: net.ParseIP("198.51.100.254")}); err != nil {
			t.Error(err)
		}
	})
	if p := r.probe(t, 1500); !p.Fits || p.Refused != "" {
		t.Errorf("got %+v", p)
	}
}

// The other host may be silent, gone, or out of reach.
func TestPathOfSilentAndUnreachableHosts(t *testing.T) {
	for name, c := range map[string]struct {
		spoil   func(*testing.T, *road)
		refused string
	}{
		"it answers nothing": {func(t *testing.T, r *road) {
			t.Helper()
			r.b.nft(t, "add table inet t; add chain inet t in { type filter hook input priority 0; policy drop; }")
		}, ""},
		"it is off": {func(t *testing.T, r *road) {
			t.Helper()
			must(t, r.b.AddrDel(r.b.link(t, "eth0"), &netlink.Addr{IPNet: toIPNet(netip.MustParsePrefix("198.51.100.1/24"))}))
		}, "host unreachable, says 192.0.2.254"},
		"no route": {func(t *testing.T, r *road) {
			t.Helper()
			must(t, r.a.RouteDel(&netlink.Route{Dst: toIPNet(netip.MustParsePrefix("0.0.0.0/0"))}))
		}, "no route"},
		"nobody there": {func(_ *testing.T, r *road) { r.to = netip.MustParseAddr("192.0.2.77") }, "host unreachable, says 192.0.2.1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRoad(t, "router", "IPv4", 1500)
			c.spoil(t, r)
			began := time.Now()
			p := r.probe(t, 1500)
			if p.Answers || c.refused == "" != (p.Refused == "") || !strings.Contains(p.Refused, c.refused) {
				t.Errorf("got %+v, want refused %q", p, c.refused)
			}
			if took := stall.Took(began); took > 15*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
	if _, err := ProbePath(t.Context(), netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1"), 1500); err == nil {
		t.Error("two families are no path")
	}
}

// A host that answers no echo says at least that nobody has a port.
func TestPathByUDP(t *testing.T) {
	for _, family := range []string{"IPv4", "IPv6"} {
		for _, c := range []struct {
			kind            string
			mtu, size, want int
		}{{"router", 1500, 1500, 1500}, {"router", 1400, 1500, 1400}, {"switch", 1450, 1500, 1450}} {
			t.Run(fmt.Sprintf("%s %s %d for %d", family, c.kind, c.mtu, c.size), func(t *testing.T) {
				t.Parallel()
				r := newRoad(t, c.kind, family, c.mtu)
				r.b.sysctl(t, "ipv4/icmp_echo_ignore_all", "1")
				r.b.sysctl(t, "ipv6/icmp/echo_ignore_all", "1")
				p := r.probe(t, c.size)
				if !p.Answers || p.MTU != c.want || p.Fits != (c.want >= c.size) {
					t.Errorf("got %+v, want %d", p, c.want)
				}
			})
		}
	}
}

// What comes from the network may be anything.
func FuzzICMP(f *testing.F) {
	for _, text := range []string{
		"00000000000100020000", "03040000000005784500001c00004000400100000a0000010a00000208000000000100ff", "020000000000050060000000", "",
	} {
		b, err := hex.DecodeString(text)
		must(f, err)
		f.Add(b, false)
		f.Add(b, true)
	}
	f.Fuzz(func(t *testing.T, msg []byte, six bool) {
		e := &echo{to: netip.MustParseAddr("10.0.0.2"), id: 1, six: six}
		if six {
			e.to = netip.MustParseAddr("2001:db8::1")
		}
		if a := e.parse(e.to, msg); a != nil && a.tooBig && (a.mtu < 0 || a.mtu > 1<<16) {
			t.Errorf("%+v", a)
		}
	})
}
