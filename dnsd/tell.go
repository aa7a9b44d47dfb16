package dnsd

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// tell notes where v comes from, of which the lookup has all still.
func (c *composer) tell(v *verdict) {
	l, q := c.l, &c.q
	var what string
	switch v.kind {
	case kindForward:
		return // whoever forwards it knows
	case kindNotReady:
		what = notReadyReason
	case kindNXDomain:
		what = c.missing()
	case kindSOA, kindNS:
		what = "the zone itself"
	default:
		what = l.source(q, v)
		if v.kind == kindNoData && l.node.origin != fromBelow {
			what += "; there are no " + dns.Type(q.qtype).String() + " records of it"
		}
	}
	*c.told = append(*c.told, what)
}

// source is what v was made of.
func (l *lookup) source(q *question, v *verdict) string {
	n := &l.node
	switch n.origin {
	case fromName, fromLabel, fromService:
		if v.kind == kindRecords {
			return "operator's record " + n.records[0].Name
		}
		return l.containers(q, n, v)
	case fromRecord:
		if v.kind == kindPTR {
			return fmt.Sprintf("operator's record %s %s %s", n.records[0].Name, dns.Type(n.records[0].Type), n.records[0].Data)
		}
		return "operator's record " + n.records[0].Name
	case fromWildcard:
		return "operator's record " + n.records[0].Name
	case fromServer:
		if l.server(q.name) != nil {
			return "a server of the zone, by DOCKSTACK_DNS_NAMESERVERS"
		}
		return "this server itself: nobody is called like the zone"
	case fromBelow:
		return "empty: names stand below it"
	case fromAddr:
		h := n.hosts[0]
		return fmt.Sprintf("%s holds %s", l.container(h), h.Addr)
	case fromLocalhost:
		return "localhost is fixed (RFC 6761)"
	default:
		return "the zone itself"
	}
}

// container is h for people.
func (l *lookup) container(h Host) string {
	text := "container " + h.Name
	if h.Network != "" {
		text += " on network " + h.Network
	}
	if machine := l.names.Machine(h); machine != "" {
		text += ", host " + machine
	}
	return text
}

// containers tells whose addresses or ports v has, and whose it leaves out.
func (l *lookup) containers(q *question, n *node, v *verdict) string {
	given := l.given(q, n, v)
	var all, out, elsewhere []string
	for _, h := range n.hosts {
		if !n.has(h) || n.service.proto != "" && !l.offers(h, n.service) || slices.Contains(all, h.Name) {
			continue
		}
		all = append(all, h.Name)
		switch {
		case slices.Contains(given, h.Name) || len(given) == 0:
		case h.Out:
			out = append(out, h.Name)
		default:
			elsewhere = append(elsewhere, h.Name)
		}
	}
	var text strings.Builder
	switch {
	case n.origin == fromService:
		via := n.hosts[0].Via
		if via == "" {
			via = "service or alias " + q.name
		}
		text.WriteString(via)
		if len(given) < len(all) && len(given) > 0 {
			fmt.Fprintf(&text, ": %d of %s", len(given), plural(len(all), "replica"))
		} else {
			text.WriteString(": " + plural(len(all), "replica"))
		}
	case len(all) == 1:
		text.WriteString(l.one(q, n, v, all[0]))
	default:
		text.WriteString("containers " + strings.Join(all, ", "))
	}
	var why []string
	if len(out) > 0 {
		why = append(why, list(out)+" unhealthy")
	}
	if len(elsewhere) > 0 {
		why = append(why, list(elsewhere)+" not on a network of "+q.client.String())
	}
	if len(why) > 0 {
		text.WriteString(" (" + strings.Join(why, "; ") + ")")
	}
	return text.String()
}

// given are the names of the containers in v.
func (l *lookup) given(q *question, n *node, v *verdict) []string {
	var names []string
	add := func(h Host) {
		if !slices.Contains(names, h.Name) {
			names = append(names, h.Name)
		}
	}
	if v.kind == kindSRV {
		for _, h := range l.targets(q, n) {
			add(h)
		}
		return names
	}
	for _, h := range n.hosts {
		if n.has(h) && slices.Contains(v.addrs, h.Addr) {
			add(h)
		}
	}
	return names
}

// one tells of the only container that the name leads to: on which of its
// networks.
func (l *lookup) one(q *question, n *node, v *verdict, name string) string {
	var networks []string
	machine, others := "", false
	for _, h := range n.hosts {
		if v.kind == kindAddrs && !slices.Contains(v.addrs, h.Addr) || !n.has(h) {
			others = true
			continue
		}
		machine = l.names.Machine(h)
		if h.Network != "" && !slices.Contains(networks, h.Network) {
			networks = append(networks, h.Network)
		}
	}
	text := "container " + name
	switch len(networks) {
	case 0:
	case 1:
		text += " on network " + networks[0]
		if others && n.network == "" && n.home(q.client) >= 0 {
			text += ", where " + q.client.String() + " is"
		}
	default:
		slices.Sort(networks)
		text += " on networks " + strings.Join(networks, ", ")
	}
	if machine != "" {
		text += ", host " + machine
	}
	return text
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// list is "a is" or "a, b are", and of many the first.
func list(names []string) string {
	const most = 5
	slices.Sort(names)
	if len(names) > most {
		return fmt.Sprintf("%s and %d more are", strings.Join(names[:most], ", "), len(names)-most)
	}
	if len(names) == 1 {
		return names[0] + " is"
	}
	return strings.Join(names, ", ") + " are"
}

// missing tells why q's name does not exist, and what may have been meant.
func (c *composer) missing() string {
	l, q := c.l, &c.q
	if isReverse(q.name) {
		if r := parseReverse(q.name); r.whole() {
			return fmt.Sprintf("no live container and no record has %s, in a subnet of ours", r.addr)
		}
		return "no such name in a reverse zone of ours"
	}
	rest, inZone := strings.CutSuffix(q.name, l.zone.dotted)
	what := "no such name in zone " + l.zone.name
	if !inZone {
		what = "nobody is called so, and names without a dot are not forwarded"
	}
	if service, ok := parseService(rest); ok {
		if text, ok := l.missingPort(rest, service); ok {
			return text
		}
		rest = rest[service.base:]
	}
	return what + c.suggest(rest, l.everyName(rest))
}

// missingPort tells which ports there are instead of the one that service
// asks for, if the container exists.
func (l *lookup) missingPort(rest string, service serviceName) (string, bool) {
	var n node
	base := rest[service.base:]
	l.stand(&n, l.spare, base+l.zone.dotted, base)
	if len(n.hosts) == 0 {
		return "", false
	}
	var ports []string
	for _, h := range n.hosts {
		for _, p := range l.names.Ports(h) {
			if text := fmt.Sprintf("%d/%s", p.Number, p.Proto); n.has(h) && !slices.Contains(ports, text) {
				ports = append(ports, text)
			}
		}
	}
	text := base + " exposes and publishes no port"
	if len(ports) > 0 {
		text = base + " exposes and publishes " + strings.Join(ports, ", ") + " only"
	}
	return text, true
}

// everyName is what there is to be asked for, as parts of names before the
// zone. Of networks only those count that want could mean.
func (l *lookup) everyName(want string) []string {
	_, network, dotted := strings.Cut(want, ".")
	seen := map[string]struct{}{}
	l.names.All(func(h Host) bool {
		name := strings.ToLower(h.Name)
		seen[name] = struct{}{}
		if dotted && h.Network != "" {
			seen[name+"."+strings.ToLower(h.Network)] = struct{}{}
		}
		return true
	})
	l.names.AllServices(func(name string) bool {
		seen[name] = struct{}{}
		if dotted {
			seen[name+"."+network] = struct{}{}
		}
		return true
	})
	l.names.AllRecords(func(r Record) bool {
		if name, ok := strings.CutSuffix(r.Name, l.zone.dotted); ok && !strings.HasPrefix(name, "*") {
			seen[name] = struct{}{}
		}
		return true
	})
	all := make([]string, 0, len(seen))
	for name := range seen {
		all = append(all, name)
	}
	return all
}
