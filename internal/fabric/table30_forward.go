package fabric

import (
	"fmt"
	"slices"
	"strings"
)

// virtualMACs matches VRRP's virtual MACs of both families.
const virtualMACs = "dl_dst=" + virtualMAC

const virtualMAC = "00:00:5e:00:00:00/ff:ff:ff:ff:00:00"

// forward is table 30 for one member: a known MAC goes to its port. A MAC that
// nobody has is dropped, never flooded.
func forward(m member) Flow {
	return m.flow(tableForward, 100, fmt.Sprintf("%s,dl_dst=%s", m.vni(), m.mac), fmt.Sprintf("output:%d", m.port))
}

// flood is table 30 for a network: broadcast and multicast go to each member
// but the sender, and to the other hosts if they may.
func flood(n Network, ports []int) []Flow {
	ports = slices.Sorted(slices.Values(ports))
	out := make([]string, 0, len(ports)+1)
	for _, p := range ports {
		out = append(out, fmt.Sprintf("output:%d", p))
	}
	local := strings.Join(out, ",")
	all := local
	if !n.Alone {
		all += "," + resubmit(tableFlood)
	}
	f := func(priority int, match, actions string) Flow {
		return Flow{Cookie: networkCookie(n), Table: tableForward, Priority: priority, Match: match, Actions: actions}
	}
	return []Flow{
		f(60, fmt.Sprintf("%s,%s", matchVNI(n), virtualMACs), resubmit(tableLearned)+","+resubmit(tableDeliver)),
		f(50, fmt.Sprintf("%s,reg0=%d,%s", matchVNI(n), anywhere, multicast), all),
		f(50, fmt.Sprintf("%s,reg0=%d,%s", matchVNI(n), notFar, multicast), local),
	}
}
