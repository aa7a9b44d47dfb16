package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/fabric"
	"github.com/dockstack/dockstack/internal/kv"
)

func TestContainerKeepsAddressAndMAC(t *testing.T) {
	e := newEngine(t)
	pool := e.createNetwork("n1", "172.16.0.0/16", nil)
	addr := map[string]string{}
	for i := range 5 {
		name := fmt.Sprintf("c%d", i)
		a, mac := e.startContainer("n1", pool, name, name+"-1")
		addr[name] = a + " " + mac
		e.stopContainer("n1", pool, name+"-1", a)
	}
	again := func(round string) {
		t.Helper()
		for i := 4; i >= 0; i-- { // another order
			name := fmt.Sprintf("c%d", i)
			a, mac := e.startContainer("n1", pool, name, name+round)
			if got := a + " " + mac; got != addr[name] {
				t.Errorf("%s: %s has %s, had %s", round, name, got, addr[name])
			}
			e.stopContainer("n1", pool, name+round, a)
		}
	}
	again("started in another order")
	e.restart()
	again("plugin restarted")
	e.removeNetwork("n1", pool, "172.16.0.1")
	if got := e.fabric.String(); got != "" {
		t.Errorf("after network rm the switch still has %s", got)
	}
	pool = e.createNetwork("n1", "172.16.0.0/16", nil)
	again("network made anew")
}

func TestCallsAreTold(t *testing.T) {
	e := newEngine(t)
	pool := e.createNetwork("n1", "172.16.0.0/16", nil)
	e.mu.Lock()
	e.served = nil
	e.mu.Unlock()
	ask := func(name, addr string) {
		_, _ = e.call("/IpamDriver.RequestAddress", object{"PoolID": pool, "Address": addr, "Options": object{"com.docker.network.endpoint.name": name}})
	}
	ask("web", "172.16.0.9")
	ask("db", "172.16.0.9")
	e.mu.Lock()
	defer e.mu.Unlock()
	if want := []string{"/IpamDriver.RequestAddress", "/IpamDriver.RequestAddress!"}; !slices.Equal(e.served, want) {
		t.Errorf("told of %q, want %q", e.served, want)
	}
}

func TestNetworkSurvivesRestart(t *testing.T) {
	e := newEngine(t)
	e.createNetwork("n1", "172.16.0.0/16", object{"dockstack.vip": "172.16.0.254", "com.docker.network.driver.mtu": "1400"})
	e.createNetwork("n2", "172.20.0.0/16", object{"dockstack.vip": "vip1, 172.20.0.254"})
	before := e.fabric.String()
	want := "network n1 vni=1 mtu=1400 gateways=[172.16.0.1/16] vips=[172.16.0.254]\n" +
		"network n2 vni=2 mtu=1450 gateways=[172.20.0.1/16] vips=[172.20.0.254 172.20.0.2]"
	if before != want {
		t.Fatalf("got\n%s\nwant\n%s", before, want)
	}
	e.fabric = newFakeFabric() // the host was booted anew
	e.restart()
	e.must("/IpamDriver.RequestAddress", object{"PoolID": "172.16.0.0/16", "Options": object{"com.docker.network.endpoint.name": "c"}})
	if got := e.fabric.String(); got != before {
		t.Errorf("after the restart\n%s\nbefore\n%s", got, before)
	}
	if len(e.networks) != 2 {
		t.Errorf("told of networks %v, want both", e.networks)
	}
}

// A create whose CreateNetwork's answer was lost is rolled back without a
// DeleteNetwork.
func TestHalfMadeNetworkLeavesNothing(t *testing.T) {
	e := newEngine(t)
	pool := e.createNetwork("n1", "172.16.0.0/16", nil)
	e.must("/IpamDriver.ReleaseAddress", object{"PoolID": pool, "Address": "172.16.0.1"})
	e.must("/IpamDriver.ReleasePool", object{"PoolID": pool})
	if got := e.fabric.String(); got != "" {
		t.Errorf("the switch still has %s", got)
	}
	e.createNetwork("n2", "172.16.0.0/16", nil)
}

// An endpoint whose end was never told gives way to the name's next start.
func TestLeftoverEndpointGivesWay(t *testing.T) {
	e := newEngine(t)
	pool := e.createNetwork("n1", "172.16.0.0/16", nil)
	first, mac1 := e.startContainer("n1", pool, "db", "e1")
	second, mac2 := e.startContainer("n1", pool, "db", "e2")
	if first != second || mac1 != mac2 {
		t.Errorf("%s %s, then %s %s", first, mac1, second, mac2)
	}
	if got := e.fabric.String(); strings.Contains(got, "endpoint e1") {
		t.Errorf("both are attached:\n%s", got)
	}
}

func TestRepeatsAreHarmless(t *testing.T) {
	e := newEngine(t)
	pool := e.createNetwork("n1", "172.16.0.0/16", nil)
	addr, _ := e.startContainer("n1", pool, "a", "e1")
	again, _ := e.startContainer("n1", pool, "a", "e1")
	if addr != again {
		t.Errorf("the same start got %s, then %s", addr, again)
	}
	for range 2 {
		e.stopContainer("n1", pool, "e1", addr)
	}
	for range 2 {
		e.removeNetwork("n1", pool, "172.16.0.1")
	}
}

// The conversations that must fail, and the text that a person then reads.
func TestRefusals(t *testing.T) {
	ours := func(subnet string) []object {
		return []object{{"AddressSpace": "dockstack", "Pool": subnet, "Gateway": "172.16.0.1/16"}}
	}
	name := func(n string) object { return object{"com.docker.network.endpoint.name": n} }
	generic := func(opts object) object { return object{"com.docker.network.generic": opts} }
	tests := []struct {
		what, path string
		req        object
		want       []string
	}{
		{"an address outside the pool", "/IpamDriver.RequestAddress", object{"PoolID": "172.16.0.0/16", "Address": "10.9.9.9", "Options": name("x")}, []string{"10.9.9.9", "network n1", "172.16.0.0/16"}},
		{"a taken address", "/IpamDriver.RequestAddress", object{"PoolID": "172.16.0.0/16", "Address": "172.16.0.2", "Options": name("x")}, []string{"172.16.0.2", `"holder"`, `"x"`}},
		{"the gateway's address", "/IpamDriver.RequestAddress", object{"PoolID": "172.16.0.0/16", "Address": "172.16.0.1", "Options": name("x")}, []string{"172.16.0.1", "gateway"}},
		{"a full pool", "/IpamDriver.RequestAddress", object{"PoolID": "10.1.0.0/30", "Options": name("x")}, []string{"10.1.0.0/30", "full"}},
		{"overlapping pools", "/IpamDriver.RequestPool", object{"AddressSpace": "dockstack", "Pool": "172.16.5.0/24"}, []string{"172.16.5.0/24", "172.16.0.0/16", "overlap"}},
		{"an unknown pool", "/IpamDriver.RequestAddress", object{"PoolID": "1.2.3.0/24", "Options": name("x")}, []string{"1.2.3.0/24"}},
		{"no subnet at all", "/IpamDriver.RequestPool", object{"Pool": "banana"}, []string{`subnet "banana"`, "172.16.0.0/16"}},
		{"no address at all", "/IpamDriver.RequestAddress", object{"PoolID": "172.16.0.0/16", "Address": "banana", "Options": name("x")}, []string{`"banana"`}},
		{"an engine before 29", "/IpamDriver.RequestAddress", object{"PoolID": "172.16.0.0/16"}, []string{"29.0.3", "--ip"}},
		{"a misspelt option", "/NetworkDriver.CreateNetwork", object{"NetworkID": "n9", "Options": generic(object{"dockstack.vpi": "1.2.3.4"}), "IPv4Data": ours("172.16.0.0/16")}, []string{"unknown option", "-o dockstack.vpi", "did you mean dockstack.vip?"}},
		{"an unknown option", "/NetworkDriver.CreateNetwork", object{"NetworkID": "n9", "Options": generic(object{"color": "blue"}), "IPv4Data": ours("172.16.0.0/16")}, []string{"unknown option", "-o color", "dockstack.overlay"}},
		{"an unknown ipam option", "/IpamDriver.RequestPool", object{"Pool": "172.30.0.0/16", "Options": object{"dockstack.overly": "x"}}, []string{"--ipam-opt dockstack.overly", "did you mean dockstack.overlay?"}},
		{"a bad MTU", "/NetworkDriver.CreateNetwork", object{"NetworkID": "n9", "Options": generic(object{"com.docker.network.driver.mtu": "9"}), "IPv4Data": ours("172.16.0.0/16")}, []string{"mtu=9", "576 to 65535"}},
		{"a VIP elsewhere", "/NetworkDriver.CreateNetwork", object{"NetworkID": "n9", "Options": generic(object{"dockstack.vip": "9.9.9.9"}), "IPv4Data": ours("172.16.0.0/16")}, []string{"9.9.9.9", "no subnet"}},
		{"a VIP that is neither address nor name", "/NetworkDriver.CreateNetwork", object{"NetworkID": "n9", "Options": generic(object{"dockstack.vip": "172.16.0.300"}), "IPv4Data": ours("172.16.0.0/16")}, []string{"172.16.0.300", "neither an address nor a name"}},
		{"a bad VNI", "/NetworkDriver.CreateNetwork", object{"NetworkID": "n9", "Options": generic(object{"dockstack.vni": "15728640"}), "IPv4Data": ours("172.16.0.0/16")}, []string{"dockstack.vni=15728640", "1 to 15728639"}},
		{"bad names", "/NetworkDriver.CreateNetwork", object{"NetworkID": "n9", "Options": generic(object{"dockstack.names": "hots"}), "IPv4Data": ours("172.16.0.0/16")}, []string{"dockstack.names=hots", "host (", "overlay ("}},
		{"a VNI that stays here", "/NetworkDriver.CreateNetwork", object{"NetworkID": "n9", "Options": generic(object{"dockstack.vni": "7", "dockstack.ipam": "any"}), "IPv4Data": []object{{"AddressSpace": "LocalDefault", "Pool": "172.19.0.0/16"}}}, []string{"dockstack.vni", "--ipam-driver dockstack"}},
		{"Docker's own IPAM", "/NetworkDriver.CreateNetwork", object{"NetworkID": "n9", "IPv4Data": []object{{"AddressSpace": "LocalDefault", "Pool": "172.19.0.0/16"}}}, []string{"--ipam-driver dockstack", "dockstack.ipam=any"}},
		{"an unknown network", "/NetworkDriver.CreateEndpoint", object{"NetworkID": "nobody", "EndpointID": "e", "Interface": object{"Address": "172.16.0.9/16"}}, []string{"network nobody", "docker network rm"}},
		{"an unknown endpoint", "/NetworkDriver.Join", object{"NetworkID": "n1", "EndpointID": "nobody"}, []string{"endpoint nobody", "start the container again"}},
		{"an endpoint option", "/NetworkDriver.CreateEndpoint", object{"NetworkID": "n1", "EndpointID": "e", "Interface": object{"Address": "172.16.0.9/16"}, "Options": object{"dockstack.vip": "1.1.1.1"}}, []string{"dockstack.vip"}},
		{"an address that was not asked for", "/NetworkDriver.CreateEndpoint", object{"NetworkID": "n1", "EndpointID": "e", "Interface": object{"Address": "172.16.0.99/16"}}, []string{"172.16.0.99"}},
		{"a multicast MAC", "/NetworkDriver.CreateEndpoint", object{"NetworkID": "n1", "EndpointID": "e", "Interface": object{"Address": "172.16.0.2/16", "MacAddress": "01:00:5e:00:00:01"}}, []string{"01:00:5e:00:00:01"}},
		{"a release of nothing", "/IpamDriver.ReleaseAddress", object{"PoolID": "172.16.0.0/16"}, []string{"no address"}},
	}
	e := newEngine(t)
	pool := e.createNetwork("n1", "172.16.0.0/16", nil)
	e.startContainer("n1", pool, "holder", "e1")
	small := e.createNetwork("n2", "10.1.0.0/30", nil)
	e.must("/IpamDriver.RequestAddress", object{"PoolID": small, "Options": name("only")})
	e.must("/NetworkDriver.CreateEndpoint", object{"NetworkID": "n2", "EndpointID": "e2", "Interface": object{"Address": "10.1.0.2/30"}})
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			before := e.fabric.String()
			_, got := e.call(tt.path, tt.req)
			t.Log(got)
			if !strings.HasPrefix(got, "dockstack: ") {
				t.Errorf("error %q does not say who speaks", got)
			}
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("error %q lacks %q", got, want)
				}
			}
			if after := e.fabric.String(); after != before {
				t.Errorf("the switch changed to\n%s", after)
			}
		})
	}
}

func TestMalformedBodies(t *testing.T) {
	e := newEngine(t)
	e.createNetwork("n1", "172.16.0.0/16", nil)
	paths := map[string]string{
		"/IpamDriver.RequestPool": "Error", "/IpamDriver.ReleasePool": "Error",
		"/IpamDriver.RequestAddress": "Error", "/IpamDriver.ReleaseAddress": "Error",
		"/NetworkDriver.CreateNetwork": "Err", "/NetworkDriver.DeleteNetwork": "Err",
		"/NetworkDriver.CreateEndpoint": "Err", "/NetworkDriver.DeleteEndpoint": "Err",
		"/NetworkDriver.Join": "Err", "/NetworkDriver.Leave": "Err", "/NetworkDriver.EndpointOperInfo": "Err",
	}
	bodies := map[string]string{"": "repeated a call without its content", "null": "malformed request", "[]": "malformed request", `{"PoolID":`: "malformed request", `"x"`: "malformed request", "\x00": "malformed request"}
	for path, key := range paths {
		for body, want := range bodies {
			got, _ := e.raw(path, body)[key].(string)
			if !strings.Contains(got, want) {
				t.Errorf("%s with %q: %s=%q, want %q", path, body, key, got, want)
			}
		}
	}
}

func TestNames(t *testing.T) {
	e := newEngine(t)
	pool := e.createNetwork("n1", "172.16.0.0/16", nil)
	seen := map[string]string{}
	for i, name := range []string{"a", "A", strings.Repeat("x", 64), strings.Repeat("y", 1000), "no_label.at-all-", "-", "ünïcode", "a/b"} {
		addr, _ := e.startContainer("n1", pool, name, fmt.Sprintf("e%d", i))
		if other, ok := seen[addr]; ok {
			t.Errorf("%q and %q both have %s", name, other, addr)
		}
		seen[addr] = name
	}
	e.restart()
	for addr, name := range seen {
		out := e.must("/IpamDriver.RequestAddress", object{"PoolID": pool, "Options": object{"com.docker.network.endpoint.name": name}})
		if out["Address"] != addr {
			t.Errorf("%q has %v, had %s", name, out["Address"], addr)
		}
	}
}

// What a process that was killed in the middle of a call leaves for the next.
func TestCutOffCallIsFinished(t *testing.T) {
	e := newEngine(t)
	pool := e.createNetwork("n1", "172.16.0.0/16", nil)
	want, _ := e.startContainer("n1", pool, "db", "e1")
	note := func(n int, name string) {
		body := fmt.Sprintf(`{"PoolID":%q,"Options":{"com.docker.network.endpoint.name":%q}}`, pool, name)
		if err := os.WriteFile(filepath.Join(e.dir, "calls", fmt.Sprintf("IpamDriver.RequestAddress-%d", n)), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e.stop()
	note(1, "db")
	e.start()
	if got := e.raw("/IpamDriver.RequestAddress", ""); got["Address"] != want {
		t.Errorf("repeated call got %v, want %s", got, want)
	}
	if got := e.raw("/IpamDriver.RequestAddress", ""); got["Address"] != nil {
		t.Errorf("a second repetition got %v: it may be another container's", got)
	}
	e.stop()
	note(1, "db")
	note(2, "web")
	e.start()
	if got := e.raw("/IpamDriver.RequestAddress", ""); got["Address"] != nil {
		t.Errorf("with two calls cut off, one got %v", got)
	}
}

func TestServedCallsLeaveNoNote(t *testing.T) {
	e := newEngine(t)
	pool := e.createNetwork("n1", "172.16.0.0/16", nil)
	e.startContainer("n1", pool, "db", "e1")
	e.call("/IpamDriver.RequestAddress", object{"PoolID": "nonsense"})
	left, err := os.ReadDir(filepath.Join(e.dir, "calls"))
	if err != nil || len(left) != 0 {
		t.Errorf("notes left: %v, %v", left, err)
	}
}

func FuzzWire(f *testing.F) {
	paths := []string{
		"/IpamDriver.RequestPool", "/IpamDriver.ReleasePool", "/IpamDriver.RequestAddress", "/IpamDriver.ReleaseAddress",
		"/NetworkDriver.CreateNetwork", "/NetworkDriver.DeleteNetwork", "/NetworkDriver.CreateEndpoint", "/NetworkDriver.Join",
	}
	f.Add(0, `{"Pool":"172.16.0.0/16"}`)
	f.Add(2, `{"PoolID":"172.16.0.0/16","Address":"172.16.0.5","Options":{"com.docker.network.endpoint.name":"x"}}`)
	f.Add(4, `{"NetworkID":"n","Options":{"com.docker.network.generic":{"dockstack.vip":"1.2.3.4"}},"IPv4Data":[{"AddressSpace":"dockstack","Pool":"172.16.0.0/16"}]}`)
	f.Add(6, `{"NetworkID":"n","EndpointID":"e","Interface":{"Address":"172.16.0.5/16"}}`)
	f.Fuzz(func(t *testing.T, which int, body string) {
		e := newEngine(t)
		e.createNetwork("n1", "172.16.0.0/16", nil)
		e.raw(paths[uint(which)%uint(len(paths))], body)
		// Whatever it was, the plugin still works.
		if _, failed := e.call("/IpamDriver.RequestAddress", object{"PoolID": "172.16.0.0/16", "Options": object{"com.docker.network.endpoint.name": "after"}}); failed != "" && !strings.Contains(body, "172.16") {
			t.Errorf("after %q: %s", body, failed)
		}
	})
}

// A network that was removed while the plugin was away frees its subnet; one
// that is just being made stays, though the engine does not list it yet.
func TestNetworkRemovedWhileAway(t *testing.T) {
	e := newEngine(t)
	e.createNetwork("n1", "172.16.0.0/16", nil)
	e.createNetwork("n2", "172.20.0.0/16", nil)
	e.createNetwork("n3", "172.21.0.0/16", nil)
	e.driver.since["n1"] = e.driver.since["n1"].Add(-2 * forgetAfter)
	e.driver.since["n3"] = e.driver.since["n3"].Add(-2 * forgetAfter)
	// A list from before they were made, which was late, ends nothing.
	if err := e.driver.Forget(t.Context(), e.state, nil, time.Now().Add(-3*forgetAfter)); err != nil || len(e.networks) != 3 {
		t.Fatalf("%v, and of three networks there are %v", err, e.networks)
	}
	if err := e.driver.Forget(t.Context(), e.state, map[string]string{"n3": "kept"}, time.Now()); err != nil {
		t.Fatal(err)
	}
	got := e.fabric.String()
	if strings.Contains(got, "n1") || !strings.Contains(got, "n2") || !strings.Contains(got, "n3") {
		t.Errorf("the switch has\n%s\nwant n2, which is new, and n3, which is known", got)
	}
	e.createNetwork("n4", "172.16.0.0/16", nil)
}

// Of two networks that come at once, the list that has both is told last.
func TestNetworksAreToldInOrder(t *testing.T) {
	e := newEngine(t)
	first, both := make(chan struct{}), make(chan struct{})
	var mu sync.Mutex
	var told [][]fabric.Network
	e.driver.cfg.Changed = func(all []fabric.Network) {
		if len(all) == 1 {
			close(first)
			<-both
		}
		mu.Lock()
		defer mu.Unlock()
		told = append(told, all)
	}
	put := func(id string) {
		e.driver.mu.Lock()
		e.driver.networks[id] = network{ID: id}
		e.driver.mu.Unlock()
		e.driver.changed()
	}
	var wg sync.WaitGroup
	wg.Go(func() { put("n1") })
	<-first
	wg.Go(func() { put("n2") })
	// The second one is told before this, or waits for the first.
	time.Sleep(20 * time.Millisecond)
	close(both)
	wg.Wait()
	if n := len(told); n != 2 || len(told[n-1]) != 2 {
		t.Errorf("told %v, want both networks last", told)
	}
}

// A network whose end only the leases missed frees its subnet, unless it is
// just being made.
func TestNetworkThatOnlyTheLeasesHave(t *testing.T) {
	e := newEngine(t)
	kept := e.createNetwork("n1", "172.16.0.0/16", nil)
	pool := e.createNetwork("n2", "172.20.0.0/16", nil)
	if err := e.state.Store.Commit(t.Context(), []kv.Op{{Key: networkPrefix + "n2", Delete: true}}); err != nil {
		t.Fatal(err)
	}
	e.fabric = newFakeFabric() // the host was booted anew
	e.restart()
	st, err := e.driver.state(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"n2", ""} {
		if err := e.driver.EndStrays(t.Context(), st); err != nil {
			t.Fatal(err)
		}
		if p, _ := st.Leases.Pool(pool); p.Network != want {
			t.Fatalf("the subnet is network %q's, want %q", p.Network, want)
		}
		for id := range e.driver.strays {
			e.driver.strays[id] = e.driver.strays[id].Add(-2 * forgetAfter)
		}
	}
	e.createNetwork("n3", "172.20.0.0/16", nil)
	if p, _ := st.Leases.Pool(kept); p.Network != "n1" {
		t.Errorf("n1's subnet is network %q's", p.Network)
	}
}

// A person at the host reads the host's paths, wherever they are mounted here.
func TestErrorsNameTheHostsPaths(t *testing.T) {
	e := newEngine(t)
	e.driver.cfg.HostRoot = "/host"
	e.driver.cfg.State = func(context.Context) (*State, error) {
		return nil, errors.New("store is damaged: /host/var/lib/dockstack/dockstack.db: put a backup in its place")
	}
	_, got := e.call("/IpamDriver.RequestPool", object{"Pool": "172.16.0.0/16"})
	if want := "dockstack: store is damaged: /var/lib/dockstack/dockstack.db: put a backup in its place"; got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
}
