package fabric

import (
	"cmp"
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
		if s.network.ID == "" || s.displaced.Endpoint != "" {
			continue // its network was never put, or its address is another's
		}
		n, mac, addrs := numbers[s.port], s.endpoint.MAC, s.endpoint.Addrs
		if s.endpoint.ID == "" {
			mac = f.gatewayMAC(s.network)
			for _, g := range s.network.Gateways {
				addrs = append(addrs, g.Addr())
			}
		}
		m := newMember(memberCookie(n), n, s.network, mac, addrs)
		if s.endpoint.ID == "" {
			m.reach = notFar
		}
		m.nd = nd
		members = append(members, m)
	}
	return pipeline(networks, members)
}

// diffFlows compares; without knowledge of what is, everything is replaced.
func diffFlows(have map[flowKey]Flow, want []Flow) FlowChange {
	var change FlowChange
	if have == nil {
		change.Wipe = []Cookies{NearFlows}
	}
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
