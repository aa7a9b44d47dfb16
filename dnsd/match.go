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

// search looks for the containers that name means among those that tier finds:
// by the whole name, then as name.network with each dot in turn as the one in
// between, since names and networks may both have dots. It appends to room.
func (l *lookup) search(room []Host, tier origin, name string) match {
	if m := (match{hosts: l.by(room, tier, name)}); len(m.hosts) > 0 {
		return m
	}
	for dot := strings.IndexByte(name, '.'); dot >= 0; dot = nextDot(name, dot) {
		if !l.names.HasNetwork(name[dot+1:]) {
			continue
		}
		m := match{network: name[dot+1:], hosts: l.by(room, tier, name[:dot])}
		if m.any() {
			return m
		}
	}
	return match{}
}

func (l *lookup) by(room []Host, tier origin, name string) []Host {
	switch tier {
	case fromName:
		return l.names.ByName(room[:0], name)
	case fromService:
		return l.names.ByService(room[:0], name)
	case fromBelow:
		return l.names.Below(room[:0], name)
	default:
		return l.names.ByLabel(room[:0], name)
	}
}

func nextDot(name string, dot int) int {
	next := strings.IndexByte(name[dot+1:], '.')
	if next < 0 {
		return -1
	}
	return dot + 1 + next
}

func (m match) any() bool { return slices.ContainsFunc(m.hosts, m.has) }

// one tells whether all of m are the same container.
func (m match) one() bool {
	for _, h := range m.hosts[1:] {
		if !strings.EqualFold(h.Name, m.hosts[0].Name) {
			return false
		}
	}
	return true
}

// has tells whether h is in the network asked for, by its name, its overlay's
// or the label of either.
func (m match) has(h Host) bool {
	return m.network == "" || isNetwork(h.Network, m.network) || isNetwork(h.Overlay, m.network)
}

func isNetwork(have, want string) bool {
	return have != "" && (strings.EqualFold(have, want) || Label(have) == want)
}

// home is the first of m's addresses that shares client's pool, or -1.
func (m match) home(client netip.Addr) int {
	for i := range m.hosts {
		if m.hosts[i].Pool.Contains(client) {
			return i
		}
	}
	return -1
}

// pick appends the addresses that q's client should use to addrs: those in
// the client's own pool if there are any; else those of a network that it
// shares in the other family; else all. Of these, the ones that are out are
// left out unless all are. They come in order of address, turned by the
// query's ID, which is random, so that several share the load.
func (m match) pick(q *question, addrs []netip.Addr) []netip.Addr {
	home := m.home(q.client)
	best := 0
	for i := range m.hosts {
		h := &m.hosts[i]
		if !ofType(h.Addr, q.qtype) || !m.has(*h) {
			continue
		}
		rank := 0
		if home >= 0 {
			rank = 2 * h.nearness(&m.hosts[home], q.client)
		}
		if !h.Out {
			rank++
		}
		switch {
		case rank > best:
			best, addrs = rank, append(addrs[:0], h.Addr)
		case rank == best:
			addrs = append(addrs, h.Addr)
		}
	}
	if len(addrs) < 2 {
		return addrs
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	addrs = slices.Compact(addrs)
	turn(addrs, q.id)
	return addrs
}

// turn rotates list by the query's ID.
func turn[T any](list []T, id uint16) {
	if len(list) < 2 {
		return
	}
	by := int(id) % len(list)
	slices.Reverse(list[:by])
	slices.Reverse(list[by:])
	slices.Reverse(list)
}

// nearness is 2 for an address in client's pool, 1 for one in the network that
// home, an address in client's pool, belongs to, and 0 for any other.
func (h *Host) nearness(home *Host, client netip.Addr) int {
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
