package dnsd

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// flight is a question on its way to resolvers, with everybody who asked it
// meanwhile.
type flight struct {
	f       *forward // the first who asked
	servers []netip.AddrPort
	domain  string
	// generation is the cache's, for what these servers say.
	generation uint64
	// old is an answer that expired, for when nobody has another.
	old *answer

	// These are guarded by forwarder.mu.
	waiters []waiter
	settled bool
}

// waiter is one who asked; give is called once, with the answer.
type waiter struct {
	f    *forward
	host bool
	give func(*answer)
}

// join has give called with the answer to f once resolvers gave it, together
// with whoever else asked the same. It returns the answer itself when it came
// just now, and an error when too many wait already.
func (u *forwarder) join(f *forward, give func(*answer)) (*answer, error) {
	now := time.Now()
	way := u.ways.look(u, now)
	a, err := u.joinLocked(f, waiter{f, u.host(f.client), give}, way, now)
	switch {
	case errors.Is(err, errTooManyOfClient):
		u.count.limited.Add(1)
		if u.complains(now) {
			u.log.Warn("DNS answers a client SERVFAIL: it has too many queries under way", "client", f.client, "err", err)
		}
	case err != nil:
		u.count.overloaded.Add(1)
		if u.complains(now) {
			u.log.Warn("DNS answers SERVFAIL: as many queries are being forwarded as are allowed; is a resolver slow?",
				"in_flight", u.passage.flights, "client", f.client)
		}
	}
	return a, err
}

// complains tells whether it helps to log an overload now.
func (u *forwarder) complains(now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	due := now.After(u.quiet)
	if due {
		u.quiet = now.Add(quietFor)
	}
	return due
}

// joinLocked is join but for counting. It takes the lock itself.
func (u *forwarder) joinLocked(f *forward, w waiter, way *way, now time.Time) (*answer, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !f.private {
		if fl := u.flights[f.key]; fl != nil {
			if err := u.passage.enter(f.client, w.host); err != nil {
				return nil, err
			}
			fl.waiters = append(fl.waiters, w)
			u.count.merged.Add(1)
			return nil, nil //nolint:nilnil // neither an answer nor a failure yet
		}
	}
	fl := &flight{f: f, generation: way.generation, waiters: []waiter{w}}
	fl.servers, fl.domain = way.to(f.key.name)
	if !f.private {
		a, fresh := u.cache.get(f.key, now)
		if fresh {
			u.countKept(a)
			return a, nil
		}
		if a != nil && a.outcome == outcomeFound {
			fl.old = a
		}
	}
	if err := u.passage.depart(f.client, w.host); err != nil {
		return nil, err
	}
	if !f.private {
		u.flights[f.key] = fl
	}
	u.count.forwarded.Add(1)
	u.wg.Go(func() { u.fly(u.ctx, fl, w.host) })
	return nil, nil //nolint:nilnil // neither an answer nor a failure yet
}

// fly asks the resolvers and hands the answer out.
func (u *forwarder) fly(ctx context.Context, fl *flight, host bool) {
	defer func() {
		u.mu.Lock()
		u.passage.arrive(host)
		u.mu.Unlock()
	}()
	ctx, cancel := context.WithTimeout(ctx, u.budget)
	defer cancel()
	if fl.old != nil {
		// What expired is given to who has waited long enough; the resolvers
		// are still asked, for the next.
		u.wg.Go(func() {
			late := time.NewTimer(staleAfter)
			defer late.Stop()
			select {
			case <-late.C:
				u.settle(fl, fl.old.again(time.Now(), "the resolvers are slow"), stopgap)
			case <-ctx.Done():
			}
		})
	}
	a := u.resolve(ctx, fl)
	u.settle(fl, a, final)
}

// finality tells whether an answer ends a flight.
type finality bool

const (
	stopgap finality = false
	final   finality = true
)

// settle keeps a and hands it to whoever waits for it.
func (u *forwarder) settle(fl *flight, a *answer, how finality) {
	u.mu.Lock()
	if fl.settled && (how == stopgap || a.stale || a.outcome == outcomeFailure) {
		// The stopgap came too late, or the end is no better than it was.
		u.mu.Unlock()
		return
	}
	fl.settled = true
	waiters := fl.waiters
	fl.waiters = nil
	if !fl.f.private {
		if u.flights[fl.f.key] == fl {
			delete(u.flights, fl.f.key)
		}
		u.cache.put(fl.f.key, a, fl.generation)
	}
	for _, w := range waiters {
		u.passage.leave(w.f.client, w.host)
	}
	u.mu.Unlock()
	if a.stale {
		u.count.stale.Add(uint64(len(waiters)))
	}
	for _, w := range waiters {
		if w.f.stream {
			// One that does not read its answers keeps nobody waiting.
			u.wg.Go(func() { w.give(a) })
			continue
		}
		w.give(a)
	}
}

// resolve asks the resolvers of fl. If none has an answer, that is an expired
// one, or else a failure.
func (u *forwarder) resolve(ctx context.Context, fl *flight) *answer {
	f := fl.f
	m, server, err := u.exchange(ctx, fl.servers, f.upstream())
	now := time.Now()
	if err != nil {
		u.count.failed.Add(1)
		u.log.Debug("DNS query could not be forwarded", "name", f.key.name, "err", err)
		if fl.old != nil {
			return fl.old.again(now, err.Error()[:min(len(err.Error()), maxReason)])
		}
	}
	if m == nil {
		m = f.failure(edeUnreachable, err.Error())
	}
	f.comeBack(m)
	a, bad := newAnswer(m, now)
	if bad != nil {
		err = bad
		if a, bad = newAnswer(f.failure(dns.ExtendedErrorCodeOther, bad.Error()), now); bad != nil {
			// The question itself cannot be written, which was read from a packet.
			a = &answer{rcode: dns.RcodeServerFailure, born: now}
		}
	}
	a.server, a.domain = server, fl.domain
	if err != nil {
		a.note = err.Error()
	}
	return a
}
