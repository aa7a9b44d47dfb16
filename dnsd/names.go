// Package dnsd answers DNS for the names of live containers and forwards the
// rest. It knows nothing of pools, leases or Docker: it reads names through
// the Names interface, which it declares and its user implements.
package dnsd

import "net/netip"

// Host is one address of one live container.
type Host struct {
	// Name is the container's name as the engine has it, in its own case.
	Name string
	// Network is the engine's name of the network, "" while it is not known.
	Network string
	// Overlay is the overlay's name where the user gave one, else "".
	Overlay string
	// Addr is the container's address in that network.
	Addr netip.Addr
	// Pool is the subnet that Addr lies in.
	Pool netip.Prefix
}

// Names is an immutable picture of who is live. Both methods are safe for
// concurrent use and never block.
type Names interface {
	// ByName returns every address of the container called name, compared
	// without regard to case, in no particular order; nil when there is none.
	ByName(name string) []Host
	// ByLabel is ByName for a DNS label that Label made of a name that is no
	// label itself, such as "my-app" for "my_app".
	ByLabel(label string) []Host
	// ByAddr returns who holds addr.
	ByAddr(addr netip.Addr) (Host, bool)
	// HasNetwork tells whether network is the name of a network or overlay.
	HasNetwork(network string) bool
	// Serial grows with every change; it is the zones' SOA serial.
	Serial() uint32
}
