package ipam_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/ipam"
)

// reservations reads "name addr [mac] [pool]" lines.
func reservations(lines ...string) []ipam.Reservation {
	var out []ipam.Reservation
	for _, line := range lines {
		f := strings.Fields(line)
		r := ipam.Reservation{Name: f[0], Addr: netip.MustParseAddr(f[1])}
		for _, more := range f[2:] {
			if strings.Contains(more, "/") {
				r.Pool = more
			} else {
				r.MAC = more
			}
		}
		out = append(out, r)
	}
	return out
}

func names(all []ipam.Reservation) string {
	var out []string
	for _, r := range all {
		out = append(out, r.Name+" "+r.Addr.String())
	}
	return strings.Join(out, ", ")
}

func TestImport(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/24")
	w.gets("live", "172.16.0.2")
	w.gets("parked", "172.16.0.3")
	w.release("172.16.0.3")
	w.gets("a", "172.16.0.4")
	w.gets("b", "172.16.0.5")
	w.release("172.16.0.4")
	w.release("172.16.0.5")
	_, err := w.reg.Reserve(w.ctx, "", "was", netip.MustParseAddr("172.16.0.6"))
	w.ok(err)
	in := ipam.Import{
		Reservations: reservations(
			"live 172.16.0.2", "parked 172.16.0.30", "a 172.16.0.5", "b 172.16.0.4", "was 172.16.0.6",
			"new 172.16.0.7 02:00:00:00:00:07", "new 172.16.0.7 02:00:00:00:00:07", "far 10.9.0.3"),
		Subnets: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16"), netip.MustParsePrefix("172.16.0.0/24")},
		DryRun:  true,
	}
	before := w.store.Commits()
	plan, err := w.reg.Import(w.ctx, in)
	w.ok(err)
	if plan.Done || w.store.Commits() != before {
		t.Error("a dry run did something")
	}
	in.DryRun = false
	done, err := w.reg.Import(w.ctx, in)
	w.ok(err)
	if !done.Done || w.store.Commits() != before+1 {
		t.Errorf("done %v with %d commits, want 1", done.Done, w.store.Commits()-before)
	}
	done.Done = false
	if fmt.Sprint(done) != fmt.Sprint(plan) {
		t.Errorf("the dry run said %+v, and it was %+v", plan, done)
	}
	if got, want := names(plan.New), "live 172.16.0.2, parked 172.16.0.30, a 172.16.0.5, b 172.16.0.4, new 172.16.0.7, far 10.9.0.3"; got != want {
		t.Errorf("new are %s, want %s", got, want)
	}
	if got := names(plan.Same); got != "was 172.16.0.6" {
		t.Errorf("same are %s", got)
	}
	var replaced []string
	for _, r := range plan.Replaced {
		replaced = append(replaced, r.Reservation.Name+" "+r.Old.String())
	}
	if got := strings.Join(replaced, ", "); got != "parked 172.16.0.3, a 172.16.0.4, b 172.16.0.5" || !slices.Equal(plan.Pools, []string{"10.9.0.0/16"}) {
		t.Errorf("replaced are %s, pools %v", got, plan.Pools)
	}
	w.open()
	w.holds("172.16.0.2", "live live reserved")
	w.holds("172.16.0.3", "nobody")
	w.gets("parked", "172.16.0.30")
	w.gets("b", "172.16.0.4")
	w.gets("a", "172.16.0.5")
	w.gets("new", "172.16.0.7")
	if m := w.attach("ep", "172.16.0.7"); m != "02:00:00:00:00:07" {
		t.Errorf("new has MAC address %s", m)
	}
	// The network that comes later takes its names over.
	w.network("later", "later", ipam.PoolRequest{Subnet: netip.MustParsePrefix("10.9.0.0/16")})
	w.gets("far", "10.9.0.3")
	again, err := w.reg.Import(w.ctx, in)
	if err != nil || len(again.New) != 0 || len(again.Same) != 7 || len(again.Pools) != 0 {
		t.Errorf("the second time: %+v, %v", again, err)
	}
}

func TestImportClashes(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/24")
	vip := netip.MustParseAddr("172.30.0.9")
	w.network("vips", "vips", ipam.PoolRequest{Subnet: netip.MustParsePrefix("172.30.0.0/24")}, vip)
	_, err := w.reg.RequestPool(w.ctx, ipam.PoolRequest{Subnet: netip.MustParsePrefix("10.9.0.0/24"), Overlay: "one"})
	w.ok(err)
	_, err = w.reg.RequestPool(w.ctx, ipam.PoolRequest{Subnet: netip.MustParsePrefix("10.9.0.0/24"), Overlay: "two"})
	w.ok(err)
	hosts, err := w.reg.RequestPool(w.ctx, ipam.PoolRequest{Subnet: netip.MustParsePrefix("10.11.0.0/24")})
	w.ok(err)
	_, err = w.reg.Bind(w.ctx, ipam.Binding{Network: "perhost", Pools: []string{hosts.ID}, PerHost: true})
	w.ok(err)
	w.pool, _ = w.reg.Pool("172.16.0.0/24")
	w.gets("live", "172.16.0.2")
	w.gets("parked", "172.16.0.3")
	w.release("172.16.0.3")
	w.fixes("fixed", "172.16.0.40")
	w.release("172.16.0.40")
	_, err = w.reg.ReserveAs(w.ctx, ipam.Reservation{Name: "db", Addr: netip.MustParseAddr("172.16.0.50"), MAC: "02:00:00:00:00:50"})
	w.ok(err)
	for _, c := range []struct{ line, reason string }{
		{"web 172.16.0.2", `container "live" runs with 172.16.0.2 in network internal (172.16.0.0/24) since 2026-01-02T03:04:05Z; stop it first, or choose another address`},
		{"web 172.16.0.3", `172.16.0.3 in network internal (172.16.0.0/24) is parked for "parked" since 2026-01-02T03:04:05Z; release parked first`},
		{"web 172.16.0.40", `172.16.0.40 in network internal (172.16.0.0/24) is kept for container "fixed", which names it (--ip, ipv4_address) and is stopped since 2026-01-02T03:04:05Z; change that container, or release fixed first`},
		{"web 172.16.0.50", `172.16.0.50 in network internal (172.16.0.0/24) is reserved for "db"; release db first`},
		{"live 172.16.0.99", `container "live" runs with 172.16.0.2 in network internal (172.16.0.0/24) since 2026-01-02T03:04:05Z; stop it first`},
		{"live 172.16.0.2 02:00:00:00:00:02", `container "live" runs with 172.16.0.2 in network internal (172.16.0.0/24) since 2026-01-02T03:04:05Z, and MAC address 0a:d5:ac:10:00:02; stop it first`},
		{"web 172.16.0.7 02:00:00:00:00:50", `MAC address 02:00:00:00:00:50 is that of "db" in the same network`},
		{"web 172.16.0.7 0a:d5:ac:10:00:08", `MAC address 0a:d5:ac:10:00:08 is one that dockstack gives out itself; choose one that begins with neither 0a:d5 nor 0e`},
		{"web 172.16.0.7 03:00:00:00:00:07", `not usable: MAC address 03:00:00:00:00:07 is a group's or empty: the first byte must be even, and not all be zero`},
		{"web 192.168.1.1", `unknown pool: 192.168.1.1 lies in no network's subnet; create the network first, or name the subnet that it will have (--subnet)`},
		{"web 172.16.0.9 172.16.1.0/24", "unknown pool \"172.16.1.0/24\": no network ever had that subnet; did you mean `172.16.0.0/24`, `172.30.0.0/24` or `10.11.0.0/24`?"},
		{"web 10.9.0.5", `ambiguous: 10.9.0.5 lies in 10.9.0.0/24@one and in 10.9.0.0/24@two; say which pool is meant`},
		{"web 172.16.0.0", `not usable: 172.16.0.0 in network internal (172.16.0.0/24) is the subnet's network address; choose another`},
		{"web 172.16.0.255", `not usable: 172.16.0.255 in network internal (172.16.0.0/24) is the subnet's broadcast address; choose another`},
		{"web 172.16.0.1", `address is taken: 172.16.0.1 in network internal (172.16.0.0/24) is the gateway's; choose another`},
		{"web 172.30.0.9", `address is taken: 172.30.0.9 in network vips (172.30.0.0/24) is set aside as a virtual address; choose another`},
		{"a~b 172.16.0.9", `not usable: container name "a~b" has a "~"; choose another --name`},
		{"-web 172.16.0.9", `not usable: "-web" can't be a container's name: letters, digits, and _ . - after the first`},
		{"web 10.11.0.9", `network perhost (10.11.0.0/24) has names of each host's own; reserve it on the host where "web" is to run`},
	} {
		in := ipam.Import{Reservations: append(reservations(c.line), reservations("fine 172.16.0.200")...)}
		for _, in.DryRun = range []bool{true, false} {
			before := w.store.Commits()
			plan, err := w.reg.Import(w.ctx, in)
			if !errors.Is(err, ipam.ErrClash) || plan.Done || w.store.Commits() != before || len(plan.Clashes) != 1 {
				t.Errorf("%s: %+v, %v", c.line, plan, err)
				continue
			}
			if got := plan.Clashes[0].Reason; got != c.reason {
				t.Errorf("%s: it says\n\t%s\nwant\n\t%s", c.line, got, c.reason)
			}
			if !strings.Contains(err.Error(), c.reason) {
				t.Errorf("%s: the error is %v", c.line, err)
			}
		}
	}
}

// A dry run names every clash at once, also those between what is imported.
func TestImportNamesAllClashes(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/24")
	w.gets("live", "172.16.0.2")
	plan, err := w.reg.Import(w.ctx, ipam.Import{
		DryRun: true,
		Reservations: append(reservations("a 172.16.0.2", "b 172.16.0.9", "b 172.16.0.10", "c 172.16.0.9", "d 172.16.0.11 02:00:00:00:00:01", "e 172.16.0.12 02:00:00:00:00:01"),
			ipam.Reservation{Name: "none"}, ipam.Reservation{Addr: netip.MustParseAddr("172.16.0.13")}),
		Subnets: []netip.Prefix{netip.MustParsePrefix("172.16.0.128/25"), netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("10.1.2.0/24"), netip.MustParsePrefix("127.0.0.0/8"), {}},
	})
	if !errors.Is(err, ipam.ErrClash) || !strings.HasSuffix(err.Error(), "; and 9 more") {
		t.Errorf("the error is %v", err)
	}
	var got []string
	for _, c := range plan.Clashes {
		got = append(got, c.Reservation.Name+"|"+c.Reason)
	}
	want := []string{
		"|it shares addresses with network internal (172.16.0.0/24)",
		"|it shares addresses with 10.1.0.0/16 of the same import",
		"|not usable: subnet 127.0.0.0/8 is not for containers: choose a private one, such as 172.16.0.0/16 or fd00:1::/64",
		"|not usable: a subnet is missing",
		`b|the import has "b" twice, also with 172.16.0.9`,
		`c|the import has 172.16.0.9 also for "b"`,
		"none|it has no address",
		"|no container name: say for whom",
		`a|container "live" runs with 172.16.0.2 in network internal (172.16.0.0/24) since 2026-01-02T03:04:05Z; stop it first, or choose another address`,
		`e|MAC address 02:00:00:00:00:01 is that of "d" in the same network`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("clashes:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(plan.New) != 2 {
		t.Errorf("%+v", plan.New)
	}
}

func TestImportThatTheStoreDoesNotTake(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/24")
	w.gets("parked", "172.16.0.2")
	w.release("172.16.0.2")
	bad := errors.New("injected")
	w.store.FailNext(bad)
	in := ipam.Import{Reservations: reservations("parked 172.16.0.9", "new 172.16.0.2", "far 10.9.0.3"), Subnets: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}}
	if plan, err := w.reg.Import(w.ctx, in); !errors.Is(err, bad) || plan.Done {
		t.Errorf("%+v, %v", plan, err)
	}
	w.holds("172.16.0.2", "parked parked")
	w.holds("172.16.0.9", "nobody")
	if _, there := w.reg.Pool("10.9.0.0/16"); there {
		t.Error("the pool is there")
	}
	if plan, err := w.reg.Import(w.ctx, in); err != nil || !plan.Done {
		t.Errorf("%+v, %v", plan, err)
	}
}

// A host alone takes any number in one commit.
func TestImportOfMany(t *testing.T) {
	w := newWorld(t)
	in := ipam.Import{Subnets: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	addr := netip.MustParseAddr("10.0.1.0")
	for i := range 20_000 {
		in.Reservations = append(in.Reservations, ipam.Reservation{Name: fmt.Sprint("n", i), Addr: addr})
		addr = addr.Next()
	}
	begun := time.Now()
	plan, err := w.reg.Import(w.ctx, in)
	w.ok(err)
	t.Logf("20,000 reservations in %s", time.Since(begun))
	if len(plan.New) != 20_000 || w.store.Commits() != 1 {
		t.Errorf("%d new, %d commits", len(plan.New), w.store.Commits())
	}
	begun = time.Now()
	plan, err = w.reg.Import(w.ctx, in)
	w.ok(err)
	if len(plan.Same) != 20_000 || w.store.Commits() != 1 {
		t.Errorf("%d the same, %d commits", len(plan.Same), w.store.Commits())
	}
	t.Logf("again in %s", time.Since(begun))
}
