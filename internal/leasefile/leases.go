package leasefile

import (
	"strconv"
	"strings"

	"github.com/dockstack/dockstack/internal/admin"
)

// readLeases reads dnsmasq's lease file. A line of IPv4 is
//
//	EXPIRY MAC ADDRESS NAME CLIENT-ID
//
// and behind the line "duid …" those of IPv6 follow:
//
//	EXPIRY IAID ADDRESS NAME DUID
//
// where an IAID with a T in front is a temporary address's.
func (s source) readLeases(b *builder) error {
	inSix := false
	for _, l := range lines(s.data, func(t string) string { return t }) {
		fields := strings.Fields(l.text)
		if fields[0] == "duid" {
			inSix = true
			continue // the server's own identity
		}
		if strings.HasPrefix(l.text, "#") {
			continue
		}
		if len(fields) != 5 && len(fields) != 4 {
			b.wrong.Add(b.at(l.n), "%q has %d fields; EXPIRY MAC ADDRESS NAME CLIENT-ID are wanted", plain(l.text), len(fields))
			continue
		}
		if _, err := strconv.ParseUint(fields[0], 10, 63); err != nil {
			b.wrong.Add(b.at(l.n), "%q is no time at which a lease ends; seconds since 1970 are wanted, or 0 for never", plain(fields[0]))
			continue
		}
		b.lease(l, fields, inSix)
	}
	return nil
}

func (b *builder) lease(l textLine, fields []string, inSix bool) {
	addr, err := parseAddr(fields[2])
	if err != nil {
		b.wrong.Add(b.at(l.n), "%w", err)
		return
	}
	r := admin.Reservation{Name: b.bare(fields[3]), Address: addr}
	switch {
	case fields[3] == "*":
		b.leave(l.n, l.text, "the lease has no name; `dockstack reserve NAME %s` keeps the address for one", addr)
		return
	case inSix != addr.Is6():
		b.wrong.Add(b.at(l.n), "%s stands in the wrong part of the file: IPv6 comes behind the line `duid …`, IPv4 before it", addr)
		return
	case addr.Is6():
		if strings.HasPrefix(fields[1], "T") {
			b.leave(l.n, l.text, "is a temporary address, which changes on purpose")
			return
		}
	default:
		if r.MAC, err = leaseMAC(fields[1]); err != nil {
			b.wrong.Add(b.at(l.n), "%w", err)
			return
		}
	}
	b.reserve(l.n, r)
}

// leaseMAC reads a hardware address as dnsmasq writes it, with the type in front
// where it is not Ethernet: then there is none for a container to have.
func leaseMAC(text string) (string, error) {
	if kind, rest, found := strings.Cut(text, "-"); found && len(kind) == 2 && strings.Contains(rest, ":") {
		if n, err := strconv.ParseUint(kind, 16, 8); err == nil {
			if n != 1 {
				return "", nil
			}
			text = rest
		}
	}
	return parseMAC(text)
}
