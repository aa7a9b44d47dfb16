package ipam_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dockstack/dockstack/ipam"
)

// heard gathers changes.
type heard struct {
	mu  sync.Mutex
	all []string
}

func (h *heard) listen(all []ipam.Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range all {
		text := string(c.Kind)
		for _, l := range []ipam.Lease{c.Old, c.New} {
			if l.Name != "" {
				text += fmt.Sprint(" ", l.Name, " ", l.Addr)
			} else {
				text += " -"
			}
		}
		h.all = append(h.all, text)
	}
}

func (h *heard) since() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := h.all
	h.all = nil
	return all
}

func TestChanges(t *testing.T) {
	w := newWorld(t)
	var h heard
	w.cfg.Changed = h.listen
	w.open()
	w.network("net", "internal", ipam.PoolRequest{Subnet: netip.MustParsePrefix("172.16.0.0/24")})
	for _, c := range []struct {
		what string
		do   func()
		want []string
	}{
		{"a new container", func() { w.gets("web", "172.16.0.2") }, []string{"new - web 172.16.0.2"}},
		{"its endpoint", func() { w.attach("ep", "172.16.0.2") }, nil},
		{"its rename", func() { w.ok(w.reg.Rename(w.ctx, "web", "front")) }, []string{"renamed web 172.16.0.2 front 172.16.0.2"}},
		{"its rename, told late", func() { w.gets("front", "172.16.0.3") }, []string{"address front 172.16.0.2 front 172.16.0.3"}},
		{"told", func() { w.ok(w.reg.Rename(w.ctx, "front", "back")) }, []string{"renamed front 172.16.0.2 back 172.16.0.2"}},
		{"its end", func() { w.release("172.16.0.2") }, []string{"parked back 172.16.0.2 back 172.16.0.2"}},
		{"another start", func() { w.gets("back", "172.16.0.2") }, []string{"live back 172.16.0.2 back 172.16.0.2"}},
		{"the store's learning of that", func() { w.ok(w.reg.Flush(w.ctx)) }, nil},
		{"a reservation", func() { _, err := w.reg.Reserve(w.ctx, "", "back", netip.Addr{}); w.ok(err) }, []string{"reserved back 172.16.0.2 back 172.16.0.2"}},
		{"no reservation", func() { w.ok(w.reg.Unreserve(w.ctx, w.pool.ID, "back")) }, []string{"unreserved back 172.16.0.2 back 172.16.0.2"}},
		{"an address by number", func() {
			w.release("172.16.0.3")
			h.since()
			w.fixes("back", "172.16.0.3")
		}, []string{"gone front 172.16.0.3 -", "address back 172.16.0.2 back 172.16.0.3"}},
		{"an import", func() {
			_, err := w.reg.Import(w.ctx, ipam.Import{Reservations: reservations("x 172.16.0.9", "back 172.16.0.3")})
			w.ok(err)
		}, []string{"reserved back 172.16.0.3 back 172.16.0.3", "new - x 172.16.0.9"}},
		{"what fails", func() { w.store.FailNext(fmt.Errorf("full")); _, _ = w.ask("y") }, nil},
		{"another MAC address", func() {
			_, err := w.reg.ReserveAs(w.ctx, ipam.Reservation{Name: "x", MAC: "02:00:00:00:00:01"})
			w.ok(err)
		}, []string{"other x 172.16.0.9 x 172.16.0.9"}},
		{"a release", func() { w.ok(w.reg.Release(w.ctx, "x")) }, []string{"gone x 172.16.0.9 -"}},
		{"a restart", func() { w.open() }, nil},
	} {
		h.since()
		w.later(time.Second)
		c.do()
		got := h.since()
		slices.Sort(got)
		slices.Sort(c.want)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: heard %q, want %q", c.what, got, c.want)
		}
	}
}

func TestOthersChanges(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1, h2 := c.hosts["h1"], c.hosts["h2"]
	h1.gets("before", "172.16.0.2")
	var h heard
	h2.down()
	h2.cfg.Changed = h.listen
	h2.open()
	h2.follow()
	if got := h.since(); len(got) > 0 {
		t.Errorf("what was there is told as changes: %q", got)
	}
	hears := func(want ...string) {
		t.Helper()
		var got []string
		c.eventually(strings.Join(want, ", "), func() bool {
			got = append(got, h.since()...)
			return slices.Equal(got, want)
		})
	}
	h1.gets("web", "172.16.0.3")
	hears("new - web 172.16.0.3")
	h1.release("172.16.0.3")
	hears("parked web 172.16.0.3 web 172.16.0.3")
	h2.gets("web", "172.16.0.3")
	hears("live web 172.16.0.3 web 172.16.0.3")
	h1.release("172.16.0.2")
	h1.ok(h1.reg.RenameLease(h1.ctx, "before", "after"))
	hears("parked before 172.16.0.2 before 172.16.0.2", "renamed before 172.16.0.2 after 172.16.0.2")
}

func TestUsage(t *testing.T) {
	w := newWorld(t)
	w.network("net", "internal", ipam.PoolRequest{Subnet: netip.MustParsePrefix("172.16.0.0/24"), Range: netip.MustParsePrefix("172.16.0.0/28")}, netip.MustParseAddr("172.16.0.9"))
	_, err := w.reg.RequestAux(w.ctx, w.pool.ID, netip.MustParseAddr("172.16.0.200"))
	w.ok(err)
	w.gets("live", "172.16.0.2")
	w.gets("parked", "172.16.0.3")
	w.release("172.16.0.3")
	w.fixes("outside", "172.16.0.100")
	_, err = w.reg.Reserve(w.ctx, "", "live", netip.Addr{})
	w.ok(err)
	six, err := w.reg.RequestPool(w.ctx, ipam.PoolRequest{V6: true})
	w.ok(err)
	_, err = w.reg.Import(w.ctx, ipam.Import{Subnets: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/31")}})
	w.ok(err)
	w.later(time.Hour)
	// 16 addresses less the network's, the gateway, the VIP, and two names.
	for id, want := range map[string]string{
		w.pool.ID:     "{2 1 1 11 true [172.16.0.9 172.16.0.200]}",
		six.ID:        "{0 0 0 1099511627776 false []}",
		"10.9.0.0/31": "{0 0 0 2 false []}",
	} {
		u, err := w.reg.PoolUsage(w.ctx, id)
		if got := fmt.Sprint(u); err != nil || got != want {
			t.Errorf("%s: %s (%v), want %s", id, got, err, want)
		}
	}
	all, err := w.reg.Usage(w.ctx)
	if err != nil || len(all) != 3 || all[w.pool.ID].Free != 11 {
		t.Errorf("%+v, %v", all, err)
	}
	_, err = w.reg.PoolUsage(w.ctx, "10.9.0.0/30")
	w.fails(err, ipam.ErrUnknownPool, "unknown pool \"10.9.0.0/30\": no network ever had that subnet; did you mean `10.9.0.0/31`?")
}
