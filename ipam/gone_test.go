package ipam_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/ipam"
)

// A host that reboots has the network still, though its mark is gone.
func TestNetworkRemovedWhileAnotherHostReboots(t *testing.T) {
	c := newCluster(t)
	vip := netip.MustParseAddr("172.16.0.100")
	var nodes []*node
	for _, id := range []string{"h1", "h2"} {
		n := c.bare(id, nil, false)
		n.network("net-"+id, "internal", ipam.PoolRequest{Subnet: netip.MustParsePrefix("172.16.0.0/24")}, vip)
		nodes = append(nodes, n)
	}
	h1, h2 := nodes[0], nodes[1]
	c.mark("h2", false)
	h1.removeNetwork("net-h1", h1.pool)
	c.mark("h2", true)
	c.eventually("h2 learned it", func() bool { return !strings.Contains(fmt.Sprint(c.store.Data()), "net-h1") })
	for _, a := range []string{"172.16.0.1", vip.String()} {
		if got, err := h2.fix("web", a); err == nil {
			t.Errorf("a container gets %s, the gateway's or a virtual one", got)
		}
	}
}

// What a person should know is over with what it is about.
func TestProblemsEnd(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1, h2 := c.hosts["h1"], c.hosts["h2"]
	h1.gets("web", "172.16.0.2")
	h1.attach("ep", "172.16.0.2")
	h2.sees("172.16.0.2", "web live")
	h1.shared.Cut()
	c.mark("h1", false)
	h2.fixes("other", "172.16.0.2")
	c.mark("h1", true)
	h1.shared.Mend()
	c.eventually("the problem is told", func() bool { return len(h1.reg.Problems()) == 1 })
	// The container ends, as the engine tells it.
	delete(h1.alive, "ep")
	h1.ok(h1.reg.Detach(h1.ctx, "ep"))
	h1.release("172.16.0.2")
	if p := h1.reg.Problems(); len(p) > 0 {
		t.Errorf("it ended, and still %q", p)
	}
	h2.holds("172.16.0.2", "other live fixed")

	h1.ok(h1.reg.Learn(h1.ctx, kv.Change{Ops: []kv.Op{{Key: "lease/172.16.0.0/24/bad", Value: []byte("?")}}}))
	if p := h1.reg.Problems(); len(p) != 1 || !strings.Contains(p[0], "can't be read") {
		t.Errorf("problems %q", p)
	}
	h1.ok(h1.reg.Learn(h1.ctx, kv.Change{Ops: []kv.Op{{Key: "lease/172.16.0.0/24/bad", Delete: true}}}))
	if p := h1.reg.Problems(); len(p) > 0 {
		t.Errorf("it is gone, and still %q", p)
	}
}

// A container that lost its address to another name doesn't become that one.
func TestLeftBehindContainerIsNotAnother(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1, h2 := c.hosts["h1"], c.hosts["h2"]
	h1.gets("web", "172.16.0.2")
	h1.attach("ep", "172.16.0.2")
	h2.sees("172.16.0.2", "web live")
	h1.shared.Cut()
	c.mark("h1", false)
	h2.fixes("other", "172.16.0.2")
	c.mark("h1", true)
	h1.shared.Mend()
	h1.sees("172.16.0.2", "other live fixed")
	sweep := func() {
		h1.ok(h1.reg.Sweep(h1.ctx, []ipam.Endpoint{{ID: "ep", Network: "net-h1", Addrs: addresses([]string{"172.16.0.2"})}}))
	}
	sweep()
	h2.release("172.16.0.2")
	h1.sees("172.16.0.2", "other parked fixed")
	sweep()
	h1.holds("172.16.0.2", "other parked fixed")
	h2.fixes("other", "172.16.0.2")
	c.mark("h2", false)
	sweep()
	if l, err := h1.reg.Lookup(t.Context(), h1.pool.ID, netip.MustParseAddr("172.16.0.2")); err != nil || l.Host != "h2" {
		t.Errorf("%+v, %v", l, err)
	}
}

// Its own name is another matter: nobody else has it.
func TestLeftBehindContainerGetsItsNameBack(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1, h2 := c.hosts["h1"], c.hosts["h2"]
	h1.gets("web", "172.16.0.2")
	h1.attach("ep", "172.16.0.2")
	h2.sees("172.16.0.2", "web live")
	h1.shared.Cut()
	c.mark("h1", false)
	h2.gets("web", "172.16.0.2")
	c.mark("h1", true)
	h1.shared.Mend()
	c.eventually("the problem is told", func() bool { return len(h1.reg.Problems()) == 1 })
	h2.release("172.16.0.2")
	h1.sees("172.16.0.2", "web parked")
	h1.ok(h1.reg.Sweep(h1.ctx, []ipam.Endpoint{{ID: "ep", Network: "net-h1", Addrs: addresses([]string{"172.16.0.2"})}}))
	h2.sees("172.16.0.2", "web live")
	if p := h1.reg.Problems(); len(p) > 0 {
		t.Errorf("still %q", p)
	}
}

func TestReservingAName(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1, h2 := c.hosts["h1"], c.hosts["h2"]
	h1.gets("web", "172.16.0.2")
	h1.attach("ep", "172.16.0.2")
	h2.sees("172.16.0.2", "web live")
	_, err := h2.reg.Reserve(h2.ctx, h2.pool.ID, "web", netip.Addr{})
	h2.ok(err)
	h1.sees("172.16.0.2", "web live reserved")
	h2.ok(h2.reg.Unreserve(h2.ctx, h2.pool.ID, "web"))
	h1.sees("172.16.0.2", "web live")
	h1.ok(h1.reg.Detach(h1.ctx, "ep"))
	h1.release("172.16.0.2")
	h2.sees("172.16.0.2", "web parked")
}

func TestManyRenamedWhileNobodyListened(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1, h2 := c.hosts["h1"], c.hosts["h2"]
	names := map[string]string{}
	for i := range 60 {
		addr, err := h1.ask(fmt.Sprint("old-", i))
		h1.ok(err)
		ep := fmt.Sprint("ep", i)
		h1.attach(ep, addr)
		names[ep] = fmt.Sprint("new-", i)
	}
	h1.ok(h1.reg.NameEndpoints(h1.ctx, names))
	h2.sees("172.16.0.2", "new-0 live")
}
