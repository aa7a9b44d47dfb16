package ipam_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/ipam"
)

func TestSnapshot(t *testing.T) {
	w := newWorld(t)
	w.cfg.Label = func(name string) string { return strings.ReplaceAll(name, "_", "-") }
	w.open()
	w.network("net", "Internal", overlaid("172.16.0.0/16", "Blue"))
	w.gets("My_App", "172.16.0.2")
	before := w.reg.Names()
	want := ipam.Host{Name: "My_App", Network: "Internal", Overlay: "Blue", Addr: netip.MustParseAddr("172.16.0.2"), Pool: netip.MustParsePrefix("172.16.0.0/16")}
	if got := before.ByName("mY_aPP"); len(got) != 1 || got[0] != want {
		t.Errorf("by name: %v", got)
	}
	if got := before.ByLabel("my-APP"); len(got) != 1 || got[0] != want {
		t.Errorf("by label: %v", got)
	}
	if got := before.ByLabel("my_app"); got != nil {
		t.Errorf("a name is no label of its own: %v", got)
	}
	if got, ok := before.ByAddr(want.Addr); !ok || got != want {
		t.Errorf("by address: %v", got)
	}
	for name, want := range map[string]bool{"internal": true, "INTERNAL": true, "blue": true, "net": false, "": false} {
		if got := before.HasNetwork(name); got != want {
			t.Errorf("has network %q: %v", name, got)
		}
	}
	w.release("172.16.0.2")
	after := w.reg.Names()
	if after.ByName("my_app") != nil || after.ByLabel("my-app") != nil {
		t.Error("a parked name is shown")
	}
	if _, ok := after.ByAddr(want.Addr); ok {
		t.Error("a parked address is shown")
	}
	if before.ByName("my_app") == nil {
		t.Error("an older snapshot has changed")
	}
	w.removeNetwork("net", w.pool)
	if w.reg.Names().HasNetwork("internal") {
		t.Error("a removed network is there")
	}
}

func TestSerialGrows(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/16")
	last := w.reg.Names().Serial()
	grew := func(what string) {
		t.Helper()
		if s := w.reg.Names().Serial(); s <= last {
			t.Errorf("%s: %d after %d", what, s, last)
		} else {
			last = s
		}
	}
	w.gets("a", "172.16.0.2")
	grew("a new name")
	w.gets("b", "172.16.0.3")
	grew("another within a second")
	w.attach("ep", "172.16.0.3")
	if s := w.reg.Names().Serial(); s != last {
		t.Errorf("an endpoint shows: %d after %d", s, last)
	}
	w.later(time.Hour)
	w.open()
	grew("a restart")
	if s := w.reg.Names().Serial(); s != last {
		t.Errorf("without a change: %d after %d", s, last)
	}
	w.ok(w.reg.SetNetworkName(w.ctx, "net", "other"))
	grew("a network's name")
	if got := w.reg.Names().ByName("a"); len(got) != 1 || got[0].Network != "other" {
		t.Errorf("a is %v", got)
	}
}

func TestNetworksWithTheSameAddresses(t *testing.T) {
	w := newWorld(t)
	w.network("net1", "red", overlaid("172.16.0.0/16", "red"))
	red := w.pool
	w.gets("web", "172.16.0.2")
	w.network("net2", "blue", overlaid("172.16.0.0/16", "blue"))
	w.gets("web", "172.16.0.2")
	if got := w.reg.Names().ByName("web"); len(got) != 2 || got[0].Network == got[1].Network {
		t.Errorf("by name: %v", got)
	}
	w.ok(w.reg.ReleaseAddress(w.ctx, red.ID, netip.MustParseAddr("172.16.0.2")))
	if got, ok := w.reg.Names().ByAddr(netip.MustParseAddr("172.16.0.2")); !ok || got.Network != "blue" {
		t.Errorf("by address: %v", got)
	}
}

// A snapshot that grew step by step says what one made at once says.
func TestSnapshotIsWhatARestartMakes(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/20")
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 4000 {
		name := fmt.Sprint("n", rnd.IntN(600))
		addr, err := w.ask(name)
		w.ok(err)
		if rnd.IntN(2) == 0 {
			w.release(addr)
		}
	}
	grown := w.reg.Names()
	w.open()
	made := w.reg.Names()
	shown := 0
	for i := range 600 {
		a, b := grown.ByName(fmt.Sprint("n", i)), made.ByName(fmt.Sprint("n", i))
		if len(a) != len(b) || len(a) == 1 && a[0] != b[0] {
			t.Fatalf("n%d: %v, made anew %v", i, a, b)
		}
		shown += len(a)
	}
	if shown == 0 || shown == 600 {
		t.Errorf("%d names are shown: the test has lost its point", shown)
	}
}

func BenchmarkSnapshotByName(b *testing.B) {
	w := inNetwork(b, "10.0.0.0/8")
	for i := range 10_000 {
		if _, err := w.ask(fmt.Sprint("name-", i)); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if len(w.reg.Names().ByName("name-5000")) != 1 {
			b.Fatal("not found")
		}
	}
}
