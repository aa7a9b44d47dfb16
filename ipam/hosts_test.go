package ipam_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/kvtest"
	"github.com/dockstack/dockstack/ipam"
)

func TestHostsShareOneOverlay(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1, h2 := c.hosts["h1"], c.hosts["h2"]
	if h1.vni() == 0 || h1.vni() != h2.vni() {
		t.Fatalf("VNI %d and %d", h1.vni(), h2.vni())
	}
	h1.gets("web", "172.16.0.2")
	h2.sees("172.16.0.2", "web live")
	h2.reaches("172.16.0.2", "h1")
	h2.gets("db", "172.16.0.3")
	h1.reaches("172.16.0.3", "h2")
	if got := h1.reg.Names().ByName("db"); len(got) != 1 || got[0].Addr.String() != "172.16.0.3" {
		c.eventually("DNS", func() bool { return len(h1.reg.Names().ByName("db")) == 1 })
	}
	h2.startsElsewhere("web", "h1")
	h1.release("172.16.0.2")
	// At once: the refusal rests on memory, which is made sure of.
	h2.gets("web", "172.16.0.2")
	h1.reaches("172.16.0.2", "h2")
	h2.reaches("172.16.0.2", "")
	h1.startsElsewhere("web", "h2")
}

func TestLateNewsGiveNoAddressTwice(t *testing.T) {
	c := newCluster(t, "h1", "h2", "h3")
	got := map[string]string{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for id, n := range c.hosts {
		n.shared.Delay(50 * time.Millisecond)
		for i := range 30 {
			wg.Go(func() {
				name := fmt.Sprint(id, "-", i)
				addr, err := n.ask(name)
				mu.Lock()
				defer mu.Unlock()
				if err != nil || got[addr] != "" {
					t.Errorf("%s gets %s (%v), which %q has", name, addr, err, got[addr])
				}
				got[addr] = name
			})
		}
	}
	wg.Wait()
	for _, n := range c.hosts {
		n.shared.Delay(0)
		c.eventually("all agree", func() bool {
			all, err := n.reg.Leases(n.ctx, ipam.LeaseFilter{State: ipam.StateLive})
			n.ok(err)
			return len(all) == len(got)
		})
	}
}

func TestDeadHostsNamesMayMove(t *testing.T) {
	c := newCluster(t, "h1", "h2", "h3")
	h1, h2, h3 := c.hosts["h1"], c.hosts["h2"], c.hosts["h3"]
	h1.gets("web", "172.16.0.2")
	h1.attach("ep1", "172.16.0.2")
	h2.startsElsewhere("web", "h1")
	h3.reaches("172.16.0.2", "h1")
	c.mark("h1", false)
	h3.reaches("172.16.0.2", "")
	if got := h3.reg.Names().ByName("web"); len(got) != 0 {
		t.Errorf("DNS has a dead host's %v", got)
	}
	h2.gets("web", "172.16.0.2")
	h3.reaches("172.16.0.2", "h2")
	// It comes back, its container still runs, and it does not fight.
	c.mark("h1", true)
	h1.reaches("172.16.0.2", "h2")
	h1.ok(h1.reg.Sweep(h1.ctx, []ipam.Endpoint{{ID: "ep1", Network: "net-h1", Addrs: addresses([]string{"172.16.0.2"})}}))
	h1.holds("172.16.0.2", "web live")
	c.eventually("the problem is told", func() bool {
		p := h1.reg.Problems()
		return len(p) == 1 && strings.Contains(p[0], `container "web" runs here with 172.16.0.2`) && strings.Contains(p[0], "moved to host the h2")
	})
	h1.release("172.16.0.2")
	if p := h1.reg.Problems(); len(p) != 0 {
		t.Errorf("solved, and still %q", p)
	}
	h2.holds("172.16.0.2", "web live")
}

// A host that is taken for dead, and isn't, keeps its names: the mark in the
// store decides, not what somebody believes.
func TestOnlyTheMarkTellsWhoIsDead(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1, h2 := c.hosts["h1"], c.hosts["h2"]
	h1.gets("web", "172.16.0.2")
	h2.sees("172.16.0.2", "web live")
	c.mu.Lock()
	c.alive["h1"] = false // but its mark stands
	c.mu.Unlock()
	h2.ok(h2.reg.HostsChanged(h2.ctx))
	if _, err := h2.ask("web"); err == nil {
		t.Fatal("a living host's name was taken")
	}
	h1.holds("172.16.0.2", "web live")
	// And nobody makes a name live without his own mark.
	h2.sees("172.16.0.2", "web live")
	h2.gets("db", "172.16.0.3")
	c.mark("h2", false)
	if _, err := h2.ask("new"); err == nil {
		t.Fatal("a host without a mark made a name live")
	}
}

func TestAwayStoreKeepsNobodyFromHisOwn(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1, h2 := c.hosts["h1"], c.hosts["h2"]
	h1.gets("web", "172.16.0.2")
	h1.gets("parked", "172.16.0.3")
	h1.release("172.16.0.3")
	h2.sees("172.16.0.3", "parked parked")
	h2.gets("theirs", "172.16.0.4")
	h2.release("172.16.0.4")
	h1.sees("172.16.0.4", "theirs parked")
	h1.shared.Cut()
	h1.release("172.16.0.2")
	h1.gets("web", "172.16.0.2")
	h1.gets("parked", "172.16.0.3")
	for name, text := range map[string]string{
		"new":    `container "new" never ran on this host`,
		"theirs": `container "theirs" ran last on host the h2`,
	} {
		if _, err := h1.ask(name); !errors.Is(err, kv.ErrAway) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: got %v, want %q", name, err, text)
		}
	}
	if got := h1.reg.Names().ByName("parked"); len(got) != 1 {
		t.Errorf("DNS has %v", got)
	}
	h2.holds("172.16.0.3", "parked parked")
	h1.shared.Mend()
	h2.sees("172.16.0.3", "parked live")
	h1.gets("theirs", "172.16.0.4")
}

func TestNamesThatMovedWhileCutOff(t *testing.T) {
	for _, anew := range []bool{false, true} {
		c := newCluster(t, "h1", "h2")
		h1, h2 := c.hosts["h1"], c.hosts["h2"]
		for _, name := range []string{"web", "db"} {
			_, err := h1.ask(name)
			h1.ok(err)
		}
		h1.attach("ep1", "172.16.0.2")
		h1.attach("ep2", "172.16.0.3")
		h1.shared.Cut()
		c.mark("h1", false)
		h2.gets("web", "172.16.0.2")
		// Both are restarted where they were, which nobody can forbid.
		clear(h1.alive)
		for _, name := range []string{"web", "db"} {
			_, err := h1.ask(name)
			h1.ok(err)
		}
		h1.attach("ep3", "172.16.0.2")
		h1.attach("ep4", "172.16.0.3")
		c.mark("h1", true)
		if anew {
			h1.shared.MendAnew()
		} else {
			h1.shared.Mend()
		}
		h1.reaches("172.16.0.2", "h2")
		h2.reaches("172.16.0.3", "h1")
		c.eventually("the problem is told", func() bool { return len(h1.reg.Problems()) == 1 })
		h1.startsElsewhere("web", "h2")
	}
}

func TestNamesPerHost(t *testing.T) {
	c := newCluster(t)
	for _, id := range []string{"h1", "h2"} {
		n := c.bare(id, nil, false)
		p, err := n.reg.RequestPool(n.ctx, ipam.PoolRequest{Subnet: netip.MustParsePrefix("172.16.0.0/24")})
		n.ok(err)
		_, err = n.reg.Bind(n.ctx, ipam.Binding{Network: "net-" + id, Pools: []string{p.ID}, PerHost: true, DefaultMTU: 1450})
		n.ok(err)
		n.pool = p
		if _, err := n.ask("node-exporter"); err != nil {
			t.Fatal(err)
		}
	}
	c.eventually("DNS has both", func() bool { return len(c.hosts["h1"].reg.Names().ByName("node-exporter")) == 2 })
}

func TestNetworksMustBeTheSame(t *testing.T) {
	c := newCluster(t, "h1")
	h1 := c.hosts["h1"]
	h2 := c.bare("h2", nil, false)
	subnet := netip.MustParsePrefix("172.16.0.0/24")
	fails := func(err error, text string) {
		t.Helper()
		if !errors.Is(err, ipam.ErrMismatch) || !strings.Contains(err.Error(), text) {
			t.Errorf("got %v, want %q", err, text)
		}
	}
	_, err := h2.reg.RequestPool(h2.ctx, ipam.PoolRequest{Subnet: subnet, Range: netip.MustParsePrefix("172.16.0.128/25")})
	fails(err, "on the h1, network internal (172.16.0.0/24) has the range 172.16.0.0/24 and not 172.16.0.128/25; create it with --ip-range 172.16.0.0/24, as there")
	p, err := h2.reg.RequestPool(h2.ctx, ipam.PoolRequest{Subnet: subnet})
	h2.ok(err)
	_, err = h2.reg.RequestGateway(h2.ctx, p.ID, netip.MustParseAddr("172.16.0.254"))
	fails(err, "has the gateway 172.16.0.1 and not 172.16.0.254; create it with --gateway 172.16.0.1")
	bind := func(b ipam.Binding) error {
		b.Network, b.Pools = "net-h2", []string{p.ID}
		_, err := h2.reg.Bind(h2.ctx, b)
		return err
	}
	fails(bind(ipam.Binding{VNI: 77}), fmt.Sprintf("has the VNI %d and not 77", h1.vni()))
	fails(bind(ipam.Binding{MTU: 9000}), "has the MTU 1450 and not 9000")
	fails(bind(ipam.Binding{VIPs: addresses([]string{"172.16.0.100"})}), "has the virtual addresses [] and not [172.16.0.100]")
	fails(bind(ipam.Binding{PerHost: true}), "has names per overlay")
	h2.ok(bind(ipam.Binding{DefaultMTU: 1400}))
	if q, _ := h2.reg.Pool(p.ID); q.MTU != 1450 || q.VNI != h1.vni() {
		t.Errorf("got %+v", q)
	}
	// Another subnet with its VNI, or one that overlaps.
	q, err := h2.reg.RequestPool(h2.ctx, ipam.PoolRequest{Subnet: netip.MustParsePrefix("172.17.0.0/24")})
	h2.ok(err)
	if _, err := h2.reg.Bind(h2.ctx, ipam.Binding{Network: "x", Pools: []string{q.ID}, VNI: h1.vni()}); !errors.Is(err, ipam.ErrPoolInUse) {
		t.Errorf("two overlays with one VNI: %v", err)
	}
	if _, err := h2.reg.RequestPool(h2.ctx, ipam.PoolRequest{Subnet: netip.MustParsePrefix("172.16.0.0/16")}); !errors.Is(err, ipam.ErrOverlap) {
		t.Errorf("overlapping: %v", err)
	}
}

// Networks without a subnet, made at the same time everywhere, don't become
// one by chance; those that name their overlay do.
func TestSubnetsChosenAtTheSameTime(t *testing.T) {
	c := newCluster(t)
	var mu sync.Mutex
	plain, named := map[netip.Prefix]int{}, map[netip.Prefix]int{}
	var wg sync.WaitGroup
	for _, id := range []string{"h1", "h2", "h3"} {
		n := c.bare(id, nil, false)
		wg.Go(func() {
			for i, overlay := range []string{"", "blue"} {
				p, err := n.reg.RequestPool(n.ctx, ipam.PoolRequest{Overlay: overlay})
				if err == nil {
					_, err = n.reg.Bind(n.ctx, ipam.Binding{Network: fmt.Sprint(id, i), Pools: []string{p.ID}})
				}
				mu.Lock()
				if err != nil {
					t.Errorf("%s: %v", id, err)
				} else if overlay == "" {
					plain[p.Subnet]++
				} else {
					named[p.Subnet]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(plain) != 3 || len(named) != 1 {
		t.Errorf("subnets without an overlay's name: %v, want three; with one: %v, want one", plain, named)
	}
}

func TestJoinAndLeave(t *testing.T) {
	c := newCluster(t, "h1")
	h1 := c.hosts["h1"]
	h1.gets("web", "172.16.0.2")
	h1.gets("db", "172.16.0.3")

	// A host with a life of its own: web with another address, an address that
	// is db's there, a name and a network that nobody else has.
	own := newWorld(t)
	own.cfg.Host = "h2"
	own.open()
	own.network("net", "internal", ipam.PoolRequest{Subnet: netip.MustParsePrefix("172.16.0.0/24")})
	own.fixes("web", "172.16.0.9")
	own.fixes("mine", "172.16.0.3")
	own.fixes("only", "172.16.0.8")
	own.attach("ep", "172.16.0.8")
	for _, a := range []string{"172.16.0.9", "172.16.0.3"} {
		own.release(a)
	}
	own.network("net2", "other", ipam.PoolRequest{Subnet: netip.MustParsePrefix("172.20.0.0/24")})
	own.gets("far", "172.20.0.2")
	own.release("172.20.0.2")

	h2 := c.bare("h2", own.store, true)
	c.eventually("learned", func() bool { _, ok := h2.reg.Pool("172.20.0.0/24"); return !ok })
	report, err := h2.reg.Join(h2.ctx)
	h2.ok(err)
	<-h2.reg.Synced()
	if report.Pools != 1 || report.Leases != 2 || len(report.Clashes) != 2 {
		t.Errorf("report %+v", report)
	}
	slices.Sort(report.Clashes)
	for i, want := range []string{
		`name "mine" had 172.16.0.3 here in network internal (172.16.0.0/24), which is "db"'s on host the h1: its next start gets another address`,
		`name "web" had 172.16.0.9 here in network internal (172.16.0.0/24), and runs with 172.16.0.2 on host the h1`,
	} {
		if i < len(report.Clashes) && report.Clashes[i] != want {
			t.Errorf("clash\n\t%s\nwant\n\t%s", report.Clashes[i], want)
		}
	}
	h2.pool, _ = h2.reg.Pool("172.16.0.0/24")
	h1.sees("172.16.0.8", "only live fixed")
	h1.reaches("172.16.0.8", "h2")
	h2.reaches("172.16.0.2", "h1")
	a, _ := h2.reg.Pool("172.16.0.0/24")
	b, _ := h2.reg.Pool("172.20.0.0/24")
	if a.VNI != h1.vni() || a.VNI == b.VNI || b.VNI == 0 {
		t.Errorf("VNIs %d and %d, and on h1 %d", a.VNI, b.VNI, h1.vni())
	}
	// It leaves with all names, those of the others parked.
	all := kvtest.NewMemory()
	for key, value := range c.store.Data() {
		if !strings.HasPrefix(key, "host/") {
			h2.ok(all.Commit(t.Context(), []kv.Op{{Key: key, Value: value}}))
		}
	}
	h2.down()
	alone, err := ipam.Open(t.Context(), all, ipam.Config{Host: "h2"})
	h2.ok(err)
	h2.reg = alone
	h2.holds("172.16.0.2", "web parked")
	h2.holds("172.16.0.8", "only live fixed")
	h2.gets("web", "172.16.0.2")
}

func TestRestartFromTheCopy(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1 := c.hosts["h1"]
	h1.gets("web", "172.16.0.2")
	h1.release("172.16.0.2")
	for key, value := range c.store.Data() {
		if !strings.HasPrefix(key, "host/") {
			h1.ok(h1.store.Commit(t.Context(), []kv.Op{{Key: key, Value: value}}))
		}
	}
	h1.shared.Cut()
	h1.down()
	h1.shared = h1.shared.Reopen()
	h1.cfg.Shared = h1.shared
	h1.open()
	h1.gets("web", "172.16.0.2")
	h1.shared.Mend()
	h1.follow()
	c.hosts["h2"].sees("172.16.0.2", "web live")
}

// An address that went to another name while this host was cut off isn't
// claimed again behind its back.
func TestAddressGivenAwayWhileCutOff(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1, h2 := c.hosts["h1"], c.hosts["h2"]
	h1.gets("web", "172.16.0.2")
	h2.sees("172.16.0.2", "web live")
	h1.shared.Cut()
	h1.release("172.16.0.2")
	h1.gets("web", "172.16.0.2")
	h1.attach("ep", "172.16.0.2")
	c.mark("h1", false)
	h2.fixes("other", "172.16.0.2")
	c.mark("h1", true)
	h1.shared.Mend()
	h1.sees("172.16.0.2", "other live fixed")
	c.eventually("the problem is told", func() bool {
		p := h1.reg.Problems()
		return len(p) == 1 && strings.Contains(p[0], "its address was given away while this host was cut off")
	})
	h2.holds("172.16.0.2", "other live fixed")
	if got := string(c.store.Data()["addr/172.16.0.0/24/172.16.0.2"]); got != "other" {
		t.Errorf("the address is %q's", got)
	}
}

func TestStartAndEndCostOneCommitEach(t *testing.T) {
	c := newCluster(t, "a", "b")
	a := c.hosts["a"]
	for _, s := range []struct {
		what  string
		do    func()
		costs int
	}{
		{"a new name", func() { a.gets("web", "172.16.0.2") }, 1},
		{"its endpoint", func() { a.attach("ep1", "172.16.0.2") }, 0},
		{"the endpoint's end", func() { a.ok(a.reg.Detach(a.ctx, "ep1")) }, 0},
		{"the name's end", func() { a.release("172.16.0.2") }, 1},
		{"the known name", func() { a.gets("web", "172.16.0.2") }, 1},
		{"its new endpoint", func() { a.attach("ep2", "172.16.0.2") }, 0},
	} {
		before := a.shared.Commits()
		s.do()
		if n := a.shared.Commits() - before; n != s.costs {
			t.Errorf("%s: %d commits to the shared store, want %d", s.what, n, s.costs)
		}
	}
}

func TestKnownNamesStartWhileTheSharedStoreIsFull(t *testing.T) {
	c := newCluster(t, "a", "b")
	a := c.hosts["a"]
	a.gets("web", "172.16.0.2")
	a.release("172.16.0.2")
	full := fmt.Errorf("%w: etcd 192.0.2.1:2379 has a full database (alarm NOSPACE)", kv.ErrNoSpace)
	a.shared.FailNext(full)
	if _, err := a.ask("new"); !errors.Is(err, kv.ErrNoSpace) || !strings.Contains(err.Error(), "never ran on this host") {
		t.Errorf("a new name: %v", err)
	}
	a.shared.FailNext(full)
	a.gets("web", "172.16.0.2")
	a.ok(a.reg.Flush(a.ctx))
	if _, err := c.hosts["b"].ask("web"); !errors.Is(err, ipam.ErrElsewhere) {
		t.Errorf("on another host, after the store has room again: %v", err)
	}
}
