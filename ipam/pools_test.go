package ipam_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dockstack/dockstack/ipam"
)

func subnet(s string) ipam.PoolRequest {
	return ipam.PoolRequest{Subnet: netip.MustParsePrefix(s), V6: netip.MustParsePrefix(s).Addr().Is6()}
}

func ranged(s, r string) ipam.PoolRequest {
	req := subnet(s)
	req.Range = netip.MustParsePrefix(r)
	return req
}

func overlaid(s, overlay string) ipam.PoolRequest {
	req := subnet(s)
	req.Overlay = overlay
	return req
}

func TestTheSameSubnetIsTheSamePool(t *testing.T) {
	w := newWorld(t)
	for _, req := range []ipam.PoolRequest{subnet("172.16.0.0/16"), subnet("fd00:1::/64"), overlaid("172.16.0.0/16", "blue/ü")} {
		first, err := w.reg.RequestPool(w.ctx, req)
		w.ok(err)
		w.ok(w.reg.ReleasePool(w.ctx, first.ID))
		w.ok(w.reg.ReleasePool(w.ctx, first.ID))
		w.open()
		again, err := w.reg.RequestPool(w.ctx, req)
		w.ok(err)
		if first.ID != again.ID || first.ID != ipam.PoolID(req.Subnet, req.Overlay) || again.Subnet != req.Subnet || again.Range != req.Subnet {
			t.Errorf("%+v, then %+v", first, again)
		}
		if found, ok := w.reg.PoolFor(req.Subnet, req.Overlay); !ok || found != again {
			t.Errorf("PoolFor finds %+v", found)
		}
	}
	if n := len(w.reg.Pools()); n != 3 {
		t.Errorf("%d pools, want 3", n)
	}
}

func TestPoolRequestsThatMakeNoSense(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		req  ipam.PoolRequest
		kind error
		text string
	}{
		{ranged("172.16.0.0/16", "172.17.0.0/24"), ipam.ErrOutsidePool, "address is outside the pool: --ip-range 172.17.0.0/24 does not lie within --subnet 172.16.0.0/16"},
		{ranged("172.16.0.0/16", "172.0.0.0/8"), ipam.ErrOutsidePool, "address is outside the pool: --ip-range 172.0.0.0/8 does not lie within --subnet 172.16.0.0/16"},
		{ranged("172.16.0.0/16", "fd00::/64"), ipam.ErrOutsidePool, "address is outside the pool: --ip-range fd00::/64 does not lie within --subnet 172.16.0.0/16"},
		{ipam.PoolRequest{Range: netip.MustParsePrefix("172.16.0.0/24")}, ipam.ErrNotUsable, "not usable: --ip-range 172.16.0.0/24 without a subnet: add --subnet"},
		{subnet("127.0.0.0/8"), ipam.ErrNotUsable, "not usable: subnet 127.0.0.0/8 is not for containers: choose a private one, such as 172.16.0.0/16 or fd00:1::/64"},
		{subnet("0.0.0.0/0"), ipam.ErrNotUsable, "not usable: subnet 0.0.0.0/0 is not for containers: choose a private one, such as 172.16.0.0/16 or fd00:1::/64"},
		{subnet("224.0.0.0/24"), ipam.ErrNotUsable, "not usable: subnet 224.0.0.0/24 is not for containers: choose a private one, such as 172.16.0.0/16 or fd00:1::/64"},
		{subnet("fe80::/64"), ipam.ErrNotUsable, "not usable: subnet fe80::/64 is not for containers: choose a private one, such as 172.16.0.0/16 or fd00:1::/64"},
		{subnet("::ffff:10.0.0.0/112"), ipam.ErrNotUsable, "not usable: subnet ::ffff:10.0.0.0/112: write it as an IPv4 subnet"},
	} {
		_, err := w.reg.RequestPool(w.ctx, c.req)
		w.fails(err, c.kind, c.text)
	}
	if n := w.store.Commits(); n != 0 {
		t.Errorf("%d commits for nothing", n)
	}
	// Host bits are dropped, as Docker's command line does.
	p, err := w.reg.RequestPool(w.ctx, ranged("172.16.5.5/16", "172.16.7.7/24"))
	if err != nil || p.Subnet.String() != "172.16.0.0/16" || p.Range.String() != "172.16.7.0/24" {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestUnknownPool(t *testing.T) {
	w := newWorld(t)
	const id = "10.9.0.0/16"
	none := netip.MustParseAddr("10.9.0.1")
	for what, call := range map[string]func() error{
		"release pool": func() error { return w.reg.ReleasePool(w.ctx, id) },
		"bind":         func() error { return w.bind("net", []string{id}, nil) },
		"gateway":      func() error { _, err := w.reg.RequestGateway(w.ctx, id, none); return err },
		"aux":          func() error { _, err := w.reg.RequestAux(w.ctx, id, none); return err },
		"address": func() error {
			_, err := w.reg.RequestAddress(w.ctx, ipam.AddressRequest{Pool: id, Name: "x"})
			return err
		},
		"release":   func() error { return w.reg.ReleaseAddress(w.ctx, id, none) },
		"unreserve": func() error { return w.reg.Unreserve(w.ctx, id, "x") },
		"lookup":    func() error { _, err := w.reg.Lookup(w.ctx, id, none); return err },
	} {
		t.Run(what, func(*testing.T) {
			w.fails(call(), ipam.ErrUnknownPool, `unknown pool "10.9.0.0/16": dockstack's store does not have it; remove the network and create it again`)
		})
	}
	_, err := w.reg.Reserve(w.ctx, id, "x", none)
	w.fails(err, ipam.ErrUnknownPool, `unknown pool "10.9.0.0/16": no network ever had that subnet`)
	w.ok(w.reg.Unbind(w.ctx, "no such network"))
	w.ok(w.reg.Detach(w.ctx, "no such endpoint"))
	w.fails(w.reg.SetNetworkName(w.ctx, "0123456789abcdef", "x"), ipam.ErrUnknownNetwork, "unknown network 0123456789ab: no pool belongs to it")
}

func TestASubnetInUse(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/16")
	_, err := w.reg.RequestPool(w.ctx, subnet("172.16.0.0/16"))
	w.fails(err, ipam.ErrPoolInUse, "subnet is in use: 172.16.0.0/16 is the subnet of network internal; choose another --subnet, or remove that network")
	w.fails(w.bind("other", []string{w.pool.ID}, nil), ipam.ErrPoolInUse, "subnet is in use: 172.16.0.0/16 is the subnet of network internal")
	for _, s := range []string{"172.16.5.0/24", "172.0.0.0/8"} {
		_, err = w.reg.RequestPool(w.ctx, subnet(s))
		w.fails(err, ipam.ErrOverlap, "subnet overlaps: "+s+" shares addresses with 172.16.0.0/16 of network internal; choose another --subnet, or name an overlay of its own for it")
	}
	// An overlay of its own may have the same addresses.
	_, err = w.reg.RequestPool(w.ctx, overlaid("172.16.5.0/24", "blue"))
	w.ok(err)
	// A remembered pool sleeps while one in use overlaps it.
	w.removeNetwork("net", w.pool)
	w.network("net2", "small", subnet("172.16.5.0/24"))
	_, err = w.reg.RequestPool(w.ctx, subnet("172.16.0.0/16"))
	w.fails(err, ipam.ErrOverlap, "subnet overlaps: 172.16.0.0/16 shares addresses with 172.16.5.0/24 of network small; choose another --subnet, or name an overlay of its own for it")
	w.removeNetwork("net2", w.pool)
	w.network("net3", "internal", subnet("172.16.0.0/16"))
}

func TestTwoCreatesOfOneSubnet(t *testing.T) {
	const text = "subnet is in use: another network is being created on 172.16.0.0/16 since "
	w := newWorld(t)
	first, err := w.reg.RequestPool(w.ctx, subnet("172.16.0.0/16"))
	w.ok(err)
	w.later(time.Second)
	_, err = w.reg.RequestPool(w.ctx, subnet("172.16.0.0/16"))
	w.fails(err, ipam.ErrPoolInUse, text+"1s; choose another --subnet, or try again in 2s if that one failed")
	_, err = w.reg.RequestPool(w.ctx, subnet("172.16.128.0/24"))
	w.fails(err, ipam.ErrOverlap, "subnet overlaps: 172.16.128.0/24 shares addresses with 172.16.0.0/16 of a network that is being created; choose another --subnet, or name an overlay of its own for it")
	// The engine asks for the gateway at once: after 2 s without, the answer
	// was lost.
	w.later(2 * time.Second)
	again, err := w.reg.RequestPool(w.ctx, subnet("172.16.0.0/16"))
	w.ok(err)
	if again != first {
		t.Errorf("%+v, then %+v", first, again)
	}
	_, err = w.reg.RequestGateway(w.ctx, again.ID, netip.Addr{})
	w.ok(err)
	w.later(5 * time.Second)
	_, err = w.reg.RequestPool(w.ctx, subnet("172.16.0.0/16"))
	w.fails(err, ipam.ErrPoolInUse, text+"5s; choose another --subnet, or try again in 11s if that one failed")
	w.later(10 * time.Second)
	_, err = w.reg.RequestPool(w.ctx, subnet("172.16.0.0/16"))
	w.ok(err)
	// What was never bound stops nobody after a minute.
	w.later(61 * time.Second)
	_, err = w.reg.RequestPool(w.ctx, subnet("172.16.128.0/24"))
	w.ok(err)
}

func TestARolledBackCreate(t *testing.T) {
	w := newWorld(t)
	p, err := w.reg.RequestPool(w.ctx, subnet("172.16.0.0/16"))
	w.ok(err)
	gw, err := w.reg.RequestGateway(w.ctx, p.ID, netip.Addr{})
	w.ok(err)
	w.ok(w.reg.ReleaseAddress(w.ctx, p.ID, gw.Addr()))
	w.ok(w.reg.ReleasePool(w.ctx, p.ID))
	w.network("net", "internal", subnet("172.16.0.0/16"))
}

func TestALostNetworkRemoval(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/16")
	w.gets("web", "172.16.0.2")
	// The plugin was away when the engine removed the network; whoever
	// compares later says Unbind.
	w.ok(w.reg.Unbind(w.ctx, "net"))
	w.holds("172.16.0.2", "web parked")
	w.network("net2", "internal", subnet("172.16.0.0/16"))
	w.gets("web", "172.16.0.2")
}

func TestPoolsWithoutASubnet(t *testing.T) {
	w := newWorld(t)
	w.routes = []netip.Prefix{netip.MustParsePrefix("10.128.1.0/25"), netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("10.0.0.0/16")}
	auto := func() string {
		t.Helper()
		p, err := w.reg.RequestPool(w.ctx, ipam.PoolRequest{})
		w.ok(err)
		if !p.Auto {
			t.Errorf("%+v is not marked as chosen", p)
		}
		return p.ID
	}
	var got []string
	for range 3 {
		got = append(got, auto())
	}
	if !slices.Equal(got, []string{"10.128.0.0/24", "10.128.2.0/24", "10.128.3.0/24"}) {
		t.Errorf("got %v", got)
	}
	_, err := w.reg.RequestPool(w.ctx, ipam.PoolRequest{})
	w.fails(err, ipam.ErrNoSubnet, "no subnet left: every /24 of supernet 10.128.0.0/22 is taken by the 3 pools in use or the host's 2 routes; name one with --subnet, remove unused networks, or set a larger supernet")
	// The engine releases those it did not like; the network keeps its own.
	w.ok(w.reg.ReleasePool(w.ctx, got[0]))
	w.ok(w.reg.ReleasePool(w.ctx, got[1]))
	w.ok(w.bind("net", []string{got[2]}, nil))
	w.pool, _ = w.reg.Pool(got[2])
	w.gets("web", "10.128.3.1")
	// A pool with names comes first when it is free again: down and up.
	w.removeNetwork("net", w.pool)
	if id := auto(); id != got[2] {
		t.Errorf("down and up: %s, want %s", id, got[2])
	}
	// The others are offered in the order in which they were asked for.
	if a, b := auto(), auto(); a != got[0] || b != got[1] {
		t.Errorf("got %s and %s", a, b)
	}
	// One that the host routes by now is not offered.
	w.ok(w.reg.ReleasePool(w.ctx, got[0]))
	w.routes = append(w.routes, netip.MustParsePrefix("10.128.0.0/24"))
	if _, err := w.reg.RequestPool(w.ctx, ipam.PoolRequest{}); err == nil {
		t.Error("a subnet that the host routes was offered")
	}
	p, err := w.reg.RequestPool(w.ctx, ipam.PoolRequest{V6: true})
	if err != nil || p.ID != "fd00:77::/64" {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestASupernetThatIsNotSet(t *testing.T) {
	w := newWorld(t)
	w.cfg.Supernet6 = netip.Prefix{}
	w.open()
	_, err := w.reg.RequestPool(w.ctx, ipam.PoolRequest{V6: true})
	w.fails(err, ipam.ErrNoSubnet, "no subnet left: no IPv6 supernet is set to take subnets from; name one with --subnet")
}

func TestAnAutomaticPoolPrefersUntouchedGround(t *testing.T) {
	w := newWorld(t)
	w.network("net", "internal", subnet("10.128.0.0/23"))
	w.gets("web", "10.128.0.2")
	w.removeNetwork("net", w.pool)
	for _, want := range []string{"10.128.2.0/24", "10.128.3.0/24", "10.128.0.0/24", "10.128.1.0/24"} {
		p, err := w.reg.RequestPool(w.ctx, ipam.PoolRequest{})
		if err != nil || p.ID != want {
			t.Errorf("%s (%v), want %s", p.ID, err, want)
		}
	}
}

func TestGatewaysAndOthersOfTheNetworkItself(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/24")
	gateway := func(addr string) (netip.Prefix, error) {
		var a netip.Addr
		if addr != "" {
			a = netip.MustParseAddr(addr)
		}
		return w.reg.RequestGateway(w.ctx, w.pool.ID, a)
	}
	aux := func(addr string) (netip.Prefix, error) {
		return w.reg.RequestAux(w.ctx, w.pool.ID, netip.MustParseAddr(addr))
	}
	if p, err := gateway(""); err != nil || p.String() != "172.16.0.1/24" {
		t.Errorf("again: %v, %v", p, err)
	}
	w.gets("live", "172.16.0.2")
	w.gets("parked", "172.16.0.3")
	w.gets("parked2", "172.16.0.4")
	w.release("172.16.0.3")
	w.release("172.16.0.4")
	_, err := w.reg.Reserve(w.ctx, w.pool.ID, "db", netip.MustParseAddr("172.16.0.50"))
	w.ok(err)
	for _, c := range []struct {
		addr string
		kind error
		text string
	}{
		{"172.17.0.1", ipam.ErrOutsidePool, "address is outside the pool: 172.17.0.1 can't be the gateway (--gateway) of network internal (172.16.0.0/24)"},
		{"172.16.0.255", ipam.ErrNotUsable, "not usable: 172.16.0.255 can't be the gateway (--gateway) of network internal (172.16.0.0/24): it is the subnet's broadcast address; choose another"},
		{"172.16.0.2", ipam.ErrAddressTaken, `address is taken: 172.16.0.2 can't be the gateway (--gateway) of network internal (172.16.0.0/24): container "live" has it; choose another, or stop that container`},
		{"172.16.0.50", ipam.ErrAddressTaken, `address is taken: 172.16.0.50 can't be the gateway (--gateway) of network internal (172.16.0.0/24): it is reserved for "db"; choose another, or take the reservation back`},
	} {
		_, err := gateway(c.addr)
		w.fails(err, c.kind, c.text)
	}
	_, err = aux("172.16.0.1")
	w.fails(err, ipam.ErrAddressTaken, "address is taken: 172.16.0.1 can't be an auxiliary address (--aux-address) of network internal (172.16.0.0/24): it is the gateway's; choose another")
	for range 2 {
		if p, err := aux("172.16.0.3"); err != nil || p.String() != "172.16.0.3/24" {
			t.Errorf("aux: %v, %v", p, err)
		}
	}
	w.warned("name=parked", "addr=172.16.0.3")
	_, err = gateway("172.16.0.3")
	w.fails(err, ipam.ErrAddressTaken, "address is taken: 172.16.0.3 can't be the gateway (--gateway) of network internal (172.16.0.0/24): it is an auxiliary address (--aux-address); choose another")
	if _, err := gateway("172.16.0.4"); err != nil {
		t.Error(err)
	}
	w.warned("name=parked2", "addr=172.16.0.4")
	w.gets("parked", "172.16.0.5")
	// The gateway that was is used again when the network comes back.
	w.removeNetwork("net", w.pool)
	w.network("net", "internal", subnet("172.16.0.0/24"))
	if w.pool.Gateway.String() != "172.16.0.4" {
		t.Errorf("the gateway is %s now", w.pool.Gateway)
	}
	w.release("172.16.0.4")
	if p, _ := w.reg.Pool(w.pool.ID); p.Gateway.IsValid() {
		t.Errorf("a released gateway is %s", p.Gateway)
	}
}

func TestAddressesSetAside(t *testing.T) {
	w := newWorld(t)
	w.network("net", "internal", ranged("172.16.0.0/24", "172.16.0.8/29"))
	aux := netip.MustParseAddr("172.16.0.200")
	_, err := w.reg.RequestAux(w.ctx, w.pool.ID, aux) // outside the range
	w.ok(err)
	_, err = w.reg.RequestAux(w.ctx, w.pool.ID, netip.MustParseAddr("172.16.0.8"))
	w.ok(err)
	vips := addresses([]string{"172.16.0.9", "172.16.0.99"})
	w.ok(w.bind("net", []string{w.pool.ID}, vips))
	w.gets("a", "172.16.0.10")
	w.fixes("outside", "172.16.0.100") // outside the range, as Docker allows
	_, err = w.fix("b", "172.16.0.99")
	w.fails(err, ipam.ErrAddressTaken, "address is taken: 172.16.0.99 in network internal (172.16.0.0/24) is set aside as a virtual address; choose another")
	w.fails(w.bind("net", []string{w.pool.ID}, addresses([]string{"10.0.0.1"})), ipam.ErrOutsidePool, "address is outside the pool: 10.0.0.1, a virtual address, lies in no subnet of the network; choose one that does")
	w.fails(w.bind("net", []string{w.pool.ID}, addresses([]string{"172.16.0.1"})), ipam.ErrAddressTaken, "address is taken: 172.16.0.1, a virtual address, is the gateway of network internal (172.16.0.0/24); choose another for one of the two (--gateway)")
	for want := netip.MustParseAddr("172.16.0.11"); want.String() != "172.16.0.16"; want = want.Next() {
		w.gets("n"+want.String(), want.String())
	}
	if _, err := w.ask("more"); err == nil {
		t.Error("an address from outside the range")
	}
	w.ok(w.reg.ReleaseAddress(w.ctx, w.pool.ID, netip.MustParseAddr("172.16.0.8")))
	w.gets("more", "172.16.0.8")
}

func TestANarrowedRangeLeavesNamesAlone(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/24")
	w.gets("web", "172.16.0.2")
	w.gets("db", "172.16.0.3")
	w.removeNetwork("net", w.pool)
	w.network("net", "internal", ranged("172.16.0.0/24", "172.16.0.128/25"), netip.MustParseAddr("172.16.0.3"))
	w.gets("web", "172.16.0.2")
	w.gets("new", "172.16.0.128")
	w.gets("db", "172.16.0.129") // its address moves between containers now
	w.warned("name=db", "addr=172.16.0.3", "virtual address")
}

func TestSizesOfPools(t *testing.T) {
	for _, c := range []struct {
		subnet, gateway string
		first, last     string
		room            int
	}{
		{"10.0.0.0/30", "10.0.0.1", "10.0.0.2", "10.0.0.2", 1},
		{"10.0.0.0/31", "10.0.0.0", "10.0.0.1", "10.0.0.1", 1},
		{"10.0.0.0/29", "10.0.0.1", "10.0.0.2", "10.0.0.6", 5},
		{"10.0.0.7/32", "10.0.0.7", "", "", 0},
		{"10.0.0.0/24", "10.0.0.1", "10.0.0.2", "10.0.0.254", 253},
		{"fd00::/127", "fd00::", "fd00::1", "fd00::1", 1},
		{"fd00::/126", "fd00::1", "fd00::2", "fd00::3", 2},
		{"10.0.0.0/20", "10.0.0.1", "10.0.0.2", "10.0.15.254", 4093},
	} {
		t.Run(c.subnet, func(t *testing.T) {
			w := inNetwork(t, c.subnet)
			if w.pool.Gateway.String() != c.gateway {
				t.Errorf("gateway %s, want %s", w.pool.Gateway, c.gateway)
			}
			seen := map[string]bool{}
			var got []string
			for i := range c.room {
				a, err := w.ask("n" + string(rune('a'+i%26)) + netip.AddrFrom4([4]byte{0, byte(i >> 16), byte(i >> 8), byte(i)}).String())
				if err != nil || seen[a] {
					t.Fatalf("%d: %s %v", i, a, err)
				}
				seen[a] = true
				got = append(got, a)
			}
			if c.room > 0 && (got[0] != c.first || got[len(got)-1] != c.last) {
				t.Errorf("from %s to %s, want from %s to %s", got[0], got[len(got)-1], c.first, c.last)
			}
			if _, err := w.ask("one too many"); err == nil {
				t.Error("one too many")
			}
		})
	}
}

func TestHugePools(t *testing.T) {
	for subnet, want := range map[string]string{"172.16.0.0/12": "172.16.0.2", "10.0.0.0/8": "10.0.0.2", "fd00::/64": "fd00::2", "fd00::/8": "fd00::2"} {
		w := inNetwork(t, subnet)
		w.gets("web", want)
		if grew := testing.AllocsPerRun(10, func() { w.gets("web", want) }); grew > 200 {
			t.Errorf("%s: %v allocations for one address", subnet, grew)
		}
	}
}
