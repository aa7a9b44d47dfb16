package leasefile

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/environment"
)

// dhcpHost is what one dhcp-host says.
type dhcpHost struct {
	name  string
	addrs []netip.Addr
	macs  []string
	// partly are addresses that are not whole: a suffix or a range of IPv6.
	partly []string
	ignore bool
}

// readDHCPHosts reads a dhcp-hostsfile: what stands behind dhcp-host=, a line
// each.
func (s source) readDHCPHosts(b *builder) error {
	for _, l := range lines(s.data, confComment) {
		b.dhcpHost(l, strings.TrimSpace(strings.TrimPrefix(strings.ReplaceAll(l.text, "dhcp-host =", "dhcp-host="), "dhcp-host=")))
	}
	return nil
}

// dhcpHost takes one: MACs, client ids, tags, addresses, a name and a lease
// time, in any order.
func (b *builder) dhcpHost(l textLine, value string) {
	h, err := parseDHCPHost(value)
	if err != nil {
		b.wrong.Add(b.at(l.n), "%w", err)
		return
	}
	switch {
	case h.ignore:
		b.leave(l.n, l.text, "tells dnsmasq to give this host no address")
		return
	case h.name == "" && len(h.addrs) > 0:
		b.leave(l.n, l.text, "has no name; `dockstack reserve NAME %s` keeps the address for one", h.addrs[0])
		return
	case len(h.addrs) == 0 && len(h.partly) == 0:
		b.leave(l.n, l.text, "has no address; dockstack gives the next free one")
		return
	}
	for _, p := range h.partly {
		b.leave(l.n, h.name+" "+p, "is not one whole address; write it in full")
	}
	r := admin.Reservation{Name: b.bare(h.name)}
	if len(h.macs) == 1 {
		r.MAC = h.macs[0]
	} else if len(h.macs) > 1 {
		b.leave(l.n, h.name+" "+strings.Join(h.macs, " "), "a container has one MAC; it gets the one that goes with its address")
	}
	for _, a := range h.addrs {
		r.Address = a
		b.reserve(l.n, r)
	}
}

func parseDHCPHost(value string) (dhcpHost, error) {
	var h dhcpHost
	for part := range strings.SplitSeq(value, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		if err := h.part(part); err != nil {
			return h, fmt.Errorf("dhcp-host: %w", err)
		}
	}
	return h, nil
}

// otherPart is a client id, a tag or a lease time.
var otherPart = regexp.MustCompile(`^(?i:id|set|tag|net):|^(infinite|deprecated|[0-9]+ *[smhdwSMHDW]?)$`)

// part takes what stands between two commas.
func (h *dhcpHost) part(part string) error {
	switch {
	case part == "ignore":
		h.ignore = true
	case otherPart.MatchString(part):
	case strings.HasPrefix(part, "["):
		return h.six(part)
	case !strings.Contains(part, ":"):
		return h.word(part)
	case strings.Contains(part, "*"): // a pattern of MACs is no MAC
	default:
		if a, err := netip.ParseAddr(part); err == nil && a.Is6() {
			return fmt.Errorf("%q has no brackets, which dnsmasq wants around IPv6; did you mean [%s]?", part, a)
		}
		mac, err := leaseMAC(part)
		if err != nil {
			return err
		}
		if mac != "" {
			h.macs = append(h.macs, mac)
		}
	}
	return nil
}

// word takes an IPv4 address or a name.
func (h *dhcpHost) word(part string) error {
	if a, err := netip.ParseAddr(part); err == nil {
		h.addrs = append(h.addrs, a)
		return nil
	}
	if strings.Trim(part, "0123456789.") == "" {
		if meant := environment.Meant(part); meant.IsValid() {
			return fmt.Errorf("%q is no address; did you mean %s?", part, meant)
		}
		return fmt.Errorf("%q is neither a name nor an address", part)
	}
	if h.name != "" {
		return fmt.Errorf("two names, %q and %q; one stands on a line", plain(h.name), plain(part))
	}
	h.name = part
	return nil
}

// six takes what stands in brackets: an address, one with a prefix length, or
// the last half of one.
func (h *dhcpHost) six(part string) error {
	inner, closed := strings.CutSuffix(strings.TrimPrefix(part, "["), "]")
	if !closed {
		return fmt.Errorf("%q lacks the bracket at its end", plain(part))
	}
	text, bits, isRange := strings.Cut(inner, "/")
	a, err := netip.ParseAddr(text)
	switch {
	case err != nil || !a.Is6() || a.Zone() != "":
		return fmt.Errorf("%q is no IPv6 address; one such as [fd00::2] is wanted", plain(part))
	case isRange && bits != "128":
		h.partly = append(h.partly, part)
	case strings.HasPrefix(text, "::"):
		h.partly = append(h.partly, part)
	default:
		h.addrs = append(h.addrs, a.Unmap())
	}
	return nil
}
