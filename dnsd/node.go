package dnsd

import (
	"net/netip"
	"slices"
	"strings"
	"unsafe"

	"github.com/miekg/dns"
)

// origin is what a name was found by. Where several know a name, the first of
// them in this order gives its addresses: a live container's exact name, the
// operator's record, a service or alias, a label made of a name, a wildcard.
type origin uint8

const (
	fromNothing origin = iota
	fromName
	fromRecord
	fromService
	fromLabel
	fromWildcard
	// fromServer: the name is this server's own, or one of the zone's servers'.
	fromServer
	// fromBelow: the name is empty, others stand below it.
	fromBelow
	// fromAddr: a reverse name that a container's address leads to.
	fromAddr
	// fromLocalhost is what RFC 6761 fixes.
	fromLocalhost
)

// node is what stands at a name.
type node struct {
	match

	origin origin
	// records are the operator's at the name, or at the wildcard that covers it.
	records []Record
	// service is set where the name is _PORT._PROTO.NAME or _PROTO.NAME, and
	// match that of NAME.
	service serviceName
	// encloser is where in the name the wildcard's parent begins.
	encloser int
}

// stand finds what stands at a name: rest without the zone, full as the
// operator's records have it, of which rest is the beginning. Wildcards and
// empty names are left to the caller.
func (l *lookup) stand(n *node, room []Host, full, rest string) {
	*n = node{}
	if n.match = l.search(room, fromName, rest); len(n.hosts) > 0 {
		n.origin = fromName // whoever needs the records of it looks for them
		return
	}
	if n.records = l.names.Records(full); slices.ContainsFunc(n.records, Record.leads) {
		n.origin = fromRecord
		return
	}
	for _, tier := range [...]origin{fromService, fromLabel} {
		if n.match = l.search(room, tier, rest); len(n.hosts) > 0 {
			n.origin = tier
			return
		}
	}
	if len(n.records) > 0 {
		n.origin = fromRecord
	}
	if service, ok := parseService(rest); ok {
		if n.origin == fromNothing {
			l.standService(n, room, full, rest, service)
		}
		return
	}
	if n.origin == fromNothing && strings.IndexByte(rest, '_') >= 0 {
		l.standHyphens(n, room, rest)
	}
}

// standHyphens looks for a name with underscores under hyphens, where one
// container only, or one service, is called so.
func (l *lookup) standHyphens(n *node, room []Host, rest string) {
	hyphens := strings.ReplaceAll(rest, "_", "-")
	for _, tier := range [...]origin{fromName, fromService, fromLabel} {
		m := l.search(room, tier, hyphens)
		if len(m.hosts) == 0 {
			continue
		}
		if tier == fromService || m.one() {
			n.match, n.origin = m, tier
		}
		return
	}
}

// leads tells whether r leads to an address.
func (r Record) leads() bool {
	return r.Type == dns.TypeA || r.Type == dns.TypeAAAA || r.Type == dns.TypeCNAME
}

// wildcard finds the operator's wildcard that covers name, which itself does
// not exist. RFC 4592 has it that only the one directly below the closest
// ancestor that exists counts. Where one does not exist, nothing below it does,
// so the search comes from above, and ends early for most names.
func (l *lookup) wildcard(n *node, name string) {
	closest := len(name)
	if l.zone.contains(name) {
		closest = len(name) - len(l.zone.name)
	}
	for closest > 0 {
		at := strings.LastIndexByte(name[:closest-1], '.') + 1
		if at == 0 || !l.exists(name[at:]) {
			break
		}
		closest = at
	}
	if closest == len(name) {
		return
	}
	if found := l.names.Records(l.starred(name[closest:])); len(found) > 0 {
		*n = node{origin: fromWildcard, records: found, encloser: closest}
	}
}

// starred is "*." and name, in memory that the next call uses again.
func (l *lookup) starred(name string) string {
	return l.spell("*.", name)
}

// spell joins a and b in memory that the next call uses again.
func (l *lookup) spell(a, b string) string {
	text := append(append(l.text[:0], a...), b...)
	return unsafe.String(unsafe.SliceData(text), len(text)) //nolint:gosec // nobody keeps it
}

// answer answers q from what stands at its name, full as in stand.
func (l *lookup) answer(q *question, n *node, full string, v verdict) verdict {
	v.kind = kindNoData
	switch {
	case q.qtype == dns.TypeANY:
		v.kind = kindHINFO
	case n.service.proto != "":
		if q.qtype == dns.TypeSRV && n.service.port != 0 {
			v.kind = kindSRV
		}
	case len(n.hosts) > 0 && n.origin != fromAddr && (q.qtype == dns.TypeA || q.qtype == dns.TypeAAAA):
		v.ttl = answerTTL
		if v.addrs = n.pick(q, l.room[:0]); len(v.addrs) > 0 {
			v.kind = kindAddrs
		}
	default:
		if n.origin == fromName {
			n.records = l.names.Records(full)
		}
		return l.declared(q, n, v)
	}
	return v
}

// declared answers q from the operator's records. They lead to no address
// where containers do.
func (l *lookup) declared(q *question, n *node, v verdict) verdict {
	v.ttl = maxRecordTTL
	addrs := l.room[:0]
	hasType, alias := false, -1
	for i := range n.records {
		r := &n.records[i]
		if r.leads() && len(n.hosts) > 0 {
			continue
		}
		if r.Type == dns.TypeCNAME {
			alias = i
		}
		if r.Type != q.qtype {
			continue
		}
		hasType = true
		v.ttl = min(v.ttl, r.ttl())
		if q.qtype == dns.TypeA || q.qtype == dns.TypeAAAA {
			if a, err := netip.ParseAddr(r.Data); err == nil && ofType(a.Unmap(), q.qtype) {
				addrs = append(addrs, a.Unmap())
			}
		}
	}
	switch {
	case len(addrs) > 0:
		turn(addrs, q.id)
		v.kind, v.addrs = kindAddrs, addrs
	case hasType && q.qtype != dns.TypeA && q.qtype != dns.TypeAAAA:
		v.kind = kindRecords
	case alias >= 0:
		v.kind, v.alias, v.ttl = kindAlias, alias, n.records[alias].ttl()
	}
	return v
}

func (r *Record) ttl() uint32 {
	if r.TTL == 0 {
		return answerTTL
	}
	return min(r.TTL, maxRecordTTL)
}

// maxRecordTTL is the longest that RFC 2181 permits.
const maxRecordTTL = 1<<31 - 1
