// Package dnsd answers DNS for the names of live containers, the services
// they belong to and the operator's records, and forwards the rest. It knows
// nothing of pools, leases or Docker: it reads names through the Names
// interface, which it declares and its user implements.
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
	// Out: it is to be left out of answers for its service as long as there
	// are others, because its health check fails.
	Out bool
	// Via is what ByService found it by, for people: "compose service web" or
	// "network alias web".
	Via string
}

// Port is one that a container listens on by its own word.
type Port struct {
	Number uint16
	// Proto is "tcp", "udp" or "sctp".
	Proto string
}

// Record is a DNS record by the operator's word.
type Record struct {
	// Name is the full name, in lower case, without a dot at its end. Its first
	// label may be "*".
	Name string
	Type uint16
	// Data is what a zone file has there, names in it complete.
	Data string
	// TTL is in seconds, 0 for the default.
	TTL uint32
}

// Names is an immutable picture of who is live and what the operator declared.
// Its methods are safe for concurrent use and never block. Names given to them
// are in lower case; they must not be kept beyond the call, since the memory
// behind them is used again. Slices that they return are not changed.
type Names interface {
	// ByName appends every address of the container called name, compared
	// without regard to case, to to, in no particular order.
	ByName(to []Host, name string) []Host
	// ByLabel is ByName for a DNS label that Label made of a name that is no
	// label itself, such as "my-app" for "my_app".
	ByLabel(to []Host, label string) []Host
	// ByService is ByName for the replicas of a compose service or whoever has
	// a network alias; name is that name in lower case or its Label. Network
	// says where it holds.
	ByService(to []Host, name string) []Host
	// Below is ByName for all names of containers, services and aliases that
	// end in a dot and name.
	Below(to []Host, name string) []Host
	// ByAddr returns who holds addr.
	ByAddr(addr netip.Addr) (Host, bool)
	// HasNetwork tells whether network is the name of a network or overlay, its
	// Label, or the end of its name behind a dot.
	HasNetwork(network string) bool
	// Machine is what people call the host where h's container runs, "" where
	// nobody knows or there is only one.
	Machine(h Host) string
	// Ports returns what h's container exposes or publishes.
	Ports(h Host) []Port
	// Records returns the operator's records at exactly name; those of a
	// wildcard are asked for as "*.apps.endor.lab".
	Records(name string) []Record
	// RecordsFor returns the operator's A and AAAA records with addr, without
	// wildcards.
	RecordsFor(addr netip.Addr) []Record
	// HasRecordsBelow tells whether operator's records stand below name.
	HasRecordsBelow(name string) bool
	// All yields every live address, AllServices every name that ByService
	// knows (without the labels made of them), AllRecords every record, until
	// yield returns false.
	All(yield func(Host) bool)
	AllServices(yield func(name string) bool)
	AllRecords(yield func(Record) bool)
	// Serial grows with every change; it is the zones' SOA serial.
	Serial() uint32
}
