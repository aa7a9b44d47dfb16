package dnsd

import (
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// zone is the domain that the names live under, in lower case, without dots
// around it.
type zone struct {
	name string
	// dotted is "." + name.
	dotted string
	// wire is name as it stands in a packet, with the root's 0 byte.
	wire []byte
	// servers are the names that it is served under, by the operator's word.
	servers []Nameserver
	// primary is the SOA's: the first of servers, else name itself.
	primary     string
	primaryWire []byte
}

func newZone(name string, servers []Nameserver) zone {
	z := zone{name: name, dotted: "." + name, wire: appendName(nil, name), servers: servers, primary: name}
	if len(servers) > 0 {
		z.primary = servers[0].Name
	}
	z.primaryWire = appendName(nil, z.primary)
	return z
}

// contains tells whether name is the zone's apex or below it.
func (z *zone) contains(name string) bool {
	return strings.HasSuffix(name, z.name) &&
		(len(name) == len(z.name) || name[len(name)-len(z.name)-1] == '.')
}

// lookup is what decide works with: one picture of the names, the subnets
// whose reverse zones are ours, and room that is used again by each question.
// A verdict and the node that it came from are good until the next one.
type lookup struct {
	zone   *zone
	names  Names
	served []netip.Prefix
	routes *routeTable
	// quick and beyond are what became of the last plain query: it was answered
	// from the names, or is to be forwarded.
	quick, beyond bool

	node node
	// plain is the query on its short way.
	plain plain
	// room is for addresses, hosts and spare for the containers of the name
	// asked for and of one that is looked at beside, text for names.
	room         []netip.Addr
	hosts, spare []Host
	text         []byte
}

func newLookup(z *zone) *lookup {
	return &lookup{
		zone: z, room: make([]netip.Addr, 0, 16), hosts: make([]Host, 0, 8), spare: make([]Host, 0, 8),
		text: make([]byte, 0, 512),
	}
}

// decide answers q from the names. It does not read packets, write them, or
// wait.
func (l *lookup) decide(q *question) verdict {
	l.node = node{}
	var v verdict
	switch {
	case l.zone.contains(q.name):
		v = l.inZone(q)
	case isReverse(q.name):
		v = l.reverse(q)
	default:
		v = l.outside(q)
	}
	if v.kind == kindNXDomain && l.routes.beats(q.name, v.owner) {
		// The operator has somebody else asked for what nobody bears here.
		v = verdict{kind: kindForward}
	}
	// What had to grow is kept for the next.
	if cap(l.node.hosts) > cap(l.hosts) {
		l.hosts = l.node.hosts[:0]
	}
	if cap(v.addrs) > cap(l.room) {
		l.room = v.addrs[:0]
	}
	return v
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
	if s := l.server(q.name); s != nil {
		v = l.fixed(q, v, s.Addrs...)
		v.ttl = serverTTL
		return v
	}
	n := &l.node
	rest := q.name[:v.owner-1]
	l.stand(n, l.hosts, q.name, rest)
	if n.origin == fromNothing {
		if l.below(q.name, rest) {
			n.origin = fromBelow
		} else {
			l.wildcard(n, q.name)
		}
	}
	if n.origin == fromNothing {
		return v
	}
	return l.answer(q, n, q.name, v)
}

// server is the one of the zone's servers that is called name, or nil.
func (l *lookup) server(name string) *Nameserver {
	for i := range l.zone.servers {
		if l.zone.servers[i].Name == name {
			return &l.zone.servers[i]
		}
	}
	return nil
}

// below tells whether names stand below name, which then exists, empty (RFC
// 8020); rest is its part before the zone.
func (l *lookup) below(name, rest string) bool {
	if l.names.HasNetwork(rest) || l.names.HasRecordsBelow(name) || len(l.search(l.spare, fromBelow, rest).hosts) > 0 {
		return true
	}
	for i := range l.zone.servers {
		if strings.HasSuffix(l.zone.servers[i].Name, "."+name) {
			return true
		}
	}
	return false
}

// exists tells whether something stands at a name or below it, wildcards
// apart. Beyond our zone only the operator's records count.
func (l *lookup) exists(name string) bool {
	if !l.zone.contains(name) {
		return len(l.names.Records(name)) > 0 || l.names.HasRecordsBelow(name)
	}
	var n node
	rest := name[:len(name)-len(l.zone.dotted)]
	l.stand(&n, l.spare, name, rest)
	return n.origin != fromNothing || l.server(name) != nil || l.below(name, rest)
}

// apex answers for the zone's own name. A container of that name is found
// there, and what the operator declared; without addresses it is this server,
// so that the NS record leads here.
func (l *lookup) apex(q *question, v verdict) verdict {
	n := &l.node
	l.stand(n, l.hosts, q.name, q.name)
	addrs := len(n.hosts) > 0 || n.origin == fromRecord && hasAddrs(n.records)
	switch {
	case q.qtype == dns.TypeSOA:
		v.kind = kindSOA
	case q.qtype == dns.TypeNS:
		v.kind = kindNS
	case !addrs && (q.qtype == dns.TypeA || q.qtype == dns.TypeAAAA):
		if s := l.server(q.name); s != nil {
			return l.fixed(q, v, s.Addrs...)
		}
		return l.fixed(q, v, q.local)
	default:
		// A CNAME can't stand beside the SOA.
		if v = l.answer(q, n, q.name, v); v.kind == kindAlias {
			v.kind = kindNoData
		}
	}
	return v
}

// outside answers for names beyond our zone: bare names, name.network and
// their services are ours when somebody live bears them, and so is what the
// operator declared, exactly. A bare name that nobody bears does not leave the
// host, because it can only be a container that is not up, and whoever has a
// search domain asks again with it; only the questions about top-level domains
// that a validating resolver asks are forwarded. A name below a network's name
// is forwarded when nobody bears it, because networks are called "internal" or
// "dev", and so are domains.
func (l *lookup) outside(q *question) verdict {
	v := verdict{kind: kindForward, owner: parent(q.name)}
	if q.name == "" {
		return v
	}
	if l.names != nil {
		v.serial = l.names.Serial()
	}
	if q.name == "localhost" || strings.HasSuffix(q.name, ".localhost") {
		l.node.origin = fromLocalhost
		return l.fixed(q, v, netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback())
	}
	service, _ := parseService(q.name)
	v.owner = service.base + parent(q.name[service.base:])
	bare := v.owner == len(q.name)
	if l.names == nil {
		if bare && (service.proto == "" || service.port != 0) {
			v.kind = kindNotReady
		}
		return v
	}
	n, full := &l.node, q.name
	if bare {
		full = l.spell(q.name, l.zone.dotted)
	}
	l.stand(n, l.hosts, full, q.name)
	switch {
	case n.origin == fromNothing && bare:
		if denies(q.qtype) && (service.proto == "" || service.port != 0) {
			v.kind = kindNXDomain
		}
		return v
	case n.origin == fromNothing:
		if l.wildcard(n, q.name); n.origin == fromNothing {
			return v
		}
		v.owner = n.encloser
	case n.origin == fromRecord && !bare:
		v.owner = 0
	}
	return l.answer(q, n, full, v)
}

// denies tells whether a question about a bare name stays here.
func denies(qtype uint16) bool {
	switch qtype {
	case dns.TypeNS, dns.TypeSOA, dns.TypeDS, dns.TypeDNSKEY:
		return false
	}
	return true
}

// fixed answers with those of addrs that are of the family asked for.
func (l *lookup) fixed(q *question, v verdict, addrs ...netip.Addr) verdict {
	if l.node.origin != fromLocalhost {
		l.node = node{origin: fromServer}
	}
	v.kind = kindNoData
	if q.qtype == dns.TypeANY {
		v.kind = kindHINFO
	}
	v.addrs = l.room[:0]
	for _, a := range addrs {
		if ofType(a, q.qtype) {
			v.kind, v.ttl, v.addrs = kindAddrs, answerTTL, append(v.addrs, a)
		}
	}
	return v
}

func hasAddrs(records []Record) bool {
	for i := range records {
		if records[i].Type == dns.TypeA || records[i].Type == dns.TypeAAAA {
			return true
		}
	}
	return false
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
