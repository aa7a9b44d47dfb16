package fabric

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Wanted is what the fabric holds to be there at one moment, for somebody who
// compares it with what is.
type Wanted struct {
	// Known is whether all networks of this host were told: while the store is not
	// open, what seems to belong to nothing may be a network's.
	Known bool
	// Ports are the ports of our bridge, by name, with what each is for. Those
	// that are about to be removed are among them.
	Ports map[string]string
	// Links are the names of the host's links with our mark.
	Links map[string]bool
	// Raised are the links that are to be up, with the least MTU that they are to
	// have, 0 where that is not known.
	Raised map[string]int
	// Gateways are the host's own interfaces in networks.
	Gateways []GatewayAt
	// Flows are those about this host, nil while what is installed is unknown.
	Flows []Flow
	// FarFlows is how many flows there are about other hosts.
	FarFlows int
	// Filter is the tunnels' filter; Port is 0 where there is none.
	Filter TunnelFilter
}

// GatewayAt is the host's own interface in a network.
type GatewayAt struct {
	Network, Inner string
	Addrs          []netip.Prefix
}

// Wanted returns what the fabric holds to be there. It waits for an apply that
// is under way.
func (f *Fabric) Wanted(ctx context.Context) (Wanted, error) {
	var w Wanted
	err := f.ask(ctx, func() { w = f.wantedNow() })
	if err != nil {
		return Wanted{}, fmt.Errorf("ask what should be on the switch: %w", err)
	}
	return w, nil
}

// wantedNow runs in the loop.
func (f *Fabric) wantedNow() Wanted {
	w := Wanted{Ports: map[string]string{}, Links: map[string]bool{}, Raised: map[string]int{}, FarFlows: f.far.count}
	f.mu.Lock()
	defer f.mu.Unlock()
	w.Known = f.want.had
	for id, ep := range f.want.endpoints {
		w.Ports[ep.port], w.Links[ep.port] = "endpoint "+id, true
		if ep.linked {
			w.Raised[ep.port] = f.want.networks[ep.Network].MTU
		}
	}
	for id, n := range f.want.networks {
		gate := f.cfg.gateName(id)
		w.Links[gate] = true
		if len(n.Gateways) > 0 {
			w.Ports[gate] = "gateway of network " + id
			w.Raised[gate], w.Raised[f.cfg.innerName(id)] = n.MTU, n.MTU
			w.Gateways = append(w.Gateways, GatewayAt{Network: id, Inner: f.cfg.innerName(id), Addrs: n.Gateways})
		}
	}
	slices.SortFunc(w.Gateways, func(a, b GatewayAt) int { return strings.Compare(a.Network, b.Network) })
	for _, d := range f.have.tunnels.devices {
		w.Ports[d.Name], w.Links[d.Name], w.Raised[d.Name] = "tunnel", true, d.MTU
	}
	for vni, s := range f.have.tunnels.sites {
		w.Ports[s.tunnel.port(vni)] = "tunnel"
	}
	if t := f.have.tunnels.filter; t != nil {
		w.Filter = *t
	}
	for name := range f.have.removed {
		w.Ports[name], w.Links[name] = "on its way out", true
	}
	for name := range f.deleting {
		w.Links[name] = true
	}
	if f.have.flows != nil {
		w.Flows = slices.Collect(maps.Values(f.have.flows))
	}
	return w
}

// NetworksKnown says that all networks of this host were put: what belongs to
// others is of former ones, and goes.
func (f *Fabric) NetworksKnown() {
	f.mu.Lock()
	news := !f.want.had
	f.want.had = true
	f.mu.Unlock()
	if news {
		f.wake()
	}
}

// Resync compares everything with what is wanted, trusting nothing that was
// known, and makes it so: ports and links that nobody has go, flows about this
// host are replaced in one bundle, gateways, their rules and the tunnels' filter are
// made again. It returns once that is done, or says why it
// isn't.
func (f *Fabric) Resync(ctx context.Context) error {
	// The first apply finds what is to go, the second removes it.
	for i := range resyncTries {
		var changed <-chan struct{}
		var leaving int
		err := f.ask(ctx, func() {
			if i == 0 {
				f.distrust()
			}
			leaving = f.hurry()
			f.touched.Store(true)
			f.mu.Lock()
			changed = f.changed
			f.mu.Unlock()
		})
		if err != nil {
			return fmt.Errorf("make the switch as it should be: %w", err)
		}
		if i > 0 && leaving == 0 {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("make the switch as it should be: %w", ctx.Err())
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lastErr != nil {
		return fmt.Errorf("make the switch as it should be: %w", f.lastErr)
	}
	return nil
}

// resyncTries is how many applies a resync waits for.
const resyncTries = 5

// hurry has removed ports wait no longer for others, and counts them.
func (f *Fabric) hurry() int {
	for name := range f.have.removed {
		f.have.removed[name] = time.Now().Add(-f.cfg.DeleteDelay)
	}
	return len(f.have.removed)
}

// distrust forgets what is known to be. What there is about other hosts is
// counted by the audit, and replaced only if it's another number: it may be
// much, and would be missing meanwhile.
func (f *Fabric) distrust() {
	f.have.audit, f.have.flows, f.have.gates, f.have.tunnels.filter = true, nil, nil, nil
}

// errNotRunning says that the loop is over or has not begun.
var errNotRunning = errors.New("the switch's part of dockstack does not run")

// ask has the loop run fn between two applies, another one follows.
func (f *Fabric) ask(ctx context.Context, fn func()) error {
	done := make(chan struct{})
	select {
	case f.asks <- func() { fn(); close(done) }:
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errNotRunning, ctx.Err())
	}
	<-done // it was taken, so it runs
	return nil
}
