package fabric

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// have is what the loop knows to be.
type have struct {
	// generation of the switch that this is about.
	generation uint64
	// ports by name.
	ports map[string]Port
	// dead are ports whose link was made anew under them. The switch doesn't say.
	dead map[string]bool
	// flows about this host by table, priority and match; nil when they must be
	// replaced whole.
	flows map[flowKey]Flow
	// gates are the gateways' links as last made.
	gates map[string]string
	// fallen are endpoints' links that somebody set down or whose MTU somebody
	// lowered, with the MTU that they are to have.
	fallen map[string]int
	// removed is since when ports have been waiting for their removal.
	removed map[string]time.Time
	// lastPort is the highest port number given; numbers don't return before
	// what was learned about them has expired.
	lastPort int
	// audit asks for a comparison with what really is.
	audit bool
	// failed is whether the last apply did not get through.
	failed bool
	// began is when Run did.
	began time.Time
	// told is whether the log says that the switch is not as wanted.
	told bool
	// filling is whether so much about other hosts is to be installed that it
	// takes more than one apply.
	filling bool

	// tunnels are what there is of them.
	tunnels tunnels
	// displaced are the endpoints whose address is another host's.
	displaced map[string]Displaced
	// local are the addresses of this host's endpoints, by VNI.
	local map[uint32]map[netip.Addr]struct{}
}

// apply makes the difference between what is wanted and what is go away. Where
// only remotes changed, only they are looked at.
func (f *Fabric) apply(ctx context.Context, removals *sync.WaitGroup) error {
	near := f.touched.Swap(false)
	near = f.takeNews() || near
	st, _ := f.sw.State()
	if !st.Up {
		f.have.failed = true
		return fmt.Errorf("%w: %w", ErrSwitchAway, cmp.Or(st.Err, context.DeadlineExceeded))
	}
	near = near || f.have.failed || f.have.audit || f.overdue() || st.Generation != f.have.generation
	var err error
	if near {
		err = f.applyAll(ctx, st, removals)
	} else {
		var tunnelErr error
		tunnelErr, err = f.sendFlows(ctx, FlowChange{})
		err = errors.Join(err, brokenTunnel(tunnelErr))
	}
	if busy := f.busy(); busy != f.have.filling {
		f.have.filling = busy
		if !busy && !near {
			f.wake() // endpoints that have waited for it are in place now
		}
	}
	f.have.failed = err != nil
	return err
}

func (f *Fabric) applyAll(ctx context.Context, st SwitchState, removals *sync.WaitGroup) error {
	f.mu.Lock()
	networks, seats := f.want.snapshot(f.cfg)
	under := f.want.under
	f.mu.Unlock()
	f.displace(ctx, seats)
	if err := f.look(ctx, st, seats, under.told); err != nil {
		return err
	}
	gateErr := errors.Join(f.raise(ctx), f.gateways(ctx, networks, st.Offloads))
	active := f.active(networks, seats)
	tunnelErr := f.plot(ctx, st, under, active)
	berths := append(berthsOf(seats), f.tunnelBerths(active)...)
	numbers := f.number(berths)
	f.site(active, numbers)
	plan := f.planPorts(berths, numbers)
	change := diffFlows(f.have.flows, f.flows(networks, seats, numbers, ndModeOf(st.Datapath)))

	// Ports and flows go to the switch side by side: the flows know the ports'
	// numbers beforehand, because we choose them.
	var portErr, flowErr, fdbErr error
	var both sync.WaitGroup
	both.Go(func() { portErr = f.changePorts(ctx, plan, removals) })
	both.Go(func() { fdbErr, flowErr = f.sendFlows(ctx, change) })
	both.Wait()
	if err := errors.Join(portErr, flowErr); err != nil {
		return err
	}
	if f.renumbered(numbers) {
		return errAgain
	}
	tunnelErr = brokenTunnel(tunnelErr, fdbErr, f.settleTunnels())
	return errors.Join(gateErr, tunnelErr, f.settle(st.Generation, seats))
}

// look reads what is when the switch may have forgotten, or for an audit.
func (f *Fabric) look(ctx context.Context, st SwitchState, seats []seat, told bool) error {
	fresh := st.Generation != f.have.generation
	if !fresh && !f.have.audit {
		return nil
	}
	ports, err := f.sw.Ports(ctx)
	if err != nil {
		return fmt.Errorf("read the switch's ports: %w", err)
	}
	if fresh {
		f.have.flows = nil
		f.loseFar()
	} else if err := f.auditFlows(ctx); err != nil {
		return err
	}
	f.have.ports = make(map[string]Port, len(ports))
	for _, p := range ports {
		f.have.ports[p.Name] = p
		f.have.lastPort = max(f.have.lastPort, p.Number)
	}
	if err := f.sweep(ctx, seats, told); err != nil {
		return err
	}
	f.have.generation, f.have.audit = st.Generation, false
	return nil
}

// auditFlows notices flows that somebody else removed or added.
func (f *Fabric) auditFlows(ctx context.Context) error {
	count := func(which Cookies, want int) (bool, error) {
		n, err := f.sw.FlowCount(ctx, which)
		if err != nil {
			return false, fmt.Errorf("count the switch's flows: %w", err)
		}
		if n != want {
			f.log.WarnContext(ctx, "flows were changed by somebody else and are put back", "want", want, "have", n)
		}
		return n == want, nil
	}
	if f.have.flows != nil {
		same, err := count(NearFlows, len(f.have.flows))
		if err != nil {
			return err
		}
		if !same {
			f.have.flows = nil
		}
	}
	if f.far.on == nil {
		return nil
	}
	same, err := count(FarFlows, f.far.count)
	if err == nil && !same {
		f.loseFar()
	}
	return err
}

// settle notes which endpoints are in place.
func (f *Fabric) settle(generation uint64, seats []seat) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var failed error
	for _, s := range seats {
		port := f.have.ports[s.port]
		var err error
		if port.Error != "" && (s.linked || s.endpoint.ID == "") {
			// Most often the link was removed under the port: look.
			f.have.audit = true
			err = fmt.Errorf("the switch can't open port %s: %s", s.port, port.Error)
			failed = errors.Join(failed, err)
		}
		ep := f.want.endpoints[s.endpoint.ID]
		if ep == nil || ep.rev != s.rev {
			continue
		}
		if err == nil && s.displaced.Endpoint != "" {
			err, ep.settled = s.displaced.error(), 0
		}
		ep.portErr = err
		if far := f.far.nets[s.network.VNI]; far != nil && far.busy() {
			continue // more is on its way
		}
		if err == nil && s.linked && s.network.ID != "" && port.Name != "" {
			ep.settled = generation
		}
	}
	return failed
}

// overdue is whether something has waited long enough.
func (f *Fabric) overdue() bool {
	now := time.Now()
	for _, since := range f.have.tunnels.idle {
		if now.Sub(since) >= f.cfg.LingerDelay {
			return true
		}
	}
	return f.removalDue(now)
}

// due is how long until the oldest removed port must go or a network without
// containers lets go of its tunnel, 0 when none waits.
func (f *Fabric) due() time.Duration {
	var wait time.Duration
	soonest := func(at time.Time) {
		left := max(time.Until(at), time.Millisecond)
		if wait == 0 || left < wait {
			wait = left
		}
	}
	for _, since := range f.have.removed {
		soonest(since.Add(f.cfg.DeleteDelay))
	}
	for _, since := range f.have.tunnels.idle {
		soonest(since.Add(f.cfg.LingerDelay))
	}
	return wait
}
