package dnsd

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// forms is what an error shows, because nobody remembers the notation.
const forms = "write 10.0.0.1 or 10.0.0.1#5353 for a resolver, /corp.example/10.1.1.1 for one of a domain, " +
	"/local.test/ for a domain that nobody is asked about, /sub.corp.example/# for one that goes to the usual resolvers, " +
	"/10.1.0.0/16/10.1.1.1 for the names of addresses"

// ParseForwarders reads a list of resolvers in dnsmasq's notation, with commas
// or spaces in between: those that are asked for everything, and routes.
//
//	10.0.0.1,10.0.0.2#5353,[2001:db8::1]:53   asked for everything else
//	/corp.example/10.1.1.1,/corp.example/10.1.1.2
//	/corp.example/corp.test/10.1.1.1          two domains, one resolver
//	/local.test/                              nobody is asked
//	/open.corp.example/#                      as everything else
//	/16.172.in-addr.arpa/10.1.1.1             names of addresses
//	/172.16.0.0/12/10.1.1.1                   the same, for a subnet
//
// Empty text gives nothing. An error names the piece that it is about.
func ParseForwarders(text string) ([]netip.AddrPort, []Route, error) {
	var resolvers []netip.AddrPort
	var routes []Route
	at := map[string]int{}
	for _, piece := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' }) {
		if !strings.HasPrefix(piece, "/") {
			server, err := parseResolver(piece)
			if err != nil {
				return nil, nil, forwarderError(piece, err)
			}
			resolvers = append(resolvers, server)
			continue
		}
		list, err := parseRoute(piece)
		if err != nil {
			return nil, nil, forwarderError(piece, err)
		}
		for _, r := range list {
			i, known := at[r.Domain]
			if !known {
				at[r.Domain] = len(routes)
				routes = append(routes, r)
				continue
			}
			have := &routes[i]
			if have.local() != r.local() || have.Default != r.Default {
				return nil, nil, forwarderError(piece, fmt.Errorf("%s has another rule before; give it one", r.Domain))
			}
			have.Resolvers = append(have.Resolvers, r.Resolvers...)
		}
	}
	return resolvers, routes, nil
}

func forwarderError(piece string, err error) error {
	return fmt.Errorf("%w %q: %w; %s", ErrForwarder, piece, err, forms)
}

// parseRoute reads /domain/…/resolver, of which both may be missing or several.
func parseRoute(piece string) ([]Route, error) {
	end := strings.LastIndexByte(piece, '/')
	if end == 0 {
		return nil, fmt.Errorf("the domain has no slash behind it")
	}
	var r Route
	switch to := piece[end+1:]; to {
	case "":
	case "#":
		r.Default = true
	default:
		server, err := parseResolver(to)
		if err != nil {
			return nil, err
		}
		r.Resolvers = []netip.AddrPort{server}
	}
	domains, err := parseDomains(strings.Split(piece[1:end], "/"))
	if err != nil {
		return nil, err
	}
	list := make([]Route, len(domains))
	for i, d := range domains {
		list[i] = Route{Domain: d, Resolvers: slices.Clip(r.Resolvers), Default: r.Default}
	}
	return list, nil
}

// parseDomains reads domains, and subnets as an address and a number of bits.
func parseDomains(parts []string) ([]string, error) {
	var domains []string
	for i := 0; i < len(parts); i++ {
		addr, err := netip.ParseAddr(parts[i])
		if err != nil {
			domain, err := parseDomain(parts[i])
			if err != nil {
				return nil, err
			}
			domains = append(domains, domain)
			continue
		}
		if i++; i == len(parts) {
			return nil, fmt.Errorf("%s is an address; for its name write %s/%d", addr, addr, addr.BitLen())
		}
		bits, err := strconv.Atoi(parts[i])
		if err != nil {
			return nil, fmt.Errorf("%s/%s is no subnet", addr, parts[i])
		}
		prefix, err := addr.Unmap().WithZone("").Prefix(bits)
		if err != nil || bits == 0 {
			return nil, fmt.Errorf("%s/%d is no subnet: take 1 to %d bits", addr, bits, addr.Unmap().BitLen())
		}
		domains = append(domains, reverseDomains(prefix)...)
	}
	return domains, nil
}

func parseDomain(text string) (string, error) {
	domain := strings.ToLower(strings.Trim(text, "."))
	labels, ok := dns.IsDomainName(domain)
	switch {
	case text == "":
		return "", fmt.Errorf("a domain is missing between the slashes")
	case strings.HasPrefix(text, "*"):
		return "", fmt.Errorf("write %s: what is below it is meant anyway", strings.TrimLeft(text, "*."))
	case domain == "" || !ok || labels == 0 || !nameable(domain):
		return "", fmt.Errorf("%q is no domain", text)
	}
	return domain, nil
}

// reverseDomains are the domains that hold the names of p's addresses: one, or
// as many as it takes where p ends within an octet or nibble.
func reverseDomains(p netip.Prefix) []string {
	step, tail := 8, arpa4
	if p.Addr().Is6() {
		step, tail = 4, arpa6
	}
	digits := (p.Bits() + step - 1) / step
	var domains []string
	bytes := p.Masked().Addr().AsSlice()
	for n := range 1 << (digits*step - p.Bits()) {
		var b strings.Builder
		for i := digits - 1; i >= 0; i-- {
			value, base := int(bytes[i*step/8]), 10
			if step == 4 {
				value, base = value>>(4*(1-i%2))&0xf, 16
			}
			if i == digits-1 {
				value += n
			} else {
				b.WriteByte('.')
			}
			b.WriteString(strconv.FormatInt(int64(value), base))
		}
		domains = append(domains, b.String()+tail)
	}
	return domains
}

// parseResolver reads an address with or without a port.
func parseResolver(text string) (netip.AddrPort, error) {
	host, port, hasPort := strings.Cut(text, "#")
	if strings.Contains(text, "@") {
		return netip.AddrPort{}, fmt.Errorf("an interface or source address (@) cannot be chosen")
	}
	if !hasPort {
		if server, err := netip.ParseAddrPort(text); err == nil {
			return checkResolver(netip.AddrPortFrom(server.Addr().Unmap(), server.Port()))
		}
		port = strconv.Itoa(dnsPort)
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is no address", host)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is no port", port)
	}
	return checkResolver(netip.AddrPortFrom(addr.Unmap(), uint16(n)))
}

func checkResolver(server netip.AddrPort) (netip.AddrPort, error) {
	switch addr := server.Addr(); {
	case server.Port() == 0:
		return server, fmt.Errorf("0 is no port")
	case addr.IsUnspecified(), addr.IsMulticast(), addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return server, fmt.Errorf("no resolver can be at %s", addr)
	}
	return server, nil
}
