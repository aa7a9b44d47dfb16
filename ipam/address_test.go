package ipam_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/ipam"
)

func TestANameKeepsItsAddress(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/16")
	w.gets("web", "172.16.0.2")
	w.gets("db", "172.16.0.3")
	w.gets("web", "172.16.0.2") // a repeated request
	for _, restart := range []func(){
		func() {},
		func() { w.open() },
		func() { w.later(time.Hour) },
		func() { w.removeNetwork("net", w.pool) },
		func() {
			w.network("net2", "internal", ipam.PoolRequest{Subnet: netip.MustParsePrefix("172.16.0.0/16")})
		},
	} {
		w.release("172.16.0.2")
		w.release("172.16.0.2")
		w.release("172.16.0.3")
		restart()
		w.holds("172.16.0.2", "web parked")
		w.gets("db", "172.16.0.3")
		w.gets("web", "172.16.0.2")
		w.holds("172.16.0.2", "web live")
	}
}

func TestNewNamesGetWhatNoNameHolds(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/29")
	w.gets("a", "172.16.0.2")
	w.gets("b", "172.16.0.3")
	w.release("172.16.0.2")
	w.gets("c", "172.16.0.4")
	// d moves away from .5, which nobody holds then; .6 comes first anyway.
	w.gets("d", "172.16.0.5")
	w.release("172.16.0.5")
	w.release("172.16.0.2")
	w.fixes("d", "172.16.0.2")
	w.warned("name=a", "addr=172.16.0.2", "to=d", "network=internal")
	w.gets("e", "172.16.0.6")
	w.gets("a", "172.16.0.5")
}

func TestTheLongestParkedGivesWay(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/29")
	w.fixes("fixed", "172.16.0.2")
	if _, err := w.reg.Reserve(w.ctx, w.pool.ID, "reserved", netip.MustParseAddr("172.16.0.3")); err != nil {
		t.Fatal(err)
	}
	w.gets("first", "172.16.0.4")
	w.gets("second", "172.16.0.5")
	w.gets("third", "172.16.0.6")
	for _, a := range []string{"172.16.0.2", "172.16.0.5", "172.16.0.4", "172.16.0.6"} {
		w.release(a)
		w.later(time.Second)
	}
	w.gets("new", "172.16.0.5")
	w.warned("name=second", "addr=172.16.0.5", "to=new")
	w.gets("newer", "172.16.0.4")
	w.warned("name=first", "to=newer")
	w.gets("third", "172.16.0.6")
	_, err := w.ask("newest")
	w.fails(err, ipam.ErrPoolFull, `pool is full: no address for "newest" in network internal (172.16.0.0/29): of the 8 addresses of 172.16.0.0/29, running containers hold 3, 2 are kept for fixed or reserved names, and the rest belong to the network itself; remove containers, take reservations back, or create the network with a larger --subnet or --ip-range`)
	w.release("172.16.0.4")
	w.gets("newest", "172.16.0.4")
}

// Who stands in line to give way is remembered between requests: whatever
// changes that must be noticed.
func TestTheLineOfThoseWhoGiveWay(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/29")
	_, err := w.reg.Reserve(w.ctx, w.pool.ID, "oldest", netip.MustParseAddr("172.16.0.2"))
	w.ok(err)
	for _, a := range []string{"172.16.0.3", "172.16.0.4", "172.16.0.5", "172.16.0.6"} {
		w.gets("n"+a, a)
		w.later(time.Second)
		w.release(a)
	}
	w.gets("new1", "172.16.0.3")
	w.ok(w.reg.Unreserve(w.ctx, w.pool.ID, "oldest"))
	w.gets("new2", "172.16.0.2")
	w.store.FailNext(errors.New("full"))
	if _, err := w.ask("nobody"); err == nil {
		t.Fatal("no error")
	}
	w.gets("new3", "172.16.0.4")
	w.gets("n172.16.0.5", "172.16.0.5")
	w.gets("new4", "172.16.0.6")
}

func TestFixedAddresses(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/24")
	if _, err := w.reg.RequestAux(w.ctx, w.pool.ID, netip.MustParseAddr("172.16.0.9")); err != nil {
		t.Fatal(err)
	}
	w.gets("live", "172.16.0.2")
	w.gets("parked", "172.16.0.3")
	w.release("172.16.0.3")
	if _, err := w.reg.Reserve(w.ctx, w.pool.ID, "db", netip.MustParseAddr("172.16.0.50")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		addr string
		kind error
		text string
	}{
		{"172.17.0.5", ipam.ErrOutsidePool, "address is outside the pool: 172.17.0.5 is not in network internal (172.16.0.0/24); choose one of 172.16.0.0/24"},
		{"172.16.0.0", ipam.ErrNotUsable, "not usable: 172.16.0.0 in network internal (172.16.0.0/24) is the subnet's network address; choose another"},
		{"172.16.0.255", ipam.ErrNotUsable, "not usable: 172.16.0.255 in network internal (172.16.0.0/24) is the subnet's broadcast address; choose another"},
		{"172.16.0.1", ipam.ErrAddressTaken, "address is taken: 172.16.0.1 in network internal (172.16.0.0/24) is the gateway's; choose another"},
		{"172.16.0.9", ipam.ErrAddressTaken, "address is taken: 172.16.0.9 in network internal (172.16.0.0/24) is an auxiliary address (--aux-address); choose another"},
		{"172.16.0.2", ipam.ErrAddressTaken, `address is taken: 172.16.0.2 in network internal (172.16.0.0/24) is held by container "live", which runs; stop that one, or choose another address for "web"`},
		{"172.16.0.50", ipam.ErrAddressTaken, `address is taken: 172.16.0.50 in network internal (172.16.0.0/24) is reserved for "db"; choose another address for "web", or take the reservation back`},
	} {
		_, err := w.fix("web", c.addr)
		w.fails(err, c.kind, c.text)
	}
	w.fixes("web", "172.16.0.3")
	w.warned("name=parked", "addr=172.16.0.3", "to=web")
	w.holds("172.16.0.3", "web live fixed")
	w.fixes("web", "172.16.0.3")
	w.release("172.16.0.3")
	w.holds("172.16.0.3", "web parked fixed")
	// Another fixed one wins over a parked fixed one.
	w.fixes("other", "172.16.0.3")
	w.warned("name=web", "to=other")
	w.release("172.16.0.3")
	// Asking without a number keeps the address, and clears the mark.
	w.gets("other", "172.16.0.3")
	w.holds("172.16.0.3", "other live")
	// The reserved name takes its own.
	w.gets("db", "172.16.0.50")
	w.holds("172.16.0.50", "db live reserved")
	// Another number: the former address is let go.
	w.fixes("other", "172.16.0.77")
	w.holds("172.16.0.3", "nobody")
	w.gets("parked", "172.16.0.4")
}

func TestADynamicNameNeverGetsAFixedOnesAddress(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/29")
	w.fixes("fixed", "172.16.0.2")
	w.release("172.16.0.2")
	w.later(time.Hour)
	for _, name := range []string{"a", "b", "c", "d"} {
		if got, err := w.ask(name); err != nil || got == "172.16.0.2" {
			t.Errorf("%s gets %s (%v)", name, got, err)
		}
	}
	if _, err := w.ask("e"); err == nil {
		t.Error("a fifth dynamic name got an address of five, one of which is fixed")
	}
	w.fixes("fixed", "172.16.0.2")
}

func TestNamesThatAreOdd(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/16")
	for i, name := range []string{
		strings.Repeat("n", 64), strings.Repeat("n", 1000), strings.Repeat("n", 2048),
		"my_app", "ünïcode", "with/slash", "a.b.c", "-dash", "UPPER", "upper", "with space", "\x00",
	} {
		want := netip.MustParseAddr("172.16.0.2")
		for range i {
			want = want.Next()
		}
		w.gets(name, want.String())
	}
	w.open()
	w.gets("with/slash", "172.16.0.7")
	_, err := w.ask("a~b")
	w.fails(err, ipam.ErrNotUsable, `not usable: container name "a~b" has a "~"; choose another --name`)
	_, err = w.ask(strings.Repeat("n", 2049))
	w.fails(err, ipam.ErrNotUsable, "not usable: a container name of 2049 bytes (nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn…): 2048 is the most; choose a shorter --name")
}

func TestAnEngineThatSendsNoName(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/16")
	_, err := w.ask("")
	w.fails(err, ipam.ErrNoName, "no container name: the engine did not say which container wants an address in network internal (172.16.0.0/16); that takes Docker Engine 29.0.3 or newer. Upgrade it, or give the container an address with --ip")
	w.fixes("", "172.16.0.9")
	w.fixes("", "172.16.0.9")
	_, err = w.fix("web", "172.16.0.9")
	w.fails(err, ipam.ErrAddressTaken, `address is taken: 172.16.0.9 in network internal (172.16.0.0/16) is held by container "unnamed:172.16.0.9", which runs; stop that one, or choose another address for "web"`)
	// A name that had the address keeps it.
	w.fixes("db", "172.16.0.10")
	w.release("172.16.0.10")
	w.fixes("", "172.16.0.10")
	w.holds("172.16.0.10", "db live fixed")
}

func TestLeasesLeftBehind(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/24")
	w.gets("lost", "172.16.0.2") // never attached: the IPv6 address failed, say
	w.later(59 * time.Second)
	_, err := w.fix("web", "172.16.0.2")
	w.fails(err, ipam.ErrAddressTaken, `address is taken: 172.16.0.2 in network internal (172.16.0.0/24) is held by container "lost", which runs; stop that one, or choose another address for "web"`)
	w.later(2 * time.Second)
	w.fixes("web", "172.16.0.2")
	w.warned("name=lost", "to=web")

	w.gets("dead", "172.16.0.3")
	w.attach("ep-dead", "172.16.0.3")
	w.later(time.Hour)
	if _, err := w.fix("web2", "172.16.0.3"); err == nil {
		t.Error("a running container's address was given away")
	}
	w.alive["ep-dead"] = false // its release was lost
	w.fixes("web2", "172.16.0.3")
	w.warned("name=dead", "to=web2")
}

func TestAfterARestartLiveIsLiveUntilSweepTells(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/24")
	w.gets("runs", "172.16.0.2")
	w.attach("ep-runs", "172.16.0.2")
	w.gets("gone", "172.16.0.3")
	w.attach("ep-gone", "172.16.0.3")
	w.gets("young", "172.16.0.4")
	w.later(time.Hour)
	w.open()
	if _, err := w.fix("web", "172.16.0.2"); err == nil {
		t.Error("given away before anybody looked")
	}
	w.gets("young2", "172.16.0.5")
	w.ok(w.reg.Sweep(w.ctx, []ipam.Endpoint{
		{ID: "ep-runs", Network: "net", Addrs: addresses([]string{"172.16.0.2"})},
		{ID: "ep-odd", Network: "unknown", Addrs: addresses([]string{"172.16.0.3"})},
	}))
	w.holds("172.16.0.2", "runs live")
	w.holds("172.16.0.3", "gone parked")
	w.holds("172.16.0.4", "young parked")
	w.holds("172.16.0.5", "young2 live")
	if hosts := w.reg.Names().ByName("gone"); hosts != nil {
		t.Errorf("DNS still has %v", hosts)
	}
}

func TestAContainerRenamedWhileItRuns(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/24")
	w.gets("web", "172.16.0.2")
	w.attach("0123456789abcdef", "172.16.0.2")
	// docker rename web old; docker run --name web: the event is late.
	w.gets("web", "172.16.0.3")
	w.warned("name=web", "addr=172.16.0.2", "endpoint=0123456789ab", "network=internal")
	w.holds("172.16.0.2", "web~0123456789ab live")
	w.attach("ep2", "172.16.0.3")
	_, err := w.fix("third", "172.16.0.2")
	if err == nil {
		t.Error("the renamed container's address was given away")
	}
	// Now the event comes.
	w.ok(w.reg.Rename(w.ctx, "web", "old"))
	w.holds("172.16.0.2", "old live")
	w.holds("172.16.0.3", "web live")
	if _, err := w.reg.Attach(w.ctx, ipam.Endpoint{ID: "0123456789abcdef", Network: "net", Addrs: addresses([]string{"172.16.0.2"})}); err != nil {
		t.Error(err)
	}
	// And one whose event never comes: the made-up name ends with it.
	w.gets("web", "172.16.0.4")
	w.holds("172.16.0.3", "web~ep2 live")
	w.release("172.16.0.3")
	w.holds("172.16.0.3", "nobody")
	// A dead endpoint is no renamed container.
	w.attach("ep4", "172.16.0.4")
	w.alive["ep4"] = false
	w.gets("web", "172.16.0.4")
	// A fixed number that the running container holds.
	w.attach("ep5", "172.16.0.4")
	_, err = w.fix("web", "172.16.0.4")
	w.fails(err, ipam.ErrAddressTaken, `address is taken: 172.16.0.4 in network internal (172.16.0.0/24) is held by the container that was called "web" when it started, which runs; stop that one, or choose another address for "web"`)
	w.holds("172.16.0.4", "web live")
}
