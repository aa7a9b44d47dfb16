package dnsd

import "net/netip"

// kind is what a question deserves.
type kind uint8

const (
	// kindForward: the name is not ours, ask the host's resolvers.
	kindForward kind = iota
	// kindAddrs: A or AAAA records, in verdict.addrs.
	kindAddrs
	// kindPTR: the one name in verdict.target.
	kindPTR
	kindSOA
	kindNS
	// kindHINFO: the name exists, and the question was ANY (RFC 8482).
	kindHINFO
	// kindSRV: one record for each of the node's containers.
	kindSRV
	// kindRecords: the operator's records of that type, in the node.
	kindRecords
	// kindAlias: the CNAME that is the node's record number verdict.alias.
	kindAlias
	// kindNoData: the name exists, without records of that type.
	kindNoData
	// kindNXDomain: the name does not exist.
	kindNXDomain
	// kindNotReady: the names are not read yet.
	kindNotReady
)

// question is one question as both packet paths hand it to decide.
type question struct {
	// name is in lower case, without the last dot; "" is the root. It has no
	// escapes, so that offsets in it are offsets in the wire's form.
	name   string
	qtype  uint16
	id     uint16
	client netip.Addr
	local  netip.Addr
}

// verdict is the answer to a question, before it is a packet. What it is made
// of stands in lookup.node.
type verdict struct {
	kind   kind
	addrs  []netip.Addr
	target string
	// ttl is that of addrs or of the CNAME.
	ttl   uint32
	alias int
	// owner is where in the question's name the name of the zone begins whose
	// SOA stands in a negative answer; len(name) means the root, -1 our zone.
	owner int
	// serial is that SOA's.
	serial uint32
}
