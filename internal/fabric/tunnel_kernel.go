package fabric

import (
	"fmt"
	"net/netip"
	"strconv"
)

// kernelTunnel: one vxlan device of the kernel for each network, a plain port of
// the switch. The switch says only that a frame leaves; the device's FDB, which
// is programmed as the flows are, says to which host, and its flood entries are
// the hosts of the network. The device learns, for virtual MACs, whose place
// nobody knows beforehand; entries that are programmed never change by that, and
// a frame under such a MAC from another host than the one that has it is dropped
// by the kernel.
//
// Who may send at all is up to the tunnels' filter (Tunnels.PutTunnelFilter).
//
// Cost on a host: one FDB entry for each MAC elsewhere and one for each pair of
// a network and a host in it, beside the flows.
type kernelTunnel struct{ prefix string }

var _ tunnel = kernelTunnel{}

func (t kernelTunnel) port(vni uint32) string {
	return t.prefix + tunnelPart + strconv.FormatUint(uint64(vni), 10)
}

func (kernelTunnel) shared(*ground) []Flow { return []Flow{arrival()} }

func (kernelTunnel) admit(s *site) []Flow {
	return []Flow{s.flow(tableClassify, 100, fmt.Sprintf("in_port=%d", s.number),
		fmt.Sprintf("load:%#x->OXM_OF_METADATA[],%s", s.net.VNI, fromAfar()))}
}

func (kernelTunnel) unicast(s *site, _ netip.Addr) string { return "output:" + strconv.Itoa(s.number) }

func (kernelTunnel) flood(s *site, _ []netip.Addr) []Flow {
	return []Flow{s.flow(tableFlood, 100, s.vni(), "output:"+strconv.Itoa(s.number))}
}

// learn needs no host: the kernel has learned it.
func (kernelTunnel) learn(*site) string { return learnVirtual() }

func (kernelTunnel) learned(s *site) []Flow {
	return []Flow{s.flow(tableDeliver, 90, fmt.Sprintf("%s,reg0=%d,reg1=%d", s.vni(), notFar, s.number), "drop")}
}
