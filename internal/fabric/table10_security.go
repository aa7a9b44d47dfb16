package fabric

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// VRRP's virtual MACs (RFC 9568): the last byte is the virtual router's number.
const (
	vmac4 = "00:00:5e:00:01:00/ff:ff:ff:ff:ff:00"
	vmac6 = "00:00:5e:00:02:00/ff:ff:ff:ff:ff:00"
	// vmacLocal6 are the link-local addresses that such MACs give.
	vmacLocal6 = "fe80::200:5eff:fe00:200/120"
)

// ICMPv6 types that port security tells apart.
const (
	icmpRA       = 134
	icmpNS       = 135
	icmpNA       = 136
	icmpRedirect = 137
	icmpMLDv2    = 143
)

// security is table 10: a port sends under its own MAC and addresses, and those
// that its network allows (VIPs, under its own MAC or VRRP's). All else meets
// the drops, which count.
func security(m member) []Flow {
	flows := append(security4(m), security6(m)...)
	// One explicit drop a port, so that its packets are counted.
	return append(flows, m.flow(tableSecurity, 1, fmt.Sprintf("in_port=%d", m.port), "drop"))
}

func security4(m member) []Flow {
	if len(m.v4) == 0 && len(m.vip4) == 0 {
		return nil
	}
	var flows []Flow
	allowed := slices.Concat(m.v4, m.vip4)
	for _, a := range allowed {
		flows = append(flows,
			m.flow(tableSecurity, 100, fmt.Sprintf("ip,%s,nw_src=%s", m.ours(), a), resubmit(tableForward)),
			m.flow(tableSecurity, 100, fmt.Sprintf("arp,%s,arp_sha=%s,arp_spa=%s", m.ours(), m.mac, a), resubmit(tableAnswer)))
	}
	// A probe asks for an address without claiming one (RFC 5227).
	flows = append(flows,
		m.flow(tableSecurity, 100, fmt.Sprintf("arp,%s,arp_sha=%s,arp_spa=0.0.0.0", m.ours(), m.mac), resubmit(tableAnswer)))
	if len(m.vip4) == 0 {
		return flows
	}
	// keepalived with use_vmac sends its adverts from its own address, all else
	// from the VIP, both under the virtual MAC.
	virtual := fmt.Sprintf("in_port=%d,dl_src=%s", m.port, vmac4)
	for _, a := range allowed {
		flows = append(flows,
			m.flow(tableSecurity, 100, fmt.Sprintf("ip,%s,nw_src=%s", virtual, a), learnVirtual()+","+resubmit(tableForward)),
			m.flow(tableSecurity, 100, fmt.Sprintf("arp,%s,arp_sha=%s,arp_spa=%s", virtual, vmac4, a), learnVirtual()+","+resubmit(tableAnswer)))
	}
	return flows
}

// security6 has an order that matters: first what no container may send, then
// neighbour discovery for own addresses only, then addresses.
func security6(m member) []Flow {
	if len(m.v6) == 0 && len(m.vip6) == 0 {
		return nil
	}
	mac, err := net.ParseMAC(m.mac)
	if err != nil {
		return nil
	}
	own := slices.Concat(m.v6, []netip.Addr{linkLocal(mac)}, m.vip6)
	ours := "icmp6," + m.ours()
	f := func(priority int, match, actions string) Flow { return m.flow(tableSecurity, priority, match, actions) }
	flows := []Flow{
		f(130, fmt.Sprintf("icmp6,in_port=%d,icmp_type=%d", m.port, icmpRA), "drop"),
		f(130, fmt.Sprintf("icmp6,in_port=%d,icmp_type=%d", m.port, icmpRedirect), "drop"),
		f(118, fmt.Sprintf("icmp6,in_port=%d,icmp_type=%d", m.port, icmpNA), "drop"),
		f(118, fmt.Sprintf("icmp6,in_port=%d,icmp_type=%d", m.port, icmpNS), "drop"),
		// Reports of groups while the link-local address is still on trial.
		f(100, fmt.Sprintf("%s,ipv6_src=::,icmp_type=%d", ours, icmpMLDv2), resubmit(tableForward)),
	}
	const noLinkAddr = "00:00:00:00:00:00"
	for _, a := range own {
		flows = append(flows,
			f(121, fmt.Sprintf("%s,icmp_type=%d,ipv6_src=::,nd_target=%s", ours, icmpNS, a), resubmit(tableAnswer)),
			f(121, fmt.Sprintf("%s,icmp_type=%d,ipv6_src=%s,nd_sll=%s", ours, icmpNS, a, m.mac), resubmit(tableAnswer)),
			// A probe of a known neighbour goes to it alone and may bear no
			// link-layer address.
			f(121, fmt.Sprintf("%s,icmp_type=%d,ipv6_src=%s,nd_sll=%s", ours, icmpNS, a, noLinkAddr), resubmit(tableAnswer)),
			f(121, fmt.Sprintf("%s,icmp_type=%d,nd_target=%s,nd_tll=%s", ours, icmpNA, a, m.mac), resubmit(tableForward)),
			f(121, fmt.Sprintf("%s,icmp_type=%d,nd_target=%s,nd_tll=%s", ours, icmpNA, a, noLinkAddr), resubmit(tableForward)),
			f(100, fmt.Sprintf("ipv6,%s,ipv6_src=%s", m.ours(), a), resubmit(tableForward)))
	}
	return append(flows, virtual6(m, own)...)
}

// virtual6 allows VRRP's virtual MAC for IPv6.
func virtual6(m member, own []netip.Addr) []Flow {
	if len(m.vip6) == 0 {
		return nil
	}
	virtual := fmt.Sprintf("in_port=%d,dl_src=%s", m.port, vmac6)
	sources := []string{vmacLocal6}
	for _, a := range own {
		sources = append(sources, a.String())
	}
	toAnswer, toForward := learnVirtual()+","+resubmit(tableAnswer), learnVirtual()+","+resubmit(tableForward)
	var flows []Flow
	f := func(priority int, match, actions string) {
		flows = append(flows, m.flow(tableSecurity, priority, match, actions))
	}
	for _, a := range sources {
		f(121, fmt.Sprintf("icmp6,%s,icmp_type=%d,ipv6_src=%s,nd_sll=%s", virtual, icmpNS, a, vmac6), toAnswer)
		f(121, fmt.Sprintf("icmp6,%s,icmp_type=%d,ipv6_src=::,nd_target=%s", virtual, icmpNS, a), toAnswer)
		f(121, fmt.Sprintf("icmp6,%s,icmp_type=%d,nd_target=%s,nd_tll=%s", virtual, icmpNA, a, vmac6), toForward)
		f(100, fmt.Sprintf("ipv6,%s,ipv6_src=%s", virtual, a), toForward)
	}
	f(100, fmt.Sprintf("icmp6,%s,ipv6_src=::,icmp_type=%d", virtual, icmpMLDv2), toForward)
	return flows
}
