package fabric

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// The flows of remotes have priorities of their own, below those of this host's
// ports: where a name has just moved, both are there for a moment.
const (
	priorityFarAnswer = 95
	priorityFarTrial  = 104
	priorityFar       = 90
)

// answers are tables 20 and 21 for an address elsewhere.
func (s *site) answers(a netip.Addr, r remote) []Flow {
	if r.host == 0 || !s.reaches(a, r) {
		return nil
	}
	m := r.mac.String()
	if a.Is4() {
		return []Flow{s.flow(tableAnswer, priorityFarAnswer, questionARP(s.net, a), answerARP(m, a))}
	}
	flows := []Flow{s.flow(tableAnswer, priorityFarTrial, trialND(s.net, a), resubmit(tableForward))}
	question := questionND(s.net, a)
	if s.nd == ndHandOn {
		return append(flows, s.flow(tableAnswer, priorityFarAnswer, question, handOnND(m)))
	}
	return append(flows,
		s.flow(tableAnswer, priorityFarAnswer, question, beginND()),
		s.flow(tableAnswerND, priorityFarAnswer, begunND(s.net, a), answerND(m, a)))
}

// leads is table 30 for a MAC elsewhere.
func (s *site) leads(m mac, home hostRef) []Flow {
	if home == 0 {
		return nil
	}
	return []Flow{s.flow(tableForward, priorityFar, fmt.Sprintf("%s,reg0=%d,dl_dst=%s", s.vni(), anywhere, m),
		s.tunnel.unicast(s, s.vteps[home]))}
}

// bundleLimit is how many flows go into one bundle: 0.3 s on an idle machine.
// Nothing else can be changed meanwhile.
const bundleLimit = 10_000

// batch gathers a change of flows and sends it in bundles. Nearly always that's
// one.
type batch struct {
	send func(FlowChange) error
	next FlowChange
	// grown is by how much the flows about other hosts have become more.
	grown int
	sent  bool
}

// replace makes flows others. Those that stay as they are cost nothing.
func (b *batch) replace(was, now []Flow) error {
	for _, w := range now {
		i := slices.IndexFunc(was, func(o Flow) bool { return o.key() == w.key() })
		if i >= 0 && was[i] == w {
			continue
		}
		if i < 0 {
			b.grown++
		}
		b.next.Add = append(b.next.Add, w)
	}
	for _, o := range was {
		if !slices.ContainsFunc(now, func(w Flow) bool { return o.key() == w.key() }) {
			b.next.Del = append(b.next.Del, o)
			b.grown--
		}
	}
	if len(b.next.Add)+len(b.next.Del) < bundleLimit {
		return nil
	}
	return b.flush()
}

func (b *batch) flush() error {
	c := b.next
	if !c.Reset && len(c.Wipe)+len(c.Add)+len(c.Del) == 0 {
		return nil
	}
	b.next, b.sent = FlowChange{}, true
	return b.send(c)
}

// install makes a network's flows about other hosts as they should be.
func (n *farNet) install(s *site, b *batch) error {
	before := b.grown
	if n.in != nil && !n.in.same(s) {
		n.wipe(b)
		before = b.grown
		n.lost()
	}
	if n.in != nil && n.in.ground != s.ground {
		n.touchMoved(s.ground)
	}
	if n.in == nil || n.spread {
		n.flood = n.vteps(s.ground)
	}
	if n.in == nil || n.spread || !slices.Equal(n.in.net.VIPs, s.net.VIPs) {
		frame := s.frame(n.flood)
		if err := b.replace(n.frame, frame); err != nil {
			return err
		}
		n.frame = frame
	}
	if err := n.installEach(s, b); err != nil {
		return err
	}
	n.count += b.grown - before
	n.settled(s)
	return nil
}

// installEach installs all addresses, or those that changed.
func (n *farNet) installEach(s *site, b *batch) error {
	if n.in == nil {
		for a, r := range n.set {
			if err := b.replace(nil, s.answers(a, r)); err != nil {
				return err
			}
		}
		for m := range n.macs {
			if err := b.replace(nil, s.leads(m, n.homeOf(m, s))); err != nil {
				return err
			}
		}
		return nil
	}
	for a, was := range n.wasAddr {
		if err := b.replace(n.in.answers(a, was), s.answers(a, n.set[a])); err != nil {
			return err
		}
	}
	for m, was := range n.wasMAC {
		if err := b.replace(n.in.leads(m, was), s.leads(m, n.homeOf(m, s))); err != nil {
			return err
		}
	}
	return nil
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
