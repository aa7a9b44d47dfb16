// Package fabric keeps the host's bridge, ports and flows as they should be:
// it holds the wanted state of networks and endpoints, compares it with what
// is there, and applies the difference.
package fabric

import (
	"net"
	"net/netip"
)

// Network is one overlay as this host takes part in it.
type Network struct {
	// ID is the engine's id of the network.
	ID string
	// VNI tells the networks apart on the bridge and on the wire, 1 to 2^24-1.
	VNI uint32
	// MTU is that of every interface of the network, in bytes.
	MTU int
	// Gateways are the addresses that the host itself has in the network, with
	// the network's mask, at most one a family. DNS listens there.
	Gateways []netip.Prefix
	// VIPs are addresses that any endpoint of the network may use beside its
	// own, with its own MAC or a VRRP virtual one.
	VIPs []netip.Addr
	// Alone: the network never reaches another host.
	Alone bool
}

// Underlay is how this host reaches the others. The zero value: it does not.
// Each carries all that there is.
type Underlay struct {
	// VTEP is this host's tunnel address, IPv4 or IPv6.
	VTEP netip.Addr
	// Port is the UDP port of the tunnels, the same on every host.
	Port uint16
	// Peers are the other hosts that are alive.
	Peers []Peer
}

// Peer is another host.
type Peer struct {
	// ID is the host's id, as Remote.Host has it.
	ID string
	// VTEP is its tunnel address, of the same family as ours.
	VTEP netip.Addr
}

// Remote is an address of a container on another host.
type Remote struct {
	Addr netip.Addr
	MAC  [6]byte
	// Host is the id of the host that has it.
	Host string
}

// RemoteChange is news of the addresses that a network has on other hosts.
type RemoteChange struct {
	// VNI of the network, which this host needn't have.
	VNI uint32
	// Whole: Set is all that there is.
	Whole bool
	// Gone are no longer on another host.
	Gone []netip.Addr
	// Set are on another host, also where Gone has them too.
	Set []Remote
}

// Endpoint is one container's interface in a network.
type Endpoint struct {
	// ID is the engine's id of the endpoint.
	ID string
	// Network is the engine's id of its network.
	Network string
	// MAC is its hardware address.
	MAC net.HardwareAddr
	// Addrs are its addresses, at most one a family.
	Addrs []netip.Addr
}
