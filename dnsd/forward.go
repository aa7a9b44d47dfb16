package dnsd

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Codes of RFC 8914 that a failure tells its reason with.
const (
	edeNotReady    = dns.ExtendedErrorCodeNotReady
	edeUnreachable = dns.ExtendedErrorCodeNoReachableAuthority
)

const (
	// quietFor is how long the same complaint is not logged again.
	quietFor = 10 * time.Second
	// staleAfter is how long a client waits for resolvers while there is an
	// expired answer for it (RFC 8767 says 1.8 s).
	staleAfter = 1800 * time.Millisecond
)

// forward is a query that others shall answer.
type forward struct {
	asker
	key cacheKey
	req *dns.Msg
	// opt is the EDNS record that the client sent.
	opt    *dns.OPT
	client netip.Addr
	// stream: the client may take its time to take the answer.
	stream bool
	// private: the client sent options for the resolver, so that the answer is
	// for nobody else.
	private bool
	// behind is what stands before the answer, or nil.
	behind *aliases
}

func newForward(req *dns.Msg, q *query) *forward {
	opt, _ := ednsOf(req)
	question := req.Question[0]
	f := &forward{req: req, opt: opt, client: q.client.Addr(), stream: q.stream}
	f.id, f.limit, f.edns = req.Id, limitOf(req, q), opt != nil
	if opt != nil {
		f.do, f.private = opt.Do(), len(passedOn(opt.Option)) > 0
	}
	f.flags = flagIf(req.RecursionDesired, flagRD) | flagIf(req.CheckingDisabled, flagCD) | flagIf(req.AuthenticatedData, flagAD)
	var room [256]byte
	if n, err := dns.PackDomainName(question.Name, room[:], 0, nil, false); err == nil {
		f.name = append(f.name, room[:n]...)
	}
	f.key = newKey(strings.ToLower(strings.TrimSuffix(question.Name, ".")), question.Qtype, f.flags, f.do)
	return f
}

func flagIf(set bool, flag uint16) uint16 {
	if set {
		return flag
	}
	return 0
}

// upstream is the query as a resolver gets it: the same question, the flags
// that say what is wanted, and an EDNS record of ours if the client had one,
// since that record is between neighbours. Of its options those that are not
// go along.
func (f *forward) upstream() *dns.Msg {
	m := new(dns.Msg)
	m.Question = f.req.Question
	m.RecursionDesired = true
	m.CheckingDisabled = f.req.CheckingDisabled
	// Whether the answer is validated is always wanted, for the next who asks.
	m.AuthenticatedData = true
	if f.opt != nil {
		opt := newOPT()
		if f.opt.Do() {
			opt.SetDo()
		}
		opt.Option = passedOn(f.opt.Option)
		m.Extra = []dns.RR{opt}
	}
	return m
}

// passedOn leaves out the options that are meant for the next neighbour only.
func passedOn(options []dns.EDNS0) []dns.EDNS0 {
	var kept []dns.EDNS0
	for _, o := range options {
		switch o.Option() {
		case dns.EDNS0COOKIE, dns.EDNS0TCPKEEPALIVE, dns.EDNS0PADDING:
		default:
			kept = append(kept, o)
		}
	}
	return kept
}

// comeBack leaves of m's EDNS options those that may be given to f's client,
// and to others too unless f is private: the reasons of what is wrong.
func (f *forward) comeBack(m *dns.Msg) {
	opt, _ := ednsOf(m)
	if opt == nil {
		return
	}
	options := passedOn(opt.Option)
	opt.Option = nil
	for _, o := range options {
		if f.private || o.Option() == dns.EDNS0EDE {
			opt.Option = append(opt.Option, o)
		}
	}
}

// failure is SERVFAIL with the reason for who can read it.
func (f *forward) failure(code uint16, reason string) *dns.Msg {
	m := new(dns.Msg).SetRcode(f.req, dns.RcodeServerFailure)
	m.RecursionAvailable = true
	opt := newOPT()
	opt.Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: code, ExtraText: reason[:min(len(reason), maxReason)]}}
	m.Extra = []dns.RR{opt}
	return m
}

// maxReason is how long the reason in an answer may be; the log has all.
const maxReason = 400

// forwarder has queries answered by others: from the cache, or by the resolvers
// of a route or of the host, with a bounded number of queries in flight.
type forwarder struct {
	// ctx ends them all.
	ctx     context.Context // the server's life, not a call's
	servers func() []netip.AddrPort
	routes  func() []Route
	// self tells whether we listen on an address, host whether one is this
	// host's own.
	self    func(netip.AddrPort) bool
	host    func(netip.Addr) bool
	timeout time.Duration
	budget  time.Duration
	log     *slog.Logger
	count   *counters
	// write packs a message, ask asks one resolver; tests have another.
	write func(buf []byte, m *dns.Msg, limit int) int
	ask   func(ctx context.Context, server netip.AddrPort, m *dns.Msg) (*dns.Msg, error)

	cache *cache
	ways  ways
	wg    sync.WaitGroup

	mu      sync.Mutex
	flights map[cacheKey]*flight         // guarded by mu; those that others can join
	passage passage                      // guarded by mu
	bad     map[netip.AddrPort]time.Time // guarded by mu; until when a silent one is asked last
	quiet   time.Time                    // guarded by mu; until when overload is not logged
}

// newForwarder makes s's forwarder.
func newForwarder(s *Server) *forwarder {
	cfg := &s.cfg
	u := &forwarder{
		ctx: s.ctx, servers: cfg.Forwarders, routes: cfg.Routes, self: s.isSelf, host: s.access.isHost,
		timeout: cfg.UpstreamTimeout, budget: cfg.ForwardBudget,
		log: s.log, count: &s.count, write: s.write,
		cache: newCache(cfg.CacheSize), flights: map[cacheKey]*flight{},
		passage: newPassage(cfg.MaxInFlight, cfg.MaxForwardPerClient), bad: map[netip.AddrPort]time.Time{},
	}
	u.ask = u.askResolver
	return u
}

// forwardReply is where the answer of a forwarded query goes: deliver is
// called at most once, with the packet, and then done, always.
type forwardReply struct {
	deliver func([]byte)
	done    func()
}

// start has f answered: at once into buf, whose length it returns, or later,
// when pending, through reply.
func (u *forwarder) start(f *forward, buf []byte, reply forwardReply) (n int, pending bool) {
	now := time.Now()
	if a := u.known(f, now); a != nil {
		return u.fill(buf, f, a, now), false
	}
	a, err := u.join(f, func(a *answer) {
		defer reply.done()
		buf := make([]byte, min(f.limit, len(a.wire)+optLen+len(a.options)))
		if n := u.fill(buf, f, a, time.Now()); n > 0 {
			reply.deliver(buf[:n])
		}
	})
	switch {
	case err != nil:
		a, err := newAnswer(f.failure(edeNotReady, err.Error()), now)
		if err != nil {
			return 0, false
		}
		return u.fill(buf, f, a, now), false
	case a != nil:
		return u.fill(buf, f, a, now), false
	}
	return 0, true
}

// quick answers the plain query p, which stands in msg, over it if its answer is
// kept, and returns its length; 0 if that takes the long way.
func (u *forwarder) quick(msg []byte, p *plain, now time.Time) int {
	if u.cache == nil || p.flags&flagRD == 0 {
		return 0
	}
	if r, _ := u.ways.at(u, now).table.match(p.name); r != nil && r.local() {
		return 0
	}
	a, fresh := u.cache.get(newKey(p.name, p.qtype, p.flags, p.do), now)
	if !fresh {
		return 0
	}
	c := asker{id: p.id, flags: p.flags, name: msg[headerLen : p.end-4], edns: p.edns, do: p.do, limit: p.limit}
	n := a.write(msg, &c, now)
	if n > 0 {
		u.countKept(a)
	}
	return n
}

// fill writes a as f's client takes it, cut if it must be.
func (u *forwarder) fill(buf []byte, f *forward, a *answer, now time.Time) int {
	if n := a.write(buf, &f.asker, now); n > 0 {
		return n
	}
	m, err := a.message(&f.asker, now)
	if err != nil {
		u.count.dropped.Add(1)
		u.log.Debug("DNS answer could not be written", "name", f.key.name, "err", err)
		return 0
	}
	return u.write(buf, m, f.limit)
}

// known returns the answer to f for which nobody has to be asked, or nil.
func (u *forwarder) known(f *forward, now time.Time) *answer {
	way := u.ways.at(u, now)
	if r, _ := way.table.match(f.key.name); r != nil && r.local() {
		u.count.answered.Add(1)
		return deny(f, r, now)
	}
	if f.private {
		return nil
	}
	a, fresh := u.cache.get(f.key, now)
	if !fresh {
		return nil
	}
	u.countKept(a)
	return a
}

func (u *forwarder) countKept(a *answer) {
	u.count.cached.Add(1)
	if a.stale {
		u.count.stale.Add(1)
	}
}

// deny is "no such name" in a domain that nobody is asked about, with the SOA
// record of an empty zone (RFC 6303, 3).
func deny(f *forward, r *Route, now time.Time) *answer {
	m := new(dns.Msg).SetRcode(f.req, dns.RcodeNameError)
	m.Ns = []dns.RR{&dns.SOA{
		Hdr: dns.RR_Header{Name: r.Domain + ".", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: answerTTL},
		Ns:  r.Domain + ".", Mbox: "nobody.invalid.", Serial: 1,
		Refresh: soaRefresh, Retry: soaRetry, Expire: soaExpire, Minttl: answerTTL,
	}}
	a, err := newAnswer(m, now)
	if err != nil {
		return nil
	}
	a.domain = r.Domain
	return a
}
