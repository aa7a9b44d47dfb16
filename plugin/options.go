package plugin

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/dockstack/dockstack/ipam"
)

// The options that a network takes, `-o` on the command line and
// `driver_opts` in a compose file. optOverlay is also an `--ipam-opt`.
const (
	optMTU      = "com.docker.network.driver.mtu"
	optIfPrefix = "com.docker.network.container_iface_prefix"
	optOverlay  = "dockstack.overlay"
	optVIP      = "dockstack.vip"
	optIPAM     = "dockstack.ipam"
	optVNI      = "dockstack.vni"
	optNames    = "dockstack.names"
)

// Keys of the engine's own in CreateNetwork's and RequestAddress' options
// (moby, daemon/libnetwork/netlabel).
const (
	keyGeneric      = "com.docker.network.generic"
	keyInternal     = "com.docker.network.internal"
	keyEndpointName = "com.docker.network.endpoint.name"
	keyAddressType  = "RequestAddressType"
	gatewayType     = "com.docker.network.gateway"
)

// networkOpts are the -o options we know. The two advertise_addr ones are the
// engine's: it reads them itself and passes them on.
var networkOpts = []string{
	optMTU, optIfPrefix, optOverlay, optVIP, optIPAM, optVNI, optNames,
	"com.docker.network.advertise_addr_nmsgs", "com.docker.network.advertise_addr_ms",
}

// ipamOpts are the --ipam-opt options we know.
var ipamOpts = []string{optOverlay}

// The smallest MTU is IPv6's (RFC 8200, section 5) less nothing, or IPv4's
// practical 576; the largest is what a veth takes.
const (
	minMTU = 576
	maxMTU = 65535
)

// settings are a network's options, checked.
type settings struct {
	mtu      int // 0: the default
	ifPrefix string
	overlay  string
	vips     []netip.Addr
	vipNames []string
	anyIPAM  bool
	vni      uint32 // 0: any
	perHost  bool
}

// parseNetworkOptions checks what CreateNetwork's Options hold.
func parseNetworkOptions(options map[string]any) (settings, error) {
	s := settings{ifPrefix: "eth"}
	generic, ok := options[keyGeneric].(map[string]any)
	if !ok && options[keyGeneric] != nil {
		return s, fmt.Errorf("malformed request: %s is no object", keyGeneric)
	}
	for _, key := range slices.Sorted(maps.Keys(generic)) {
		value, ok := generic[key].(string)
		if !ok {
			return s, fmt.Errorf("option %s: want text, got %v", key, generic[key])
		}
		if err := s.set(key, value); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *settings) set(key, value string) error {
	switch key {
	case optMTU:
		mtu, err := strconv.Atoi(value)
		if err != nil || mtu < minMTU || mtu > maxMTU {
			return fmt.Errorf("option %s=%s: want bytes, %d to %d", key, value, minMTU, maxMTU)
		}
		s.mtu = mtu
	case optIfPrefix:
		if value == "" || len(value) > 12 || strings.ContainsAny(value, "/ :") {
			return fmt.Errorf("option %s=%s: want the start of an interface's name, such as eth", key, value)
		}
		s.ifPrefix = value
	case optOverlay:
		return s.setOverlay(value)
	case optVIP:
		return s.setVIPs(value)
	case optIPAM:
		if value != "any" && value != "dockstack" {
			return fmt.Errorf("option %s=%s: want any (another IPAM driver is allowed) or dockstack", key, value)
		}
		s.anyIPAM = value == "any"
	case optVNI:
		return s.setVNI(value)
	case optNames:
		if value != "host" && value != "overlay" {
			return fmt.Errorf("option %s=%s: want host (a name may run on every host, each with an address of its own) or overlay (a name runs once, the default)", key, value)
		}
		s.perHost = value == "host"
	default:
		return unknownOption("-o", key, networkOpts)
	}
	return nil
}

// vipName is what can be the name of a virtual address: a host name that nobody
// takes for an address.
var vipName = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)

func (s *settings) setVIPs(value string) error {
	for text := range strings.SplitSeq(value, ",") {
		text = strings.TrimSpace(text)
		if vipName.MatchString(text) {
			s.vipNames = append(s.vipNames, text)
			continue
		}
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" {
			return fmt.Errorf("option %s=%s: %q is neither an address nor a name (a letter, then letters, digits and hyphens, all small); several have commas between them", optVIP, value, text)
		}
		s.vips = append(s.vips, addr.Unmap())
	}
	return nil
}

func (s *settings) setVNI(value string) error {
	vni, err := strconv.ParseUint(value, 10, 32)
	if err != nil || vni < 1 || vni >= ipam.FirstLocalVNI {
		return fmt.Errorf("option %s=%s: want a number, 1 to %d", optVNI, value, ipam.FirstLocalVNI-1)
	}
	s.vni = uint32(vni)
	return nil
}

func (s *settings) setOverlay(value string) error {
	if value == "" || len(value) > 63 || strings.ContainsAny(value, "/ ") {
		return fmt.Errorf("option %s=%q: want a name of 1 to 63 bytes without blank or slash", optOverlay, value)
	}
	s.overlay = value
	return nil
}

// parseIPAMOptions checks what RequestPool's Options hold.
func parseIPAMOptions(options map[string]string) (overlay string, err error) {
	var s settings
	for _, key := range slices.Sorted(maps.Keys(options)) {
		if key != optOverlay {
			return "", unknownOption("--ipam-opt", key, ipamOpts)
		}
		if err := s.setOverlay(options[key]); err != nil {
			return "", err
		}
	}
	return s.overlay, nil
}

// errUnknownOption is wrapped by the error of an option that we don't know.
var errUnknownOption = errors.New("unknown option")

// unknownOption names the option and the nearest one that exists.
func unknownOption(flag, key string, known []string) error {
	best := slices.MinFunc(known, func(a, b string) int { return distance(key, a) - distance(key, b) })
	if distance(key, best) <= max(3, len(key)/3) {
		return fmt.Errorf("%w %s %s: did you mean %s?", errUnknownOption, flag, key, best)
	}
	return fmt.Errorf("%w %s %s: there are %s", errUnknownOption, flag, key, strings.Join(known, ", "))
}

// distance counts the bytes to insert, remove, change or swap with their
// neighbour to make b of a (optimal string alignment).
func distance(a, b string) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[1] {
		rows[1][j] = j
	}
	for i := range len(a) {
		before, above, row := rows[0], rows[1], rows[2]
		row[0] = i + 1
		for j := range len(b) {
			change := above[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, above[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		rows[0], rows[1], rows[2] = above, row, before
	}
	return rows[1][len(b)]
}
