package fabric

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// flowTunnel: one port of type vxlan with remote_ip=flow. It serves all networks
// and all hosts; each flow says the VNI and the host that a frame goes to. Next
// to it the usual way, a port for each host, would make hosts times networks
// ports and loops without more ado.
//
// Cost on a host: a flow for each peer, and what docs/pipeline.md counts for
// each network and remote address.
type flowTunnel struct{ prefix string }

var _ tunnel = flowTunnel{}

// floodChunk is how many hosts one flow floods to. Open vSwitch takes 1,000 in
// one flow and refuses 1,500, with IPv6 addresses fewer.
const floodChunk = 256

func (t flowTunnel) port(uint32) string { return t.prefix + trunkName }

// options of the port. Frames leave from our own tunnel address, and only those
// that were sent to it come in.
func (flowTunnel) options(local netip.Addr, udp uint16) map[string]string {
	o := map[string]string{
		"remote_ip": "flow", "key": "flow", "local_ip": local.String(), "dst_port": strconv.Itoa(int(udp)),
	}
	if local.Is6() {
		o["csum"] = "true" // else the kernel's receivers drop it
	}
	return o
}

// shared takes frames from peers only. What else comes to the port is dropped
// by table 0.
func (flowTunnel) shared(g *ground) []Flow {
	if g.trunk == 0 {
		return nil // no network has a tunnel
	}
	flows := []Flow{arrival()}
	field := "tun_src"
	if g.local.Is6() {
		field = "tun_ipv6_src"
	}
	for _, p := range g.peers {
		flows = append(flows, Flow{
			Cookie: farCookie(0), Table: tableClassify, Priority: 100,
			Match:   fmt.Sprintf("in_port=%d,%s=%s", g.trunk, field, p),
			Actions: "move:NXM_NX_TUN_ID[0..23]->OXM_OF_METADATA[0..23]," + fromAfar(),
		})
	}
	return flows
}

func (flowTunnel) admit(*site) []Flow { return nil }

// to is the action that chooses a host.
func (flowTunnel) to(vtep netip.Addr) string {
	if vtep.Is6() {
		return "set_field:" + vtep.String() + "->tun_ipv6_dst"
	}
	return "set_field:" + vtep.String() + "->tun_dst"
}

func (flowTunnel) vni(s *site) string { return fmt.Sprintf("set_field:%#x->tun_id", s.net.VNI) }

func (t flowTunnel) unicast(s *site, vtep netip.Addr) string {
	return t.to(vtep) + "," + t.vni(s) + ",output:" + strconv.Itoa(s.number)
}

// flood sends to every host of the network. Many hosts are split over flows of
// table 36, which one flow of table 35 calls in turn.
func (t flowTunnel) flood(s *site, vteps []netip.Addr) []Flow {
	out := ",output:" + strconv.Itoa(s.number)
	each := func(vteps []netip.Addr) string {
		var b strings.Builder
		for i, v := range vteps {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(t.to(v) + out)
		}
		return b.String()
	}
	if len(vteps) <= floodChunk {
		return []Flow{s.flow(tableFlood, 100, s.vni(), t.vni(s)+","+each(vteps))}
	}
	var flows []Flow
	call := []string{t.vni(s)}
	for chunk := range slices.Chunk(vteps, floodChunk) {
		k := len(flows) + 1
		flows = append(flows, s.flow(tableFloodPart, 100, fmt.Sprintf("%s,reg3=%d", s.vni(), k), each(chunk)))
		call = append(call, fmt.Sprintf("load:%d->NXM_NX_REG3[],%s", k, resubmit(tableFloodPart)))
	}
	return append(flows, s.flow(tableFlood, 100, s.vni(), strings.Join(call, ",")))
}

func (flowTunnel) learn(s *site) string {
	if s.local.Is6() {
		return learnVirtual("load:NXM_NX_TUN_IPV6_SRC[]->NXM_NX_XXREG1[]")
	}
	return learnVirtual("load:NXM_NX_TUN_IPV4_SRC[]->NXM_NX_REG2[]")
}

func (t flowTunnel) learned(s *site) []Flow {
	to := "move:NXM_NX_REG2[]->NXM_NX_TUN_IPV4_DST[]"
	if s.local.Is6() {
		to = "move:NXM_NX_XXREG1[]->NXM_NX_TUN_IPV6_DST[]"
	}
	return []Flow{
		s.flow(tableDeliver, 100, fmt.Sprintf("%s,reg0=%d,reg1=%d", s.vni(), anywhere, s.number),
			fmt.Sprintf("%s,%s,output:%d", t.vni(s), to, s.number)),
		s.flow(tableDeliver, 90, fmt.Sprintf("%s,reg1=%d", s.vni(), s.number), "drop"),
	}
}
