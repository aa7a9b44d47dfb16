package leasefile

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/dockstack/dockstack/internal/admin"
)

// wellKnown are names that every hosts file has, of the machine itself.
var wellKnown = []string{
	"localhost", "localhost.localdomain", "localhost4", "localhost6", "localhost4.localdomain4", "localhost6.localdomain6", "broadcasthost",
	"ip6-localhost", "ip6-loopback", "ip6-localnet", "ip6-mcastprefix", "ip6-allnodes", "ip6-allrouters", "ip6-allhosts",
	"host.docker.internal", "gateway.docker.internal", "kubernetes.docker.internal", "host.containers.internal",
}

// hostLine is an address's names, of all lines that have it.
type hostLine struct {
	n     int
	addr  netip.Addr
	names []string
	// reserved is the name that the address is for, once that is known.
	reserved string
}

// readHosts reads a hosts file: an address, its name and other names for it. A
// second line with the same address adds to the first, as it does for the
// programs that read such files.
func (s source) readHosts(b *builder) error {
	var all []*hostLine
	byAddr := map[netip.Addr]*hostLine{}
	for _, l := range lines(s.data, hashComment) {
		fields := strings.Fields(l.text)
		addr, err := parseAddr(fields[0])
		if err != nil {
			if _, swapped := netip.ParseAddr(fields[len(fields)-1]); swapped == nil {
				b.wrong.Add(b.at(l.n), "%q: the address comes first, then the names", plain(l.text))
			} else {
				b.wrong.Add(b.at(l.n), "%w", err)
			}
			continue
		}
		if reason := unusable(addr); reason != "" {
			b.leave(l.n, l.text, "%s", reason)
			continue
		}
		if len(fields) == 1 {
			b.leave(l.n, l.text, "no name stands behind the address")
			continue
		}
		h := byAddr[addr]
		if h == nil {
			h = &hostLine{n: l.n, addr: addr}
			byAddr[addr], all = h, append(all, h)
		}
		for _, name := range fields[1:] {
			switch name = strings.TrimSuffix(name, "."); {
			case slices.Contains(wellKnown, strings.ToLower(name)):
				b.leave(l.n, name+" "+addr.String(), "is a name of the machine itself")
			case !slices.Contains(h.names, name):
				h.names = append(h.names, name)
			}
		}
	}
	for _, h := range all {
		b.host(h)
	}
	b.aliases(all)
	return nil
}

// host takes an address for the first of its names that has no domain, else for
// the first without its domain.
func (b *builder) host(h *hostLine) {
	if len(h.names) == 0 {
		return
	}
	i := slices.IndexFunc(h.names, func(n string) bool { return !strings.Contains(n, ".") })
	if i >= 0 {
		h.reserved = h.names[i]
	} else {
		h.reserved, _, _ = strings.Cut(h.names[0], ".")
	}
	b.reserve(h.n, admin.Reservation{Name: h.reserved, Address: h.addr})
}

// aliases makes the other names lead to the one that has the address. A name
// under a domain is counted only: dockstack answers it by itself where that is
// its zone.
func (b *builder) aliases(all []*hostLine) {
	taken := map[string]bool{}
	for _, h := range all {
		taken[strings.ToLower(h.reserved)] = true
	}
	leads := map[string]string{}
	under := map[string][]hostLine{} // by domain, the name first
	for _, h := range all {
		if !containerName.MatchString(h.reserved) {
			continue
		}
		for _, name := range h.names {
			key := strings.ToLower(name)
			switch to, known := leads[key]; {
			case strings.EqualFold(name, h.reserved): // the same to DNS
			case b.underDomain(name, h.reserved):
				domain := strings.ToLower(name[len(h.reserved)+1:])
				under[domain] = append(under[domain], hostLine{n: h.n, reserved: name})
			case taken[key]:
				b.leave(h.n, name+" "+h.addr.String(), "another line has an address for the name %s", name)
			case !dnsName(name):
				b.leave(h.n, name, "%q is no name that DNS can have", plain(name))
			case known && to != h.reserved:
				b.leave(h.n, name+" "+h.addr.String(), "the name leads to %s already, and can't lead to %s as well", to, h.reserved)
			default:
				leads[key] = h.reserved
				b.record(h.n, admin.Record{Name: name, Type: "CNAME", Value: h.reserved})
			}
		}
	}
	for _, domain := range slices.Sorted(maps.Keys(under)) {
		first, more := under[domain][0], ""
		if n := len(under[domain]) - 1; n > 0 {
			more = fmt.Sprintf(" and %d more under %s", n, domain)
		}
		b.leave(first.n, first.reserved+more, "DNS answers it by itself with DOCKSTACK_ZONE=%s", domain)
	}
}

// underDomain tells whether name is short with a domain behind, which is counted.
func (b *builder) underDomain(name, short string) bool {
	if len(name) <= len(short) || !strings.EqualFold(name[:len(short)], short) || name[len(short)] != '.' {
		return false
	}
	b.domains[strings.ToLower(name[len(short)+1:])]++
	return true
}

// dnsName tells whether DNS can have a name: labels of 1 to 63 characters.
func dnsName(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, func(r rune) bool {
			return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
		}) {
			return false
		}
	}
	return true
}
