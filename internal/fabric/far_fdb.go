package fabric

import (
	"net/netip"
	"slices"
)

// fdb is the change of the FDB that goes with install, and must come before it:
// it needs what is installed still.
func (n *farNet) fdb(s *site) FDBChange {
	if n.in == nil || !n.told || !n.in.same(s) {
		return n.wholeFDB(s)
	}
	if n.in.ground != s.ground {
		n.touchMoved(s.ground)
	}
	var c FDBChange
	for m, was := range n.wasMAC {
		before, after := n.in.vteps[was], s.vteps[n.homeOf(m, s)]
		switch {
		case before == after:
		case after.IsValid():
			c.Add = append(c.Add, FDBEntry{m, after})
		default:
			c.Del = append(c.Del, FDBEntry{m, before})
		}
	}
	if n.spread {
		flood := n.vteps(s.ground)
		c.Add = append(c.Add, lacking(n.flood, flood)...)
		c.Del = append(c.Del, lacking(flood, n.flood)...)
	}
	return c
}

// wholeFDB is all that a device should have.
func (n *farNet) wholeFDB(s *site) FDBChange {
	c := FDBChange{Reset: true}
	for m := range n.macs {
		if home := n.homeOf(m, s); home != 0 {
			c.Add = append(c.Add, FDBEntry{m, s.vteps[home]})
		}
	}
	c.Add = append(c.Add, lacking(nil, n.vteps(s.ground))...)
	return c
}

// lacking are the flood entries of those hosts that are not among others. Both
// are in order.
func lacking(among, hosts []netip.Addr) []FDBEntry {
	var out []FDBEntry
	for _, h := range hosts {
		if _, there := slices.BinarySearchFunc(among, h, netip.Addr.Compare); !there {
			out = append(out, FDBEntry{VTEP: h})
		}
	}
	return out
}
