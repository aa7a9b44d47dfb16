package dnsd

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

const (
	// serverTTL is how long the names of the zone's servers may be kept, in
	// seconds: they stand in the settings, and a site's DNS asks for them before
	// each other question once they are gone.
	serverTTL = 300
	// maxAliases is how many CNAMEs of ours are followed.
	maxAliases = 8
	// srvWeight is each container's share; with 0 some clients always take the
	// first.
	srvWeight = 1
)

// composer makes the message that says a verdict, the long way.
type composer struct {
	l     *lookup
	query *query
	req   *dns.Msg
	m     *dns.Msg
	q     question
	// beside is for names that stand in the answer.
	beside *lookup
	// told is the query's, suggest the settings'.
	told    *[]string
	suggest func(want string, all []string) string
}

func newComposer(l *lookup, req *dns.Msg, q *query) *composer {
	m := new(dns.Msg).SetReply(req)
	m.Authoritative, m.RecursionAvailable = true, true
	return &composer{l: l, query: q, req: req, m: m, q: question{
		qtype: req.Question[0].Qtype, id: req.Id, client: q.client.Addr(), local: q.local,
	}}
}

// judge decides about name, in the form of a message.
func (c *composer) judge(name string) verdict {
	c.q.name = strings.ToLower(strings.TrimSuffix(name, "."))
	if !strings.ContainsRune(name, '\\') {
		return c.l.decide(&c.q)
	}
	// No container's name has such bytes. In our zone it does not exist, and
	// elsewhere it is not ours.
	c.l.node = node{}
	switch {
	case !dns.IsSubDomain(c.l.zone.name+".", c.q.name+"."):
		return verdict{kind: kindForward}
	case c.l.names == nil:
		return verdict{kind: kindNotReady}
	}
	return verdict{kind: kindNXDomain, owner: -1, serial: c.l.names.Serial()}
}

// follow adds what v says about the question's name, and then about each name
// that CNAMEs lead to. It returns the one that is not ours, if they lead there.
func (c *composer) follow(v *verdict) (beyond string, err error) {
	name := c.req.Question[0].Name
	for range maxAliases {
		if v.kind != kindAlias {
			c.add(name, v)
			return "", nil
		}
		r := &c.l.node.records[v.alias]
		alias, ok := r.rr(name, v.ttl).(*dns.CNAME)
		if !ok {
			return "", fmt.Errorf("%w: %s CNAME %q", errRecord, r.Name, r.Data)
		}
		c.m.Answer = append(c.m.Answer, alias)
		name = alias.Target
		next := c.judge(name)
		if c.told != nil {
			c.tell(&next)
		}
		if next.kind == kindForward {
			return name, nil
		}
		v = &next
	}
	return "", fmt.Errorf("%w: %s leads to more than %d others", errAliases, c.req.Question[0].Name, maxAliases)
}

var (
	// errAliases means that CNAMEs do not end.
	errAliases = errors.New("CNAME records lead in a circle")
	// errRecord means that an operator's record is not what its type says.
	errRecord = errors.New("the record cannot be read")
)

// add adds what v says about name to the message.
func (c *composer) add(name string, v *verdict) {
	m, z := c.m, c.l.zone
	head := dns.RR_Header{Name: name, Class: dns.ClassINET, Ttl: answerTTL}
	switch v.kind {
	case kindAddrs:
		head.Ttl = v.ttl
		for _, a := range v.addrs {
			m.Answer = append(m.Answer, addrRecord(head, a))
		}
	case kindPTR:
		head.Rrtype, head.Ttl = dns.TypePTR, v.ttl
		m.Answer = append(m.Answer, &dns.PTR{Hdr: head, Ptr: v.target + "."})
	case kindSOA:
		m.Answer = append(m.Answer, z.soa(name, v.serial))
	case kindNS:
		m.Answer = append(m.Answer, z.nameservers(name)...)
		m.Extra = append(m.Extra, z.glue()...)
	case kindHINFO:
		head.Rrtype = dns.TypeHINFO
		m.Answer = append(m.Answer, &dns.HINFO{Hdr: head, Cpu: "RFC8482"})
	case kindSRV:
		c.services(head)
	case kindRecords:
		c.declared(name)
	default:
		m.Ns = append(m.Ns, z.soa(c.owner(name, v), v.serial))
		if v.kind == kindNXDomain {
			m.Rcode = dns.RcodeNameError
		}
	}
}

// owner is the zone of a negative answer about name.
func (c *composer) owner(name string, v *verdict) string {
	if v.owner < 0 {
		return c.l.zone.name + "."
	}
	return dns.Fqdn(strings.TrimSuffix(name, ".")[v.owner:])
}

// services adds one SRV record for each container, and their addresses beside.
func (c *composer) services(head dns.RR_Header) {
	head.Rrtype = dns.TypeSRV
	n := &c.l.node
	for _, h := range c.l.targets(&c.q, n) {
		target := c.l.nameOf(&c.q, h, n.network)
		c.m.Answer = append(c.m.Answer, &dns.SRV{
			Hdr: head, Weight: srvWeight, Port: n.service.port, Target: target + ".",
		})
		c.addresses(target)
	}
}

// declared adds the operator's records of the question's type under name.
func (c *composer) declared(name string) {
	for i := range c.l.node.records {
		r := &c.l.node.records[i]
		if r.Type != c.q.qtype {
			continue
		}
		rr := r.rr(name, r.ttl())
		if rr == nil {
			continue
		}
		c.m.Answer = append(c.m.Answer, rr)
		switch rr := rr.(type) {
		case *dns.SRV:
			c.addresses(strings.TrimSuffix(rr.Target, "."))
		case *dns.MX:
			c.addresses(strings.TrimSuffix(rr.Mx, "."))
		}
	}
}

// addresses adds those that name has here beside the answer.
func (c *composer) addresses(name string) {
	if c.beside == nil {
		c.beside = newLookup(c.l.zone)
		c.beside.names, c.beside.served = c.l.names, c.l.served
	}
	for _, qtype := range [...]uint16{dns.TypeA, dns.TypeAAAA} {
		q := c.q
		q.name, q.qtype = strings.ToLower(name), qtype
		v := c.beside.decide(&q)
		if v.kind != kindAddrs {
			continue
		}
		head := dns.RR_Header{Name: name + ".", Class: dns.ClassINET, Ttl: v.ttl}
		for _, a := range v.addrs {
			c.m.Extra = append(c.m.Extra, addrRecord(head, a))
		}
	}
}

// rr is the record under the name owner; nil where its data cannot be read.
func (r *Record) rr(owner string, ttl uint32) dns.RR {
	rr, err := dns.NewRR(fmt.Sprintf(". %d IN %s %s", ttl, dns.Type(r.Type), r.Data))
	if err != nil || rr == nil || rr.Header().Rrtype != r.Type {
		return nil
	}
	rr.Header().Name = owner
	return rr
}

func (z *zone) soa(owner string, serial uint32) *dns.SOA {
	return &dns.SOA{
		Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: negativeTTL},
		Ns:  z.primary + ".", Mbox: hostmaster + z.dotted + ".", Serial: serial,
		Refresh: soaRefresh, Retry: soaRetry, Expire: soaExpire, Minttl: negativeTTL,
	}
}

// nameservers are the NS records of a zone of ours.
func (z *zone) nameservers(owner string) []dns.RR {
	head := dns.RR_Header{Name: owner, Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: answerTTL}
	if len(z.servers) == 0 {
		return []dns.RR{&dns.NS{Hdr: head, Ns: z.name + "."}}
	}
	head.Ttl = serverTTL
	list := make([]dns.RR, len(z.servers))
	for i, s := range z.servers {
		list[i] = &dns.NS{Hdr: head, Ns: s.Name + "."}
	}
	return list
}

// glue are the addresses of the zone's servers, where their names are in it.
func (z *zone) glue() []dns.RR {
	var list []dns.RR
	for _, s := range z.servers {
		if !z.contains(s.Name) {
			continue
		}
		for _, a := range s.Addrs {
			head := dns.RR_Header{Name: s.Name + ".", Class: dns.ClassINET, Ttl: serverTTL}
			list = append(list, addrRecord(head, a))
		}
	}
	return list
}

func addrRecord(head dns.RR_Header, a netip.Addr) dns.RR {
	if a.Is4() {
		head.Rrtype = dns.TypeA
		return &dns.A{Hdr: head, A: a.AsSlice()}
	}
	head.Rrtype = dns.TypeAAAA
	return &dns.AAAA{Hdr: head, AAAA: a.AsSlice()}
}
