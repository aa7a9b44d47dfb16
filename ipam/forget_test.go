package ipam_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/ipam"
)

func TestForgetHost(t *testing.T) {
	c := newCluster(t, "h1", "h2", "h3")
	h1, h2, h3 := c.hosts["h1"], c.hosts["h2"], c.hosts["h3"]
	h1.gets("web", "172.16.0.2")
	h1.gets("old", "172.16.0.3")
	h1.release("172.16.0.3")
	h1.gets("moved", "172.16.0.4")
	h1.release("172.16.0.4")
	h2.gets("moved", "172.16.0.4")
	for _, n := range []*node{h1, h2} {
		p, err := n.reg.RequestPool(n.ctx, ipam.PoolRequest{Subnet: netip.MustParsePrefix("10.11.0.0/24")})
		n.ok(err)
		_, err = n.reg.Bind(n.ctx, ipam.Binding{Network: "perhost", Pools: []string{p.ID}, PerHost: true})
		n.ok(err)
		_, err = n.reg.RequestAddress(n.ctx, ipam.AddressRequest{Pool: p.ID, Name: "agent"})
		n.ok(err)
	}
	h2.fails(h2.reg.ForgetHost(h2.ctx, "h1"), ipam.ErrHostAlive, "the host is alive: the h1; stop dockstack there, and wait until its mark is gone (a minute at most)")
	h2.fails(h2.reg.ForgetHost(h2.ctx, "h2"), ipam.ErrHostAlive, "the host is alive: it is this one; ask another host to forget it, after dockstack was stopped here")
	c.agree() // a mark's end is news after all others of its host
	h1.down()
	c.mark("h1", false)
	h2.fails(h2.reg.ForgetHost(h2.ctx, "h"), ipam.ErrUnknownHost, "unknown host \"h\": neither a name nor a network is its own; did you mean `h1`?")
	h2.ok(h2.reg.ForgetHost(h2.ctx, "h1"))
	h2.holds("172.16.0.2", "web parked")
	for key, value := range c.store.Data() {
		if strings.Contains(key, "h1") || strings.HasPrefix(key, "lease/") && strings.Contains(string(value), "h1") {
			t.Errorf("the store still has %s: %q", key, value)
		}
	}
	all, err := h2.reg.Leases(h2.ctx, ipam.LeaseFilter{})
	h2.ok(err)
	var got []string
	for _, l := range all {
		got = append(got, l.Name+" "+string(l.State)+" "+l.Host)
	}
	if want := []string{"agent live h2", "web parked ", "old parked ", "moved live h2"}; !slices.Equal(got, want) {
		t.Errorf("there is %q, want %q", got, want)
	}
	h2.fails(h2.reg.ForgetHost(h2.ctx, "h1"), ipam.ErrUnknownHost, `unknown host "h1": neither a name nor a network is its own`)
	h3.sees("172.16.0.2", "web parked")
	// Nobody's names start only where the store can be asked.
	h3.shared.Cut()
	_, err = h3.ask("old")
	if !errors.Is(err, kv.ErrAway) || !strings.Contains(err.Error(), "ran last on host (forgotten)") {
		t.Errorf("while the store is away: %v", err)
	}
	h3.shared.Mend()
	h3.gets("old", "172.16.0.3")
	// It comes back all the same: what runs there is its own again.
	h1.open()
	h1.follow()
	c.mark("h1", true)
	h1.ok(h1.reg.Sweep(h1.ctx, []ipam.Endpoint{{ID: "ep1", Network: "net-h1", Addrs: addresses([]string{"172.16.0.2"})}}))
	h1.gets("web", "172.16.0.2")
}

func TestForgetHostAlone(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/24")
	w.fails(w.reg.ForgetHost(w.ctx, "h1"), ipam.ErrUnknownHost, `unknown host "h1": this host is alone`)
}

// A host that is gone for good leaves an import in the middle: who forgets it
// undoes that.
func TestForgetHostInTheMiddle(t *testing.T) {
	for cut := 0; ; cut++ {
		c := newCluster(t, "h1", "h2")
		h1, h2 := c.hosts["h1"], c.hosts["h2"]
		h1.fixes("web", "172.16.0.250")
		in := big(c, h1)
		c.agree()
		m := &mortal{left: 1 << 30, killed: true, err: kv.ErrClosed}
		h1.through(m)
		m.mu.Lock()
		m.left = cut
		m.mu.Unlock()
		_, err := h1.reg.Import(h1.ctx, in)
		h1.down()
		delete(c.hosts, "h1")
		if err == nil {
			return
		}
		// What comes after it is seen, so it is seen as well.
		last := kv.Op{Key: "import/last", Value: []byte(`{"v":1}`)}
		h2.ok(c.store.Commit(t.Context(), []kv.Op{last}))
		c.eventually("the import is seen", func() bool {
			left, err := h2.reg.Unfinished(h2.ctx)
			h2.ok(err)
			if len(left) == 0 || left[len(left)-1].Host != "last" {
				return false
			}
			return len(left) == 1 && cut < 2 || len(left) == 2 && left[0].Host == "h1" && left[0].What == "import" && left[0].Names == len(in.Reservations)
		})
		h2.ok(c.store.Commit(t.Context(), []kv.Op{{Key: last.Key, Delete: true}}))
		c.mark("h1", false)
		h2.ok(h2.reg.ForgetHost(h2.ctx, "h1"))
		c.isSound()
		for _, l := range h2.picture() {
			if !strings.Contains(l, " parked ") || strings.HasSuffix(l, " true") {
				t.Fatalf("after %d commits: %s", cut, l)
			}
		}
		if got := len(h2.picture()); got != 62 {
			t.Fatalf("after %d commits: %d leases, want 62", cut, got)
		}
		h2.down()
	}
}
