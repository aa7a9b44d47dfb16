package leasefile

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/dockstack/dockstack/internal/admin"
)

// values are what stands between an option's commas.
func values(text string) []string {
	parts := strings.Split(text, ",")
	for i, p := range parts {
		parts[i] = strings.Trim(strings.TrimSpace(p), `"`)
	}
	return parts
}

// target is a name as a zone file has it: one with a domain is whole.
func target(name string) string {
	name = strings.TrimSuffix(name, ".")
	if strings.Contains(name, ".") {
		name += "."
	}
	return strings.ToLower(name)
}

// cutTTL takes the number off the end.
func cutTTL(parts []string) ([]string, uint32) {
	if len(parts) > 1 {
		if n, err := strconv.ParseUint(parts[len(parts)-1], 10, 32); err == nil {
			return parts[:len(parts)-1], uint32(n)
		}
	}
	return parts, 0
}

// named refuses what DNS can't have as a name; a leading "*." may stand.
func (b *builder) named(l textLine, option, name string) bool {
	if dnsName(strings.TrimPrefix(strings.TrimSuffix(name, "."), "*.")) {
		return true
	}
	b.wrong.Add(b.at(l.n), "%s: %q is no name", option, plain(name))
	return false
}

// hostRecord: host-record=NAME,NAME,…,IPv4,IPv6,TTL is names' addresses, and the
// way back to the first.
func (b *builder) hostRecord(l textLine, value string) {
	parts, ttl := cutTTL(values(value))
	var names []string
	var addrs []netip.Addr
	for _, p := range parts {
		if a, err := netip.ParseAddr(p); err == nil {
			addrs = append(addrs, a.Unmap())
		} else if b.named(l, "host-record", p) {
			names = append(names, p)
		} else {
			return
		}
	}
	if len(names) == 0 || len(addrs) == 0 {
		b.leave(l.n, l.text, "a name and an address are wanted: host-record=NAME,ADDRESS")
		return
	}
	for _, a := range addrs {
		for _, n := range names {
			b.record(l.n, admin.Record{Name: n, Type: addrType(a), Value: a.String(), TTL: ttl})
		}
		b.record(l.n, admin.Record{Name: reverse(a), Type: "PTR", Value: target(names[0]), TTL: ttl})
	}
}

// address: address=/NAME/NAME/ADDRESS is the address of the names and of all
// below them.
func (b *builder) address(l textLine, value string) {
	parts := strings.Split(value, "/")
	if len(parts) < 3 || parts[0] != "" {
		b.leave(l.n, l.text, "answers every name there is with one address, which dockstack does not do")
		return
	}
	names, data := parts[1:len(parts)-1], strings.TrimSpace(parts[len(parts)-1])
	var addrs []netip.Addr
	switch data {
	case "":
		b.leave(l.n, l.text, "denies names that others have, which dockstack does not do")
		return
	case "#":
		addrs = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	default:
		a, err := parseAddr(data)
		if err != nil {
			b.wrong.Add(b.at(l.n), "address: %w", err)
			return
		}
		addrs = []netip.Addr{a}
	}
	for _, name := range names {
		name = strings.TrimSpace(name)
		if name == "#" || name == "" {
			b.leave(l.n, l.text, "answers every name there is with one address, which dockstack does not do")
			continue
		}
		if !b.named(l, "address", name) {
			continue
		}
		for _, a := range addrs {
			r := admin.Record{Name: name, Type: addrType(a), Value: a.String()}
			if strings.HasPrefix(name, "*.") {
				b.record(l.n, r) // what is below alone
				continue
			}
			b.record(l.n, r)
			r.Name = "*." + name
			b.record(l.n, r)
		}
	}
}

// cname: cname=ALIAS,ALIAS,…,NAME,TTL.
func (b *builder) cname(l textLine, value string) {
	parts, ttl := cutTTL(values(value))
	if len(parts) < 2 {
		b.wrong.Add(b.at(l.n), "cname: an alias and the name that it leads to are wanted: cname=ALIAS,NAME")
		return
	}
	last := len(parts) - 1
	if !b.named(l, "cname", parts[last]) {
		return
	}
	for _, alias := range parts[:last] {
		switch {
		case !b.named(l, "cname", alias):
		case strings.EqualFold(alias, parts[last]):
			b.wrong.Add(b.at(l.n), "cname: %s leads to itself", plain(alias))
		default:
			b.record(l.n, admin.Record{Name: alias, Type: "CNAME", Value: target(parts[last]), TTL: ttl})
		}
	}
}

// ptrRecord: ptr-record=NAME,TARGET.
func (b *builder) ptrRecord(l textLine, value string) {
	parts := values(value)
	if len(parts) != 2 || parts[1] == "" {
		b.leave(l.n, l.text, "leads nowhere; ptr-record=NAME,TARGET is wanted")
		return
	}
	if b.named(l, "ptr-record", parts[0]) && dnsish(parts[1]) {
		b.record(l.n, admin.Record{Name: parts[0], Type: "PTR", Value: target(parts[1])})
	} else if !dnsish(parts[1]) {
		b.leave(l.n, l.text, "%q is no name of a host; a TXT record takes text", plain(parts[1]))
	}
}

func dnsish(name string) bool { return dnsName(strings.TrimSuffix(name, ".")) }

// srvHost: srv-host=_SERVICE._PROTOCOL.DOMAIN,TARGET,PORT,PRIORITY,WEIGHT.
func (b *builder) srvHost(l textLine, value string) {
	parts := values(value)
	if !b.named(l, "srv-host", parts[0]) {
		return
	}
	if !strings.HasPrefix(parts[0], "_") {
		b.wrong.Add(b.at(l.n), "srv-host: %q begins with no service; _SERVICE._tcp.NAME is wanted", plain(parts[0]))
		return
	}
	if len(parts) < 2 || parts[1] == "" {
		b.leave(l.n, l.text, "says that there is no such service, as DNS does for every name that is not there")
		return
	}
	if len(parts) > 5 {
		b.wrong.Add(b.at(l.n), "srv-host: more than a name, a target, a port, a priority and a weight")
		return
	}
	if !b.named(l, "srv-host", parts[1]) {
		return
	}
	numbers := [3]uint64{1, 0, 0} // port, priority, weight, as dnsmasq has them
	for i, p := range parts[2:] {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			b.wrong.Add(b.at(l.n), "srv-host: %s %q is not 0 to 65535", [3]string{"port", "priority", "weight"}[i], plain(p))
			return
		}
		numbers[i] = n
	}
	if _, rest, _ := strings.Cut(parts[0], "."); b.domain != "" && strings.HasPrefix(rest, "_") && !strings.Contains(rest, ".") {
		parts[0] += "." + b.domain // dnsmasq's way with a service that names no domain
	}
	b.record(l.n, admin.Record{Name: parts[0], Type: "SRV", Value: fmt.Sprintf("%d %d %d %s", numbers[1], numbers[2], numbers[0], target(parts[1]))})
}

// txtRecord: txt-record=NAME,TEXT,TEXT.
func (b *builder) txtRecord(l textLine, value string) {
	name, rest, _ := strings.Cut(value, ",")
	if name = strings.TrimSpace(name); !b.named(l, "txt-record", name) {
		return
	}
	var out []string
	for _, text := range splitQuoted(rest) {
		if len(text) > 255 {
			b.wrong.Add(b.at(l.n), "txt-record: a text of %d bytes; 255 is the most, put a comma into it", len(text))
			return
		}
		out = append(out, quoteText(text))
	}
	b.record(l.n, admin.Record{Name: name, Type: "TXT", Value: strings.Join(out, " ")})
}

// splitQuoted splits at commas outside quotes, and takes the quotes away.
func splitQuoted(s string) []string {
	var out []string
	var part strings.Builder
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && quoted && i+1 < len(s):
			i++
			part.WriteByte(s[i])
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			out = append(out, strings.TrimSpace(part.String()))
			part.Reset()
		default:
			part.WriteByte(c)
		}
	}
	return append(out, strings.TrimSpace(part.String()))
}

// quoteText is a text as a zone file has it.
func quoteText(s string) string {
	var out strings.Builder
	out.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			out.WriteByte('\\')
			out.WriteByte(c)
		case c < ' ' || c > '~':
			fmt.Fprintf(&out, `\%03d`, c)
		default:
			out.WriteByte(c)
		}
	}
	out.WriteByte('"')
	return out.String()
}

func addrType(a netip.Addr) string {
	if a.Is4() {
		return "A"
	}
	return "AAAA"
}

// reverse is the name under which an address is looked up.
func reverse(a netip.Addr) string {
	var out strings.Builder
	for _, octet := range slices.Backward(a.AsSlice()) {
		if a.Is4() {
			fmt.Fprintf(&out, "%d.", octet)
		} else {
			fmt.Fprintf(&out, "%x.%x.", octet&0xf, octet>>4)
		}
	}
	if a.Is4() {
		return out.String() + "in-addr.arpa"
	}
	return out.String() + "ip6.arpa"
}
