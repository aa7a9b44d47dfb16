package fabric

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// Port numbers that OpenFlow leaves to ports; the highest ones are reserved.
const maxPort = 0xfe00

// deleteBatch is how many ports may wait for their removal together.
const deleteBatch = 64

// portPlan is the difference of ports.
type portPlan struct {
	del []string
	add []PortSpec
}

// berth is a port that is to be.
type berth struct {
	// spec lacks its number.
	spec PortSpec
	// ready is whether its link is there.
	ready bool
	// known is whether it's to be made; else it's kept if it is there.
	known bool
}

// berthsOf are the ports of endpoints and gateways.
func berthsOf(seats []seat) []berth {
	out := make([]berth, 0, len(seats))
	for _, s := range seats {
		out = append(out, berth{
			spec:  PortSpec{Name: s.port, Facts: s.facts()},
			ready: s.linked || s.endpoint.ID == "", known: s.network.ID != "",
		})
	}
	return out
}

// number gives each port its number: the one that it has, or a new one.
func (f *Fabric) number(berths []berth) map[string]int {
	numbers := make(map[string]int, len(berths))
	taken := map[int]bool{}
	for _, p := range f.have.ports {
		taken[p.Number] = true
	}
	for _, b := range berths {
		name := b.spec.Name
		if p, ok := f.have.ports[name]; ok && p.Number > 0 {
			numbers[name] = p.Number
			continue
		}
		for {
			f.have.lastPort = f.have.lastPort%maxPort + 1
			if !taken[f.have.lastPort] {
				break
			}
		}
		taken[f.have.lastPort] = true
		numbers[name] = f.have.lastPort
	}
	return numbers
}

// planPorts compares ports. Only ports with our mark are ever removed.
//
// Gateways' ports stay while no network was put, and tunnels' while no underlay
// was told: without a store nothing is known, and nothing is touched.
func (f *Fabric) planPorts(berths []berth, numbers map[string]int) portPlan {
	var plan portPlan
	keep := map[string]bool{}
	for _, b := range berths {
		spec := b.spec
		spec.Number = numbers[spec.Name]
		keep[spec.Name] = true
		delete(f.have.removed, spec.Name)
		p, there := f.have.ports[spec.Name]
		if !b.ready || !b.known && !there || there && p.Error == "" && !f.have.dead[spec.Name] && p.is(spec) {
			continue
		}
		if there {
			plan.del = append(plan.del, spec.Name)
		}
		plan.add = append(plan.add, spec)
	}
	f.mu.Lock()
	storeless, aloof := !f.want.had, !f.want.under.told
	f.mu.Unlock()
	now := time.Now()
	if f.have.removed == nil {
		f.have.removed = map[string]time.Time{}
	}
	for name, p := range f.have.ports {
		_, tunnel := p.Facts[factTunnel]
		if tunnel && aloof || !tunnel && storeless && p.Facts[factEndpoint] == "" {
			continue
		}
		if !keep[name] && p.Facts[factOwner] == ownerName && f.have.removed[name].IsZero() {
			f.have.removed[name] = now
		}
	}
	maps.DeleteFunc(f.have.removed, func(name string, _ time.Time) bool { _, there := f.have.ports[name]; return !there })
	if f.removalDue(now) {
		plan.del = append(plan.del, slices.Sorted(maps.Keys(f.have.removed))...)
	}
	return plan
}

// is whether a port is as it should be, with these facts among its own.
func (p Port) is(spec PortSpec) bool {
	for k, v := range spec.Facts {
		if p.Facts[k] != v {
			return false
		}
	}
	return p.Type == spec.Type && (spec.Type == "" || maps.Equal(p.Options, spec.Options))
}

func (f *Fabric) removalDue(now time.Time) bool {
	if len(f.have.removed) >= deleteBatch {
		return true
	}
	for _, since := range f.have.removed {
		if now.Sub(since) >= f.cfg.DeleteDelay {
			return true
		}
	}
	return false
}

// changePorts makes the difference of ports so, and removes the links of those
// that went.
func (f *Fabric) changePorts(ctx context.Context, plan portPlan, removals *sync.WaitGroup) error {
	if len(plan.del) == 0 && len(plan.add) == 0 {
		return nil
	}
	made, err := f.sw.ChangePorts(ctx, plan.del, plan.add)
	if err != nil {
		// Which half got through is unknown: read it back.
		f.have.audit = true
		return fmt.Errorf("change ports: %w", err)
	}
	var gone, devices []string
	for _, name := range plan.del {
		p := f.have.ports[name]
		delete(f.have.ports, name)
		delete(f.have.dead, name)
		if _, removed := f.have.removed[name]; removed {
			delete(f.have.removed, name)
			_, tunnel := p.Facts[factTunnel]
			switch {
			case !tunnel:
				gone = append(gone, name)
			case p.Type == "":
				devices = append(devices, name)
			}
		}
	}
	for _, p := range made {
		f.have.ports[p.Name] = p
	}
	f.deleteLinks(ctx, gone, removals)
	if len(devices) > 0 {
		// Not aside: the next network with this VNI has a device of this name.
		if err := f.links.RemoveVXLAN(ctx, devices...); err != nil {
			f.log.WarnContext(ctx, "tunnels of networks without containers stay until the next audit", "error", err)
		}
	}
	return nil
}

// deleteLinks removes links aside: each takes the kernel some 17 ms.
func (f *Fabric) deleteLinks(ctx context.Context, names []string, removals *sync.WaitGroup) {
	if len(names) == 0 {
		return
	}
	gone := make(chan struct{})
	f.mu.Lock()
	for _, name := range names {
		f.deleting[name] = gone
	}
	f.mu.Unlock()
	// The loop's end must not leave links half removed.
	ctx = context.WithoutCancel(ctx)
	removals.Go(func() {
		if err := f.links.DeleteVeth(ctx, names...); err != nil {
			f.log.WarnContext(ctx, "links of removed ports stay until the next audit", "error", err)
		}
		f.mu.Lock()
		for _, name := range names {
			delete(f.deleting, name)
		}
		f.mu.Unlock()
		close(gone)
	})
}

// renumbered is whether the switch gave a port another number than asked for.
func (f *Fabric) renumbered(numbers map[string]int) bool {
	for name, n := range numbers {
		if p, ok := f.have.ports[name]; ok && p.Error == "" && p.Number > 0 && p.Number != n {
			return true
		}
	}
	return false
}
