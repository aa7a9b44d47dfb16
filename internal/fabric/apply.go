package fabric

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// have is what the loop knows to be.
type have struct {
	// generation of the switch that this is about.
	generation uint64
	// ports by name.
	ports map[string]Port
	// flows by table, priority and match; nil when they must be replaced whole.
	flows map[flowKey]Flow
	// gates are the gateways' links as last made.
	gates map[string]string
	// removed is since when ports have been waiting for their removal.
	removed map[string]time.Time
	// lastPort is the highest port number given; numbers don't return before
	// what was learned about them has expired.
	lastPort int
	// audit asks for a comparison with what really is.
	audit bool
	// began is when Run did.
	began time.Time
	// told is whether the log says that the switch is not as wanted.
	told bool
}

// apply makes the difference between what is wanted and what is go away.
func (f *Fabric) apply(ctx context.Context, removals *sync.WaitGroup) error {
	st, _ := f.sw.State()
	if !st.Up {
		return fmt.Errorf("%w: %w", ErrSwitchAway, cmp.Or(st.Err, context.DeadlineExceeded))
	}
	f.mu.Lock()
	networks, seats := f.want.snapshot(f.cfg)
	f.mu.Unlock()
	if err := f.look(ctx, st, seats); err != nil {
		return err
	}
	gateErr := f.gateways(ctx, networks, st.Offloads)
	numbers := f.number(seats)
	plan := f.planPorts(seats, numbers)
	change := diffFlows(f.have.flows, f.flows(networks, seats, numbers, ndModeOf(st.Datapath)))

	// Ports and flows go to the switch side by side: the flows know the ports'
	// numbers beforehand, because we choose them.
	var portErr, flowErr error
	var both sync.WaitGroup
	both.Go(func() { portErr = f.changePorts(ctx, plan, removals) })
	both.Go(func() { flowErr = f.changeFlows(ctx, change) })
	both.Wait()
	if err := errors.Join(portErr, flowErr); err != nil {
		return err
	}
	if f.renumbered(numbers) {
		return errAgain
	}
	return errors.Join(gateErr, f.settle(st.Generation, seats))
}

// look reads what is when the switch may have forgotten, or for an audit.
func (f *Fabric) look(ctx context.Context, st SwitchState, seats []seat) error {
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
	} else if err := f.auditFlows(ctx); err != nil {
		return err
	}
	f.have.ports = make(map[string]Port, len(ports))
	for _, p := range ports {
		f.have.ports[p.Name] = p
		f.have.lastPort = max(f.have.lastPort, p.Number)
	}
	if err := f.sweep(ctx, seats); err != nil {
		return err
	}
	f.have.generation, f.have.audit = st.Generation, false
	return nil
}

// auditFlows notices flows that somebody else removed or added.
func (f *Fabric) auditFlows(ctx context.Context) error {
	n, err := f.sw.FlowCount(ctx)
	if err != nil {
		return fmt.Errorf("count the switch's flows: %w", err)
	}
	if f.have.flows != nil && n != len(f.have.flows) {
		f.log.WarnContext(ctx, "flows were changed by somebody else and are put back", "want", len(f.have.flows), "have", n)
		f.have.flows = nil
	}
	return nil
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
		ep.portErr = err
		if err == nil && s.linked && s.network.ID != "" && port.Name != "" {
			ep.settled = generation
		}
	}
	return failed
}

// due is how long until the oldest removed port must go, 0 when none waits.
func (f *Fabric) due() time.Duration {
	var wait time.Duration
	for _, since := range f.have.removed {
		left := max(time.Until(since.Add(f.cfg.DeleteDelay)), time.Millisecond)
		if wait == 0 || left < wait {
			wait = left
		}
	}
	return wait
}
