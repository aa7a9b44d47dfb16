package fabric

import (
	"fmt"
	"net/netip"
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
