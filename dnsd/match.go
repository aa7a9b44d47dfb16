package dnsd

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// match is who a name stands for: those of hosts that are in network, or all
// of them when network is "".
type match struct {
	hosts   []Host
	network string
}

// find looks for the container that name means: the exact name first, then
// the label, then name.network with each dot in turn as the one in between,
// since names and networks may both have dots.
func find(n Names, name string) (match, bool) {
	if m := (match{hosts: n.ByName(nil, name)}); len(m.hosts) > 0 {
		return m, true
	}
	dot := strings.IndexByte(name, '.')
	if dot < 0 {
		m := match{hosts: n.ByLabel(nil, name)}
		return m, len(m.hosts) > 0
	}
	for ; dot >= 0; dot = nextDot(name, dot) {
		m := match{network: name[dot+1:], hosts: n.ByName(nil, name[:dot])}
		if m.any() {
			return m, true
		}
		m.hosts = n.ByLabel(nil, name[:dot])
		if m.any() {
			return m, true
		}
	}
	return match{}, false
}

func nextDot(name string, dot int) int {
	next := strings.IndexByte(name[dot+1:], '.')
	if next < 0 {
		return -1
	}
	return dot + 1 + next
}

func (m match) any() bool { return slices.ContainsFunc(m.hosts, m.has) }

// has tells whether h is in the network asked for, by its name, its overlay's
// or the label of either.
func (m match) has(h Host) bool {
	return m.network == "" || isNetwork(h.Network, m.network) || isNetwork(h.Overlay, m.network)
}

func isNetwork(have, want string) bool {
	return have != "" && (strings.EqualFold(have, want) || Label(have) == want)
}

// pick appends the addresses that q's client should use to addrs: those in
// the client's own pool if there are any; else those of a network that it
// shares in the other family; else all. They come in order of address, turned
// by the query's ID, so that several share the load.
func (m match) pick(q *question, addrs []netip.Addr) []netip.Addr {
	home := slices.IndexFunc(m.hosts, func(h Host) bool { return h.Pool.Contains(q.client) })
	best := 0
	for _, h := range m.hosts {
		if !ofType(h.Addr, q.qtype) || !m.has(h) {
			continue
		}
		near := 0
		if home >= 0 {
			near = h.nearness(m.hosts[home], q.client)
		}
		switch {
		case near > best:
			best, addrs = near, append(addrs[:0], h.Addr)
		case near == best:
			addrs = append(addrs, h.Addr)
		}
	}
	if len(addrs) < 2 {
		return addrs
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	addrs = slices.Compact(addrs)
	turn := int(q.id) % len(addrs)
	slices.Reverse(addrs[:turn])
	slices.Reverse(addrs[turn:])
	slices.Reverse(addrs)
	return addrs
}

// nearness is 2 for an address in client's pool, 1 for one in the network that
// home, an address in client's pool, belongs to, and 0 for any other.
func (h Host) nearness(home Host, client netip.Addr) int {
	switch {
	case h.Pool.Contains(client):
		return 2
	case (h.Network != "" || h.Overlay != "") && h.Network == home.Network && h.Overlay == home.Overlay:
		return 1
	default:
		return 0
	}
}

func ofType(a netip.Addr, qtype uint16) bool {
	return qtype == dns.TypeA && a.Is4() || qtype == dns.TypeAAAA && a.Is6()
}
