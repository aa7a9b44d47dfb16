package dnsd

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// Query is a question that somebody wants explained.
type Query struct {
	Name string
	// Type is A where 0.
	Type uint16
	// Client is who asks; the host itself where it is not valid.
	Client netip.Addr
}

// Explanation is an answer and where it comes from.
type Explanation struct {
	Rcode string
	// Records as a zone file has them.
	Answers, Authority, Additional []string
	// Source says where they come from, in one line for people.
	Source string
}

// Explain returns the answer that the server gives to q's client over TCP, and
// where it comes from. It is made by the same code that answers, and it counts
// as a query where it is forwarded.
func (s *Server) Explain(ctx context.Context, q Query) (Explanation, error) {
	name := strings.TrimSuffix(q.Name, ".")
	if _, ok := dns.IsDomainName(name); !ok && name != "" {
		return Explanation{}, fmt.Errorf("%w: %q; a name has labels of at most 63 characters with dots between them, 253 in all", ErrName, q.Name)
	}
	if q.Type == 0 {
		q.Type = dns.TypeA
	}
	if !q.Client.IsValid() {
		q.Client = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	client := q.Client.Unmap()
	var told []string
	asked := &query{client: netip.AddrPortFrom(client, 0), local: s.localFor(client), stream: true, told: &told}
	req := new(dns.Msg).SetQuestion(dns.Fqdn(name), q.Type)
	req.Id = uint16(rand.Uint32()) //nolint:gosec // turns the addresses, no more
	req.SetEdns0(maxUDP, false)
	if ok := s.admit(asked); !ok {
		return explanation(s.refusal(req, dns.RcodeRefused), fmt.Sprintf(
			"%s is not served: it is neither this host nor on one of its overlays, and no subnet in DOCKSTACK_DNS_CLIENTS has it", client)), nil
	}
	if q.Type == dns.TypeAXFR || q.Type == dns.TypeIXFR {
		return explanation(s.refusal(req, dns.RcodeRefused), "zones are transferred to the servers in DOCKSTACK_DNS_SECONDARIES only, over TCP"), nil
	}
	m, fwd := s.respond(req, asked)
	if fwd == nil {
		return explanation(m, strings.Join(append(told, reasons(m)...), "; ")), nil
	}
	m, source, err := s.forwards.explain(ctx, fwd)
	if err != nil {
		return Explanation{}, err
	}
	told = append(told, source)
	if fwd.behind != nil {
		all := fwd.behind.m
		all.Rcode, all.Answer, all.Ns, all.Extra = m.Rcode, append(all.Answer, m.Answer...), m.Ns, m.Extra
		m = all
	}
	return explanation(m, strings.Join(told, "; ")), nil
}

// localFor is the address that client would ask us on.
func (s *Server) localFor(client netip.Addr) netip.Addr {
	best := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	for i, l := range s.Listeners() {
		if !l.Addr.IsValid() || l.Addr.Addr().Is4() != client.Is4() {
			continue
		}
		if i == 0 || !best.IsValid() {
			best = l.Addr.Addr()
		}
		for _, p := range *s.access.served.Load() {
			if p.Contains(client) && p.Contains(l.Addr.Addr()) {
				return l.Addr.Addr()
			}
		}
	}
	return best
}

// reasons are those of a failure that are for people.
func reasons(m *dns.Msg) []string {
	var list []string
	opt, _ := ednsOf(m)
	if opt == nil {
		return nil
	}
	for _, o := range opt.Option {
		if e, ok := o.(*dns.EDNS0_EDE); ok && e.ExtraText != notReadyReason {
			list = append(list, e.ExtraText)
		}
	}
	return list
}

func explanation(m *dns.Msg, source string) Explanation {
	e := Explanation{Rcode: dns.RcodeToString[m.Rcode], Source: source}
	for section, to := range map[*[]dns.RR]*[]string{&m.Answer: &e.Answers, &m.Ns: &e.Authority, &m.Extra: &e.Additional} {
		for _, rr := range *section {
			if rr.Header().Rrtype != dns.TypeOPT {
				*to = append(*to, strings.ReplaceAll(rr.String(), "\t", " "))
			}
		}
	}
	return e
}
