package dnsd

import (
	"github.com/miekg/dns"
)

// aliasRoom is how large a forwarded answer may be that is put behind CNAMEs
// for a client over UDP.
const aliasRoom = 4096

// aliases is what stands before a forwarded answer: CNAMEs of ours that lead
// beyond what we know.
type aliases struct {
	// m is the answer so far.
	m     *dns.Msg
	limit int
}

// forward makes the question about the name that our CNAMEs lead to.
func (c *composer) forward(beyond string) *forward {
	req := c.req.Copy()
	req.Question[0].Name = beyond
	f := newForward(req, &query{client: c.query.client, local: c.query.local, stream: true})
	f.behind = &aliases{m: c.m, limit: limitOf(c.req, c.query)}
	return f
}

// start has f answered: at once into buf, whose length it returns, or later,
// when pending, through reply.
func (s *Server) start(f *forward, buf []byte, reply forwardReply) (n int, pending bool) {
	if f.behind == nil {
		return s.forwards.start(f, buf, reply)
	}
	deliver := reply.deliver
	reply.deliver = func(answer []byte) {
		out := make([]byte, min(f.behind.limit, len(answer)+aliasRoom))
		if n := s.join(out, f.behind, answer); n > 0 {
			deliver(out[:n])
		}
	}
	room := make([]byte, max(cap(buf), aliasRoom))
	n, pending = s.forwards.start(f, room, reply)
	if pending || n == 0 {
		return 0, pending
	}
	return s.join(buf, f.behind, room[:n]), false
}

// join writes the answer behind the CNAMEs that led to it into buf. How it
// ends is how all ends (RFC 6604).
func (s *Server) join(buf []byte, a *aliases, answer []byte) int {
	var m dns.Msg
	if err := m.Unpack(answer); err != nil {
		s.count.dropped.Add(1)
		return 0
	}
	all := a.m.Copy()
	all.Rcode, all.Truncated = m.Rcode, m.Truncated
	all.AuthenticatedData = false
	all.Answer = append(all.Answer, m.Answer...)
	all.Ns, all.Extra = m.Ns, m.Extra
	return s.write(buf, all, a.limit)
}
