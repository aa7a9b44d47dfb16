package etcdkv

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

const (
	// DefaultPrefix is where the keys are when the setting names no prefix.
	DefaultPrefix = "/dockstack"
	defaultPort   = "2379"
	maxPrefix     = 256
	maxHost       = 253
)

// ErrAddress wraps what Parse says.
var ErrAddress = errors.New("not the address of a store")

// Address is where an etcd is, and where in it dockstack's keys are.
type Address struct {
	// Endpoints are host:port, one per member.
	Endpoints []string
	// TLS: members are spoken to in TLS.
	TLS bool
	// Prefix begins with a slash and does not end with one.
	Prefix string
}

// String is what Parse takes.
func (a Address) String() string {
	return a.scheme() + "://" + strings.Join(a.Endpoints, ",") + a.Prefix
}

func (a Address) scheme() string {
	if a.TLS {
		return "etcds"
	}
	return "etcd"
}

// Parse reads "etcd://host:port,host:port/prefix"; with "etcds" members are
// spoken to in TLS. Without a port it is 2379.
func Parse(s string) (Address, error) {
	a, err := parse(s)
	if err != nil {
		return Address{}, fmt.Errorf("%q is %w: %w; an example: etcd://10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379%s", s, ErrAddress, err, DefaultPrefix)
	}
	return a, nil
}

func parse(s string) (Address, error) {
	var a Address
	scheme, rest, found := strings.Cut(s, "://")
	switch {
	case !found:
		return a, errors.New("it does not begin with etcd:// or, for TLS, etcds://")
	case scheme == "etcds" || scheme == "etcd":
		a.TLS = scheme == "etcds"
	case scheme == "http" || scheme == "https":
		return a, fmt.Errorf("write etcd%s:// instead of %s://", strings.TrimPrefix(scheme, "http"), scheme)
	default:
		return a, fmt.Errorf("the scheme %.20q is neither etcd nor, for TLS, etcds", scheme)
	}
	hosts, prefix, _ := strings.Cut(rest, "/")
	if before, _, again := strings.Cut(rest, "://"); again {
		return a, mixed(scheme, before)
	}
	var err error
	if a.Prefix, err = parsePrefix(prefix); err != nil {
		return a, err
	}
	a.Endpoints, err = parseHosts(hosts)
	return a, err
}

// mixed says what to do about a second scheme.
func mixed(first, before string) error {
	second := before[strings.LastIndexAny(before, ",/")+1:]
	if second == first {
		return fmt.Errorf("write %s:// once, in front of the first host", first)
	}
	return fmt.Errorf("schemes are mixed (%s and %.20s): all members are spoken to with TLS (etcds) or all without (etcd)", first, second)
}

func parsePrefix(s string) (string, error) {
	s = strings.TrimSuffix(s, "/")
	if s == "" {
		return DefaultPrefix, nil
	}
	if len(s) > maxPrefix {
		return "", fmt.Errorf("the prefix has %d characters, %d is the most", len(s), maxPrefix)
	}
	if slices.Contains(strings.Split(s, "/"), "") {
		return "", fmt.Errorf("the prefix /%s has an empty part", s)
	}
	odd := func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsGraphic(r) || strings.ContainsRune(" ,?#%\\\"'", r)
	}
	if i := strings.IndexFunc(s, odd); i >= 0 {
		return "", fmt.Errorf("the prefix has %q in it: letters, digits and . _ - / do", s[i:i+1])
	}
	return "/" + s, nil
}

func parseHosts(s string) ([]string, error) {
	if s == "" {
		return nil, errors.New("it names no host")
	}
	if strings.Contains(s, "@") {
		return nil, errors.New("user and password have settings of their own, DOCKSTACK_STORE_USER and DOCKSTACK_STORE_PASSWORD_FILE")
	}
	var out []string
	for one := range strings.SplitSeq(s, ",") {
		endpoint, err := parseHost(one)
		if err != nil {
			return nil, err
		}
		if slices.Contains(out, endpoint) {
			return nil, fmt.Errorf("%s is there twice", endpoint)
		}
		out = append(out, endpoint)
	}
	return out, nil
}

func parseHost(s string) (string, error) {
	if s == "" {
		return "", errors.New("between two commas there is no host")
	}
	host, port := s, defaultPort
	if addr, err := netip.ParseAddr(s); err == nil && addr.Is6() {
		return "", fmt.Errorf("write the IPv6 address %s in brackets: [%s]:%s", s, s, defaultPort)
	}
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		host, port = s[:i], s[i+1:]
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return "", fmt.Errorf("%q is no port, in %q: it is a number from 1 to 65535", port, s)
	}
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		addr, err := netip.ParseAddr(host[1 : len(host)-1])
		if err != nil || !addr.Is6() {
			return "", fmt.Errorf("%q is no IPv6 address", host)
		}
		return netip.AddrPortFrom(addr, uint16(n)).String(), nil
	}
	if err := checkHost(host); err != nil {
		return "", fmt.Errorf("%q: %w", s, err)
	}
	return strings.ToLower(host) + ":" + port, nil
}

func checkHost(host string) error {
	if addr, err := netip.ParseAddr(host); err == nil && addr.Is4() {
		if addr.IsUnspecified() {
			return errors.New("0.0.0.0 is where a server listens, write the address that hosts reach it at")
		}
		return nil
	}
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_'
	}
	if host == "" || len(host) > maxHost || strings.IndexFunc(host, odd) >= 0 || strings.HasPrefix(host, "-") ||
		strings.HasPrefix(host, ".") || strings.Contains(host, "..") {
		return errors.New("no name or address of a host")
	}
	// A last label of digits is an address with a mistake in it.
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	if _, err := strconv.ParseUint(labels[len(labels)-1], 10, 64); err == nil {
		return errors.New("no IPv4 address")
	}
	return nil
}
