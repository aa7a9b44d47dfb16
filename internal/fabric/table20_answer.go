package fabric

import (
	"fmt"
	"net/netip"
	"strings"
)

// answers is table 20: who asks for a known address is answered by the switch,
// so that requests don't wake every container. VIPs have no entry: whoever
// holds one answers for it.
func answers(m member) []Flow {
	var flows []Flow
	for _, a := range m.v4 {
		flows = append(flows,
			// Its own announcement or probe must not be answered: it would take
			// its own address for taken.
			m.flow(tableAnswer, 110, fmt.Sprintf("arp,in_port=%d,arp_op=1,arp_tpa=%s", m.port, a), resubmit(tableForward)),
			m.flow(tableAnswer, 100, questionARP(m.net, a), answerARP(m.mac, a)))
	}
	for _, a := range m.v6 {
		flows = append(flows,
			m.flow(tableAnswer, 110, fmt.Sprintf("icmp6,in_port=%d,icmp_type=%d,icmp_code=0,nd_target=%s", m.port, icmpNS, a), resubmit(tableForward)),
			// A duplicate address test goes to the owner itself: its answer has
			// to go to all, and the question bears no option to turn around.
			m.flow(tableAnswer, 105, trialND(m.net, a), resubmit(tableForward)))
		flows = append(flows, m.answersND(a)...)
	}
	return flows
}

// answersND are the flows for questions to a group about an IPv6 address. One
// to the owner alone is a test whether it is there, and only it can say so.
func (m member) answersND(a netip.Addr) []Flow {
	question := questionND(m.net, a)
	if m.nd == ndHandOn {
		return []Flow{m.flow(tableAnswer, 100, question, handOnND(m.mac))}
	}
	return []Flow{
		m.flow(tableAnswer, 100, question, beginND()),
		m.flow(tableAnswerND, 100, begunND(m.net, a), answerND(m.mac, a)),
	}
}

// questionARP matches a request for an address.
func questionARP(n Network, a netip.Addr) string {
	return fmt.Sprintf("arp,%s,arp_op=1,arp_tpa=%s", matchVNI(n), a)
}

// trialND matches a duplicate address test.
func trialND(n Network, a netip.Addr) string {
	return fmt.Sprintf("icmp6,%s,icmp_type=%d,icmp_code=0,ipv6_src=::,nd_target=%s", matchVNI(n), icmpNS, a)
}

// questionND matches a question to a group about an address.
func questionND(n Network, a netip.Addr) string {
	return fmt.Sprintf("icmp6,%s,dl_dst=33:33:00:00:00:00/ff:ff:00:00:00:00,icmp_type=%d,icmp_code=0,nd_target=%s", matchVNI(n), icmpNS, a)
}

// handOnND gives a question to the one who can answer it.
func handOnND(mac string) string { return "set_field:" + mac + "->eth_dst," + resubmit(tableForward) }

// beginND makes a question an advertisement, and begunND matches it then.
func beginND() string {
	return fmt.Sprintf("set_field:%d->icmpv6_type,%s", icmpNA, resubmit(tableAnswerND))
}

func begunND(n Network, a netip.Addr) string {
	return fmt.Sprintf("icmp6,%s,icmp_type=%d,icmp_code=0,nd_target=%s", matchVNI(n), icmpNA, a)
}

// answerARP turns a request into its reply.
func answerARP(mac string, a netip.Addr) string {
	return strings.Join([]string{
		"move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[]",
		"set_field:" + mac + "->eth_src",
		"set_field:2->arp_op",
		"move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[]",
		"move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[]",
		"load:" + hexMAC(mac) + "->NXM_NX_ARP_SHA[]",
		"load:" + hexAddr4(a) + "->NXM_OF_ARP_SPA[]",
		"IN_PORT",
	}, ",")
}

// answerND turns a neighbour solicitation, whose type table 20 has changed
// already (the field for the answer's MAC exists in advertisements only), into
// its advertisement: solicited, and it overrides what the asker believed.
func answerND(mac string, a netip.Addr) string {
	const solicitedOverride = "0x60000000"
	return strings.Join([]string{
		"move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[]",
		"set_field:" + mac + "->eth_src",
		"move:NXM_NX_IPV6_SRC[]->NXM_NX_IPV6_DST[]",
		"set_field:" + a.String() + "->ipv6_src",
		"set_field:2->nd_options_type",
		"set_field:" + solicitedOverride + "->nd_reserved",
		"set_field:" + mac + "->nd_tll",
		"IN_PORT",
	}, ",")
}
