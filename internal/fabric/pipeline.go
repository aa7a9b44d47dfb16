package fabric

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// Tables of the pipeline, in the order in which a frame meets them. Each has a
// file of its own; docs/pipeline.md draws them.
const (
	tableClassify = 0
	tableArrive   = 5
	tableSecurity = 10
	tableAnswer   = 20
	tableAnswerND = 21
	tableLearned  = 25
	tableForward  = 30
	tableDeliver  = 40
)

// Registers: metadata holds the VNI, reg0 how far the frame may go, reg1 the port
// where a virtual MAC was learned, reg2 (or xxreg1 with IPv6) its host's tunnel
// address, reg3 the part of a flood.
const (
	// anywhere is for what a container sends.
	anywhere = 1
	// notFar is for what other hosts sent, which must not go back to them, and for
	// this host's own gateway, which the others have too.
	notFar = 2
)

// multicast matches every group address, broadcast included.
const multicast = "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00"

// member is a port of the pipeline: a container's or a gateway's.
type member struct {
	cookie uint64
	port   int
	net    Network
	mac    string
	// reach is how far its frames may go.
	reach  int
	v4, v6 []netip.Addr
	vip4   []netip.Addr
	vip6   []netip.Addr
	// nd is how the switch treats questions for IPv6 neighbours.
	nd ndMode
}

// ndMode is what the datapath can do about IPv6 neighbour solicitations.
type ndMode int

const (
	// ndHandOn gives a question to the one who can answer it, and to nobody
	// else. The kernel's datapath can't turn a question into its answer.
	ndHandOn ndMode = iota
	// ndAnswer has the switch answer.
	ndAnswer
)

// ndModeOf is what a datapath can do.
func ndModeOf(datapath string) ndMode {
	if datapath == "userspace" {
		return ndAnswer
	}
	return ndHandOn
}

func newMember(cookie uint64, port int, n Network, mac net.HardwareAddr, addrs []netip.Addr) member {
	m := member{cookie: cookie, port: port, net: n, mac: mac.String(), reach: anywhere}
	m.v4, m.v6 = families(addrs)
	m.vip4, m.vip6 = families(n.VIPs)
	return m
}

func families(addrs []netip.Addr) (v4, v6 []netip.Addr) {
	for _, a := range addrs {
		if a = a.Unmap(); a.Is4() {
			v4 = append(v4, a)
		} else {
			v6 = append(v6, a)
		}
	}
	return v4, v6
}

// flow is short for one of the member's flows.
func (m member) flow(table, priority int, match, actions string) Flow {
	return Flow{Cookie: m.cookie, Table: table, Priority: priority, Match: match, Actions: actions}
}

// ours is the start of every match on what the member sends under its own MAC.
func (m member) ours() string { return fmt.Sprintf("in_port=%d,dl_src=%s", m.port, m.mac) }

// vni is the start of every match on frames of the member's network.
func (m member) vni() string { return matchVNI(m.net) }

func matchVNI(n Network) string { return fmt.Sprintf("metadata=%#x", n.VNI) }

// baseFlows are there before any network: what no table knows is dropped, but
// requests that the switch can't answer go on.
func baseFlows() []Flow {
	f := func(table, priority int, match, actions string) Flow {
		return Flow{Cookie: CookieOwner, Table: table, Priority: priority, Match: match, Actions: actions}
	}
	return []Flow{
		f(tableClassify, 0, "", "drop"),
		f(tableSecurity, 0, "", "drop"),
		f(tableAnswer, 0, "", resubmit(tableForward)),
		f(tableForward, 0, "", "drop"),
		f(tableDeliver, 0, "", "drop"),
	}
}

// pipeline returns every flow for these networks and members.
func pipeline(networks []Network, members []member) []Flow {
	flows := baseFlows()
	ports := map[string][]int{}
	for _, m := range members {
		ports[m.net.ID] = append(ports[m.net.ID], m.port)
		flows = append(flows, classify(m))
		flows = append(flows, security(m)...)
		flows = append(flows, answers(m)...)
		flows = append(flows, forward(m))
	}
	for _, n := range networks {
		// A network without a port here costs nothing.
		if len(ports[n.ID]) == 0 {
			continue
		}
		flows = append(flows, flood(n, ports[n.ID])...)
		flows = append(flows, deliver(n)...)
	}
	return flows
}

func resubmit(table int) string { return fmt.Sprintf("resubmit(,%d)", table) }

// networkCookie marks the flows of a network as a whole.
func networkCookie(n Network) uint64 { return CookieOwner | 1<<48 | uint64(n.VNI) }

// memberCookie marks the flows of one port, by which its drops are counted.
func memberCookie(port int) uint64 {
	return CookieOwner | 2<<48 | uint64(port)
}

// linkLocal is the address that an interface gives itself (EUI-64).
func linkLocal(mac net.HardwareAddr) netip.Addr {
	a := [16]byte{0: 0xfe, 1: 0x80, 8: mac[0] ^ 2, 9: mac[1], 10: mac[2], 11: 0xff, 12: 0xfe, 13: mac[3], 14: mac[4], 15: mac[5]}
	return netip.AddrFrom16(a)
}

// hexAddr4 is an IPv4 address as a load action wants it.
func hexAddr4(a netip.Addr) string {
	b := a.As4()
	return fmt.Sprintf("%#x", binary.BigEndian.Uint32(b[:]))
}

// hexMAC is a MAC as a load action wants it.
func hexMAC(mac string) string { return "0x" + strings.ReplaceAll(mac, ":", "") }
