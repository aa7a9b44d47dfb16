package dnsd

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	// DefaultZone is the zone when none is set.
	DefaultZone = "dockstack"

	// answerTTL is how long an answer may be kept, in seconds. A name keeps
	// its address, so nothing much can go stale; the few seconds bound how
	// long a container that stopped, or changed its networks, is still found.
	answerTTL = 5
	// negativeTTL is how long "no such name" may be kept, in seconds. It is
	// the shortest that is not 0: a container that was looked for too early
	// must be found as soon as it is up, and a TTL of 0 makes some resolvers
	// ask twice or apply a minimum of their own.
	negativeTTL = 1

	defaultMaxInFlight     = 256
	defaultUpstreamTimeout = 1500 * time.Millisecond
	defaultForwardBudget   = 3500 * time.Millisecond
	defaultTCPIdle         = 10 * time.Second
	defaultMaxConns        = 256
	defaultMaxConnsPerAddr = 32
)

// Config says how a Server answers. The zero value serves DefaultZone and
// forwards to the resolvers in /etc/resolv.conf.
type Config struct {
	// Zone is the domain that the names live under, such as "dockstack" or
	// "endor.lab". It belongs to this server alone: what it does not know in
	// it does not exist.
	Zone string
	// Forwarders returns the resolvers that the rest is forwarded to, best
	// first. It is called for every forwarded query and must not block.
	// Addresses that the server itself listens on are left out.
	Forwarders func() []netip.AddrPort
	// Self tells of addresses that lead to the server, beside those that it
	// listens on; nobody is asked there. Nil: none.
	Self func(netip.AddrPort) bool
	// ResolvConf is the file that lists the resolvers when Forwarders is nil;
	// it is read again when it changes. Default "/etc/resolv.conf".
	ResolvConf string
	// MaxInFlight is how many queries may be with a resolver at once, each of
	// which holds a socket; what comes beyond is answered SERVFAIL at once.
	// Default 256.
	MaxInFlight int
	// UpstreamTimeout is how long one resolver may take. Default 1.5 s, so
	// that a second one is still tried within the 4 s that Docker's own
	// resolver waits for us.
	UpstreamTimeout time.Duration
	// ForwardBudget is how long a forwarded query may take in all. Default
	// 3.5 s.
	ForwardBudget time.Duration
	// TCPIdle is how long a TCP connection may be silent. Default 10 s.
	TCPIdle time.Duration
	// MaxConns and MaxConnsPerAddr bound the TCP connections, in all and of
	// one client. Defaults 256 and 32.
	MaxConns, MaxConnsPerAddr int

	// Suggest says what a name that does not exist may have been meant for, as
	// the end of a sentence, or "": Explain adds it. all are the names that there
	// are. Nil: nothing is suggested.
	Suggest func(want string, all []string) string
	// Clients are served beside loopback, the host and the overlays.
	Clients []netip.Prefix
	// Secondaries may transfer our zones and are notified of changes.
	Secondaries []netip.AddrPort
	// Nameservers are the NS records of our zones, for a site's DNS to delegate
	// to, with their addresses. None: the zone's own name is its server.
	Nameservers []Nameserver
	// Routes returns which domains other resolvers than Forwarders are asked
	// for. It is called for every forwarded query and must not block.
	Routes func() []Route
	// CacheSize is how many forwarded answers are kept. Default 10,000;
	// negative: none.
	CacheSize int
	// ClientRate is how many queries a second one client may send; 0: any.
	ClientRate int
	// MaxForwardPerClient is how many queries of one client may be with a
	// resolver at once. Default 64.
	MaxForwardPerClient int
}

// Nameserver is a name that our zones are served under, and its addresses.
type Nameserver struct {
	Name  string
	Addrs []netip.Addr
}

// withDefaults returns c with everything set, or an error about its zone.
func (c Config) withDefaults() (Config, error) {
	if c.Zone == "" {
		c.Zone = DefaultZone
	}
	zone, err := cleanZone(c.Zone)
	if err != nil {
		return c, err
	}
	c.Zone = zone
	servers := make([]Nameserver, len(c.Nameservers))
	for i, s := range c.Nameservers {
		if s.Name, err = CleanName(s.Name); err != nil {
			return c, err
		}
		servers[i] = s
	}
	c.Nameservers = servers
	if c.ResolvConf == "" {
		c.ResolvConf = "/etc/resolv.conf"
	}
	if c.Forwarders == nil {
		c.Forwarders = ResolvConf(c.ResolvConf)
	}
	if c.Suggest == nil {
		c.Suggest = func(string, []string) string { return "" }
	}
	setDefault(&c.MaxInFlight, defaultMaxInFlight)
	setDefault(&c.UpstreamTimeout, defaultUpstreamTimeout)
	setDefault(&c.ForwardBudget, defaultForwardBudget)
	setDefault(&c.TCPIdle, defaultTCPIdle)
	setDefault(&c.MaxForwardPerClient, defaultMaxForwardPerClient)
	if c.CacheSize == 0 {
		c.CacheSize = defaultCacheSize
	}
	setDefault(&c.MaxConns, defaultMaxConns)
	setDefault(&c.MaxConnsPerAddr, defaultMaxConnsPerAddr)
	return c, nil
}

func setDefault[T int | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

// CleanName returns name in lower case without a dot at its end, if it is one of
// plain labels, as hosts have.
func CleanName(name string) (string, error) {
	clean := strings.ToLower(strings.TrimSuffix(name, "."))
	if !nameable(clean) {
		return "", fmt.Errorf("%w: %q; use letters, digits, hyphens and dots, at most 63 characters between two dots, such as \"ns1.endor.lab\"", ErrName, name)
	}
	return clean, nil
}

// cleanZone returns zone in lower case without dots around it.
func cleanZone(zone string) (string, error) {
	z := strings.ToLower(strings.Trim(zone, "."))
	_, ok := dns.IsDomainName(z)
	// 63 bytes for a label before it and some room for a network's name; the
	// whole must stay below 255.
	if z == "" || !ok || len(z) > 150 || !nameable(z) {
		return "", fmt.Errorf("%w: %q; use letters, digits, hyphens and dots, such as \"dockstack\" or \"endor.lab\"", ErrZone, zone)
	}
	if z == "arpa" || strings.HasSuffix(z, ".arpa") || z == "localhost" {
		return "", fmt.Errorf("%w: %q is set aside by the DNS itself; use another, such as \"endor.lab\"", ErrZone, zone)
	}
	return z, nil
}
