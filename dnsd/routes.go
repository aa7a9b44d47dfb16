package dnsd

import (
	"net/netip"
	"slices"
	"strings"
)

// Route says who is asked for a domain and what is below it, instead of the
// resolvers that everything else goes to. Where several fit a name, the
// longest domain counts. Nobody else is asked when its resolvers fail: what
// others say of a private domain is "no such name", or worse.
type Route struct {
	// Domain is in lower case, without dots around it.
	Domain string
	// Resolvers are asked, best first. Without any, what the names do not have
	// in the domain does not exist.
	Resolvers []netip.AddrPort
	// Default: Config.Forwarders are asked, though a route above has others.
	Default bool
}

// local tells whether nobody is asked for r's domain.
func (r *Route) local() bool { return !r.Default && len(r.Resolvers) == 0 }

func sameRoute(a, b Route) bool {
	return a.Domain == b.Domain && a.Default == b.Default && slices.Equal(a.Resolvers, b.Resolvers)
}

// routeTable finds the route of a name. It does not change.
type routeTable struct {
	list []Route
	by   map[string]*Route
}

func newRouteTable(list []Route) *routeTable {
	t := &routeTable{list: slices.Clone(list), by: make(map[string]*Route, len(list))}
	for i := range t.list {
		r := &t.list[i]
		t.by[strings.ToLower(strings.Trim(r.Domain, "."))] = r
	}
	return t
}

// match returns the route of name, which is in lower case without a dot at its
// end, and where in name its domain begins; nil when there is none.
func (t *routeTable) match(name string) (*Route, int) {
	if t == nil || len(t.by) == 0 || name == "" {
		return nil, 0
	}
	for at := 0; ; {
		if r, ok := t.by[name[at:]]; ok {
			return r, at
		}
		dot := strings.IndexByte(name[at:], '.')
		if dot < 0 {
			return nil, 0
		}
		at += dot + 1
	}
}

// beats tells whether name, which nobody bears in the zone that begins at
// owner, is to be forwarded all the same, because the operator named a domain
// for it that is at least as long as that zone's.
func (t *routeTable) beats(name string, owner int) bool {
	r, at := t.match(name)
	return r != nil && at <= owner && !r.local()
}
