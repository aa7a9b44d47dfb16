package dnsd

import (
	"context"
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// rateShards is how many parts the table of clients has, a power of 2, and
	// rateClients how many clients one part knows: 8192 in all, a megabyte.
	rateShards  = 16
	rateClients = 512
	// rateLooks is how many clients are looked at to find one to forget.
	rateLooks = 8
	// minBurst is how many queries may come at once whatever the rate: one page
	// of a browser asks as many.
	minBurst = 20
	// slipEvery: of the queries beyond the limit, one in so many is answered
	// "ask over TCP", where whoever really is there gets on, slowly.
	slipEvery = 4
)

// rateLimiter holds clients to a number of queries a second. The host itself
// is free, see access.isHost. Nil limits nobody.
type rateLimiter struct {
	rate, burst float64
	host        func(netip.Addr) bool
	seed        maphash.Seed
	began       time.Time
	shards      [rateShards]rateShard
	beyond      atomic.Uint32
}

type rateShard struct {
	mu sync.Mutex
	by map[netip.Addr]bucket // guarded by mu
}

// bucket is how many queries a client has left, as of a time since began.
type bucket struct {
	tokens float64
	at     time.Duration
}

// newRateLimiter allows each client rate queries a second; nil for 0.
func newRateLimiter(rate int, host func(netip.Addr) bool) *rateLimiter {
	if rate <= 0 {
		return nil
	}
	r := &rateLimiter{
		rate: float64(rate), burst: float64(max(rate, minBurst)), host: host,
		seed: maphash.MakeSeed(), began: time.Now(),
	}
	for i := range r.shards {
		r.shards[i].by = map[netip.Addr]bucket{}
	}
	return r
}

// take takes one query of client's, or returns how long it is to wait for the
// next.
func (r *rateLimiter) take(client netip.Addr, now time.Time) time.Duration {
	if r == nil || r.host(client) {
		return 0
	}
	client = clientOf(client)
	at := now.Sub(r.began)
	s := &r.shards[maphash.Comparable(r.seed, client)%rateShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	b, known := s.by[client]
	if known {
		b = r.filled(b, at)
	} else {
		if len(s.by) >= rateClients {
			r.forgetLocked(s, at)
		}
		b = bucket{tokens: r.burst, at: at}
	}
	var wait time.Duration
	if b.tokens >= 1 {
		b.tokens--
	} else {
		wait = time.Duration((1 - b.tokens) / r.rate * float64(time.Second))
	}
	s.by[client] = b
	return wait
}

func (r *rateLimiter) filled(b bucket, at time.Duration) bucket {
	if passed := at - b.at; passed > 0 {
		b.tokens = min(r.burst, b.tokens+passed.Seconds()*r.rate)
		b.at = at
	}
	return b
}

// forgetLocked makes room for a client: of a few, which a map gives in no
// order, the one that asked least of late goes.
func (r *rateLimiter) forgetLocked(s *rateShard, at time.Duration) {
	var least netip.Addr
	most, looks := -1.0, 0
	for addr, b := range s.by {
		if tokens := r.filled(b, at).tokens; tokens > most {
			most, least = tokens, addr
		}
		if looks++; looks == rateLooks {
			break
		}
	}
	delete(s.by, least)
}

// wait waits until client may ask its next query, as over TCP, where that
// makes it slower instead of asking again; false when ctx ends before.
func (r *rateLimiter) wait(ctx context.Context, client netip.Addr, limited func()) bool {
	d := r.take(client, time.Now())
	if d == 0 {
		return true
	}
	limited()
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
		}
		if d = r.take(client, time.Now()); d == 0 {
			return true
		}
		timer.Reset(d)
	}
}

// slip writes "ask over TCP" over the query msg for one query in slipEvery
// beyond the limit, and returns its length; 0 for silence.
func (r *rateLimiter) slip(msg []byte, p *plain) int {
	if r.beyond.Add(1)%slipEvery != 1 || !parsePlain(msg, p) {
		return 0
	}
	binary.BigEndian.PutUint16(msg[2:], flagQR|flagTC|flagRA|p.flags&(flagRD|flagCD))
	binary.BigEndian.PutUint32(msg[8:], 0)
	binary.BigEndian.PutUint16(msg[6:], 0)
	return p.end
}
