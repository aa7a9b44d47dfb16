package daemon

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/dockstack/dockstack/dnsd"
)

// The settings of DNS, beside its zone and forwarders.
const (
	envDNS         = "DOCKSTACK_DNS"
	envClients     = envDNS + "_CLIENTS"
	envSecondaries = envDNS + "_SECONDARIES"
	envNameservers = envDNS + "_NAMESERVERS"
	envCache       = envDNS + "_CACHE"
	envLimit       = envDNS + "_LIMIT"
	envHealth      = envDNS + "_HEALTH"
	envForwarders  = "DOCKSTACK_FORWARDERS"
	envPage        = "DOCKSTACK_PAGE"
)

const (
	defaultDNS   = "127.0.0.153"
	defaultCache = 10000
	// maxCache bounds the memory: an answer takes some hundred bytes.
	maxCache = 1000000
)

// dnsSettings is how DNS is asked and by whom.
type dnsSettings struct {
	// addrs are the host's own addresses that it is asked on.
	addrs       []netip.Addr
	clients     []netip.Prefix
	secondaries []netip.AddrPort
	nameservers []dnsd.Nameserver
	// cache is how many answers are kept (negative: none), limit how many queries
	// a client may ask a second (0: any number).
	cache, limit int
	// health: unhealthy replicas leave the round robin.
	health bool
}

// fields splits a setting's list.
func fields(name string) []string {
	return strings.FieldsFunc(os.Getenv(name), func(r rune) bool { return r == ',' || r == ' ' })
}

func (c *config) readDNS(bad, mind func(name, want string)) {
	d := &c.dns
	for text := range strings.SplitSeq(env(envDNS, defaultDNS), ",") {
		addr, err := netip.ParseAddr(strings.TrimSpace(text))
		if err != nil || addr.IsUnspecified() || addr.IsMulticast() || addr.Zone() != "" {
			bad(envDNS, "addresses of this host with commas between them, such as 127.0.0.153 or 127.0.0.153,192.0.2.10; "+
				"0.0.0.0 is none: it would take port 53 from containers")
			break
		}
		d.addrs = append(d.addrs, addr.Unmap())
	}
	for _, r := range c.routes {
		if slices.ContainsFunc(r.Resolvers, func(at netip.AddrPort) bool { return at.Port() == dnsPort && slices.Contains(d.addrs, at.Addr()) }) {
			bad(envForwarders, "no route of "+r.Domain+" to dockstack itself: the question would come back for ever")
		}
	}
	for _, text := range fields(envClients) {
		prefix, err := parsePrefix(text)
		if err != nil {
			mind(envClients, "subnets that may ask, with commas between them, such as 192.0.2.0/24,2001:db8::/64")
			break
		}
		d.clients = append(d.clients, prefix)
	}
	for _, text := range fields(envSecondaries) {
		at, err := parseResolver(text)
		if err != nil {
			mind(envSecondaries, "addresses of DNS servers that may copy the zones, with commas between them, such as 192.0.2.53,[2001:db8::53]:5353")
			break
		}
		d.secondaries = append(d.secondaries, at)
	}
	c.readNameservers(mind)
	d.cache = number(mind, envCache, defaultCache, maxCache, "how many answers to keep, 0 to 1000000")
	if d.cache == 0 {
		d.cache = -1
	}
	d.limit = number(mind, envLimit, 0, 1<<30, "how many queries a client may ask a second, 0 for any number")
	switch strings.ToLower(env(envHealth, "off")) {
	case "on", "true", "1":
		d.health = true
	case "off", "false", "0":
	default:
		mind(envHealth, "on or off")
	}
}

// readNameservers reads NAME=ADDRESS pairs; a name may come twice.
func (c *config) readNameservers(mind func(name, want string)) {
	for _, text := range fields(envNameservers) {
		name, addrText, _ := strings.Cut(text, "=")
		name, nameErr := dnsd.CleanName(name)
		addr, err := netip.ParseAddr(addrText)
		if nameErr != nil || err != nil {
			mind(envNameservers, "names and addresses of the zone's DNS servers, such as ns1.endor.lab=192.0.2.10,ns2.endor.lab=192.0.2.11")
			return
		}
		i := slices.IndexFunc(c.dns.nameservers, func(n dnsd.Nameserver) bool { return n.Name == name })
		if i < 0 {
			i = len(c.dns.nameservers)
			c.dns.nameservers = append(c.dns.nameservers, dnsd.Nameserver{Name: name})
		}
		n := &c.dns.nameservers[i]
		n.Addrs = append(n.Addrs, addr.Unmap())
	}
}

func number(mind func(name, want string), name string, otherwise, most int, want string) int {
	n, err := strconv.Atoi(env(name, strconv.Itoa(otherwise)))
	if err != nil || n < 0 || n > most {
		mind(name, want)
		return otherwise
	}
	return n
}

// parsePrefix reads a subnet, or an address as one of its own.
func parsePrefix(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if p.Addr().Is4In6() {
		return p, errors.New("write it as IPv4")
	}
	return p.Masked(), err
}

// readPage reads where the status page is served.
func (c *config) readPage(mind func(name, want string)) {
	text := os.Getenv(envPage)
	if text == "" {
		return
	}
	at, err := netip.ParseAddrPort(text)
	if port, portErr := strconv.ParseUint(strings.TrimPrefix(text, ":"), 10, 16); portErr == nil {
		// A port alone is one of this host's own.
		at, err = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port)), nil
	}
	if err != nil || at.Port() == 0 {
		mind(envPage, "an address and port, such as 127.0.0.1:8053, or nothing for no page")
		return
	}
	c.page = at
}
