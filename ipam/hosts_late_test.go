package ipam_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/ipam"
)

// A name that is live here as far as this host knows may be another's since the
// host's mark was gone for a while.
func TestRunningNameIsMadeSureOf(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1, h2 := c.hosts["h1"], c.hosts["h2"]
	h1.gets("web", "172.16.0.2")
	h2.sees("172.16.0.2", "web live")
	h1.shared.Delay(time.Hour)
	c.mark("h1", false)
	h2.gets("web", "172.16.0.2")
	c.mark("h1", true)
	h1.holds("172.16.0.2", "web live")
	h1.startsElsewhere("web", "h2")
}

// What a host decided alone is written before it is relied on with the store.
func TestRunningNameThatWasStartedAlone(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1, h2 := c.hosts["h1"], c.hosts["h2"]
	h1.cfg.FlushAfter = time.Hour
	h1.open()
	h1.follow()
	h1.gets("web", "172.16.0.2")
	h1.release("172.16.0.2")
	h2.sees("172.16.0.2", "web parked")
	h1.shared.Cut()
	h1.gets("web", "172.16.0.2")
	h1.shared.Mend()
	h1.gets("web", "172.16.0.2")
	h2.startsElsewhere("web", "h1")
}

// One change may have several commits, and a key more than once.
func TestSeveralCommitsInOneChange(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1, h2 := c.hosts["h1"], c.hosts["h2"]
	h2.down()
	before := c.store.Data()
	h1.gets("web", "172.16.0.2")
	lease := kv.Op{Key: "lease/172.16.0.0/24/web", Value: c.store.Data()["lease/172.16.0.0/24/web"]}
	if before[lease.Key] != nil || lease.Value == nil {
		t.Fatal("no lease was written")
	}
	for range 2 {
		h2.ok(h2.reg.Learn(t.Context(), kv.Change{Ops: []kv.Op{lease, {Key: lease.Key, Delete: true}}}))
		h2.holds("172.16.0.2", "nobody")
		h2.ok(h2.reg.Learn(t.Context(), kv.Change{Ops: []kv.Op{lease, {Key: lease.Key, Delete: true}, lease}}))
		h2.holds("172.16.0.2", "web live")
	}
}

// A reservation that was made, or taken back, while the name's host was cut off
// is not lost when that writes what it did meanwhile.
func TestReservationsWhileCutOff(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1, h2 := c.hosts["h1"], c.hosts["h2"]
	h1.gets("web", "172.16.0.2")
	h1.gets("db", "172.16.0.3")
	_, err := h1.reg.Reserve(h1.ctx, h1.pool.ID, "db", netip.Addr{})
	h1.ok(err)
	h2.sees("172.16.0.3", "db live reserved")
	h1.shared.Cut()
	_, err = h2.reg.Reserve(h2.ctx, h2.pool.ID, "web", netip.Addr{})
	h2.ok(err)
	h2.ok(h2.reg.Unreserve(h2.ctx, h2.pool.ID, "db"))
	h1.release("172.16.0.2")
	h1.release("172.16.0.3")
	h1.shared.Mend()
	for _, n := range []*node{h1, h2} {
		n.sees("172.16.0.2", "web parked reserved")
		n.sees("172.16.0.3", "db parked")
	}
}

// The store's word that a host lives is taken at once, and told.
func TestHostIsFoundAlive(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1, h2 := c.hosts["h1"], c.hosts["h2"]
	h1.gets("web", "172.16.0.2")
	h2.sees("172.16.0.2", "web live")
	c.mu.Lock()
	c.alive["h1"] = false // but its mark stands
	c.mu.Unlock()
	h2.ok(h2.reg.HostsChanged(h2.ctx))
	if _, err := h2.ask("web"); !errors.Is(err, ipam.ErrElsewhere) {
		t.Errorf("got %v, want that it runs elsewhere", err)
	}
	// The store says it once.
	if len(h2.told) == 0 || h2.told[0].Key != "host/h1" || h2.told[0].Delete {
		t.Errorf("hosts were told %v, want that h1 is there", h2.told)
	}
}

// A name that a host started while it was cut off, and the store gave away
// meanwhile because the pool was full, loses its address.
func TestAddressOfParkedNameGivenAwayWhileCutOff(t *testing.T) {
	c := newCluster(t)
	for _, id := range []string{"h1", "h2"} {
		n := c.bare(id, nil, false)
		n.network("net-"+id, "internal", ipam.PoolRequest{Subnet: netip.MustParsePrefix("172.16.0.0/30")})
	}
	h1, h2 := c.hosts["h1"], c.hosts["h2"]
	h1.gets("web", "172.16.0.2")
	h1.release("172.16.0.2")
	h2.sees("172.16.0.2", "web parked")
	h1.shared.Cut()
	h1.gets("web", "172.16.0.2")
	h1.attach("ep", "172.16.0.2")
	h2.gets("db", "172.16.0.2")
	h1.shared.Mend()
	h1.sees("172.16.0.2", "db live")
	c.eventually("the problem is told", func() bool { return len(h1.reg.Problems()) == 1 })
	for key := range c.store.Data() {
		if key == "lease/172.16.0.0/30/web" {
			t.Errorf("two names have the address")
		}
	}
	h2.holds("172.16.0.2", "db live")
}

// When a container was last heard of is this host's own business: what others
// rely on stays as it is in the store, else each later commit would clash first.
func TestTimePassesWithoutClashes(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1 := c.hosts["h1"]
	commits := &counting{Shared: h1.shared}
	h1.down()
	h1.cfg.Shared = commits
	h1.open()
	h1.follow()
	h1.gets("web", "172.16.0.2")
	for _, s := range []struct {
		what  string
		do    func()
		tries int
	}{
		{"the running name again", func() { h1.gets("web", "172.16.0.2") }, 1},
		{"its endpoint", func() { h1.attach("ep", "172.16.0.2") }, 0},
		{"the endpoint's end", func() { h1.ok(h1.reg.Detach(h1.ctx, "ep")) }, 0},
		{"the running name once more", func() { h1.gets("web", "172.16.0.2") }, 1},
		{"the name's end", func() { h1.release("172.16.0.2") }, 1},
	} {
		h1.later(time.Second)
		before := commits.n
		s.do()
		if n := commits.n - before; n != s.tries {
			t.Errorf("%s: %d tries to commit, want %d", s.what, n, s.tries)
		}
	}
}

// counting counts commits, also those that clash.
type counting struct {
	kv.Shared
	n int
}

func (c *counting) Commit(ctx context.Context, ops []kv.Op, conds ...kv.Cond) error {
	c.n++
	return c.Shared.Commit(ctx, ops, conds...)
}

// Reserving what is reserved already, and the like, writes nothing, and is made
// sure of nevertheless.
func TestReservationsAreMadeSureOf(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1, h2 := c.hosts["h1"], c.hosts["h2"]
	h1.gets("web", "172.16.0.2")
	h2.sees("172.16.0.2", "web live")
	h1.shared.Delay(time.Hour)
	_, err := h2.reg.Reserve(h2.ctx, h2.pool.ID, "web", netip.Addr{})
	h2.ok(err)
	h1.ok(h1.reg.Unreserve(h1.ctx, h1.pool.ID, "web"))
	h1.holds("172.16.0.2", "web live")
	h2.sees("172.16.0.2", "web live")
}

// A host's copy may have a name's new address and not yet that another name
// lost it: a conflict told the one, and the news of the other is on its way.
func TestCopyOfTwoMoments(t *testing.T) {
	c := newCluster(t, "h1")
	h1 := c.hosts["h1"]
	h1.gets("web", "172.16.0.2")
	h1.release("172.16.0.2")
	old := kv.Op{Key: "lease/172.16.0.0/24/web", Value: c.store.Data()["lease/172.16.0.0/24/web"]}
	h1.later(time.Second)
	h1.fixes("db", "172.16.0.2")
	for key, value := range c.store.Data() {
		if !strings.HasPrefix(key, "host/") {
			h1.ok(h1.store.Commit(t.Context(), []kv.Op{{Key: key, Value: value}}))
		}
	}
	h1.ok(h1.store.Commit(t.Context(), []kv.Op{old}))
	h1.down()
	h1.shared = h1.shared.Reopen()
	h1.shared.Cut()
	h1.cfg.Shared = h1.shared
	h1.open()
	h1.holds("172.16.0.2", "db live fixed")
	h1.shared.Mend()
	h1.follow()
	h1.holds("172.16.0.2", "db live fixed")
}

// A conflict tells of one name ahead of the news that lead there: another name
// that had the address meanwhile comes and goes without it.
func TestNewsOfTwoNamesOutOfOrder(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1, h2 := c.hosts["h1"], c.hosts["h2"]
	h1.down() // its news are handed to it here
	record := func(name string) kv.Op {
		key := "lease/172.16.0.0/24/" + name
		return kv.Op{Key: key, Value: c.store.Data()[key]}
	}
	h2.fixes("first", "172.16.0.2")
	first := record("first")
	h2.release("172.16.0.2")
	h2.fixes("second", "172.16.0.2")
	for _, ops := range [][]kv.Op{{record("second")}, {first}, {{Key: first.Key, Delete: true}}} {
		h1.ok(h1.reg.Learn(t.Context(), kv.Change{Ops: ops}))
	}
	h1.holds("172.16.0.2", "second live fixed")
}

// News of hosts gets in between two tries, as other news does: a decision may
// wait for it.
func TestNewsOfHostsBetweenTwoTries(t *testing.T) {
	c := newCluster(t, "h1")
	h1 := c.hosts["h1"]
	h1.down()
	store := &clashing{Shared: h1.shared}
	h1.cfg.Shared = store
	h1.open()
	h1.follow()
	heard := make(chan struct{})
	go func() {
		<-store.clashed()
		// One after the other, as they come.
		for range 100 {
			h1.ok(h1.reg.HostsChanged(h1.ctx))
			h1.ok(h1.reg.Learn(h1.ctx, kv.Change{}))
		}
		close(heard)
	}()
	store.until = heard
	h1.fixes("web", "172.16.0.2")
}

// clashing has commits clash until news was heard.
type clashing struct {
	kv.Shared
	until <-chan struct{}
	first chan struct{}
	once  sync.Once
}

func (c *clashing) clashed() <-chan struct{} {
	c.once.Do(func() { c.first = make(chan struct{}) })
	return c.first
}

func (c *clashing) Commit(ctx context.Context, ops []kv.Op, conds ...kv.Cond) error {
	select {
	case <-c.until:
		return c.Shared.Commit(ctx, ops, conds...)
	default:
	}
	c.clashed()
	select {
	case <-c.first:
	default:
		close(c.first)
	}
	return &kv.Conflict{}
}

// Where two names seem to have an address, the one that moves away takes along
// what is noted of it.
func TestNameMovesFromAnAddressThatSeemsAnothers(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1, h2 := c.hosts["h1"], c.hosts["h2"]
	h2.fixes("first", "172.16.0.2")
	key := "lease/172.16.0.0/24/first"
	first := kv.Op{Key: key, Value: c.store.Data()[key]}
	h2.release("172.16.0.2")
	h2.fixes("second", "172.16.0.2")
	h2.release("172.16.0.2")
	h1.sees("172.16.0.2", "second parked fixed")
	h1.ok(h1.reg.Learn(t.Context(), kv.Change{Ops: []kv.Op{first}})) // late
	h1.fixes("second", "172.16.0.3")
	if got, there := c.store.Data()["addr/172.16.0.0/24/172.16.0.2"]; there {
		t.Errorf("172.16.0.2 is still %q's", got)
	}
	if got := string(c.store.Data()["addr/172.16.0.0/24/172.16.0.3"]); got != "second" {
		t.Errorf("172.16.0.3 is %q's", got)
	}
}

// A lease that goes on though it was gone from the store claims its address
// whatever is written of it first.
func TestLateLeaseComesWithItsAddress(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1, h2 := c.hosts["h1"], c.hosts["h2"]
	h1.down()
	h1.cfg.FlushAfter = time.Hour
	h1.open()
	h1.follow()
	h1.gets("web", "172.16.0.2")
	h1.release("172.16.0.2")
	h1.shared.Cut()
	h1.gets("web", "172.16.0.2")
	gone := []kv.Op{{Key: "lease/172.16.0.0/24/web", Delete: true}, {Key: "addr/172.16.0.0/24/172.16.0.2", Delete: true}, {Key: "lease/172.16.0.0/24/seen", Delete: true}}
	h1.ok(c.store.Commit(t.Context(), gone))
	h1.shared.Mend()
	h2.fixes("other", "172.16.0.3")           // by number: whether it knows that .2 is free is chance
	h1.sees("172.16.0.3", "other live fixed") // and web's end before
	h1.shared.Delay(time.Hour)
	h2.fixes("db", "172.16.0.2")
	h1.release("172.16.0.2")
	if web, there := c.store.Data()["lease/172.16.0.0/24/web"]; there {
		t.Errorf("web and db have one address, web's lease is %q", web)
	}
}
