package ipam_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/kvtest"
	"github.com/dockstack/dockstack/ipam"
)

// aboutToJoin is host h2 with a life of its own, that has learned what the
// cluster has: web, which runs on both with different addresses, lost, whose
// address is db's on h1, and only.
func aboutToJoin(c *cluster) *node {
	own := newWorld(c.t)
	own.cfg.Host = "h2"
	own.open()
	own.network("net", "internal", ipam.PoolRequest{Subnet: netip.MustParsePrefix("172.16.0.0/24")})
	own.network("net2", "other", ipam.PoolRequest{Subnet: netip.MustParsePrefix("172.20.0.0/24")})
	own.pool, _ = own.reg.Pool("172.16.0.0/24")
	own.fixes("web", "172.16.0.9")
	own.fixes("lost", "172.16.0.3")
	own.fixes("only", "172.16.0.8")
	h2 := c.bare("h2", own.store, true)
	c.eventually("learned", func() bool {
		_, err := h2.reg.Lookup(h2.ctx, "172.20.0.0/24", netip.MustParseAddr("172.20.0.2"))
		return errors.Is(err, ipam.ErrUnknownPool)
	})
	return h2
}

func dns(n *node, name string) string {
	var out []string
	for _, h := range n.reg.Names().ByName(name) {
		out = append(out, h.Addr.String())
	}
	return strings.Join(out, " ")
}

func TestNamesAfterJoining(t *testing.T) {
	c := newCluster(t, "h1")
	h1 := c.hosts["h1"]
	h1.gets("web", "172.16.0.2")
	h1.gets("db", "172.16.0.3")
	h2 := aboutToJoin(c)
	_, err := h2.reg.Join(h2.ctx)
	h2.ok(err)
	for name, want := range map[string]string{"web": "172.16.0.2", "db": "172.16.0.3", "lost": "", "only": "172.16.0.8"} {
		if got := dns(h2, name); got != want {
			t.Errorf("DNS has %q for %s, want %q", got, name, want)
		}
	}
	if p, ok := h2.reg.Names().ByAddr(netip.MustParseAddr("172.16.0.3")); !ok || p.Name != "db" {
		t.Errorf("172.16.0.3 is %+v", p)
	}
}

// A host that fell in the middle of it begins again, and what it took along
// before is its own.
func TestJoinThatIsCutOff(t *testing.T) {
	var whole int
	for cut := 0; ; cut++ {
		c := newCluster(t, "h1")
		h1 := c.hosts["h1"]
		h1.gets("web", "172.16.0.2")
		h1.gets("db", "172.16.0.3")
		h2 := aboutToJoin(c)
		for range cut {
			h2.shared.FailNext(nil)
		}
		h2.shared.LoseNext(fmt.Errorf("%w: by the test", kv.ErrAway))
		_, err := h2.reg.Join(h2.ctx)
		if err == nil {
			whole = cut
			break
		}
		again, err := h2.reg.Join(h2.ctx)
		h2.ok(err)
		if len(again.Clashes) > 2 {
			t.Errorf("cut off after %d commits: %q", cut, again.Clashes)
		}
		for _, clash := range again.Clashes {
			if strings.Contains(clash, "web") && !strings.Contains(clash, "keeps its address until it is started again") {
				t.Errorf("cut off after %d commits: %s", cut, clash)
			}
		}
		h2.pool, _ = h2.reg.Pool("172.16.0.0/24")
		h2.holds("172.16.0.9", "web~h2 live fixed")
		h2.holds("172.16.0.8", "only live fixed")
		h1.sees("172.16.0.8", "only live fixed")
	}
	if whole < 3 {
		t.Errorf("only %d commits", whole)
	}
}

// What the store has of an earlier time in the cluster isn't a network.
func TestJoinAgain(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1, h2 := c.hosts["h1"], c.hosts["h2"]
	own := kvtest.NewMemory()
	for key, value := range c.store.Data() {
		if !strings.HasPrefix(key, "host/") {
			h2.ok(own.Commit(t.Context(), []kv.Op{{Key: key, Value: value}}))
		}
	}
	h2.down()
	alone, err := ipam.Open(t.Context(), own, ipam.Config{Host: "h2"})
	h1.ok(err)
	h1.ok(alone.ReleasePool(t.Context(), h1.pool.ID))
	h1.ok(alone.Unbind(t.Context(), "net-h2"))
	again := c.bare("h2", own, true)
	c.eventually("learned", func() bool {
		_, err := again.reg.Join(again.ctx)
		return err == nil
	})
	<-again.reg.Synced()
	again.network("net-h2b", "internal", ipam.PoolRequest{Subnet: netip.MustParsePrefix("172.16.0.0/24")})
}
