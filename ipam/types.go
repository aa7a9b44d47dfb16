// Package ipam decides which name has which address and keeps it so: pools,
// leases, and the policy that hands an address to a name and never to two.
package ipam

import (
	"net/netip"
	"time"
)

// State says what a lease is doing.
type State string

// The states of a lease. A reserved lease whose container runs is StateLive
// with Reserved set.
const (
	// StateLive: a container holds the address.
	StateLive State = "live"
	// StateParked: nobody holds it; it is kept for its name.
	StateParked State = "parked"
)

// Lease is an address kept for a name within one pool.
type Lease struct {
	// Pool is the id of the pool.
	Pool string
	// Name is the container's name as the engine has it.
	Name string
	// Addr is the address.
	Addr netip.Addr
	// MAC is the hardware address that goes with it, as net.HardwareAddr
	// prints it. It follows from Addr unless the user set one.
	MAC string
	// State says whether a container holds the address.
	State State
	// Fixed: the user named this address (--ip, ipv4_address) when the name
	// last asked. It is never given away to a name that named none.
	Fixed bool
	// Reserved: an operator's word keeps the address for the name.
	Reserved bool
	// Since is when State last changed.
	Since time.Time
	// Host is the id of the host where the container runs, or ran last.
	Host string
}

// Pool is the addresses of one network in one family.
type Pool struct {
	// ID is stable: the same subnet (and overlay) has the same one for ever.
	ID string
	// Subnet is the pool's whole prefix, Range the part that dynamic
	// addresses come from (Subnet itself where the user named none).
	Subnet, Range netip.Prefix
	// Overlay is the overlay's name where the user gave one.
	Overlay string
	// Auto: dockstack chose the subnet.
	Auto bool
	// Gateway is the address every host has in the network, invalid until
	// the engine asked for it.
	Gateway netip.Addr
	// Network is the id of this host's network on the pool, "" when none does.
	Network string
	// NetworkName is that network's name, once known; it outlives the network.
	NetworkName string
	// VNI and MTU are those of the network, 0 before its first.
	VNI uint32
	MTU int
}

// PoolRequest asks for a pool.
type PoolRequest struct {
	// Subnet is the wanted prefix; invalid: any from the supernet.
	Subnet netip.Prefix
	// Range restricts dynamic addresses; invalid: the whole subnet.
	Range netip.Prefix
	// Overlay names the overlay, "" mostly.
	Overlay string
	// V6 picks the family where Subnet is invalid.
	V6 bool
}

// AddressRequest asks for an address in a pool.
type AddressRequest struct {
	// Pool is the pool's id.
	Pool string
	// Name is the container's name.
	Name string
	// Addr is the fixed address the user named; invalid: the name's own.
	Addr netip.Addr
}

// Endpoint ties leases to the container interface that uses them.
type Endpoint struct {
	// ID is the engine's id of the endpoint.
	ID string
	// Network is the engine's id of the network.
	Network string
	// Addrs are the endpoint's addresses, one a family.
	Addrs []netip.Addr
	// MAC is the hardware address that the user named, "" when none.
	MAC string
}
