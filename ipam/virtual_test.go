package ipam_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dockstack/dockstack/ipam"
)

// named makes a network with virtual addresses by name, as the engine does.
func (w *world) named(id, subnet string, names ...string) (ipam.Bound, error) {
	w.t.Helper()
	p, err := w.reg.RequestPool(w.ctx, ipam.PoolRequest{Subnet: netip.MustParsePrefix(subnet)})
	w.ok(err)
	_, err = w.reg.RequestGateway(w.ctx, p.ID, netip.Addr{})
	w.ok(err)
	out, err := w.reg.Bind(w.ctx, ipam.Binding{Network: id, Pools: []string{p.ID}, VIPNames: names, DefaultMTU: 1450})
	if err == nil {
		w.ok(w.reg.SetNetworkName(w.ctx, id, "internal"))
		w.pool, _ = w.reg.Pool(p.ID)
	}
	return out, err
}

// found is what DNS has for a name and for what it leads to.
func (w *world) found(name string) string {
	w.t.Helper()
	var out []string
	for _, h := range w.reg.Names().ByName(name) {
		out = append(out, h.Addr.String()+" on "+h.Network)
		if back, ok := w.reg.Names().ByAddr(h.Addr); !ok || back != h {
			w.t.Errorf("%s leads to %s, and that back to %+v", name, h.Addr, back)
		}
	}
	return strings.Join(out, ", ")
}

func TestVirtualAddressByName(t *testing.T) {
	w := newWorld(t)
	bound, err := w.named("net", "172.16.0.0/24", "vip1", "api")
	w.ok(err)
	// Names in order, whatever the order in which they were given.
	if want := addresses([]string{"172.16.0.2", "172.16.0.3"}); !slices.Equal(bound.VIPs, want) || !slices.Equal(w.reg.VIPs(w.pool.ID), want) {
		t.Fatalf("the network has %v, and the pool %v; want %v", bound.VIPs, w.reg.VIPs(w.pool.ID), want)
	}
	has := func(when, want string) {
		t.Helper()
		if got := w.found("VIP1"); got != want {
			t.Errorf("%s, DNS has %q for vip1, want %q", when, got, want)
		}
	}
	has("at first", "172.16.0.3 on internal")
	w.holds("172.16.0.3", "vip1 parked reserved")
	w.gets("web", "172.16.0.4")
	seen := map[string]bool{}
	w.reg.Names().All(func(l ipam.Located) bool { seen[l.Name+" "+l.Addr.String()] = true; return true })
	if len(seen) != 3 || !seen["vip1 172.16.0.3"] {
		t.Errorf("a zone has %v", seen)
	}
	w.open()
	has("after a restart", "172.16.0.3 on internal")

	// Nobody takes the name or the address.
	for what, err := range map[string]error{
		"a container called so":     second(w.ask("vip1")),
		"a container with --ip":     second(w.fix("db", "172.16.0.3")),
		"and both":                  second(w.fix("vip1", "172.16.0.3")),
		"another address for it":    second(w.reg.Reserve(w.ctx, w.pool.ID, "vip1", netip.MustParseAddr("172.16.0.77"))),
		"the address for another":   second(w.reg.Reserve(w.ctx, w.pool.ID, "db", netip.MustParseAddr("172.16.0.3"))),
		"its release":               w.reg.Release(w.ctx, "vip1"),
		"another name for it":       w.reg.RenameLease(w.ctx, "vip1", "vip2"),
		"its name for another":      w.reg.RenameLease(w.ctx, "web", "vip1"),
		"the gateway's address":     second(w.reg.RequestGateway(w.ctx, w.pool.ID, netip.MustParseAddr("172.16.0.3"))),
		"an auxiliary address":      second(w.reg.RequestAux(w.ctx, w.pool.ID, netip.MustParseAddr("172.16.0.3"))),
		"of a network with another": second(w.named("other", "172.20.0.0/24", "no such name")),
	} {
		if err == nil {
			t.Errorf("%s: that is allowed", what)
		}
	}
	w.ok(w.reg.Unreserve(w.ctx, w.pool.ID, "vip1"))
	if got, err := w.reg.Reserve(w.ctx, w.pool.ID, "vip1", netip.Addr{}); err != nil || got.Addr().String() != "172.16.0.3" {
		t.Errorf("to reserve what it has: %v, %v", got, err)
	}
	plan, err := w.reg.Import(w.ctx, ipam.Import{DryRun: true, Reservations: []ipam.Reservation{
		{Name: "vip1", Addr: netip.MustParseAddr("172.16.0.3")}, {Name: "api", Addr: netip.MustParseAddr("172.16.0.99")},
	}})
	if !errors.Is(err, ipam.ErrClash) || len(plan.Same) != 1 || len(plan.Clashes) != 1 || !strings.Contains(plan.Clashes[0].Reason, "virtual address") {
		t.Errorf("an import comes to %+v, %v", plan, err)
	}
	// A running container that is renamed to it keeps its own.
	w.attach("ep", "172.16.0.4")
	w.ok(w.reg.Rename(w.ctx, "web", "vip1"))
	w.holds("172.16.0.4", "web live")
	has("after all that", "172.16.0.3 on internal")

	w.release("172.16.0.4")
	w.removeNetwork("net", w.pool)
	has("without a network", "")
	w.holds("172.16.0.3", "vip1 parked reserved")
	w.later(time.Hour)
	// New names come in between, and the network has no use for `api` any more.
	bound, err = w.named("net2", "172.16.0.0/24", "new", "vip1")
	w.ok(err)
	has("with another network", "172.16.0.3 on internal")
	if got := w.found("api"); got != "" || len(bound.VIPs) != 2 {
		t.Errorf("api is %q, and virtual are %v", got, bound.VIPs)
	}
	w.gets("api", "172.16.0.2") // a container may be called so now
}

// second is what is left of an answer that comes with an error.
func second[T any](_ T, err error) error { return err }

// A gateway or a running container goes before a virtual address' name.
func TestVirtualAddressGivesWay(t *testing.T) {
	w := newWorld(t)
	_, err := w.named("net", "172.16.0.0/24", "vip1")
	w.ok(err)
	w.removeNetwork("net", w.pool)
	w.later(time.Hour)
	w.ok(w.reg.Unreserve(w.ctx, w.pool.ID, "vip1"))
	p, err := w.reg.RequestPool(w.ctx, ipam.PoolRequest{Subnet: netip.MustParsePrefix("172.16.0.0/24")})
	w.ok(err)
	_, err = w.reg.RequestGateway(w.ctx, p.ID, netip.MustParseAddr("172.16.0.2"))
	w.ok(err)
	out, err := w.reg.Bind(w.ctx, ipam.Binding{Network: "net2", Pools: []string{p.ID}, VIPNames: []string{"vip1"}, DefaultMTU: 1450})
	w.ok(err)
	if len(out.VIPs) != 1 || out.VIPs[0].String() == "172.16.0.2" {
		t.Errorf("virtual are %v, and the gateway is 172.16.0.2", out.VIPs)
	}
}

func TestVirtualAddressOfSeveralHosts(t *testing.T) {
	c := newCluster(t)
	h1, h2, h3 := c.bare("h1", nil, false), c.bare("h2", nil, false), c.bare("h3", nil, false)
	one, err := h1.named("net-h1", "172.16.0.0/24", "vip1")
	h1.ok(err)
	addr := one.VIPs[0].String()
	two, err := h2.named("net-h2", "172.16.0.0/24", "vip1")
	h2.ok(err)
	three, err := h3.named("net-h3", "172.16.0.0/24") // it takes over what there is
	h3.ok(err)
	if !slices.Equal(one.VIPs, two.VIPs) || !slices.Equal(one.VIPs, three.VIPs) {
		t.Errorf("virtual are %v on h1, %v on h2, %v on h3", one.VIPs, two.VIPs, three.VIPs)
	}
	for _, n := range []*node{h1, h2, h3} {
		c.eventually("DNS", func() bool { return dns(n, "vip1") == addr })
	}
	if _, err := h2.ask("vip1"); !errors.Is(err, ipam.ErrAddressTaken) {
		t.Errorf("a container called vip1 on h2: %v", err)
	}
	// Gone here, it is there still for the others, and comes back the same.
	h1.removeNetwork("net-h1", h1.pool)
	again, err := h1.named("net-h1b", "172.16.0.0/24", "vip1")
	h1.ok(err)
	if !slices.Equal(one.VIPs, again.VIPs) {
		t.Errorf("virtual are %v, and were %v", again.VIPs, one.VIPs)
	}
	c.mark("h2", false)
	if got := dns(h1, "vip1"); got != addr {
		t.Errorf("after the death of a host DNS has %q, want %s", got, addr)
	}
	h4 := c.bare("h4", nil, false)
	if _, err := h4.named("net-h4", "172.16.0.0/24", "other"); !errors.Is(err, ipam.ErrMismatch) {
		t.Errorf("other names on another host: %v", err)
	}
}

// Networks that several hosts make at once: each has asked for the pool before
// any has the network.
func TestVirtualAddressAtOnce(t *testing.T) {
	c := newCluster(t)
	subnet := netip.MustParsePrefix("172.16.0.0/24")
	nodes := []*node{c.bare("h1", nil, false), c.bare("h2", nil, false), c.bare("h3", nil, false)}
	for _, n := range nodes {
		_, err := n.reg.RequestPool(n.ctx, ipam.PoolRequest{Subnet: subnet})
		n.ok(err)
		_, err = n.reg.RequestGateway(n.ctx, "172.16.0.0/24", netip.Addr{})
		n.ok(err)
	}
	got := make([]ipam.Bound, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() {
			var err error
			got[i], err = n.reg.Bind(n.ctx, ipam.Binding{
				Network: "net-" + n.id, Pools: []string{"172.16.0.0/24"}, DefaultMTU: 1450,
				VIPNames: []string{"vip1"}, VIPs: addresses([]string{"172.16.0.254"}),
			})
			if err != nil {
				t.Errorf("%s: %v", n.id, err)
			}
		})
	}
	wg.Wait()
	for i, n := range nodes {
		virtual := slices.SortedFunc(slices.Values(got[i].VIPs), netip.Addr.Compare)
		if len(virtual) != 2 || virtual[1].String() != "172.16.0.254" || !slices.Contains(got[0].VIPs, virtual[0]) {
			t.Errorf("%s has %v, and h1 %v", n.id, virtual, got[0].VIPs)
		}
		c.eventually("DNS", func() bool { return dns(n, "vip1") == virtual[0].String() })
	}
}

// A host that joins others has the address that the name has there.
func TestVirtualAddressAfterJoining(t *testing.T) {
	c := newCluster(t, "h1")
	h1 := c.hosts["h1"]
	h1.gets("web", "172.16.0.2")
	own := newWorld(t)
	own.cfg.Host = "h2"
	own.open()
	_, err := own.named("net", "172.16.0.0/24", "vip1") // 172.16.0.2, which is web's there
	own.ok(err)
	_, err = own.named("net2", "172.20.0.0/24", "vip2")
	own.ok(err)
	h2 := c.bare("h2", own.store, true)
	c.eventually("learned", func() bool {
		_, err := h2.reg.Lookup(h2.ctx, "172.20.0.0/24", netip.MustParseAddr("172.20.0.2"))
		return errors.Is(err, ipam.ErrUnknownPool)
	})
	_, err = h2.reg.Join(h2.ctx)
	h2.ok(err)
	if got := dns(h2, "vip2"); got != "172.20.0.2" {
		t.Errorf("vip2 is %q after joining", got)
	}
	if got := dns(h2, "vip1"); got != "" {
		t.Errorf("vip1 is %q after joining, which is no virtual address there", got)
	}
	if got := h2.reg.VIPs("172.16.0.0/24"); len(got) != 0 {
		t.Errorf("virtual are %v, as on no other host", got)
	}
}
