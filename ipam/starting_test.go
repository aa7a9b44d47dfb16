package ipam_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/ipam"
)

// An endpoint's link is in no container yet when its lease is tied to it: the
// address is not free for that.
func TestContainerKeepsItsAddressWhileItStarts(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/30")
	w.gets("web", "172.16.0.2")
	w.attach("ep", "172.16.0.2")
	w.alive["ep"] = false
	if got, err := w.ask("db"); !errors.Is(err, ipam.ErrPoolFull) {
		t.Errorf("got %s, %v, which is web's that starts", got, err)
	}
	if got, err := w.fix("db", "172.16.0.2"); !errors.Is(err, ipam.ErrAddressTaken) {
		t.Errorf("got %s, %v, which is web's that starts", got, err)
	}
	w.later(2 * time.Minute)
	w.gets("db", "172.16.0.2")
}

// A pool that this host never heard of may be known when the store is read.
func TestUnknownPoolBeforeTheStoreWasRead(t *testing.T) {
	c := newCluster(t)
	h1 := c.bare("h1", nil, false)
	h1.down()
	h1.shared.Cut()
	h1.open()
	h1.pool.ID = "172.16.0.0/24"
	if _, err := h1.ask("web"); !errors.Is(err, kv.ErrAway) {
		t.Errorf("got %v, want that the store is away", err)
	}
	if err := h1.reg.ReleaseAddress(h1.ctx, h1.pool.ID, netip.MustParseAddr("172.16.0.2")); !errors.Is(err, kv.ErrAway) {
		t.Errorf("got %v, want that the store is away", err)
	}
}
