package ipam_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/dockstack/dockstack/ipam"
)

func TestRelease(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/24")
	w.network("other", "other", ipam.PoolRequest{Subnet: netip.MustParsePrefix("172.20.0.0/24")})
	w.gets("rabbitmq1", "172.20.0.2")
	w.release("172.20.0.2")
	w.pool, _ = w.reg.Pool("172.16.0.0/24")
	w.gets("rabbitmq1", "172.16.0.2")
	w.gets("fixed", "172.16.0.3")
	w.fixes("fixed", "172.16.0.3")
	for _, c := range []struct {
		pools []string
		name  string
		kind  error
		text  string
	}{
		{nil, "rabitmq1", ipam.ErrNoLease, "no lease: no name `rabitmq1` in any network; did you mean `rabbitmq1`?"},
		{[]string{"172.20.0.0/24"}, "fixed", ipam.ErrNoLease, "no lease: no name `fixed` in pool 172.20.0.0/24"},
		{[]string{"172.20.0.0/16"}, "fixed", ipam.ErrUnknownPool, "unknown pool \"172.20.0.0/16\": no network ever had that subnet; did you mean `172.20.0.0/24` or `172.16.0.0/24`?"},
		{nil, "", ipam.ErrNoName, "no container name: say which name"},
		{nil, "rabbitmq1", ipam.ErrLive, `the container runs: container "rabbitmq1" runs with 172.16.0.2 in network internal (172.16.0.0/24) since 2026-01-02T03:04:05Z; stop it (docker stop rabbitmq1), then release the name`},
	} {
		w.fails(w.reg.Release(w.ctx, c.name, c.pools...), c.kind, c.text)
	}
	// Where it runs in one of several, all keep theirs.
	if err := w.reg.Release(w.ctx, "rabbitmq1", "172.20.0.0/24", "172.16.0.0/24"); !errors.Is(err, ipam.ErrLive) {
		w.t.Errorf("released in both: %v", err)
	}
	// One pool's is given up though it runs in the other.
	w.ok(w.reg.Release(w.ctx, "rabbitmq1", "172.20.0.0/24"))
	w.release("172.16.0.2")
	w.release("172.16.0.3")
	_, err := w.reg.Reserve(w.ctx, "", "rabbitmq1", netip.Addr{})
	w.ok(err)
	w.holds("172.16.0.2", "rabbitmq1 parked reserved")
	w.ok(w.reg.Release(w.ctx, "rabbitmq1"))
	w.ok(w.reg.Release(w.ctx, "fixed"))
	w.open()
	if all, err := w.reg.Leases(w.ctx, ipam.LeaseFilter{}); err != nil || len(all) != 0 {
		t.Errorf("there is %v, %v", all, err)
	}
}

func TestRenameLease(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/24")
	w.network("other", "other", ipam.PoolRequest{Subnet: netip.MustParsePrefix("172.20.0.0/24")})
	w.gets("db", "172.20.0.2")
	w.release("172.20.0.2")
	w.pool, _ = w.reg.Pool("172.16.0.0/24")
	_, err := w.reg.ReserveAs(w.ctx, ipam.Reservation{Name: "db", Addr: netip.MustParseAddr("172.16.0.9"), MAC: "02:00:00:00:00:09"})
	w.ok(err)
	w.gets("live", "172.16.0.2")
	w.gets("there", "172.16.0.3")
	w.release("172.16.0.3")
	for _, c := range []struct {
		from, to string
		kind     error
		text     string
	}{
		{"bd", "new", ipam.ErrNoLease, "no lease: no name `bd` in any network; did you mean `db`?"},
		{"db", "", ipam.ErrNoName, "no container name: say for whom"},
		{"db", "a b", ipam.ErrNotUsable, `not usable: "a b" can't be a container's name: letters, digits, and _ . - after the first`},
		{"db", "db", ipam.ErrNotUsable, `not usable: "db" is called that already; choose another`},
		{"db", "live", ipam.ErrClash, `clash: container "live" runs with 172.16.0.2 in network internal (172.16.0.0/24) since 2026-01-02T03:04:05Z; stop it first and release live, or choose another name`},
		{"db", "there", ipam.ErrClash, `clash: 172.16.0.3 in network internal (172.16.0.0/24) is parked for "there" since 2026-01-02T03:04:05Z; release there first, or choose another name`},
		{"live", "new", ipam.ErrLive, "the container runs: container \"live\" runs with 172.16.0.2 in network internal (172.16.0.0/24) since 2026-01-02T03:04:05Z; `docker rename live new` renames it, and its address goes with it"},
	} {
		w.fails(w.reg.RenameLease(w.ctx, c.from, c.to), c.kind, c.text)
	}
	w.ok(w.reg.RenameLease(w.ctx, "db", "mariadb"))
	w.open()
	w.holds("172.16.0.9", "mariadb parked reserved")
	w.gets("mariadb", "172.16.0.9")
	if m := w.attach("ep", "172.16.0.9"); m != "02:00:00:00:00:09" {
		t.Errorf("it has MAC address %s", m)
	}
	w.pool, _ = w.reg.Pool("172.20.0.0/24")
	w.holds("172.20.0.2", "mariadb parked")
}

func TestReserveAs(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/24")
	w.gets("live", "172.16.0.2")
	w.gets("parked", "172.16.0.3")
	w.release("172.16.0.3")
	w.fixes("fixed", "172.16.0.4")
	w.release("172.16.0.4")
	w.network("other", "other", ipam.PoolRequest{Subnet: netip.MustParsePrefix("172.20.0.0/24")})
	w.gets("both", "172.20.0.2")
	w.pool, _ = w.reg.Pool("172.16.0.0/24")
	w.gets("both", "172.16.0.5")
	for _, c := range []struct {
		what ipam.Reservation
		kind error
		text string
	}{
		{ipam.Reservation{Name: "web", Addr: netip.MustParseAddr("172.16.0.2")}, ipam.ErrAddressTaken, `address is taken: 172.16.0.2 in network internal (172.16.0.0/24) is held by container "live", which runs; stop that one, or choose another address for "web"`},
		{ipam.Reservation{Name: "web", Addr: netip.MustParseAddr("172.16.0.4")}, ipam.ErrAddressTaken, `address is taken: 172.16.0.4 in network internal (172.16.0.0/24) is kept for container "fixed", which names it (--ip, ipv4_address) and is stopped since 2026-01-02T03:04:05Z; change that one, or release fixed`},
		{ipam.Reservation{Name: "web", Addr: netip.MustParseAddr("10.0.0.1")}, ipam.ErrUnknownPool, "unknown pool: 10.0.0.1 lies in no network's subnet; create the network first, or name the subnet that it will have (--subnet)"},
		{ipam.Reservation{Name: "nobody"}, ipam.ErrNoLease, "no lease: no name `nobody` in any network"},
		{ipam.Reservation{Name: "both"}, ipam.ErrAmbiguous, `ambiguous: "both" has 172.16.0.5 in network internal (172.16.0.0/24) and 172.20.0.2 in network other (172.20.0.0/24); say which address`},
		{ipam.Reservation{Name: "web", Addr: netip.MustParseAddr("172.16.0.9"), MAC: "bad"}, ipam.ErrNotUsable, `not usable: "bad" is no MAC address: want six bytes such as 0a:00:00:00:00:01`},
		{ipam.Reservation{Name: "live", MAC: "02:00:00:00:00:01"}, ipam.ErrLive, `the container runs: container "live" runs with 172.16.0.2 in network internal (172.16.0.0/24) since 2026-01-02T03:04:05Z, and MAC address 0a:d5:ac:10:00:02; stop it before you reserve 02:00:00:00:00:01 for it`},
		{ipam.Reservation{Name: "a/b", Addr: netip.MustParseAddr("172.16.0.9")}, ipam.ErrNotUsable, `not usable: "a/b" can't be a container's name: letters, digits, and _ . - after the first`},
	} {
		_, err := w.reg.ReserveAs(w.ctx, c.what)
		w.fails(err, c.kind, c.text)
	}
	// An operator's word counts as much as --ip does.
	l, err := w.reg.ReserveAs(w.ctx, ipam.Reservation{Name: "web", Addr: netip.MustParseAddr("::ffff:172.16.0.3"), MAC: "02-00-00-00-00-03"})
	if err != nil || fmt.Sprint(l.Pool, " ", l.Addr, " ", l.MAC, " ", l.Reserved, " ", l.State) != "172.16.0.0/24 172.16.0.3 02:00:00:00:00:03 true parked" {
		t.Errorf("%+v, %v", l, err)
	}
	w.warned("name=parked", "addr=172.16.0.3", "to=web")
	_, err = w.reg.ReserveAs(w.ctx, ipam.Reservation{Name: "db", Addr: netip.MustParseAddr("172.16.0.50"), MAC: "02:00:00:00:00:03"})
	w.fails(err, ipam.ErrAddressTaken, `address is taken: MAC address 02:00:00:00:00:03 is kept for "web" in network internal (172.16.0.0/24); choose another`)
	w.gets("web", "172.16.0.3")
	if m := w.attach("ep", "172.16.0.3"); m != "02:00:00:00:00:03" {
		t.Errorf("web has MAC address %s", m)
	}
}

// On hosts that share a store nobody is refused, nor given anything, by old news.
func TestOperatorsOfSeveralHosts(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1, h2 := c.hosts["h1"], c.hosts["h2"]
	h1.gets("web", "172.16.0.2")
	h2.sees("172.16.0.2", "web live")
	if err := h2.reg.Release(h2.ctx, "web"); !errors.Is(err, ipam.ErrLive) {
		t.Errorf("released: %v", err)
	}
	_, err := h2.reg.Reserve(h2.ctx, "", "db", netip.MustParseAddr("172.16.0.2"))
	h2.fails(err, ipam.ErrAddressTaken, `address is taken: 172.16.0.2 in network internal (172.16.0.0/24) is held by container "web", which runs on host the h1; stop that one, or choose another address for "db"`)
	h2.shared.Delay(1 << 40) // its news stay away
	h1.release("172.16.0.2")
	h2.ok(h2.reg.RenameLease(h2.ctx, "web", "front"))
	h1.gets("db", "172.16.0.3")
	if err := h2.reg.Release(h2.ctx, "db"); !errors.Is(err, ipam.ErrLive) {
		t.Errorf("released: %v", err)
	}
	h1.release("172.16.0.3")
	h2.ok(h2.reg.Release(h2.ctx, "db"))
	h1.sees("172.16.0.2", "front parked")
	h1.sees("172.16.0.3", "nobody")
	h1.gets("late", "172.16.0.4")
	h1.ok(h1.reg.Release(h1.ctx, "front"))
	if err := h2.reg.Release(h2.ctx, "front"); !errors.Is(err, ipam.ErrNoLease) {
		t.Errorf("released what was gone: %v", err)
	}
	h2.shared.Delay(20 * time.Millisecond)
	plan, err := h2.reg.Import(h2.ctx, ipam.Import{Reservations: reservations("x 172.16.0.4")})
	if !errors.Is(err, ipam.ErrClash) || len(plan.Clashes) != 1 {
		t.Errorf("%+v, %v", plan, err)
	}
	h2.shared.Delay(0)
	h1.shared.Cut()
	for what, err := range map[string]error{
		"release": h1.reg.Release(h1.ctx, "late"),
		"rename":  h1.reg.RenameLease(h1.ctx, "late", "later"),
		"import": func() error {
			_, err := h1.reg.Import(h1.ctx, ipam.Import{Reservations: reservations("y 172.16.0.9")})
			return err
		}(),
		"reserve": func() error { _, err := h1.reg.Reserve(h1.ctx, "", "y", netip.MustParseAddr("172.16.0.9")); return err }(),
	} {
		if err == nil {
			t.Errorf("%s while the store is away: no error", what)
		}
	}
	c.isSound()
}
