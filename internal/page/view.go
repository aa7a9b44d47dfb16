package page

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/dockstack/dockstack/internal/admin"
)

// view is what somebody looks at. All of it is in the page's address, so that
// it can be sent to a colleague, and works without JavaScript.
type view struct {
	// Query, Network, State, Host and Sort pick names; From is how many come
	// before the first that is shown.
	Query, Network, State, Host, Sort string
	From                              int
	// Pool and Block pick the map that is shown large.
	Pool  string
	Block netip.Prefix
	// Kind and About pick events, Events is how many are shown.
	Kind, About string
	Events      int
	// AllPools shows the small maps of all.
	AllPools bool
}

// Limits of what an address can ask for.
const (
	maxText     = 120
	namesAPage  = 50
	maxFrom     = 1 << 24
	someEvents  = 30
	maxEvents   = 960
	sortName    = "name"
	sortAddress = ""
	sortSince   = "since"
)

// parseView reads an address. What can't be understood counts as not said: a
// page is shown in any case.
func parseView(q url.Values) view {
	text := func(key string) string {
		// In the form in which names are shown.
		s := admin.Plain(strings.ToValidUTF8(strings.TrimSpace(q.Get(key)), ""))
		if len(s) > maxText {
			s = s[:maxText]
			for !utf8.ValidString(s) {
				s = s[:len(s)-1]
			}
		}
		return s
	}
	oneOf := func(key string, all ...string) string {
		if s := q.Get(key); slices.Contains(all, s) {
			return s
		}
		return ""
	}
	number := func(key string, least, most int) int {
		n, err := strconv.Atoi(q.Get(key))
		if err != nil {
			n = 0
		}
		return min(max(n, least), most)
	}
	v := view{
		Query: text("q"), Network: text("net"), Host: text("host"),
		State: oneOf("state", admin.StateLive, admin.StateParked, admin.StateReserved),
		Sort:  oneOf("sort", sortName, sortSince),
		From:  number("from", 0, maxFrom),
		Pool:  text("pool"),
		Kind:  oneOf("kind", admin.EventKinds...), About: text("about"),
		Events:   number("events", someEvents, maxEvents),
		AllPools: q.Get("pools") == "all",
	}
	if b, err := netip.ParsePrefix(q.Get("block")); err == nil && len(q.Get("block")) <= maxText {
		v.Block = b.Masked()
	}
	return v
}

// values is the address' query, without what is as it is by itself.
func (v view) values() url.Values {
	q := url.Values{}
	put := func(key, value string) {
		if value != "" {
			q.Set(key, value)
		}
	}
	put("q", v.Query)
	put("net", v.Network)
	put("host", v.Host)
	put("state", v.State)
	put("sort", v.Sort)
	put("pool", v.Pool)
	put("kind", v.Kind)
	put("about", v.About)
	if v.From > 0 {
		q.Set("from", strconv.Itoa(v.From))
	}
	if v.Block.IsValid() {
		q.Set("block", v.Block.String())
	}
	if v.Events > someEvents {
		q.Set("events", strconv.Itoa(v.Events))
	}
	if v.AllPools {
		q.Set("pools", "all")
	}
	return q
}

// link is the page's address with this view, at one of its sections.
func (v view) link(section string) string {
	text := v.values().Encode()
	if text != "" {
		text = "?" + text
	} else {
		text = "./"
	}
	return text + "#" + section
}

// The addresses of other views, one step away. Templates need those with
// capital letters.

func (v view) withPool(id string, block netip.Prefix) string {
	v.Pool, v.Block = id, block
	return v.link(sectionSpace)
}

func (v view) QueryLink(text string) string {
	v.Query, v.Network, v.State, v.Host, v.From = text, "", "", "", 0
	return v.link(sectionNames)
}

func (v view) FromLink(from int) string {
	v.From = max(from, 0)
	return v.link(sectionNames)
}

func (v view) SortLink(by string) string {
	v.Sort, v.From = by, 0
	return v.link(sectionNames)
}

func (v view) HostLink(name string) string {
	v.Query, v.Network, v.State, v.Host, v.From = "", "", "", name, 0
	return v.link(sectionNames)
}

func (v view) NetworkLink(name string) string {
	v.Query, v.Network, v.State, v.Host, v.From = "", name, "", "", 0
	return v.link(sectionNames)
}

func (v view) MoreEventsLink() string {
	v.Events = min(4*v.Events, maxEvents)
	return v.link(sectionEvents)
}

func (v view) AllPoolsLink() string {
	v.AllPools = true
	return v.link(sectionSpace)
}
