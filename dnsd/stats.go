package dnsd

import "sync/atomic"

// Stats counts what a Server did since it was made.
type Stats struct {
	// Queries came in, Answered of them were answered from the names.
	Queries, Answered uint64
	// Forwarded went to resolvers; Failed of them got no answer there, or only
	// a failure. Merged had the same question as one under way and its answer.
	Forwarded, Failed, Merged uint64
	// Cached were answered from what resolvers had said before; Stale had
	// expired, but no resolver answered. Stale ones may be in Cached, too.
	Cached, Stale uint64
	// CacheEntries and CacheBytes are what is kept now.
	CacheEntries, CacheBytes int64
	// Limited came from clients that ask too much.
	Limited uint64
	// Refused came from addresses that are not served.
	Refused uint64
	// Overloaded found MaxInFlight queries forwarded already.
	Overloaded uint64
	// Malformed could not be read; Dropped of all could not even be answered.
	Malformed, Dropped uint64
	// Transfers are the zones that secondaries fetched.
	Transfers uint64
	// Notified are the times that one was told of a change and said so.
	Notified uint64
	// ConnsRefused are TCP connections beyond the limits.
	ConnsRefused uint64
}

type counters struct {
	queries, answered, forwarded, failed, refused atomic.Uint64
	overloaded, malformed, dropped, connsRefused  atomic.Uint64
	merged, cached, stale, limited                atomic.Uint64
	transfers, notified                           atomic.Uint64
}

func (c *counters) stats() Stats {
	return Stats{
		Queries: c.queries.Load(), Answered: c.answered.Load(),
		Forwarded: c.forwarded.Load(), Failed: c.failed.Load(),
		Refused: c.refused.Load(), Overloaded: c.overloaded.Load(),
		Malformed: c.malformed.Load(), Dropped: c.dropped.Load(),
		ConnsRefused: c.connsRefused.Load(),
		Merged:       c.merged.Load(), Cached: c.cached.Load(), Stale: c.stale.Load(),
		Limited: c.limited.Load(), Transfers: c.transfers.Load(), Notified: c.notified.Load(),
	}
}
