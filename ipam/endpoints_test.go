package ipam_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/ipam"
)

func TestMACs(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/16")
	w.gets("web", "172.16.0.2")
	if m := w.attach("ep1", "172.16.0.2"); m != "0a:d5:ac:10:00:02" {
		t.Errorf("web has %s", m)
	}
	commits := w.store.Commits()
	w.attach("ep1", "172.16.0.2")
	if n := w.store.Commits() - commits; n != 0 {
		t.Errorf("attaching took %d commits", n)
	}
	for _, c := range []struct {
		mac  string
		kind error
		text string
	}{
		{"nonsense", ipam.ErrNotUsable, `not usable: "nonsense" is no MAC address: want six bytes such as 0a:00:00:00:00:01`},
		{"02:00:00:00:00:00:00:01", ipam.ErrNotUsable, `not usable: "02:00:00:00:00:00:00:01" is no MAC address: want six bytes such as 0a:00:00:00:00:01`},
		{"01:00:5e:00:00:01", ipam.ErrNotUsable, "not usable: MAC address 01:00:5e:00:00:01 is a group's or empty: the first byte must be even, and not all be zero"},
		{"00:00:00:00:00:00", ipam.ErrNotUsable, "not usable: MAC address 00:00:00:00:00:00 is a group's or empty: the first byte must be even, and not all be zero"},
		{"0a:d5:ac:10:00:09", ipam.ErrNotUsable, "not usable: MAC address 0a:d5:ac:10:00:09 is one that dockstack gives out itself; choose one for endpoint ep1 in network internal that begins with neither 0a:d5 nor 0e"},
	} {
		_, err := w.reg.Attach(w.ctx, ipam.Endpoint{ID: "ep1", Network: "net", Addrs: addresses([]string{"172.16.0.2"}), MAC: c.mac})
		w.fails(err, c.kind, c.text)
	}
	own := ipam.Endpoint{ID: "ep1", Network: "net", Addrs: addresses([]string{"172.16.0.2"}), MAC: "02:00:00:00:00:aa"}
	if m, err := w.reg.Attach(w.ctx, own); err != nil || m != own.MAC {
		t.Errorf("the user's: %s, %v", m, err)
	}
	w.gets("other", "172.16.0.3")
	_, err := w.reg.Attach(w.ctx, ipam.Endpoint{ID: "ep2", Network: "net", Addrs: addresses([]string{"172.16.0.3"}), MAC: own.MAC})
	w.fails(err, ipam.ErrAddressTaken, `address is taken: MAC address 02:00:00:00:00:aa in network internal belongs to container "web"; choose another`)
	// It stays with the name, also through a restart and another number.
	w.ok(w.reg.Detach(w.ctx, "ep1"))
	w.release("172.16.0.2")
	w.open()
	w.gets("web", "172.16.0.2")
	if m := w.attach("ep3", "172.16.0.2"); m != own.MAC {
		t.Errorf("after a restart: %s", m)
	}
	w.alive["ep3"] = false
	w.fixes("web", "172.16.0.80")
	if m := w.attach("ep4", "172.16.0.80"); m != own.MAC {
		t.Errorf("with another address: %s", m)
	}
}

func TestBothFamiliesShareAMAC(t *testing.T) {
	w := newWorld(t)
	v4, err := w.reg.RequestPool(w.ctx, subnet("172.16.0.0/16"))
	w.ok(err)
	v6, err := w.reg.RequestPool(w.ctx, subnet("fd00:1::/64"))
	w.ok(err)
	w.ok(w.bind("net", []string{v4.ID, v6.ID}, nil))
	w.pool, _ = w.reg.Pool(v4.ID)
	w.gets("web", "172.16.0.1")
	w.pool, _ = w.reg.Pool(v6.ID)
	w.gets("web", "fd00:1::1")
	w.gets("six", "fd00:1::2")
	w.gets("six2", "fd00:1::3")
	if m := w.attach("ep1", "fd00:1::1", "172.16.0.1"); m != "0a:d5:ac:10:00:01" {
		t.Errorf("dual stack: %s", m)
	}
	for addr, pool := range map[string]string{"172.16.0.1": v4.ID, "fd00:1::1": v6.ID} {
		if l, err := w.reg.Lookup(w.ctx, pool, netip.MustParseAddr(addr)); err != nil || l.MAC != "0a:d5:ac:10:00:01" {
			t.Errorf("%s: %s, %v", addr, l.MAC, err)
		}
	}
	six, six2 := w.attach("ep2", "fd00:1::2"), w.attach("ep3", "fd00:1::3")
	if six == six2 || six[:3] != "0e:" || six2[:3] != "0e:" {
		t.Errorf("IPv6 only: %s and %s", six, six2)
	}
	if got := w.reg.Names().ByName("web"); len(got) != 2 {
		t.Errorf("DNS has %v", got)
	}
	// The engine releases the IPv6 address alone where a sysctl disables it.
	w.release("fd00:1::1")
	if got := w.reg.Names().ByName("web"); len(got) != 1 || got[0].Addr.String() != "172.16.0.1" {
		t.Errorf("DNS has %v", got)
	}
}

func TestAttachingWithoutALease(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/16")
	w.gets("web", "172.16.0.2")
	w.release("172.16.0.2")
	for _, c := range []struct {
		network string
		addrs   []string
		kind    error
		text    string
	}{
		{"0123456789abcdef", []string{"172.16.0.2"}, ipam.ErrUnknownNetwork, "unknown network 0123456789ab: no pool belongs to it, so endpoint ep has no address there; remove the network and create it again"},
		{"", []string{"172.16.0.2"}, ipam.ErrUnknownNetwork, "unknown network : no pool belongs to it, so endpoint ep has no address there; remove the network and create it again"},
		{"net", []string{"172.16.0.2"}, ipam.ErrNoLease, "no lease: 172.16.0.2 in network internal (172.16.0.0/16) was not requested for endpoint ep, or was released since; start the container again"},
		{"net", []string{"172.16.0.9"}, ipam.ErrNoLease, "no lease: 172.16.0.9 in network internal (172.16.0.0/16) was not requested for endpoint ep, or was released since; start the container again"},
		{"net", []string{"10.0.0.9"}, ipam.ErrOutsidePool, "address is outside the pool: 10.0.0.9, of endpoint ep, is in no subnet of network internal"},
		{"net", nil, ipam.ErrNoLease, "no lease: endpoint ep has no address in network internal"},
	} {
		_, err := w.reg.Attach(w.ctx, ipam.Endpoint{ID: "ep", Network: c.network, Addrs: addresses(c.addrs)})
		w.fails(err, c.kind, c.text)
	}
}

func TestDetachIsNotRelease(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/16")
	w.gets("web", "172.16.0.2")
	w.attach("ep", "172.16.0.2")
	w.later(time.Hour)
	w.ok(w.reg.Detach(w.ctx, "ep"))
	w.ok(w.reg.Detach(w.ctx, "ep"))
	w.holds("172.16.0.2", "web live")
	w.later(time.Second)
	if _, err := w.fix("x", "172.16.0.2"); err == nil {
		t.Error("given away between detach and release")
	}
	w.gets("web", "172.16.0.2") // detached: no renamed container
}

func TestSweepTiesEndpointsAgain(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/16")
	w.gets("web", "172.16.0.2")
	w.attach("ep", "172.16.0.2")
	w.release("172.16.0.2") // came twice, or for a sysctl
	w.open()
	w.ok(w.reg.Sweep(w.ctx, []ipam.Endpoint{{ID: "ep", Network: "net", Addrs: addresses([]string{"172.16.0.2", "172.16.0.9"})}}))
	w.holds("172.16.0.2", "web live")
	// It is known as running: a new container of that name is another.
	w.gets("web", "172.16.0.3")
}

// A container that stops while the endpoints are being listed is not live again.
func TestSweepOfWhatEndedMeanwhile(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/16")
	w.gets("web", "172.16.0.2")
	w.attach("ep", "172.16.0.2")
	listed := []ipam.Endpoint{{ID: "ep", Network: "net", Addrs: addresses([]string{"172.16.0.2"})}}
	w.alive["ep"] = false
	w.ok(w.reg.Detach(w.ctx, "ep"))
	w.release("172.16.0.2")
	w.ok(w.reg.Sweep(w.ctx, listed))
	w.holds("172.16.0.2", "web parked")
	// Nor does it take the address from the next one.
	w.gets("web", "172.16.0.2")
	w.attach("ep2", "172.16.0.2")
	w.ok(w.reg.Sweep(w.ctx, listed))
	w.ok(w.reg.Detach(w.ctx, "ep"))
	w.later(time.Hour)
	w.ok(w.reg.Sweep(w.ctx, nil))
	w.holds("172.16.0.2", "web live")
}

// What nobody has is parked, but not once its container asks for it again.
func TestParkUnheld(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/16")
	w.gets("web", "172.16.0.2")
	w.attach("ep", "172.16.0.2")
	w.alive["ep"] = false
	w.later(time.Hour)
	seen, err := w.reg.Lookup(w.ctx, w.pool.ID, netip.MustParseAddr("172.16.0.2"))
	w.ok(err)
	w.gets("web", "172.16.0.2")
	w.ok(w.reg.ParkUnheld(w.ctx, seen))
	w.holds("172.16.0.2", "web live")
	w.attach("ep2", "172.16.0.2")
	w.ok(w.reg.ParkUnheld(w.ctx, seen))
	w.holds("172.16.0.2", "web live")
	w.alive["ep2"] = false
	w.later(time.Hour)
	w.ok(w.reg.ParkUnheld(w.ctx, seen))
	w.holds("172.16.0.2", "web parked")
	w.ok(w.reg.ParkUnheld(w.ctx, seen))
	w.removeNetwork("net", w.pool)
	w.ok(w.reg.ParkUnheld(w.ctx, seen))
}

func TestRename(t *testing.T) {
	for _, c := range []struct {
		what   string
		before func(w *world)
		want   map[string]string
	}{
		{
			"the new name is new", func(*world) {},
			map[string]string{"172.16.0.2": "new live"},
		},
		{
			"the new name has a parked address: both are kept", func(w *world) {
				w.gets("new", "172.16.0.3")
				w.release("172.16.0.3")
			},
			map[string]string{"172.16.0.2": "new live", "172.16.0.3": "old parked"},
		},
		{
			"the new name runs: nothing moves", func(w *world) { w.gets("new", "172.16.0.3") },
			map[string]string{"172.16.0.2": "old live", "172.16.0.3": "new live"},
		},
		{
			"the old name does not run: nothing moves", func(w *world) { w.release("172.16.0.2") },
			map[string]string{"172.16.0.2": "old parked", "172.16.0.3": "nobody"},
		},
	} {
		t.Run(c.what, func(t *testing.T) {
			w := inNetwork(t, "172.16.0.0/16")
			w.gets("old", "172.16.0.2")
			c.before(w)
			w.ok(w.reg.Rename(w.ctx, "old", "new"))
			for _, reopened := range []string{"before", "after"} {
				for addr, want := range c.want {
					if got := w.lease(addr); got != want {
						t.Errorf("%s a restart, %s: %s, want %s", reopened, addr, got, want)
					}
				}
				w.open()
			}
		})
	}
	// The container that ran as "old" was set apart: a new one came under its
	// name. What "new" had can stay under neither.
	w := inNetwork(t, "172.16.0.0/16")
	w.gets("old", "172.16.0.2")
	w.attach("ep", "172.16.0.2")
	w.gets("new", "172.16.0.3")
	w.release("172.16.0.3")
	w.gets("old", "172.16.0.4")
	w.ok(w.reg.Rename(w.ctx, "old", "new"))
	w.warned("name=new", "addr=172.16.0.3", "to=172.16.0.2")
	w.holds("172.16.0.2", "new live")
	w.holds("172.16.0.3", "nobody")
	w.holds("172.16.0.4", "old live")
	for _, c := range [][2]string{{"", "x"}, {"x", ""}, {"x", "x"}} {
		if err := w.reg.Rename(w.ctx, c[0], c[1]); err == nil {
			t.Errorf("renamed %q to %q", c[0], c[1])
		}
	}
}

func TestReservations(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/24")
	reserve := func(name, addr string) (netip.Prefix, error) {
		var a netip.Addr
		if addr != "" {
			a = netip.MustParseAddr(addr)
		}
		return w.reg.Reserve(w.ctx, w.pool.ID, name, a)
	}
	if p, err := reserve("new", ""); err != nil || p.String() != "172.16.0.2/24" {
		t.Errorf("a new name: %v, %v", p, err)
	}
	w.holds("172.16.0.2", "new parked reserved")
	w.gets("web", "172.16.0.3")
	if p, err := reserve("web", ""); err != nil || p.String() != "172.16.0.3/24" {
		t.Errorf("a running name's own: %v, %v", p, err)
	}
	w.holds("172.16.0.3", "web live reserved")
	_, err := reserve("web", "172.16.0.40")
	w.fails(err, ipam.ErrAddressTaken, `address is taken: container "web" runs with 172.16.0.3 in network internal (172.16.0.0/24) since 2026-01-02T03:04:05Z; stop it before you reserve 172.16.0.40 for it`)
	_, err = reserve("db", "172.16.0.3")
	w.fails(err, ipam.ErrAddressTaken, `address is taken: 172.16.0.3 in network internal (172.16.0.0/24) is held by container "web", which runs; stop that one, or choose another address for "db"`)
	_, err = reserve("", "172.16.0.9")
	w.fails(err, ipam.ErrNoName, "no container name: say for whom")
	_, err = reserve("db", "10.0.0.1")
	w.fails(err, ipam.ErrOutsidePool, "address is outside the pool: 10.0.0.1 is not in network internal (172.16.0.0/24); choose one of 172.16.0.0/24")
	w.release("172.16.0.3")
	if _, err := reserve("web", "172.16.0.40"); err != nil {
		t.Error(err)
	}
	w.open()
	w.gets("web", "172.16.0.40")
	w.holds("172.16.0.3", "nobody")
	for range 2 {
		w.ok(w.reg.Unreserve(w.ctx, w.pool.ID, "web"))
	}
	w.ok(w.reg.Unreserve(w.ctx, w.pool.ID, "nobody"))
	w.holds("172.16.0.40", "web live")
}

// After a reboot everything was left behind, more than one commit parks.
func TestSweepOfMany(t *testing.T) {
	const names = 20_500
	w := inNetwork(t, "172.16.0.0/16")
	var ops []kv.Op
	for i := range names {
		// Live since 2023, see TestRecordsOfVersion1.
		value := append([]byte("\x01\x01\x80\xa0\xab\xfe\xf9\x62\x04\xac\x10"), byte((i+2)>>8), byte(i+2))
		ops = append(ops, kv.Op{Key: fmt.Sprint("lease/172.16.0.0/16/n", i), Value: value})
	}
	w.ok(w.store.Commit(w.ctx, ops))
	w.open()
	before := w.store.Commits()
	w.alive["ep"] = true
	w.ok(w.reg.Sweep(w.ctx, []ipam.Endpoint{{ID: "ep", Network: "net", Addrs: addresses([]string{"172.16.0.2"})}}))
	if n := w.store.Commits() - before; n != 3 {
		t.Errorf("%d commits, want 3", n)
	}
	live, err := w.reg.Leases(w.ctx, ipam.LeaseFilter{State: ipam.StateLive})
	parked, err2 := w.reg.Leases(w.ctx, ipam.LeaseFilter{State: ipam.StateParked})
	if err != nil || err2 != nil || len(live) != 1 || len(parked) != names-1 {
		t.Errorf("%d live, %d parked (%v, %v)", len(live), len(parked), err, err2)
	}
}
