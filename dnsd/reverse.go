package dnsd

import (
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

const (
	arpa4 = ".in-addr.arpa"
	arpa6 = ".ip6.arpa"
)

func isReverse(name string) bool {
	return strings.HasSuffix(name, arpa4) || strings.HasSuffix(name, arpa6)
}

// reverse answers for a name in a reverse zone. Ours are the zones of the
// served subnets, cut at the next whole octet or nibble (a /20 is sixteen /24
// zones), every address that somebody holds, and what the operator declared;
// the rest is forwarded.
func (l *lookup) reverse(q *question) verdict {
	v := verdict{kind: kindForward}
	r := parseReverse(q.name)
	pool, ours := l.pool(&r)
	if l.names == nil {
		if ours {
			v.kind = kindNotReady
		}
		return v
	}
	v.serial, v.ttl = l.names.Serial(), answerTTL
	n := &l.node
	static := l.standReverse(n, q.name, &r)
	switch {
	case ours:
		v.owner = r.apex(pool.Bits())
	case n.origin == fromAddr:
		v.owner = r.apex(n.hosts[0].Pool.Bits())
	case n.origin == fromWildcard:
		v.owner = n.encloser
	case n.origin == fromNothing:
		return v
	}
	apex := ours && v.owner == 0 || n.origin == fromAddr && v.owner == 0
	switch {
	case apex && q.qtype == dns.TypeSOA:
		v.kind = kindSOA
	case apex && q.qtype == dns.TypeNS:
		v.kind = kindNS
	case n.origin == fromAddr && q.qtype == dns.TypePTR:
		v.kind, v.target = kindPTR, l.pointer(q, n.hosts[0])
	case static != nil && q.qtype == dns.TypePTR:
		v.kind, v.target, v.ttl = kindPTR, static.Name, static.ttl()
	case static != nil && q.qtype != dns.TypeANY:
		v.kind = kindNoData
	case n.origin != fromNothing:
		return l.answer(q, n, q.name, v)
	case apex || r.clean && !r.whole() || l.names.HasRecordsBelow(q.name):
		// Part of an address: names may stand below it. A zone of one address
		// that nobody holds still has its apex.
		n.origin, v.kind = fromBelow, kindNoData
	default:
		v.kind = kindNXDomain
	}
	return v
}

// standReverse finds what stands at the reverse name: whoever lives at the
// address, the operator's records of that name, or the record that leads to
// the address, which it returns.
func (l *lookup) standReverse(n *node, name string, r *reverseName) *Record {
	if r.whole() {
		if h, ok := l.names.ByAddr(r.addr); ok {
			n.hosts, n.origin = append(l.hosts[:0], h), fromAddr
			n.records = l.names.Records(name)
			return nil
		}
	}
	if n.records = l.names.Records(name); len(n.records) > 0 {
		n.origin = fromRecord
		return nil
	}
	if r.whole() {
		list := l.names.RecordsFor(r.addr)
		for i := range list {
			// One that a live container of the name hides leads elsewhere.
			if nameable(list[i].Name) && !l.hidden(list[i].Name) {
				n.records, n.origin = list[i:i+1], fromRecord
				return &list[i]
			}
		}
	}
	l.wildcard(n, name)
	return nil
}

// hidden tells whether a live container bears the name of an operator's record.
func (l *lookup) hidden(name string) bool {
	rest, inZone := strings.CutSuffix(name, l.zone.dotted)
	return inZone && len(l.search(l.spare, fromName, rest).hosts) > 0
}

// pool returns the served subnet that r lies in, the smallest where it lies in
// several.
func (l *lookup) pool(r *reverseName) (netip.Prefix, bool) {
	best, found := netip.Prefix{}, false
	for _, p := range l.served {
		if r.addr.BitLen() == p.Addr().BitLen() && r.bits() >= p.Bits() && p.Contains(r.addr) &&
			(!found || p.Bits() > best.Bits()) {
			best, found = p, true
		}
	}
	return best, found
}

// pointer is the name of the container at h.Addr, as the one that leads back
// to this address and to nobody else for the client that asks: the label, the
// name's exact spelling where another container's label or name is in the
// way, and either with the network where the client is sent to another of the
// container's addresses.
func (l *lookup) pointer(q *question, h Host) string {
	return l.nameOf(q, h, "")
}

// nameOf is pointer; if network is not "" the name says it.
func (l *lookup) nameOf(q *question, h Host, network string) string {
	raw := strings.ToLower(h.Name)
	label := Label(h.Name)
	var room [6]string
	names := room[:0]
	if network == "" {
		names = append(names, label, raw)
	}
	for _, network := range []string{h.Network, h.Overlay} {
		if network != "" {
			names = append(names, label+"."+strings.ToLower(network), raw+"."+strings.ToLower(network))
		}
	}
	for _, name := range names {
		if nameable(name) && len(name)+len(l.zone.dotted) < 253 && l.leadsTo(q, name, h) {
			return name + l.zone.dotted
		}
	}
	return label + l.zone.dotted
}

// leadsTo tells whether name gives q's client h's address and no other
// container's.
func (l *lookup) leadsTo(q *question, name string, h Host) bool {
	var n node
	l.stand(&n, l.spare, l.spell(name, l.zone.dotted), name)
	if len(n.hosts) == 0 {
		return false
	}
	forward := question{qtype: dns.TypeA, client: q.client}
	if h.Addr.Is6() {
		forward.qtype = dns.TypeAAAA
	}
	var room [4]netip.Addr
	found := false
	for _, a := range n.pick(&forward, room[:0]) {
		found = found || a == h.Addr
	}
	for _, o := range n.hosts {
		if n.has(o) && !strings.EqualFold(o.Name, h.Name) {
			return false
		}
	}
	return found
}
