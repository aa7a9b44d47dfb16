package dnsd

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Codes of RFC 8914 that a failure tells its reason with.
const (
	edeNotReady    = dns.ExtendedErrorCodeNotReady
	edeUnreachable = dns.ExtendedErrorCodeNoReachableAuthority
)

// quietFor is how long the same complaint is not logged again.
const quietFor = 10 * time.Second

// forward is a query that the host's resolvers shall answer.
type forward struct {
	req *dns.Msg
	// edns and do are what the client sent.
	opt   *dns.OPT
	limit int
}

func newForward(req *dns.Msg, q *query) *forward {
	opt, _ := ednsOf(req)
	return &forward{req: req, opt: opt, limit: limitOf(req, q)}
}

// upstream is the query as a resolver gets it: the same question and flags,
// and an EDNS record of ours if the client had one, since that record is
// between neighbours. Of its options those that are not go along.
func (f *forward) upstream() *dns.Msg {
	m := new(dns.Msg)
	m.Question = f.req.Question
	m.RecursionDesired = true
	m.CheckingDisabled, m.AuthenticatedData = f.req.CheckingDisabled, f.req.AuthenticatedData
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

// answer turns a resolver's answer into ours: never authoritative, always
// with recursion, and with an EDNS record only for who sent one.
func (f *forward) answer(m *dns.Msg) *dns.Msg {
	m.Id = f.req.Id
	m.Authoritative, m.RecursionAvailable = false, true
	m.RecursionDesired, m.CheckingDisabled = f.req.RecursionDesired, f.req.CheckingDisabled
	theirs, _ := ednsOf(m)
	extra := make([]dns.RR, 0, len(m.Extra)+1)
	for _, rr := range m.Extra {
		if rr.Header().Rrtype != dns.TypeOPT {
			extra = append(extra, rr)
		}
	}
	if f.opt != nil {
		opt := newOPT()
		if f.opt.Do() {
			opt.SetDo()
		}
		if theirs != nil {
			opt.Option = passedOn(theirs.Option)
		}
		extra = append(extra, opt)
	} else if m.Rcode > 0xf {
		// Its upper bits stand in the record that this client can't read.
		m.Rcode = dns.RcodeServerFailure
	}
	m.Extra = extra
	return m
}

// failure is SERVFAIL, with the reason for who can read it.
func (f *forward) failure(code uint16, reason string) *dns.Msg {
	m := new(dns.Msg).SetRcode(f.req, dns.RcodeServerFailure)
	m.RecursionAvailable = true
	if f.opt != nil {
		opt := newOPT()
		if f.opt.Do() {
			opt.SetDo()
		}
		opt.Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: code, ExtraText: reason}}
		m.Extra = []dns.RR{opt}
	}
	return m
}

// forwarder asks the host's resolvers, with a bounded number of queries in
// flight.
type forwarder struct {
	// ctx ends them all.
	ctx     context.Context // the server's life, not a call's
	servers func() []netip.AddrPort
	// self tells whether we listen on an address.
	self    func(netip.AddrPort) bool
	timeout time.Duration
	budget  time.Duration
	log     *slog.Logger
	count   *counters
	// write packs an answer.
	write func(buf []byte, m *dns.Msg, limit int) int

	slots chan struct{}
	wg    sync.WaitGroup

	mu    sync.Mutex
	bad   map[netip.AddrPort]time.Time // guarded by mu; until when a silent one is asked last
	quiet time.Time                    // guarded by mu; until when overload is not logged
}

// overloadReason is what a client is told when MaxInFlight is reached.
const overloadReason = "too many queries are being forwarded"

// forwardReply is where the answer of a forwarded query goes: deliver is
// called at most once, with the packet, and then done, always.
type forwardReply struct {
	deliver func([]byte)
	done    func()
}

// start has f answered in the background, or returns false, having called
// nothing of reply, when too many are already under way.
func (u *forwarder) start(f *forward, reply forwardReply) bool {
	select {
	case u.slots <- struct{}{}:
	default:
		u.count.overloaded.Add(1)
		u.complain()
		return false
	}
	u.count.forwarded.Add(1)
	u.wg.Go(func() {
		defer func() { <-u.slots }()
		defer reply.done()
		m := u.resolve(u.ctx, f)
		buf := make([]byte, min(f.limit, 2*m.Len()+minUDP))
		if n := u.write(buf, m, f.limit); n > 0 {
			reply.deliver(buf[:n])
		}
	})
	return true
}

// complain logs overload, not more often than it helps.
func (u *forwarder) complain() {
	u.mu.Lock()
	now := time.Now()
	due := now.After(u.quiet)
	if due {
		u.quiet = now.Add(quietFor)
	}
	u.mu.Unlock()
	if due {
		u.log.Warn("DNS answers SERVFAIL: as many queries are being forwarded as are allowed; is a resolver slow?",
			"in_flight", cap(u.slots))
	}
}

// resolve returns the answer to f, SERVFAIL if nobody has one.
func (u *forwarder) resolve(ctx context.Context, f *forward) *dns.Msg {
	ctx, cancel := context.WithTimeout(ctx, u.budget)
	defer cancel()
	m, err := u.exchange(ctx, f.upstream())
	if err != nil {
		u.count.failed.Add(1)
		u.log.Debug("DNS query could not be forwarded", "name", f.req.Question[0].Name, "err", err)
		return f.failure(edeUnreachable, err.Error())
	}
	return f.answer(m)
}
