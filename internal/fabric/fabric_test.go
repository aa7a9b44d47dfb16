package fabric

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a fabric on fakes, inside a bubble with a clock of its own.
type rig struct {
	*testing.T
	sw    *fakeSwitch
	links *fakeLinks
	fab   *Fabric
	stop  func()
}

func inBubble(t *testing.T, fn func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		links := newFakeLinks()
		r := &rig{T: t, links: links, sw: newFakeSwitch(links)}
		r.restart()
		defer func() { r.stop() }()
		fn(r)
	})
}

// restart replaces the fabric, as a new process would.
func (r *rig) restart() {
	r.Helper()
	if r.stop != nil {
		r.stop()
	}
	mac := func(netip.Addr) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, 0, 1} }
	r.fab = New(Config{MAC: mac}, r.sw, r.links, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = r.fab.Run(ctx) })
	r.stop = func() { cancel(); wg.Wait() }
}

func (r *rig) network(vni uint32) Network {
	r.Helper()
	n := Network{ID: fmt.Sprintf("net%d", vni), VNI: vni, MTU: 1500}
	if err := r.fab.PutNetwork(r.Context(), n); err != nil {
		r.Fatal(err)
	}
	return n
}

func endpointOf(n Network, i int) Endpoint {
	return Endpoint{
		ID: fmt.Sprintf("ep%d", i), Network: n.ID, MAC: net.HardwareAddr{2, 0, 0, 0, 0, byte(i)},
		Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})},
	}
}

func (r *rig) attach(ep Endpoint) {
	r.Helper()
	if _, err := r.fab.Attach(r.Context(), ep); err != nil {
		r.Fatal(err)
	}
	if err := r.fab.Settle(r.Context(), ep.ID); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) shows(want ...string) {
	r.Helper()
	synctest.Wait()
	text := strings.Join(append(want, ""), "\n")
	if got := r.sw.String(); got != text {
		r.Errorf("the switch has\n%swant\n%s", got, text)
	}
}

func TestAttachAndDetach(t *testing.T) {
	inBubble(t, func(r *rig) {
		n := r.network(7)
		r.attach(endpointOf(n, 1))
		r.shows("net7 flows=8 endpoint=ep1")
		r.attach(endpointOf(n, 1)) // once more is no change
		r.shows("net7 flows=8 endpoint=ep1")
		if err := r.fab.Detach(r.Context(), "ep1"); err != nil {
			t.Fatal(err)
		}
		r.shows("net7 flows=0 endpoint=ep1") // its flows go at once
		time.Sleep(2 * time.Second)
		r.shows()
		if r.links.has(r.fab.cfg.portName("ep1")) {
			t.Error("its link stays")
		}
		if err := r.fab.Detach(r.Context(), "ep1"); err != nil {
			t.Errorf("once more: %v", err)
		}
	})
}

func TestManyAttachmentsAreFewBundles(t *testing.T) {
	inBubble(t, func(r *rig) {
		n := r.network(7)
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() { r.attach(endpointOf(n, i+1)) })
		}
		wg.Wait()
		if r.sw.bundles > 20 || r.sw.transactions > 20 {
			t.Errorf("%d bundles and %d transactions for 100 endpoints", r.sw.bundles, r.sw.transactions)
		}
		if st := r.fab.Status(); st.Ports != 100 || st.Flows != 5+5+100*8 {
			t.Errorf("ports %d, flows %d", st.Ports, st.Flows)
		}
	})
}

func TestSwitchForgets(t *testing.T) {
	inBubble(t, func(r *rig) {
		n := r.network(7)
		r.attach(endpointOf(n, 1))
		r.sw.turn(func(s *fakeSwitch) {
			clear(s.flows)
			clear(s.ports)
			s.state.Generation++
		})
		r.shows("net7 flows=8 endpoint=ep1")
	})
}

func TestSwitchChoosesAnotherNumber(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.sw.shift = 100
		r.attach(endpointOf(r.network(7), 1))
		r.shows("net7 flows=8 endpoint=ep1")
	})
}

func TestSettleTellsWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name    string
		breakIt func(r *rig)
		want    []string
	}{
		{"the switch is away", func(r *rig) {
			r.sw.turn(func(s *fakeSwitch) { s.state.Up, s.state.Err = false, errors.New("connection refused") })
		}, []string{"ep1", "connection refused", "the plugin's log"}},
		{"the host's switch is away", func(r *rig) {
			r.sw.turn(func(s *fakeSwitch) {
				s.state.Up, s.state.Err, s.state.Origin = false, errors.New("connection refused"), "host"
			})
		}, []string{"ep1", "systemctl start openvswitch-switch"}},
		{"ports can't be changed", func(r *rig) {
			r.sw.turn(func(s *fakeSwitch) { s.fail = errors.New("ovs-vsctl: no space left") })
		}, []string{"ep1", "no space left"}},
		{"the link is gone", func(r *rig) { r.links.remove(r.fab.cfg.portName("ep1")) }, []string{"ep1", "no port on the switch"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				n := r.network(7)
				r.sw.turn(func(s *fakeSwitch) { s.fail = errors.New("not yet") })
				if _, err := r.fab.Attach(r.Context(), endpointOf(n, 1)); err != nil {
					t.Fatal(err)
				}
				r.sw.turn(func(s *fakeSwitch) { s.fail = nil })
				c.breakIt(r)
				r.sw.turn(func(s *fakeSwitch) { s.state.Generation++ })
				err := r.fab.Settle(r.Context(), "ep1")
				if err == nil {
					t.Fatal("settled")
				}
				for _, w := range c.want {
					if !strings.Contains(err.Error(), w) {
						t.Errorf("the error lacks %q: %v", w, err)
					}
				}
			})
		})
	}
}

func TestRefusals(t *testing.T) {
	inBubble(t, func(r *rig) {
		n := r.network(7)
		stranger := endpointOf(Network{ID: "never put"}, 1)
		if _, err := r.fab.Attach(r.Context(), stranger); !errors.Is(err, ErrUnknownNetwork) {
			t.Errorf("an unknown network: %v", err)
		}
		if err := r.fab.Settle(r.Context(), "nobody"); !errors.Is(err, ErrUnknownEndpoint) {
			t.Errorf("an unknown endpoint: %v", err)
		}
		for name, ep := range map[string]Endpoint{
			"no id":      {Network: n.ID, MAC: make(net.HardwareAddr, 6), Addrs: endpointOf(n, 1).Addrs},
			"no MAC":     {ID: "x", Network: n.ID, Addrs: endpointOf(n, 1).Addrs},
			"no address": {ID: "x", Network: n.ID, MAC: make(net.HardwareAddr, 6)},
		} {
			if _, err := r.fab.Attach(r.Context(), ep); !errors.Is(err, ErrBadEndpoint) {
				t.Errorf("%s: %v", name, err)
			}
		}
		for name, bad := range map[string]Network{
			"no VNI": {ID: "x", MTU: 1500}, "a VNI too large": {ID: "x", VNI: 1 << 24, MTU: 1500},
			"no MTU": {ID: "x", VNI: 8}, "another's VNI": {ID: "x", VNI: 7, MTU: 1500},
		} {
			if err := r.fab.PutNetwork(r.Context(), bad); !errors.Is(err, ErrBadEndpoint) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestRecallAndSweep(t *testing.T) {
	inBubble(t, func(r *rig) {
		n := r.network(7)
		for i := range 3 {
			r.attach(endpointOf(n, i+1))
		}
		inContainer := func(id string) {
			name := r.fab.cfg.portName(id)
			l := r.links.links[name]
			l.PeerElsewhere = true
			r.links.links[name] = l
		}
		inContainer("ep1")
		r.stop()
		r.links.remove(r.fab.cfg.portName("ep3")) // its container died meanwhile
		r.links.add(Link{Name: "dseforeign", Alias: "somebody else's"})
		r.links.add(Link{Name: "dseunreadable", Alias: "dockstack:1:endpoint what"})
		r.restart()
		r.network(7)
		<-r.fab.Recalled()
		if got := len(r.fab.Endpoints()); got != 2 {
			t.Errorf("recalled %d endpoints, want 2", got)
		}
		if !r.fab.Alive("ep1") || r.fab.Alive("ep2") || r.fab.Alive("ep3") {
			t.Error("only ep1 lives")
		}
		time.Sleep(15 * time.Second)
		if got := strings.Count(r.sw.String(), "\n"); got != 2 {
			t.Errorf("%d ports, want 2:\n%s", got, r.sw)
		}
		if !r.links.has("dseforeign") || r.links.has("dseunreadable") {
			t.Error("a foreign link must stay, an unreadable one of ours must go")
		}
		time.Sleep(3 * time.Minute) // no container took ep2
		r.shows("net7 flows=8 endpoint=ep1")
	})
}

// A link that is made, or made again, while an audit has the links listed already
// is not missing: its container would wait in vain.
func TestALinkMadeDuringAnAudit(t *testing.T) {
	for _, again := range []bool{false, true} {
		t.Run(fmt.Sprint("again ", again), func(t *testing.T) {
			inBubble(t, func(r *rig) {
				n := r.network(7)
				r.shows()
				ep := endpointOf(n, 1)
				if again {
					r.attach(ep)
					r.links.remove(r.fab.cfg.portName(ep.ID))
				}
				during := 0
				r.links.mu.Lock()
				r.links.listed = func() {
					if during++; during > 1 {
						return
					}
					if _, err := r.fab.Attach(r.Context(), ep); err != nil {
						r.Error(err)
					}
				}
				r.links.mu.Unlock()
				time.Sleep(11 * time.Second) // an audit
				if err := r.fab.Settle(r.Context(), ep.ID); err != nil || during == 0 {
					r.Errorf("during %d listings: %v", during, err)
				}
				r.sw.turn(func(s *fakeSwitch) {
					clear(s.flows)
					clear(s.ports)
					s.state.Generation++
				})
				r.shows("net7 flows=8 endpoint=ep1")
			})
		})
	}
}

// What was detached just before the daemon ended is not recalled.
func TestEndLeavesNoLinkOver(t *testing.T) {
	inBubble(t, func(r *rig) {
		n := r.network(7)
		r.attach(endpointOf(n, 1))
		r.attach(endpointOf(n, 2))
		if err := r.fab.Detach(r.Context(), "ep1"); err != nil {
			t.Fatal(err)
		}
		r.stop()
		if r.links.has(r.fab.cfg.portName("ep1")) || !r.links.has(r.fab.cfg.portName("ep2")) {
			t.Errorf("links %v, want that of ep2", r.links.links)
		}
		r.restart()
		r.network(7)
		time.Sleep(15 * time.Second)
		r.shows("net7 flows=8 endpoint=ep2")
	})
}

// A container that restarted just before the daemon ended left two endpoints
// with one address: the flows must lead to the one that is in use.
func TestRecallOfASuccessor(t *testing.T) {
	for _, c := range []struct {
		what string
		// inContainer are the endpoints that a container has.
		inContainer []string
		want        string
	}{
		{"the old link waits for its removal", []string{"ep2"}, "ep2"},
		{"the new one is not in its container yet", nil, "ep2"},
		{"the new one was a start that failed", []string{"ep1"}, "ep1"},
	} {
		t.Run(c.what, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				n := r.network(7)
				r.attach(endpointOf(n, 1))
				if err := r.fab.Detach(r.Context(), "ep1"); err != nil {
					t.Fatal(err)
				}
				successor := endpointOf(n, 1)
				successor.ID = "ep2"
				r.attach(successor)
				for _, id := range c.inContainer {
					name := r.fab.cfg.portName(id)
					l := r.links.links[name]
					l.PeerElsewhere = true
					r.links.links[name] = l
				}
				// A crash, before the first one's link is removed.
				left := maps.Clone(r.links.links)
				if len(left) != 2 {
					t.Fatalf("links %v, want both", left)
				}
				r.stop()
				r.links.links = left
				r.restart()
				r.network(7)
				time.Sleep(15 * time.Second)
				r.shows("net7 flows=8 endpoint=" + c.want)
				if len(r.links.links) != 1 || !r.links.has(r.fab.cfg.portName(c.want)) {
					t.Errorf("links %v, want that of %s", r.links.links, c.want)
				}
			})
		})
	}
}

// A network that goes and comes back at once, as one that gets another VNI does, has its
// gateway's port on the link that there is.
func TestGatewayOfANetworkThatComesBack(t *testing.T) {
	inBubble(t, func(r *rig) {
		n := Network{ID: "net7", VNI: 7, MTU: 1500, Gateways: []netip.Prefix{netip.MustParsePrefix("10.0.0.254/24")}}
		gate := r.fab.cfg.gateName(n.ID)
		for range 2 {
			if err := r.fab.PutNetwork(r.Context(), n); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
			if at, is := r.sw.openedAt(gate), r.links.indexOf(gate); at != is || is == 0 {
				t.Errorf("the gateway's port is on link %d, and the link is %d", at, is)
			}
			if err := r.fab.RemoveNetwork(r.Context(), n.ID); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
	})
}

func TestNothingIsTouchedWithoutAStore(t *testing.T) {
	inBubble(t, func(r *rig) {
		n := Network{ID: "net7", VNI: 7, MTU: 1500, Gateways: []netip.Prefix{netip.MustParsePrefix("10.0.0.254/24")}}
		if err := r.fab.PutNetwork(r.Context(), n); err != nil {
			t.Fatal(err)
		}
		r.attach(endpointOf(n, 1))
		name := r.fab.cfg.portName("ep1")
		l := r.links.links[name]
		l.PeerElsewhere = true
		r.links.links[name] = l
		r.restart()
		time.Sleep(5 * time.Minute)
		if !r.links.has(name) || !r.links.has(r.fab.cfg.gateName("net7")) {
			t.Error("links went although no network is known")
		}
		r.shows("net7 flows=8 endpoint=ep1", "net7 flows=0 endpoint=")
	})
}

func TestGatewayComesAndGoes(t *testing.T) {
	inBubble(t, func(r *rig) {
		n := Network{ID: "net7", VNI: 7, MTU: 1500, Gateways: []netip.Prefix{netip.MustParsePrefix("10.0.0.254/24")}}
		if err := r.fab.PutNetwork(r.Context(), n); err != nil {
			t.Fatal(err)
		}
		r.shows("net7 flows=8 endpoint=")
		r.links.remove(r.fab.cfg.gateName("net7")) // by hand
		time.Sleep(11 * time.Second)
		r.shows("net7 flows=8 endpoint=")
		if !r.links.has(r.fab.cfg.gateName("net7")) {
			t.Error("the gateway's link was not made again")
		}
		if err := r.fab.RemoveNetwork(r.Context(), "net7"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		r.shows()
		if len(r.links.gates) != 0 || len(r.links.links) != 0 {
			t.Errorf("what stays of the gateway: %v", r.links.links)
		}
	})
}

func TestDropsByEndpoint(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.attach(endpointOf(r.network(7), 1))
		number := r.sw.ports[r.fab.cfg.portName("ep1")].Number
		r.sw.drops = map[uint64]uint64{memberCookie(number): 42, CookieOwner: 7}
		got, err := r.fab.Drops(r.Context())
		if err != nil || len(got) != 1 || got["ep1"] != 42 {
			t.Errorf("drops %v, %v", got, err)
		}
	})
}
