package ipam_test

import (
	"errors"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
)

// reserve reserves a name the address that it has.
func (n *node) reserve(name string) {
	n.c.t.Helper()
	_, err := n.reg.Reserve(n.ctx, n.pool.ID, name, netip.Addr{})
	n.ok(err)
}

// reserved are two hosts of which the first had web, with an address that is
// reserved for it since.
func reserved(t *testing.T) (c *cluster, h1, h2 *node) {
	t.Helper()
	c = newCluster(t, "h1", "h2")
	h1, h2 = c.hosts["h1"], c.hosts["h2"]
	h1.gets("web", "172.16.0.2")
	h1.reserve("web")
	h1.release("172.16.0.2")
	h2.sees("172.16.0.2", "web parked reserved")
	return c, h1, h2
}

// A name that was reserved and that an operator gave up, while its host was cut
// off and started it, goes on with its address: its host writes it again. It is
// not reserved again, by nobody's word.
func TestReleaseWhileCutOff(t *testing.T) {
	_, h1, h2 := reserved(t)
	h1.shared.Cut()
	h1.gets("web", "172.16.0.2")
	h2.ok(h2.reg.Release(h2.ctx, "web", h2.pool.ID))
	h1.shared.Mend()
	h2.sees("172.16.0.2", "web live")
	h1.holds("172.16.0.2", "web live")
	h1.release("172.16.0.2")
	h2.sees("172.16.0.2", "web parked")
}

// Where it was given up and reserved again, and its host hears the one after the
// other, the last word stands.
func TestReleaseAndReserveWhileCutOff(t *testing.T) {
	c, h1, h2 := reserved(t)
	h1.down() // its news are handed to it here
	h1.shared.Cut()
	h1.gets("web", "172.16.0.2")
	addr := "addr/172.16.0.0/24/172.16.0.2"
	h2.ok(h2.reg.Release(h2.ctx, "web", h2.pool.ID))
	h1.ok(h1.reg.Learn(t.Context(), kv.Change{Ops: []kv.Op{{Key: webKey, Delete: true}, {Key: addr, Delete: true}}}))
	h1.holds("172.16.0.2", "web live")
	_, err := h2.reg.Reserve(h2.ctx, h2.pool.ID, "web", netip.MustParseAddr("172.16.0.2"))
	h2.ok(err)
	h1.ok(h1.reg.Learn(t.Context(), kv.Change{Ops: []kv.Op{{Key: webKey, Value: c.stored(webKey)}, {Key: addr, Value: c.stored(addr)}}}))
	h1.holds("172.16.0.2", "web live reserved")
	h1.shared.Mend()
	h1.follow()
	h2.sees("172.16.0.2", "web live reserved")
}

// A host that is cut off takes no reservation back: it would be written later,
// over one that another host has made by then.
func TestUnreserveWhileCutOff(t *testing.T) {
	_, h1, h2 := reserved(t)
	h1.shared.Cut()
	if err := h1.reg.Unreserve(h1.ctx, h1.pool.ID, "web"); !errors.Is(err, kv.ErrAway) {
		t.Errorf("an operator's word without the store: %v", err)
	}
	h1.gets("web", "172.16.0.2")
	h2.reserve("web")
	h1.shared.Mend()
	h2.sees("172.16.0.2", "web live reserved")
	h1.ok(h1.reg.Unreserve(h1.ctx, h1.pool.ID, "web"))
	h2.sees("172.16.0.2", "web live")
}

// A host that begins from an old copy starts a name with the address of then,
// which an operator exchanged meanwhile, here: what runs keeps its address, and
// the reservation stays with the name.
func TestReservationMadeBeforeARestartFromAnOldCopy(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1, h2 := c.hosts["h1"], c.hosts["h2"]
	h1.gets("web", "172.16.0.2")
	h1.release("172.16.0.2")
	h1.copied()
	_, err := h1.reg.Reserve(h1.ctx, h1.pool.ID, "web", netip.MustParseAddr("172.16.0.9"))
	h1.ok(err)
	h1.restartsAlone()
	h1.gets("web", "172.16.0.2")
	h1.shared.Mend()
	h1.follow()
	h2.sees("172.16.0.2", "web live reserved")
	h2.sees("172.16.0.9", "nobody")
}

// Whatever is written first of a name that goes on with another address than the
// store has gives that one up, and whoever gets it has it alone.
func TestAddressThatALateLeaseLeaves(t *testing.T) {
	for what, do := range map[string]func(h1 *node){
		"a stop":             func(h1 *node) { h1.release("172.16.0.2") },
		"a start":            func(h1 *node) { h1.gets("web", "172.16.0.2") },
		"a move":             func(h1 *node) { h1.fixes("web", "172.16.0.7") },
		"another's start":    func(h1 *node) { h1.fixes("db", "172.16.0.9") },
		"what is written so": func(h1 *node) { h1.ok(h1.reg.Flush(h1.ctx)) },
	} {
		c := newCluster(t, "h1")
		h1 := c.hosts["h1"]
		h1.gets("web", "172.16.0.2")
		h1.release("172.16.0.2")
		h1.copied()
		_, err := h1.reg.Reserve(h1.ctx, h1.pool.ID, "web", netip.MustParseAddr("172.16.0.9"))
		h1.ok(err)
		h1.cfg.FlushAfter = time.Hour
		h1.restartsAlone()
		h1.gets("web", "172.16.0.2")
		h1.shared.Mend()
		h1.follow()
		h1.sees("172.16.0.2", "web live reserved")
		do(h1)
		data := c.store.Data()
		if got := string(data["addr/172.16.0.0/24/172.16.0.9"]); got == "web" {
			t.Errorf("%s: 172.16.0.9 is still noted as web's", what)
		}
		if strings.Contains(string(data[webKey]), "\xac\x10\x00\x09") {
			t.Errorf("%s: web still has 172.16.0.9: %q", what, data[webKey])
		}
	}
}

// A store that was put back from a backup has the reservations of then, also of
// what runs.
func TestReservationsOfAStorePutBack(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1, h2 := c.hosts["h1"], c.hosts["h2"]
	h1.gets("old", "172.16.0.2")
	h1.attach("ep2", "172.16.0.2")
	h1.reserve("old")
	backup := maps.Clone(c.store.Data())
	h1.ok(h1.reg.Unreserve(h1.ctx, h1.pool.ID, "old"))
	h1.gets("web", "172.16.0.3")
	h1.attach("ep3", "172.16.0.3")
	h1.reserve("web")
	h2.sees("172.16.0.3", "web live reserved")
	c.putBack(backup)
	h2.sees("172.16.0.3", "web live")
	h2.sees("172.16.0.2", "old live reserved")
}

// copied has the host's own disk have what the store has.
func (n *node) copied() {
	n.c.t.Helper()
	for key, value := range n.c.store.Data() {
		if !strings.HasPrefix(key, "host/") {
			n.ok(n.store.Commit(n.ctx, []kv.Op{{Key: key, Value: value}}))
		}
	}
}

// restartsAlone has the host begin from its disk a second later, cut off from the
// store. The process before it may still look at its clock.
func (n *node) restartsAlone() {
	n.c.t.Helper()
	n.down()
	later := n.now.Add(time.Second)
	n.cfg.Now = func() time.Time { return later }
	n.shared = n.shared.Reopen()
	n.shared.Cut()
	n.cfg.Shared = n.shared
	n.open()
}
