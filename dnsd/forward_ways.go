package dnsd

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// waysEvery is how often resolvers and routes are looked at for answers that
// are kept; who is to ask looks each time.
const waysEvery = time.Second

// ways is who is asked for what, as it was last seen.
type ways struct {
	now  atomic.Pointer[way]
	next atomic.Int64 // when to look again, in Unix nanoseconds

	mu sync.Mutex // held while it is replaced
}

// way is the host's resolvers and the routes at one moment.
type way struct {
	servers []netip.AddrPort
	// before are the resolvers before there were none.
	before []netip.AddrPort
	table  *routeTable
	// generation is the cache's as long as this is how it is.
	generation uint64
}

// at returns the resolvers and routes, at most waysEvery old.
func (w *ways) at(u *forwarder, now time.Time) *way {
	if at := w.now.Load(); at != nil && now.UnixNano() < w.next.Load() {
		return at
	}
	return w.look(u, now)
}

// look returns the resolvers and routes of this moment, and forgets what was
// kept if they are others: a name may mean something else there. That there
// are no resolvers at all any more is no such change, but the moment for which
// answers are kept.
func (w *ways) look(u *forwarder, now time.Time) *way {
	var routes []Route
	if u.routes != nil {
		routes = u.routes()
	}
	servers := u.servers()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next.Store(now.Add(waysEvery).UnixNano())
	old := w.now.Load()
	if old != nil && slices.Equal(old.servers, servers) && slices.EqualFunc(old.table.list, routes, sameRoute) {
		return old
	}
	fresh := &way{servers: slices.Clone(servers), before: slices.Clone(servers), table: newRouteTable(routes)}
	if old != nil && len(servers) == 0 {
		fresh.before = old.before
	}
	if old != nil && (!slices.Equal(old.before, fresh.before) || !slices.EqualFunc(old.table.list, routes, sameRoute)) {
		u.cache.flush()
		u.log.Info("DNS forgets kept answers: the resolvers are others now", "resolvers", servers, "routes", len(routes))
	}
	fresh.generation = u.cache.generation()
	w.now.Store(fresh)
	return fresh
}

// to returns who is asked for name, and the domain whose route says so.
func (w *way) to(name string) (servers []netip.AddrPort, domain string) {
	r, _ := w.table.match(name)
	if r == nil || r.Default {
		return w.servers, ""
	}
	return r.Resolvers, r.Domain
}

// routeTable is the routes that were last seen, nil for none.
func (u *forwarder) routeTable() *routeTable {
	if u.routes == nil {
		return nil
	}
	return u.ways.at(u, time.Now()).table
}
