package ipam_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/kvtest"
	"github.com/dockstack/dockstack/ipam"
)

// stored is what the shared store has under a key.
func (c *cluster) stored(key string) []byte {
	c.t.Helper()
	value, ok := c.store.Data()[key]
	if !ok {
		c.t.Fatalf("the store has no %s", key)
	}
	return value
}

// believes has a host alone think that another one is alive or dead, as one
// does whose news of marks are late.
func (n *node) believes(id string, alive bool) {
	n.c.t.Helper()
	n.c.mu.Lock()
	was := n.c.alive[id]
	n.c.alive[id] = alive
	n.c.mu.Unlock()
	n.ok(n.reg.HostsChanged(n.ctx))
	n.c.mu.Lock()
	n.c.alive[id] = was
	n.c.mu.Unlock()
}

const webKey = "lease/172.16.0.0/24/web"

// Who was away for a moment gets several commits in one change.
func TestOneChangeOfSeveralCommits(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1, h2 := c.hosts["h1"], c.hosts["h2"]
	h2.gets("web", "172.16.0.2")
	h1.sees("172.16.0.2", "web live")
	web, use := c.stored(webKey), c.stored("use/172.16.0.0/24/h2")
	h1.ok(h1.reg.Learn(h1.ctx, kv.Change{Ops: []kv.Op{
		{Key: webKey, Value: web},
		{Key: webKey, Delete: true},
		{Key: "use/172.16.0.0/24/h2", Delete: true},
		{Key: "use/172.16.0.0/24/h2", Value: use},
	}}))
	h1.holds("172.16.0.2", "nobody")
	_, err := h1.reg.RequestPool(h1.ctx, ipam.PoolRequest{Subnet: netip.MustParsePrefix("172.16.0.0/16")})
	h1.ok(h1.reg.ReleasePool(h1.ctx, h1.pool.ID))
	if !errors.Is(err, ipam.ErrOverlap) {
		t.Errorf("an overlapping subnet: %v", err)
	}
	_, err = h1.reg.RequestPool(h1.ctx, ipam.PoolRequest{Subnet: h1.pool.Subnet, Range: netip.MustParsePrefix("172.16.0.128/25")})
	if !errors.Is(err, ipam.ErrMismatch) {
		t.Errorf("h2 has the network with another range: %v", err)
	}
}

// What a commit told is newer than a change that was on its way.
func TestChangeThatWasOvertaken(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1, h2 := c.hosts["h1"], c.hosts["h2"]
	h1.gets("web", "172.16.0.2")
	h1.attach("ep", "172.16.0.2")
	h2.sees("172.16.0.2", "web live")
	h1.ok(h1.reg.Learn(h1.ctx, kv.Change{
		Ops:     []kv.Op{{Key: webKey, Delete: true}},
		Refresh: func() kv.Change { return kv.Change{} },
	}))
	h1.holds("172.16.0.2", "web live")
	if p := h1.reg.Problems(); len(p) > 0 {
		t.Errorf("problems %q", p)
	}
}

// A host that changes over to another cluster, or whose etcd was put back from
// a backup, may know more than the store.
func TestJoinAfterAnotherCluster(t *testing.T) {
	c := newCluster(t, "h1")
	h1 := c.hosts["h1"]
	for i := range 3 {
		h1.network(fmt.Sprint("net", i), fmt.Sprint("n", i), ipam.PoolRequest{Subnet: netip.MustParsePrefix(fmt.Sprintf("172.30.%d.0/24", i))})
	}
	own := kvtest.NewMemory()
	for key, value := range c.store.Data() {
		if !strings.HasPrefix(key, "host/") {
			h1.ok(own.Commit(t.Context(), []kv.Op{{Key: key, Value: value}}))
		}
	}
	h1.down()
	second := newCluster(t)
	moved := second.bare("h1", own, true)
	second.eventually("learned", func() bool {
		_, err := moved.reg.Lookup(t.Context(), h1.pool.ID, netip.MustParseAddr("172.16.0.2"))
		return errors.Is(err, ipam.ErrUnknownPool)
	})
	_, err := moved.reg.Join(moved.ctx)
	moved.ok(err)
	moved.network("net9", "n9", ipam.PoolRequest{Subnet: netip.MustParsePrefix("172.31.0.0/24")})
}

// A name that moved to a host which was thought dead isn't taken back from it.
func TestNameThatMovedToAHostThoughtDead(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1, h2 := c.hosts["h1"], c.hosts["h2"]
	h1.gets("web", "172.16.0.2")
	h2.sees("172.16.0.2", "web live")
	h1.believes("h2", false)
	h1.shared.Cut()
	h1.release("172.16.0.2")
	h1.gets("web", "172.16.0.2")
	h1.attach("ep", "172.16.0.2")
	if err := c.store.Commit(t.Context(), []kv.Op{{Key: "host/h1", Delete: true}}); err != nil {
		t.Fatal(err)
	}
	h2.believes("h1", false)
	h2.gets("web", "172.16.0.2")
	h2.attach("ep2", "172.16.0.2")
	if err := c.store.Commit(t.Context(), []kv.Op{{Key: "host/h1", Value: []byte("mark of h1")}}); err != nil {
		t.Fatal(err)
	}
	h2.ok(h2.reg.HostsChanged(h2.ctx))
	h1.shared.Mend()
	c.eventually("the problem is told", func() bool {
		p := h1.reg.Problems()
		return len(p) == 1 && strings.Contains(p[0], "moved to host the h2")
	})
	if p := h2.reg.Problems(); len(p) > 0 {
		t.Errorf("h2: %q", p)
	}
	l, err := h2.reg.Lookup(t.Context(), h2.pool.ID, netip.MustParseAddr("172.16.0.2"))
	if err != nil || l.Host != "h2" {
		t.Errorf("%+v, %v", l, err)
	}
}

// The refusal names the host, also where that was thought dead.
func TestNameOnAHostThoughtDead(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1, h2 := c.hosts["h1"], c.hosts["h2"]
	h1.gets("web", "172.16.0.2")
	h2.sees("172.16.0.2", "web live")
	h2.believes("h1", false)
	h2.startsElsewhere("web", "h1")
	h2.believes("h1", false)
	if _, err := h2.fix("db", "172.16.0.2"); !errors.Is(err, ipam.ErrAddressTaken) {
		t.Errorf("its address: %v", err)
	}
}

// A name that runs here may have moved while this host was taken for dead.
func TestNameThatMovedUnseen(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1, h2 := c.hosts["h1"], c.hosts["h2"]
	h1.gets("web", "172.16.0.2")
	h2.sees("172.16.0.2", "web live")
	h1.shared.Delay(time.Hour)
	c.mark("h1", false)
	h2.gets("web", "172.16.0.2")
	c.mark("h1", true)
	// The engine was killed, so it released nothing.
	h1.startsElsewhere("web", "h2")
}

// Two hosts make the network, and the second doesn't know yet that the first
// has: it takes what is there, or is refused.
func TestNetworkMadeElsewhereUnseen(t *testing.T) {
	c := newCluster(t)
	h1, h2 := c.bare("h1", nil, false), c.bare("h2", nil, false)
	h2.shared.Delay(time.Hour)
	subnet := netip.MustParsePrefix("172.16.0.0/24")
	p, err := h1.reg.RequestPool(h1.ctx, ipam.PoolRequest{Subnet: subnet})
	h1.ok(err)
	_, err = h1.reg.RequestGateway(h1.ctx, p.ID, netip.MustParseAddr("172.16.0.254"))
	h1.ok(err)
	first, err := h1.reg.Bind(h1.ctx, ipam.Binding{Network: "net-h1", Pools: []string{p.ID}, MTU: 9000, VIPs: addresses([]string{"172.16.0.100"})})
	h1.ok(err)
	if _, err := h2.reg.RequestPool(h2.ctx, ipam.PoolRequest{Subnet: subnet, Range: netip.MustParsePrefix("172.16.0.128/25")}); !errors.Is(err, ipam.ErrMismatch) {
		t.Errorf("another range: %v", err)
	}
	if _, err := h2.reg.RequestPool(h2.ctx, ipam.PoolRequest{Subnet: netip.MustParsePrefix("172.16.0.0/16")}); !errors.Is(err, ipam.ErrOverlap) {
		t.Errorf("one that overlaps: %v", err)
	}
	_, err = h2.reg.RequestPool(h2.ctx, ipam.PoolRequest{Subnet: subnet})
	h2.ok(err)
	if gw, err := h2.reg.RequestGateway(h2.ctx, p.ID, netip.Addr{}); err != nil || text(gw) != "172.16.0.254" {
		t.Errorf("gateway %s, %v", gw, err)
	}
	second, err := h2.reg.Bind(h2.ctx, ipam.Binding{Network: "net-h2", Pools: []string{p.ID}, DefaultMTU: 1450})
	if err != nil || fmt.Sprint(second) != fmt.Sprint(first) {
		t.Errorf("got %+v, %v, and h1 %+v", second, err, first)
	}
}

// The first host's last step and the second's first may cross.
func TestNetworkRemovedWhileAnotherJoins(t *testing.T) {
	c := newCluster(t, "h1")
	h1 := c.hosts["h1"]
	gw := netip.MustParseAddr("172.16.0.1")
	h1.shared.Delay(time.Hour)
	h2 := c.add("h2")
	h1.removeNetwork("net-h1", h1.pool)
	h2.ok(h2.reg.HostsChanged(h2.ctx))
	c.eventually("h2 learns it", func() bool { return strings.Count(fmt.Sprint(c.store.Data()), "use/") == 1 })
	// News comes in order: with this h2 knows of the removal, too.
	_, err := h1.reg.RequestPool(h1.ctx, ipam.PoolRequest{Subnet: netip.MustParsePrefix("172.99.0.0/24")})
	h1.ok(err)
	c.eventually("h2 knows what came after", func() bool { _, known := h2.reg.Pool("172.99.0.0/24"); return known })
	if p, _ := h2.reg.Pool(h2.pool.ID); p.Gateway != gw {
		t.Errorf("gateway %s", p.Gateway)
	}
	if got, err := h2.fix("web", gw.String()); !errors.Is(err, ipam.ErrAddressTaken) {
		t.Errorf("a container gets the gateway's address: %s, %v", got, err)
	}
}
