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

// number gives each seat its port's number: the one that it has, or a new one.
func (f *Fabric) number(seats []seat) map[string]int {
	numbers := make(map[string]int, len(seats))
	taken := map[int]bool{}
	for _, p := range f.have.ports {
		taken[p.Number] = true
	}
	for _, s := range seats {
		if p, ok := f.have.ports[s.port]; ok && p.Number > 0 {
			numbers[s.port] = p.Number
			continue
		}
		for {
			f.have.lastPort = f.have.lastPort%maxPort + 1
			if !taken[f.have.lastPort] {
				break
			}
		}
		taken[f.have.lastPort] = true
		numbers[s.port] = f.have.lastPort
	}
	return numbers
}

// planPorts compares ports. Only ports with our mark are ever removed.
//
// Gateways' ports stay while no network was put: without a store nothing is
// known, and nothing is touched.
func (f *Fabric) planPorts(seats []seat, numbers map[string]int) portPlan {
	var plan portPlan
	keep := map[string]bool{}
	for _, s := range seats {
		keep[s.port] = true
		delete(f.have.removed, s.port)
		p, there := f.have.ports[s.port]
		ready := s.linked || s.endpoint.ID == ""
		if !ready || s.network.ID == "" && !there || there && p.Error == "" && p.bears(s.facts()) {
			continue
		}
		if there {
			plan.del = append(plan.del, s.port)
		}
		plan.add = append(plan.add, PortSpec{Name: s.port, Number: numbers[s.port], Facts: s.facts()})
	}
	f.mu.Lock()
	storeless := !f.want.had
	f.mu.Unlock()
	now := time.Now()
	if f.have.removed == nil {
		f.have.removed = map[string]time.Time{}
	}
	for name, p := range f.have.ports {
		if storeless && p.Facts[factEndpoint] == "" {
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

// bears is whether a port has these facts among its own.
func (p Port) bears(facts map[string]string) bool {
	for k, v := range facts {
		if p.Facts[k] != v {
			return false
		}
	}
	return true
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
	var gone []string
	for _, name := range plan.del {
		delete(f.have.ports, name)
		if _, removed := f.have.removed[name]; removed {
			delete(f.have.removed, name)
			gone = append(gone, name)
		}
	}
	for _, p := range made {
		f.have.ports[p.Name] = p
	}
	f.deleteLinks(ctx, gone, removals)
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
