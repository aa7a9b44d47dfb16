package fabric

import (
	"maps"
	"net/netip"
	"slices"
)

// install makes what is installed of a network as it should be, or a part of it
// where that is much: busy tells. device is whether the kernel's FDB wants to
// be told also.
func (n *farNet) install(s *site, b *batch, device bool) error {
	if n.in != nil && (!n.in.same(s) || device && !n.told) {
		n.wipe(b)
		n.lost()
	}
	before, fresh := b.grown, n.in == nil
	if fresh {
		n.begin(s)
	} else if n.in.ground != s.ground {
		n.touchMoved(s.ground)
	}
	n.told = device
	if n.spread || !slices.Equal(n.in.net.VIPs, s.net.VIPs) {
		flood := n.vteps(s.ground)
		if device {
			c := b.fdb(n.vni)
			c.Reset = c.Reset || fresh
			c.Add = append(c.Add, lacking(n.flood, flood)...)
			c.Del = append(c.Del, lacking(flood, n.flood)...)
		}
		frame := s.frame(flood)
		if err := b.replace(n.frame, frame); err != nil {
			return err
		}
		n.frame, n.flood, n.spread = frame, flood, false
	}
	// The journals say what was installed by the site that made it, so they can
	// outlast this call only if it's still the same.
	all := n.in.ground != s.ground
	if err := n.installMACs(s, b, all); err != nil {
		return err
	}
	if err := n.installAddrs(s, b, all); err != nil {
		return err
	}
	n.count += b.grown - before
	n.in = s
	return nil
}

// begin makes everything a change of nothing.
func (n *farNet) begin(s *site) {
	n.in, n.spread = s, true
	for a := range n.set {
		n.wasAddr[a] = remote{}
	}
	for m := range n.macs {
		n.wasMAC[m] = 0
	}
}

func (n *farNet) installMACs(s *site, b *batch, all bool) error {
	for m, was := range n.wasMAC {
		if !all && b.full() {
			return nil
		}
		home := n.homeOf(m, s)
		if n.told {
			b.entry(n.vni, m, n.in.vteps[was], s.vteps[home])
		}
		if err := b.replace(n.in.leads(m, was), s.leads(m, home)); err != nil {
			return err
		}
		delete(n.wasMAC, m)
	}
	return nil
}

func (n *farNet) installAddrs(s *site, b *batch, all bool) error {
	for a, was := range n.wasAddr {
		if !all && b.full() {
			return nil
		}
		if err := b.replace(n.in.answers(a, was), s.answers(a, n.set[a])); err != nil {
			return err
		}
		delete(n.wasAddr, a)
	}
	return nil
}

// busy is whether there is more to install.
func (n *farNet) busy() bool { return n.in != nil && len(n.wasAddr)+len(n.wasMAC) > 0 }

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

// wipe removes a network's flows by their cookie.
func (n *farNet) wipe(b *batch) {
	b.next.Wipe = append(b.next.Wipe, farOf(n.vni))
	b.grown -= n.count
}

// inOrder are the networks by VNI, so that equal changes are sent alike.
func (f *far) inOrder() []*farNet {
	return slices.SortedFunc(maps.Values(f.nets), func(a, b *farNet) int { return int(a.vni) - int(b.vni) })
}
