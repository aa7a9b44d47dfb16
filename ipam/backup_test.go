package ipam_test

import (
	"errors"
	"maps"
	"net/netip"
	"strings"
	"testing"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/ipam"
)

// putBack puts the store back to what it had, as from a backup; marks are
// written anew by their hosts.
func (c *cluster) putBack(backup map[string][]byte) {
	c.t.Helper()
	for _, n := range c.hosts {
		n.shared.Cut()
	}
	var ops []kv.Op
	for key := range c.store.Data() {
		if _, has := backup[key]; !has && !strings.HasPrefix(key, "host/") {
			ops = append(ops, kv.Op{Key: key, Delete: true})
		}
	}
	for key, value := range backup {
		ops = append(ops, kv.Op{Key: key, Value: value})
	}
	if err := c.store.Commit(c.t.Context(), ops); err != nil {
		c.t.Fatal(err)
	}
	for _, n := range c.hosts {
		n.shared.MendAnew()
	}
}

// What came after the backup runs on: its addresses are nobody else's.
func TestStorePutBackFromABackup(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1, h2 := c.hosts["h1"], c.hosts["h2"]
	h1.gets("old", "172.16.0.2")
	backup := maps.Clone(c.store.Data())
	h1.gets("web", "172.16.0.3")
	h1.attach("ep", "172.16.0.3")
	h1.release("172.16.0.2")
	h2.sees("172.16.0.3", "web live")
	c.putBack(backup)
	c.eventually("web is in the store again", func() bool { return c.store.Data()[webKey] != nil })
	h2.sees("172.16.0.3", "web live")
	if got, err := h2.fix("db", "172.16.0.3"); !errors.Is(err, ipam.ErrAddressTaken) {
		t.Errorf("web's address goes to db: %s, %v", got, err)
	}
	if p := h1.reg.Problems(); len(p) > 0 {
		t.Errorf("problems %q", p)
	}
	h1.ok(h1.reg.Detach(h1.ctx, "ep"))
	h1.release("172.16.0.3")
	h2.gets("web", "172.16.0.3")
}

// Networks that were made after the backup are made again by their hosts.
func TestNetworkThatTheBackupLacks(t *testing.T) {
	c := newCluster(t)
	h1, h2 := c.bare("h1", nil, false), c.bare("h2", nil, false)
	h1.network("other-h1", "other", ipam.PoolRequest{Subnet: netip.MustParsePrefix("172.20.0.0/24")})
	backup := maps.Clone(c.store.Data())
	for _, n := range []*node{h1, h2} {
		n.network("net-"+n.id, "internal", ipam.PoolRequest{Subnet: netip.MustParsePrefix("172.16.0.0/24")})
	}
	vni := h1.vni()
	h1.gets("web", "172.16.0.2")
	h1.attach("ep", "172.16.0.2")
	h2.sees("172.16.0.2", "web live")
	c.putBack(backup)
	c.eventually("all of it is in the store again", func() bool {
		data := c.store.Data()
		return data[webKey] != nil && data["use/172.16.0.0/24/h1"] != nil && data["use/172.16.0.0/24/h2"] != nil
	})
	h2.sees("172.16.0.2", "web live")
	h2.gets("db", "172.16.0.3")
	h2.attach("ep2", "172.16.0.3")
	h1.reaches("172.16.0.3", "h2")
	if h1.vni() != vni || h2.vni() != vni {
		t.Errorf("VNI %d on h1 and %d on h2, want %d", h1.vni(), h2.vni(), vni)
	}
	if owner := string(c.store.Data()["vni/2"]); owner != "172.16.0.0/24" {
		t.Errorf("VNI 2 is %q's", owner)
	}
	h1.network("third-h1", "third", ipam.PoolRequest{Subnet: netip.MustParsePrefix("172.21.0.0/24")})
	h2.removeNetwork("net-h2", ipam.Pool{ID: "172.16.0.0/24"})
}

// A network that the backup lacks, and no host has any more, is none.
func TestForgottenNetworkThatTheBackupLacks(t *testing.T) {
	c := newCluster(t)
	h1 := c.bare("h1", nil, false)
	backup := maps.Clone(c.store.Data())
	h1.network("net-h1", "internal", ipam.PoolRequest{Subnet: netip.MustParsePrefix("172.16.0.0/24")})
	h1.gets("web", "172.16.0.2")
	h1.release("172.16.0.2")
	h1.removeNetwork("net-h1", h1.pool)
	c.putBack(backup)
	c.eventually("it is forgotten", func() bool { _, ok := h1.reg.Pool("172.16.0.0/24"); return !ok })
	h1.network("net-h1b", "internal", ipam.PoolRequest{Subnet: netip.MustParsePrefix("172.16.0.0/24")})
	h1.gets("web", "172.16.0.2")
}

// Names that the backup has otherwise are what they are where they run.
func TestNamesThatTheBackupHasOtherwise(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1, h2 := c.hosts["h1"], c.hosts["h2"]
	for _, name := range []string{"parked", "elsewhere", "moved"} {
		_, err := h1.ask(name)
		h1.ok(err)
	}
	for _, addr := range []string{"172.16.0.2", "172.16.0.3", "172.16.0.4"} {
		h1.release(addr)
	}
	h2.sees("172.16.0.3", "elsewhere parked")
	h2.gets("elsewhere", "172.16.0.3")
	h2.release("172.16.0.3")
	backup := maps.Clone(c.store.Data())
	h1.sees("172.16.0.3", "elsewhere parked")
	h1.gets("parked", "172.16.0.2")
	h1.gets("elsewhere", "172.16.0.3")
	h1.fixes("moved", "172.16.0.44")
	for _, addr := range []string{"172.16.0.2", "172.16.0.3", "172.16.0.44"} {
		h1.attach("ep"+addr, addr)
	}
	h2.sees("172.16.0.44", "moved live fixed")
	c.putBack(backup)
	c.eventually("all is in the store again", func() bool {
		data := c.store.Data()
		return string(data["addr/172.16.0.0/24/172.16.0.44"]) == "moved" && data["addr/172.16.0.0/24/172.16.0.4"] == nil
	})
	h2.sees("172.16.0.2", "parked live")
	h2.sees("172.16.0.3", "elsewhere live")
	h2.sees("172.16.0.44", "moved live fixed")
	h2.sees("172.16.0.4", "nobody")
	h2.startsElsewhere("elsewhere", "h1")
	for _, n := range c.hosts {
		if p := n.reg.Problems(); len(p) > 0 {
			t.Errorf("%s: problems %q", n.id, p)
		}
	}
}

// Everything anew, as after a break, costs no commits where all is as it was.
func TestEverythingAnewIsNoNews(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1, h2 := c.hosts["h1"], c.hosts["h2"]
	h1.gets("web", "172.16.0.2")
	h1.attach("ep", "172.16.0.2")
	h2.sees("172.16.0.2", "web live")
	before := h1.shared.Commits()
	h1.shared.Cut()
	h1.shared.MendAnew()
	h2.gets("db", "172.16.0.3")
	h1.sees("172.16.0.3", "db live")
	h1.ok(h1.reg.Flush(h1.ctx))
	if n := h1.shared.Commits() - before; n != 0 {
		t.Errorf("%d commits", n)
	}
	h1.ok(h1.reg.Detach(h1.ctx, "ep"))
	h1.release("172.16.0.2")
	h2.gets("web", "172.16.0.2")
}

// A container that was left behind while its name was elsewhere and came to its
// end there gets it back, also where all of that is learned at once.
func TestNameThatCameAndWentWhileCutOff(t *testing.T) {
	for _, anew := range []bool{false, true} {
		c := newCluster(t, "h1", "h2")
		h1, h2 := c.hosts["h1"], c.hosts["h2"]
		h1.gets("web", "172.16.0.2")
		h1.attach("ep", "172.16.0.2")
		h2.sees("172.16.0.2", "web live")
		h1.shared.Cut()
		c.mark("h1", false)
		h2.gets("web", "172.16.0.2")
		h2.release("172.16.0.2")
		c.mark("h1", true)
		if anew {
			h1.shared.MendAnew()
		} else {
			h1.shared.Mend()
			h1.sees("172.16.0.2", "web parked")
		}
		h1.ok(h1.reg.Sweep(h1.ctx, []ipam.Endpoint{{ID: "ep", Network: "net-h1", Addrs: addresses([]string{"172.16.0.2"})}}))
		h2.sees("172.16.0.2", "web live")
		h2.startsElsewhere("web", "h1")
	}
}
