package fabric

import (
	"fmt"
	"net"
)

// arrive is table 5 for a network: frames from other hosts, whose switches have
// checked them. The gateway is each host's own, with one address and one MAC,
// so nobody else may speak as it.
func arrive(cookie uint64, n Network, gateway net.HardwareAddr, learn string) []Flow {
	var flows []Flow
	f := func(priority int, match, actions string) {
		flows = append(flows, Flow{Cookie: cookie, Table: tableArrive, Priority: priority, Match: match, Actions: actions})
	}
	v := matchVNI(n)
	if len(n.Gateways) > 0 {
		f(100, fmt.Sprintf("%s,dl_src=%s", v, gateway), "drop")
	}
	for _, g := range n.Gateways {
		a := g.Addr().Unmap()
		if a.Is4() {
			f(90, fmt.Sprintf("arp,%s,arp_spa=%s", v, a), "drop")
			f(90, fmt.Sprintf("ip,%s,nw_src=%s", v, a), "drop")
			continue
		}
		f(90, fmt.Sprintf("icmp6,%s,icmp_type=%d,nd_target=%s", v, icmpNA, a), "drop")
		f(90, fmt.Sprintf("ipv6,%s,ipv6_src=%s", v, a), "drop")
	}
	if len(n.VIPs) > 0 {
		f(60, v+",dl_src="+virtualMAC, learn+","+resubmit(tableForward))
	}
	return flows
}
