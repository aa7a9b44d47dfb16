package dnsd

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// forwardZone puts all names of our zone.
func (x *transfer) forwardZone() {
	z := x.l.zone
	x.owner(z.name)
	for _, s := range z.servers {
		if z.contains(s.Name) {
			x.owner(s.Name)
		}
	}
	x.l.names.AllRecords(func(r Record) bool {
		if z.contains(r.Name) {
			x.owner(r.Name)
		}
		return x.err == nil
	})
	x.l.names.All(func(h Host) bool {
		x.named(strings.ToLower(h.Name), h)
		return x.err == nil
	})
	var room []Host
	x.l.names.AllServices(func(name string) bool {
		room = x.l.names.ByService(room[:0], name)
		for _, h := range room {
			x.named(strings.ToLower(name), h)
		}
		return x.err == nil
	})
}

// named puts what leads to h by name: the name and its label, by themselves
// and in h's network, and the services of each.
func (x *transfer) named(name string, h Host) {
	ports := x.l.names.Ports(h)
	for _, base := range distinct(name, Label(name)) {
		x.base(base, ports)
		for _, network := range []string{h.Network, h.Overlay} {
			if network == "" {
				continue
			}
			for _, n := range distinct(strings.ToLower(network), Label(network)) {
				x.base(base+"."+n, ports)
			}
		}
	}
}

// distinct is a, and b if that is another.
func distinct(a, b string) []string {
	if a == b {
		return []string{a}
	}
	return []string{a, b}
}

// base puts what stands at a name before the zone, and its services.
func (x *transfer) base(name string, ports []Port) {
	if !nameable(name) {
		return
	}
	name += x.l.zone.dotted
	x.owner(name)
	for _, p := range ports {
		x.owner(serviceOwner(p, name))
	}
}

// owner puts all records of a name, once.
func (x *transfer) owner(name string) {
	if _, ok := x.seen[name]; ok || len(name) > 253 {
		return
	}
	x.seen[name] = struct{}{}
	types := []uint16{dns.TypeA, dns.TypeAAAA}
	if name[0] == '_' {
		types = append(types, dns.TypeSRV)
	}
	for _, r := range x.l.names.Records(name) {
		if r.Type != dns.TypeCNAME {
			types = appendOnce(types, r.Type)
		}
	}
	for _, qtype := range types {
		x.c.q.name, x.c.q.qtype = name, qtype
		v := x.l.decide(&x.c.q)
		switch v.kind {
		case kindAlias:
			// It stands alone.
			if r := &x.l.node.records[v.alias]; r.rr(name+".", v.ttl) != nil {
				x.put(r.rr(name+".", v.ttl))
			}
			return
		case kindAddrs:
			if x.l.node.origin == fromServer && x.l.server(name) == nil && v.addrs[0].IsLoopback() {
				continue // our own address, as only this host sees it
			}
			x.verdict(name, &v)
		case kindSRV, kindRecords, kindPTR:
			x.verdict(name, &v)
		default: // nothing of that type
		}
	}
}

func appendOnce(types []uint16, t uint16) []uint16 {
	if slices.Contains(types, t) {
		return types
	}
	return append(types, t)
}

// verdict puts the records of one answer.
func (x *transfer) verdict(name string, v *verdict) {
	x.c.m.Answer, x.c.m.Extra = x.c.m.Answer[:0], nil
	x.c.add(name+".", v)
	for _, rr := range x.c.m.Answer {
		x.put(rr)
	}
}

// reverseZone puts all names of a reverse zone.
func (x *transfer) reverseZone() {
	x.l.names.All(func(h Host) bool {
		x.address(h.Addr)
		return x.err == nil
	})
	x.l.names.AllRecords(func(r Record) bool {
		if r.Type == dns.TypeA || r.Type == dns.TypeAAAA {
			if a, err := netip.ParseAddr(r.Data); err == nil {
				x.address(a.Unmap())
			}
		}
		if r.Name != x.name && strings.HasSuffix(r.Name, "."+x.name) {
			x.owner(r.Name)
		}
		return x.err == nil
	})
	x.owner(x.name)
}

// address puts the name that addr leads to, if that is in the zone.
func (x *transfer) address(addr netip.Addr) {
	name := reverseOf(addr)
	if _, ok := x.seen[name]; ok || !strings.HasSuffix(name, x.name) {
		return
	}
	x.c.q.name, x.c.q.qtype = name, dns.TypePTR
	if v := x.l.decide(&x.c.q); v.kind == kindPTR && name[v.owner:] == x.name {
		x.seen[name] = struct{}{}
		x.verdict(name, &v)
	}
}
