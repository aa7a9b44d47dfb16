package fabric

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func vtep(i byte) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, i}) }

// hosts is an underlay with these others, each with the address of its number.
func hosts(numbers ...byte) Underlay {
	u := Underlay{VTEP: vtep(1), Port: 14789}
	for _, i := range numbers {
		u.Peers = append(u.Peers, Peer{ID: fmt.Sprintf("host%d", i), VTEP: vtep(i)})
	}
	return u
}

// on is a container with this number on a host.
func on(host, number byte) Remote {
	return Remote{Addr: addr4(number), MAC: [6]byte{2, 0, 0, 0, 0, number}, Host: fmt.Sprintf("host%d", host)}
}

func (r *rig) hasDevices(want ...string) {
	r.Helper()
	synctest.Wait()
	text := strings.Join(append(want, ""), "\n")
	if got := r.links.devices(); got != text {
		r.Errorf("the kernel has\n%swant\n%s", got, text)
	}
}

func (r *rig) far() int {
	r.Helper()
	synctest.Wait()
	n, _ := r.sw.FlowCount(r.Context(), FarFlows)
	if st := r.fab.Status().Tunnel.Flows; st != n {
		r.Errorf("%d flows about other hosts, the status says %d", n, st)
	}
	return n
}

func TestOnlyNetworksWithContainersHaveATunnel(t *testing.T) {
	inBubble(t, func(r *rig) {
		n := Network{ID: "net7", VNI: 7, MTU: 1450, Gateways: []netip.Prefix{netip.MustParsePrefix("10.0.0.250/24")}}
		if err := r.fab.PutNetwork(r.Context(), n); err != nil {
			t.Fatal(err)
		}
		alone := Network{ID: "net8", VNI: 8, MTU: 1450, Alone: true}
		if err := r.fab.PutNetwork(r.Context(), alone); err != nil {
			t.Fatal(err)
		}
		r.fab.ChangeRemotes([]RemoteChange{{VNI: 7, Set: []Remote{on(2, 20), on(3, 30)}}, {VNI: 8, Set: []Remote{on(2, 21)}}})
		r.fab.SetUnderlay(hosts(2, 3, 4))
		ep := endpointOf(alone, 9)
		r.attach(ep)
		r.hasDevices()
		if got := r.far(); got != 1 {
			t.Errorf("%d flows about other hosts with nobody to send there", got)
		}
		r.attach(endpointOf(n, 1))
		const fdb = "dsv7 vni=7 local=192.0.2.1 port=14789 mtu=1450\n" +
			"  02:00:00:00:00:14 at 192.0.2.2\n  02:00:00:00:00:1e at 192.0.2.3\n  all at 192.0.2.2\n  all at 192.0.2.3"
		r.hasDevices(fdb)
		// All hosts: 1. The network: in, flood, 3 for its gateway. Each address: 2.
		if got := r.far(); got != 1+5+2*2 {
			t.Errorf("%d flows about other hosts", got)
		}
		if st := r.fab.Status().Tunnel; st.Kind != TunnelKernel || st.VTEP != vtep(1) || st.Peers != 3 || st.Remotes != 3 || st.Networks != 1 {
			t.Errorf("status %+v", st)
		}
		if f := r.links.filter; f.Port != 14789 || !slices.Equal(f.Peers, []netip.Addr{vtep(2), vtep(3), vtep(4)}) {
			t.Errorf("filter %v", f)
		}
		if err := r.fab.Detach(r.Context(), "ep1"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		r.hasDevices(fdb) // most often another container starts
		time.Sleep(20 * time.Second)
		r.hasDevices()
		if got := r.far(); got != 1 {
			t.Errorf("%d flows about other hosts stay", got)
		}
	})
}

func TestANameThatMovedWins(t *testing.T) {
	inBubble(t, func(r *rig) {
		n := r.network(7)
		r.attach(endpointOf(n, 1))
		r.attach(endpointOf(n, 2))
		r.fab.SetUnderlay(hosts(2))
		r.shows("net7 flows=8 endpoint=ep2", "net7 flows=8 endpoint=ep1")
		r.fab.ChangeRemotes([]RemoteChange{{VNI: 7, Set: []Remote{on(2, 1)}}})
		synctest.Wait()
		want := []Displaced{{Endpoint: "ep1", Network: n.ID, Addr: addr4(1), Host: "host2"}}
		if st := r.fab.Status(); !slices.Equal(st.Displaced, want) || st.LastError != "" {
			t.Errorf("displaced %v, error %q", st.Displaced, st.LastError)
		}
		r.shows("net7 flows=8 endpoint=ep2", "net7 flows=0 endpoint=ep1")
		if err := r.fab.Settle(r.Context(), "ep1"); !errors.Is(err, ErrDisplaced) || !strings.Contains(err.Error(), "host2") {
			t.Errorf("settle: %v", err)
		}
		if r.far() == 0 {
			t.Error("ep2 can't reach it on the other host")
		}
		r.fab.ChangeRemotes([]RemoteChange{{VNI: 7, Gone: []netip.Addr{addr4(1)}}})
		if err := r.fab.Settle(r.Context(), "ep1"); err != nil {
			t.Error(err)
		}
		r.shows("net7 flows=8 endpoint=ep2", "net7 flows=8 endpoint=ep1")
		if st := r.fab.Status(); len(st.Displaced) > 0 {
			t.Errorf("displaced %v", st.Displaced)
		}
	})
}

// After a crash of the plugin tunnels go on until it's known what should be.
func TestTunnelsOfAnEarlierRunGoOn(t *testing.T) {
	for _, datapath := range []string{"userspace", "kernel"} {
		t.Run(datapath, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.sw.turn(func(s *fakeSwitch) { s.state.Datapath = datapath })
				tell := func() {
					r.fab.ChangeRemotes([]RemoteChange{{VNI: 7, Whole: true, Set: []Remote{on(2, 20)}}})
					r.fab.SetUnderlay(hosts(2))
				}
				n := r.network(7)
				r.attach(endpointOf(n, 1))
				tell()
				far, devices := r.far(), r.links.devices()
				inContainer := r.links.links[r.fab.cfg.portName("ep1")]
				inContainer.PeerElsewhere = true
				r.links.links[inContainer.Name] = inContainer

				r.restart()
				time.Sleep(5 * time.Minute)
				if got, _ := r.sw.FlowCount(r.Context(), FarFlows); got != far || r.links.devices() != devices {
					t.Errorf("%d flows about other hosts, want %d; devices\n%s", got, far, r.links.devices())
				}
				made := r.sw.transactions
				r.network(7)
				tell()
				synctest.Wait()
				time.Sleep(time.Minute)
				if r.far() != far || r.links.devices() != devices || r.sw.transactions != made {
					t.Errorf("%d flows, %d changes of ports, devices\n%s", r.far(), r.sw.transactions-made, r.links.devices())
				}
				r.fab.SetUnderlay(Underlay{})
				time.Sleep(time.Minute)
				if got := r.far(); got != 0 || r.links.devices() != "" || len(r.sw.ports) != 1 || r.links.filter.Port != 0 {
					t.Errorf("without an underlay: %d flows, ports %v, devices %s", got, r.sw.ports, r.links.devices())
				}
			})
		})
	}
}

func TestFaultsAreNamed(t *testing.T) {
	for _, c := range []struct {
		what string
		peer Peer
		want []string
		used int
	}{
		{"another family", Peer{"x", netip.MustParseAddr("2001:db8::1")}, []string{"host x", "2001:db8::1", "family", "DOCKSTACK_VTEP"}, 1},
		{"our own address", Peer{"x", vtep(1)}, []string{"host x", "192.0.2.1", "DOCKSTACK_VTEP"}, 1},
		{"no address", Peer{ID: "x"}, []string{"host x"}, 1},
		{"another's address", Peer{"x", vtep(2)}, []string{"host2", "x", "192.0.2.2"}, 1},
		{"nothing", Peer{"x", vtep(9)}, nil, 2},
	} {
		t.Run(c.what, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.attach(endpointOf(r.network(7), 1))
				u := hosts(2)
				u.Peers = append(u.Peers, c.peer)
				r.fab.SetUnderlay(u)
				synctest.Wait()
				st := r.fab.Status().Tunnel
				if st.Peers != c.used || len(st.Faults) > 1 || (len(st.Faults) == 0) != (c.want == nil) {
					t.Errorf("status %+v", st)
				}
				for _, w := range c.want {
					if !strings.Contains(st.Faults[0], w) {
						t.Errorf("%q lacks %q", st.Faults[0], w)
					}
				}
			})
		})
	}
}

// A tunnel that can't be made keeps no container of this host from its port.
func TestATunnelThatFails(t *testing.T) {
	for _, c := range []struct {
		what     string
		datapath string
		breakIt  func(r *rig)
		want     []string
	}{
		{"the port is Swarm's", "kernel", func(r *rig) { r.sw.portError = "Address already in use" }, []string{"UDP port 4789", "in use", "Swarm", "DOCKSTACK_VXLAN_PORT"}},
		{"no vxlan device", "userspace", func(r *rig) { r.links.failVXLAN = errors.New("not supported") }, []string{"net7", "VNI 7", "UDP port 4789", "not supported"}},
		{"no FDB", "userspace", func(r *rig) { r.links.failFDB = errors.New("no memory") }, []string{"VNI 7", "no memory"}},
		{"no filter", "userspace", func(r *rig) { r.links.failFilter = errors.New("no nftables") }, []string{"UDP port 4789", "no nftables"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.sw.turn(func(s *fakeSwitch) { s.state.Datapath = c.datapath })
				c.breakIt(r)
				u := hosts(2)
				u.Port = swarmPort
				r.fab.SetUnderlay(u)
				r.fab.ChangeRemotes([]RemoteChange{{VNI: 7, Set: []Remote{on(2, 20)}}})
				r.attach(endpointOf(r.network(7), 1))
				synctest.Wait()
				st := r.fab.Status()
				for _, w := range c.want {
					if !strings.Contains(st.Tunnel.LastError, w) || !strings.Contains(st.LastError, w) {
						t.Errorf("the errors lack %q: %q, %q", w, st.Tunnel.LastError, st.LastError)
					}
				}
				r.sw.turn(func(s *fakeSwitch) { s.portError = "" })
				r.links.mu.Lock()
				r.links.failVXLAN, r.links.failFDB, r.links.failFilter = nil, nil, nil
				r.links.mu.Unlock()
				time.Sleep(3 * time.Second)
				if st := r.fab.Status(); st.Tunnel.LastError != "" || st.LastError != "" {
					t.Errorf("errors stay: %q", st.LastError)
				}
			})
		})
	}
}

// Where much is to be installed, this host's own ports come between, and whoever
// starts a container there waits for all of it.
func TestAFillLetsOthersThrough(t *testing.T) {
	links := newFakeLinks()
	sw := newFakeSwitch(links)
	f := New(Config{MAC: modelMAC}, sw, links, slog.New(slog.DiscardHandler))
	if err := f.recall(t.Context()); err != nil {
		t.Fatal(err)
	}
	attach := func(vni uint32, id string) {
		n := Network{ID: fmt.Sprintf("net%d", vni), VNI: vni, MTU: 1450}
		if err := f.PutNetwork(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		ep := endpointOf(n, 1)
		ep.ID = id
		if _, err := f.Attach(t.Context(), ep); err != nil {
			t.Fatal(err)
		}
	}
	settled := func() (ids []string) {
		for id, ep := range f.want.endpoints {
			if ep.settled != 0 {
				ids = append(ids, id)
			}
		}
		slices.Sort(ids)
		return ids
	}
	step := func(want ...string) {
		t.Helper()
		var removals sync.WaitGroup
		sent := sw.sent
		if err := f.apply(t.Context(), &removals); err != nil {
			t.Fatal(err)
		}
		if sw.sent -= sent; sw.sent > bundleLimit+100 {
			t.Errorf("%d flows at once", sw.sent)
		}
		if got := settled(); !slices.Equal(got, want) {
			t.Errorf("settled: %v, want %v", got, want)
		}
	}
	f.SetUnderlay(hosts(2))
	c := RemoteChange{VNI: 7}
	for i := range 2 * bundleLimit {
		a := netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)})
		c.Set = append(c.Set, Remote{Addr: a, MAC: [6]byte(modelMAC(a)), Host: "host2"})
	}
	f.ChangeRemotes([]RemoteChange{c})
	attach(7, "first")
	step()
	attach(8, "second")
	step("second")
	for f.busy() {
		step("second")
	}
	step("first", "second")
	if len(sw.flows) < 4*bundleLimit {
		t.Errorf("%d flows", len(sw.flows))
	}
}

// lightSwitch forgets flows, so that only the fabric's own memory counts.
type lightSwitch struct{ *fakeSwitch }

func (s lightSwitch) ChangeFlows(_ context.Context, c FlowChange) error {
	if n := len(c.Add) + len(c.Del); n > bundleLimit+1000 {
		return fmt.Errorf("%d flows in a bundle", n)
	}
	s.bundles++
	s.sent += len(c.Add) + len(c.Del)
	return nil
}

// With 100,000 addresses elsewhere a change costs what changed, and the
// addresses take some 20 MB.
func TestAHundredThousandRemotes(t *testing.T) {
	for _, tunnel := range []string{TunnelFlow, TunnelKernel} {
		t.Run(tunnel, func(t *testing.T) {
			const count, others = 100_000, 1000
			links := newFakeLinks()
			sw := newFakeSwitch(links)
			f := New(Config{MAC: modelMAC, Tunnel: tunnel}, lightSwitch{sw}, links, slog.New(slog.DiscardHandler))
			if err := f.recall(t.Context()); err != nil {
				t.Fatal(err)
			}
			n := Network{ID: "net7", VNI: 7, MTU: 1450}
			if err := f.PutNetwork(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			if _, err := f.Attach(t.Context(), endpointOf(n, 1)); err != nil {
				t.Fatal(err)
			}
			at := func(i int) Remote {
				a := netip.AddrFrom4([4]byte{10, 1 + byte(i>>16), byte(i >> 8), byte(i)})
				return Remote{Addr: a, MAC: [6]byte(modelMAC(a)), Host: fmt.Sprintf("host%d", i%others)}
			}
			u := Underlay{VTEP: vtep(1), Port: 14789}
			for i := range others {
				u.Peers = append(u.Peers, Peer{ID: fmt.Sprintf("host%d", i), VTEP: netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)})})
			}
			apply := func() (flows, entries int) {
				t.Helper()
				before, entriesBefore := sw.sent, links.entries
				var removals sync.WaitGroup
				for more := true; more; more = f.busy() {
					if err := f.apply(t.Context(), &removals); err != nil {
						t.Fatal(err)
					}
				}
				removals.Wait()
				return sw.sent - before, links.entries - entriesBefore
			}
			f.SetUnderlay(u)
			apply()
			all := make([]Remote, count)
			for i := range all {
				all[i] = at(i)
			}
			before := heap()
			f.ChangeRemotes([]RemoteChange{{VNI: 7, Whole: true, Set: all}})
			if flows, _ := apply(); flows < 2*count {
				t.Errorf("%d flows for %d remotes", flows, count)
			}
			clear(links.vxlans) // the kernel's, not ours
			used := (heap() - before) >> 20
			t.Logf("%d remotes take %d MiB; %d bundles", count, used, sw.bundles)
			if used > 40 {
				t.Errorf("%d MiB", used)
			}
			if tunnel == TunnelKernel {
				links.vxlans["dsv7"] = &fakeVXLAN{known: map[mac]netip.Addr{mac(at(5).MAC): u.Peers[5].VTEP}, flood: map[netip.Addr]bool{}}
			}
			moved := at(5)
			moved.Host = "host6"
			f.ChangeRemotes([]RemoteChange{{VNI: 7, Set: []Remote{moved}}})
			if flows, entries := apply(); flows > 1 || entries > 1 {
				t.Errorf("one that moved: %d flows and %d entries", flows, entries)
			}
			f.ChangeRemotes([]RemoteChange{{VNI: 7, Set: []Remote{moved}}})
			if flows, entries := apply(); flows+entries > 0 {
				t.Errorf("no news: %d flows and %d entries", flows, entries)
			}
			runtime.KeepAlive(f)
			runtime.KeepAlive(all)
		})
	}
}

func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// A change of one of 100,000 remotes, beside one of a network that has no other.
func BenchmarkChangeOfOneRemote(b *testing.B) {
	for _, count := range []int{1, 1000, 100_000} {
		b.Run(fmt.Sprintf("of %d", count), func(b *testing.B) {
			links := newFakeLinks()
			f := New(Config{MAC: modelMAC, Tunnel: TunnelFlow}, lightSwitch{newFakeSwitch(links)}, links, slog.New(slog.DiscardHandler))
			if err := f.recall(b.Context()); err != nil {
				b.Fatal(err)
			}
			n := Network{ID: "net7", VNI: 7, MTU: 1450}
			if err := f.PutNetwork(b.Context(), n); err != nil {
				b.Fatal(err)
			}
			if _, err := f.Attach(b.Context(), endpointOf(n, 1)); err != nil {
				b.Fatal(err)
			}
			all := make([]Remote, count)
			for i := range all {
				a := netip.AddrFrom4([4]byte{10, 1 + byte(i>>16), byte(i >> 8), byte(i)})
				all[i] = Remote{Addr: a, MAC: [6]byte(modelMAC(a)), Host: "host2"}
			}
			f.ChangeRemotes([]RemoteChange{{VNI: 7, Whole: true, Set: all}})
			f.SetUnderlay(hosts(2, 3))
			var removals sync.WaitGroup
			if err := f.apply(b.Context(), &removals); err != nil {
				b.Fatal(err)
			}
			one := all[0]
			b.ResetTimer()
			for i := range b.N {
				one.Host = []string{"host3", "host2"}[i%2]
				f.ChangeRemotes([]RemoteChange{{VNI: 7, Set: []Remote{one}}})
				if err := f.apply(b.Context(), &removals); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
