package fabric

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What is wanted names all that is there, and Resync makes what somebody changed
// so again, without a wait for the next audit.
func TestWantedAndResync(t *testing.T) {
	inBubble(t, func(r *rig) {
		n := r.network(7)
		n.Gateways = []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}
		if err := r.fab.PutNetwork(r.Context(), n); err != nil {
			r.Fatal(err)
		}
		r.attach(endpointOf(n, 2))
		synctest.Wait()
		same := func(what string) {
			r.Helper()
			w, err := r.fab.Wanted(r.Context())
			if err != nil {
				r.Fatal(err)
			}
			r.sw.mu.Lock()
			defer r.sw.mu.Unlock()
			if have := slices.Sorted(maps.Keys(r.sw.ports)); !slices.Equal(have, slices.Sorted(maps.Keys(w.Ports))) {
				r.Errorf("%s: ports %v, wanted %v", what, have, w.Ports)
			}
			if len(w.Flows) != len(r.sw.flows) {
				r.Errorf("%s: %d flows, wanted %d", what, len(r.sw.flows), len(w.Flows))
			}
			for _, f := range w.Flows {
				if r.sw.flows[f.key()] != f {
					r.Errorf("%s: flow %+v is %+v", what, f, r.sw.flows[f.key()])
				}
			}
			if len(w.Gateways) != 1 || w.Gateways[0].Network != n.ID || !strings.HasPrefix(w.Gateways[0].Inner, "o-ds") {
				r.Errorf("%s: gateways %+v", what, w.Gateways)
			}
		}
		same("at first")
		r.sw.turn(func(s *fakeSwitch) {
			for k, f := range s.flows { // as many as before
				f.Actions = "drop"
				s.flows[k] = f
			}
			s.ports["dse00000000bad"] = Port{PortSpec: PortSpec{Name: "dse00000000bad", Number: 9, Facts: map[string]string{factOwner: ownerName, factEndpoint: "x"}}}
		})
		r.links.add(Link{Name: "dse00000000bad", Alias: aliasMark + "1:endpoint x"})
		began := time.Now()
		if err := r.fab.Resync(r.Context()); err != nil {
			r.Fatal(err)
		}
		if took := time.Since(began); took > 3*time.Second {
			r.Errorf("it waited %s", took)
		}
		same("after a resync")
		synctest.Wait()
		if r.links.has("dse00000000bad") {
			r.Error("a link of nobody's is left")
		}
	})
}

// Once all networks are known, what belongs to former ones goes, also where none
// is left.
func TestFormerNetworksGo(t *testing.T) {
	inBubble(t, func(r *rig) {
		n := r.network(7)
		n.Gateways = []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}
		if err := r.fab.PutNetwork(r.Context(), n); err != nil {
			r.Fatal(err)
		}
		synctest.Wait()
		r.restart()
		time.Sleep(time.Minute)
		ports := func() int {
			r.Helper()
			all, err := r.sw.Ports(r.Context())
			if err != nil {
				r.Fatal(err)
			}
			return len(all)
		}
		if w, err := r.fab.Wanted(r.Context()); err != nil || w.Known {
			r.Errorf("the networks are said to be known (%v)", err)
		}
		if n := ports(); n != 1 {
			r.Fatalf("without a store nothing is touched, but there are %d ports", n)
		}
		r.fab.NetworksKnown()
		time.Sleep(time.Minute)
		if n := ports(); n != 0 {
			r.Errorf("%d ports are left", n)
		}
		if r.links.has("dsg" + hashed(n.ID)) {
			r.Error("the gateway's link is left")
		}
	})
}

// Nobody waits for ever for a loop that is over.
func TestAskingAfterTheEnd(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.stop()
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		if _, err := r.fab.Wanted(ctx); err == nil {
			r.Error("nobody is there to answer")
		}
		if err := r.fab.Resync(ctx); err == nil {
			r.Error("nobody is there to do it")
		}
	})
}
