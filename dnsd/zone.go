package dnsd

import (
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

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

// verdict is the answer to a question, before it is a packet.
type verdict struct {
	kind   kind
	addrs  []netip.Addr
	target string
	// owner is where in the question's name the name of the zone begins whose
	// SOA stands in a negative answer; len(name) means the root.
	owner int
	// serial is that SOA's.
	serial uint32
}

// zone is the domain that the names live under, in lower case, without dots
// around it.
type zone struct {
	name string
	// dotted is "." + name.
	dotted string
	// wire is name as it stands in a packet, with the root's 0 byte.
	wire []byte
}

func newZone(name string) zone {
	return zone{name: name, dotted: "." + name, wire: appendName(nil, name)}
}

// contains tells whether name is the zone's apex or below it.
func (z *zone) contains(name string) bool {
	return strings.HasSuffix(name, z.name) &&
		(len(name) == len(z.name) || name[len(name)-len(z.name)-1] == '.')
}

// lookup is what decide works with: one picture of the names, the subnets
// whose reverse zones are ours, and room for addresses that its caller reuses.
type lookup struct {
	zone   *zone
	names  Names
	served []netip.Prefix
	room   []netip.Addr
}

// decide answers q from the names. It does not read packets, write them, or
// wait.
func (l *lookup) decide(q *question) verdict {
	if l.zone.contains(q.name) {
		return l.inZone(q)
	}
	if isReverse(q.name) {
		return l.reverse(q)
	}
	return l.outside(q)
}

// inZone answers for a name in our zone: nobody else knows it.
func (l *lookup) inZone(q *question) verdict {
	v := verdict{kind: kindNXDomain, owner: len(q.name) - len(l.zone.name)}
	if l.names == nil {
		v.kind = kindNotReady
		return v
	}
	v.serial = l.names.Serial()
	if v.owner == 0 {
		return l.apex(q, v)
	}
	rest := q.name[:v.owner-1]
	if m, ok := find(l.names, rest); ok {
		return l.hosts(q, m, v)
	}
	if l.names.HasNetwork(rest) {
		// Names stand below it (RFC 8020), so it exists, empty.
		v.kind = kindNoData
	}
	return v
}

// apex answers for the zone's own name. A container of that name is found
// there; without one it is this server, so that the NS record leads here.
func (l *lookup) apex(q *question, v verdict) verdict {
	switch q.qtype {
	case dns.TypeSOA:
		v.kind = kindSOA
		return v
	case dns.TypeNS:
		v.kind = kindNS
		return v
	}
	if m, ok := find(l.names, q.name); ok {
		return l.hosts(q, m, v)
	}
	return l.fixed(q, v, q.local)
}

// outside answers for names beyond our zone: bare names and name.network are
// ours when somebody live bears them. A bare name that nobody bears does not
// leave the host, because it can only be a container that is not up, and
// whoever has a search domain asks again with it; only the questions about
// top-level domains that a validating resolver asks are forwarded. A name
// below a network's name is forwarded when nobody bears it, because networks
// are called "internal" or "dev", and so are domains.
func (l *lookup) outside(q *question) verdict {
	v := verdict{kind: kindForward, owner: parent(q.name)}
	if q.name == "" {
		return v
	}
	if l.names != nil {
		v.serial = l.names.Serial()
	}
	if q.name == "localhost" || strings.HasSuffix(q.name, ".localhost") {
		return l.fixed(q, v, netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback())
	}
	bare := v.owner == len(q.name)
	if l.names == nil {
		if bare {
			v.kind = kindNotReady
		}
		return v
	}
	if m, ok := find(l.names, q.name); ok {
		return l.hosts(q, m, v)
	}
	if bare {
		switch q.qtype {
		case dns.TypeNS, dns.TypeSOA, dns.TypeDS, dns.TypeDNSKEY:
		default:
			v.kind = kindNXDomain
		}
	}
	return v
}

// fixed answers with those of addrs that are of the family asked for.
func (l *lookup) fixed(q *question, v verdict, addrs ...netip.Addr) verdict {
	v.kind = kindNoData
	if q.qtype == dns.TypeANY {
		v.kind = kindHINFO
	}
	for _, a := range addrs {
		if ofType(a, q.qtype) {
			v.kind, v.addrs = kindAddrs, append(l.room[:0], a)
		}
	}
	return v
}

// hosts answers for a name that exists.
func (l *lookup) hosts(q *question, m match, v verdict) verdict {
	switch q.qtype {
	case dns.TypeA, dns.TypeAAAA:
		v.kind = kindNoData
		v.addrs = m.pick(q, l.room[:0])
		if len(v.addrs) > 0 {
			v.kind = kindAddrs
		}
	case dns.TypeANY:
		v.kind = kindHINFO
	default:
		v.kind = kindNoData
	}
	return v
}

// parent is where the name above name begins, or len(name) for the root.
func parent(name string) int {
	if dot := strings.IndexByte(name, '.'); dot >= 0 {
		return dot + 1
	}
	return len(name)
}

// appendName appends a name of plain labels in the wire's form.
func appendName(b []byte, name string) []byte {
	for name != "" {
		label, rest, _ := strings.Cut(name, ".")
		b = append(append(b, byte(len(label))), label...)
		name = rest
	}
	return append(b, 0)
}
