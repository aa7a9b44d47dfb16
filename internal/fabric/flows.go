package fabric

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

// flowKey is what a flow is known by to the switch.
type flowKey struct {
	table, priority int
	match           string
}

func (f Flow) key() flowKey { return flowKey{f.Table, f.Priority, f.Match} }

// flows returns all flows that should be.
func (f *Fabric) flows(networks []Network, seats []seat, numbers map[string]int, nd ndMode) []Flow {
	members := make([]member, 0, len(seats))
	for _, s := range seats {
		if s.network.ID == "" {
			continue // its network was never put
		}
		n, mac, addrs := numbers[s.port], s.endpoint.MAC, s.endpoint.Addrs
		if s.endpoint.ID == "" {
			mac = f.gatewayMAC(s.network)
			for _, g := range s.network.Gateways {
				addrs = append(addrs, g.Addr())
			}
		}
		m := newMember(memberCookie(n), n, s.network, mac, addrs)
		m.nd = nd
		members = append(members, m)
	}
	return pipeline(networks, members, f.cfg.Tunnel)
}

// diffFlows compares; without knowledge of what is, everything is replaced.
func diffFlows(have map[flowKey]Flow, want []Flow) FlowChange {
	change := FlowChange{Reset: have == nil}
	wanted := make(map[flowKey]bool, len(want))
	for _, w := range want {
		k := w.key()
		if wanted[k] {
			continue // equal facts of two members: the first one stands
		}
		wanted[k] = true
		if h, there := have[k]; !there || h != w {
			change.Add = append(change.Add, w)
		}
	}
	for k, h := range have {
		if !wanted[k] {
			change.Del = append(change.Del, h)
		}
	}
	slices.SortFunc(change.Del, func(a, b Flow) int {
		return cmp.Or(cmp.Compare(a.Table, b.Table), cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.Match, b.Match))
	})
	return change
}

// changeFlows makes the difference of flows so.
func (f *Fabric) changeFlows(ctx context.Context, change FlowChange) error {
	if !change.Reset && len(change.Add) == 0 && len(change.Del) == 0 {
		return nil
	}
	if err := f.sw.ChangeFlows(ctx, change); err != nil {
		f.have.flows = nil
		return fmt.Errorf("change flows: %w", err)
	}
	if change.Reset {
		f.have.flows = make(map[flowKey]Flow, len(change.Add))
	}
	for _, d := range change.Del {
		delete(f.have.flows, d.key())
	}
	for _, a := range change.Add {
		f.have.flows[a.key()] = a
	}
	return nil
}
