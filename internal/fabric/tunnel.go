package fabric

import (
	"fmt"
	"net/netip"
	"slices"
)

// Tunnels there are. The pipeline is the same with each; they differ in who
// chooses the host that a frame goes to.
const (
	// TunnelFlow is one port of the switch for all networks and hosts: the flow
	// says where to. For the kernel's datapath, which encapsulates itself.
	TunnelFlow = "flow"
	// TunnelKernel is one vxlan device of the kernel for each network, as a plain
	// port: the device's FDB says where to. For the userspace datapath, whose own
	// tunnels are 3 to 5 times slower, want the host's NIC on a bridge and lose
	// the first frame to each host (docs/pipeline.md).
	TunnelKernel = "kernel"
)

// tunnel is a way to the other hosts, as the pipeline sees it.
type tunnel interface {
	// port is the name of the port by which a network's frames come and go.
	port(vni uint32) string
	// shared are the flows of all networks together.
	shared(g *ground) []Flow
	// admit are a network's flows of table 0.
	admit(s *site) []Flow
	// unicast are the actions of table 30 for a container on the host with vtep.
	unicast(s *site, vtep netip.Addr) string
	// flood are a network's flows of tables 35 and 36: to each of vteps.
	flood(s *site, vteps []netip.Addr) []Flow
	// learn remembers where a virtual MAC came from.
	learn(s *site) string
	// learned are a network's flows of table 40 for a virtual MAC that was last
	// seen on another host.
	learned(s *site) []Flow
}

// tunnelOf is the one for a datapath.
func (c Config) tunnelOf(datapath string) (kind string, t tunnel) {
	kind = c.Tunnel
	if kind == "" && datapath == "userspace" {
		kind = TunnelKernel
	}
	if kind == TunnelKernel {
		return kind, kernelTunnel{prefix: c.Prefix}
	}
	return TunnelFlow, flowTunnel{prefix: c.Prefix}
}

// ground is what all flows about other hosts are made from. It doesn't change
// once made.
type ground struct {
	basis
	tunnel tunnel
	// trunk is the number of the port that all networks share; 0 with none.
	trunk int
	// vteps of the hosts that can be reached.
	vteps map[hostRef]netip.Addr
	// peers are those addresses, in order, each once.
	peers []netip.Addr
}

// basis is what everything depends on: another one makes all flows anew.
type basis struct {
	kind  string
	nd    ndMode
	local netip.Addr
	udp   uint16
}

// site is a network's place on the ground.
type site struct {
	*ground
	net     Network
	gateway mac
	// number of the port by which the network's frames come and go.
	number int
}

// same is whether what a site's remotes need is as another's: the rest changes
// just the network's own few flows.
func (s *site) same(o *site) bool {
	return s.basis == o.basis && s.number == o.number && s.gateway == o.gateway &&
		slices.Equal(s.net.Gateways, o.net.Gateways)
}

// flow is short for one of the site's flows.
func (s *site) flow(table, priority int, match, actions string) Flow {
	return Flow{Cookie: farCookie(s.net.VNI), Table: table, Priority: priority, Match: match, Actions: actions}
}

// vni is the start of every match on frames of the site's network.
func (s *site) vni() string { return matchVNI(s.net) }

// reaches is whether a remote has a place where frames can go.
func (s *site) reaches(a netip.Addr, r remote) bool {
	if !s.vteps[r.host].IsValid() || len(s.net.Gateways) > 0 && r.mac == s.gateway {
		return false
	}
	return !slices.ContainsFunc(s.net.Gateways, func(g netip.Prefix) bool { return g.Addr().Unmap() == a })
}

// farCookie marks the flows of a network about other hosts; VNI 0 those of all.
func farCookie(vni uint32) uint64 { return CookieOwner | cookieFar | uint64(vni) }

// farOf are the cookies of one network.
func farOf(vni uint32) Cookies { return Cookies{farCookie(vni), ^uint64(0)} }

// frame returns the flows of a network as a whole.
func (s *site) frame(vteps []netip.Addr) []Flow {
	flows := s.tunnel.admit(s)
	flows = append(flows, arrive(farCookie(s.net.VNI), s.net, s.gateway[:], s.tunnel.learn(s))...)
	if len(vteps) > 0 {
		flows = append(flows, s.tunnel.flood(s, vteps)...)
	}
	if len(s.net.VIPs) > 0 {
		flows = append(flows, s.tunnel.learned(s)...)
	}
	return flows
}

// arrival is what becomes of frames that no flow of table 5 stops.
func arrival() Flow {
	return Flow{Cookie: farCookie(0), Table: tableArrive, Actions: resubmit(tableForward)}
}

// fromAfar marks a frame as one that came through a tunnel.
func fromAfar() string {
	return fmt.Sprintf("set_field:%d->reg0,%s", notFar, resubmit(tableArrive))
}
