package dnsd

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// serviceName is the beginning of a name as RFC 2782 has it: _5672._tcp, or
// _tcp alone, whose port is 0 then. No proto: the name is none.
type serviceName struct {
	port  uint16
	proto string
	// base is where the rest of the name begins.
	base int
}

// protos are the protocols that containers' ports have.
var protos = [...]string{"tcp", "udp", "sctp"}

// parseService reads the beginning of name, which has something behind it.
func parseService(name string) (serviceName, bool) {
	var s serviceName
	if name == "" || name[0] != '_' {
		return s, false
	}
	first, rest, ok := strings.Cut(name, ".")
	if !ok {
		return s, false
	}
	if s.proto = protoOf(first); s.proto != "" {
		s.base = len(first) + 1
		return s, true
	}
	second, _, ok := strings.Cut(rest, ".")
	if s.proto = protoOf(second); !ok || s.proto == "" {
		return serviceName{}, false
	}
	s.base = len(first) + 1 + len(second) + 1
	s.port, ok = portOf(first[1:])
	return s, ok
}

// serviceOwner is the name that p is asked for under, of the container called
// base.
func serviceOwner(p Port, base string) string {
	return "_" + strconv.Itoa(int(p.Number)) + "._" + p.Proto + "." + base
}

func protoOf(label string) string {
	for _, p := range protos {
		if len(label) == len(p)+1 && label[0] == '_' && label[1:] == p {
			return p
		}
	}
	return ""
}

// portOf reads a port as one writes it, without leading zeros.
func portOf(text string) (uint16, bool) {
	if text == "" || len(text) > 5 || text[0] == '0' {
		return 0, false
	}
	n := 0
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return 0, false
		}
		n = n*10 + int(text[i]-'0')
	}
	return uint16(n), n <= 0xffff
}

// standService finds whose ports a name like _5672._tcp.rabbitmq is about. The
// name exists where one of them is asked for.
func (l *lookup) standService(n *node, room []Host, full, rest string, s serviceName) {
	var base node
	if rest[s.base] == '_' {
		return
	}
	l.stand(&base, room, full[s.base:], rest[s.base:])
	for i := range base.hosts {
		if h := &base.hosts[i]; base.has(*h) && l.offers(*h, s) {
			n.match, n.origin, n.service = base.match, base.origin, s
			return
		}
	}
}

// offers tells whether h's container has the port that s says, or any of its
// protocol.
func (l *lookup) offers(h Host, s serviceName) bool {
	for _, p := range l.names.Ports(h) {
		if p.Proto == s.proto && (p.Number == s.port || s.port == 0) {
			return true
		}
	}
	return false
}

// targets are those of n's containers that q's client should use, each once:
// the ones on a network that it shares if there are any, and of these the ones
// that are not out unless all are; in turns, as addresses are.
func (l *lookup) targets(q *question, n *node) []Host {
	home := n.home(q.client)
	var found []Host
	best := 0
	for _, h := range n.hosts {
		if !n.has(h) || !l.offers(h, n.service) {
			continue
		}
		rank := 0
		if home >= 0 && h.nearness(&n.hosts[home], q.client) > 0 {
			rank = 2
		}
		if !h.Out {
			rank++
		}
		if rank < best {
			continue
		}
		if rank > best {
			best, found = rank, found[:0]
		}
		found = append(found, h)
	}
	return eachOnce(q, found)
}

// eachOnce leaves one address of each container, turned by q's ID.
func eachOnce(q *question, found []Host) []Host {
	slices.SortFunc(found, func(a, b Host) int {
		return cmp.Or(strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), a.Addr.Compare(b.Addr))
	})
	found = slices.CompactFunc(found, func(a, b Host) bool { return strings.EqualFold(a.Name, b.Name) })
	turn(found, q.id)
	return found
}
