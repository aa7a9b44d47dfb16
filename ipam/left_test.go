package ipam_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/kvtest"
	"github.com/dockstack/dockstack/ipam"
)

// A host that left a cluster knows names that ran on the others. Where it joins
// next they are its own to give, and run nowhere.
func TestJoinWithNamesOfHostsThatWereLeft(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	c.hosts["h1"].gets("theirs", "172.16.0.2")
	h2 := c.hosts["h2"]
	h2.gets("mine", "172.16.0.3")
	h2.attach("ep", "172.16.0.3")
	h2.sees("172.16.0.2", "theirs live")
	copied := kvtest.NewMemory()
	for key, value := range c.store.Data() {
		if !strings.HasPrefix(key, "host/") {
			h2.ok(copied.Commit(t.Context(), []kv.Op{{Key: key, Value: value}}))
		}
	}
	h2.down()
	second := newCluster(t)
	moved := second.bare("h2", copied, true)
	second.eventually("learned", func() bool {
		_, err := moved.reg.Lookup(t.Context(), h2.pool.ID, netip.MustParseAddr("172.16.0.2"))
		return errors.Is(err, ipam.ErrUnknownPool)
	})
	_, err := moved.reg.Join(moved.ctx)
	moved.ok(err)
	moved.pool, _ = moved.reg.Pool("172.16.0.0/24")
	moved.holds("172.16.0.2", "theirs parked")
	moved.holds("172.16.0.3", "mine live")
	if got := dns(moved, "theirs"); got != "" {
		t.Errorf("DNS has %q for a name that runs nowhere", got)
	}
}
