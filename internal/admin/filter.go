package admin

import (
	"net"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/dockstack/dockstack/internal/nearest"
)

// StateReserved is Filter's word for a lease that an operator reserved, live or
// parked.
const StateReserved = "reserved"

// States are those that a Filter knows.
var States = []string{StateLive, StateParked, StateReserved}

// Filter picks leases. Of each list one has to fit; an empty list takes all.
// Words may have *, ? and [a-z] in them, and letters' case does not matter.
type Filter struct {
	// Names are containers' names.
	Names []string
	// Addresses are addresses or prefixes, such as 172.16.0.0/24.
	Addresses []string
	MACs      []string
	// Networks are names of networks or overlays, subnets, or pools' ids.
	Networks []string
	// Hosts are names or ids.
	Hosts []string
	// States are among States.
	States []string
}

// The filter's words in a query.
func (f *Filter) fields() map[string]*[]string {
	return map[string]*[]string{
		"name": &f.Names, "address": &f.Addresses, "mac": &f.MACs,
		"network": &f.Networks, "host": &f.Hosts, "state": &f.States,
	}
}

// Query is the filter as a URL has it.
func (f Filter) Query() url.Values {
	out := url.Values{}
	for key, list := range f.fields() {
		for _, word := range *list {
			out.Add(key, word)
		}
	}
	return out
}

// ParseFilter is the reverse of Query, and checks what it reads.
func ParseFilter(q url.Values) (Filter, error) {
	var f Filter
	fields := f.fields()
	var known []string
	for key := range fields {
		known = append(known, key)
	}
	for key, words := range q {
		list := fields[key]
		if list == nil {
			return f, Errorf(CodeUsage, "no filter `%s`%s", Plain(key), nearest.Hint(key, known))
		}
		*list = words
	}
	return f, f.check()
}

func (f Filter) check() error {
	for _, state := range f.States {
		if !slices.Contains(States, strings.ToLower(state)) {
			return Errorf(CodeUsage, "no state `%s`%s", Plain(state), nearest.HintAnd(state, States, "the states are "+strings.Join(States, ", ")))
		}
	}
	for key, list := range f.fields() {
		for _, word := range *list {
			if word == "" {
				return Errorf(CodeUsage, "the word for %s is empty; leave it out for all", key)
			}
			if _, err := path.Match(word, ""); err != nil {
				return Errorf(CodeUsage, "`%s` is no pattern: a `[` needs its `]`; `\\[` stands for the character itself", Plain(word))
			}
		}
	}
	for _, word := range f.Addresses {
		if err := checkAddress(word); err != nil {
			return err
		}
	}
	for _, word := range f.MACs {
		if _, ok := parseMAC(word); !ok && !isPattern(word) {
			return Errorf(CodeUsage, "`%s` is no MAC address; ask for one such as 02:00:00:00:01:1f, or a pattern such as '02:*'", Plain(shorten(word)))
		}
	}
	return nil
}

// parseMAC is a MAC address as dockstack writes it.
func parseMAC(word string) (string, bool) {
	hw, err := net.ParseMAC(word)
	return hw.String(), err == nil && len(hw) == 6
}

func fitsMAC(word, is string) bool {
	if mac, ok := parseMAC(word); ok {
		word = mac
	}
	return is != "" && fitsWord(word, is)
}

func checkAddress(word string) error {
	if isPattern(word) {
		return nil
	}
	if strings.Contains(word, "/") {
		if _, err := netip.ParsePrefix(word); err != nil {
			return Errorf(CodeUsage, "`%s` is no prefix; one is 172.16.0.0/24", Plain(word))
		}
		return nil
	}
	if _, err := netip.ParseAddr(word); err != nil {
		return Errorf(CodeUsage, "`%s` is no address; ask for an address, a prefix such as 172.16.0.0/24, or a pattern such as '172.16.*'", Plain(word))
	}
	return nil
}

func isPattern(word string) bool { return strings.ContainsAny(word, `*?[\`) }

// Match is whether the filter takes a lease.
func (f Filter) Match(l Lease) bool {
	return fits(f.Names, l.Name) &&
		(len(f.Addresses) == 0 || slices.ContainsFunc(f.Addresses, func(w string) bool { return fitsAddr(w, l.Address) })) &&
		(len(f.MACs) == 0 || slices.ContainsFunc(f.MACs, func(w string) bool { return fitsMAC(w, l.MAC) })) &&
		fits(f.Networks, l.Network, l.Overlay, l.Pool, subnetOf(l.Pool)) &&
		fits(f.Hosts, l.Host, l.HostID) &&
		(len(f.States) == 0 || slices.ContainsFunc(f.States, func(w string) bool { return fitsState(w, l) }))
}

// fits is whether one of the words is one of what there is.
func fits(words []string, are ...string) bool {
	if len(words) == 0 {
		return true
	}
	for _, word := range words {
		for _, is := range are {
			if is != "" && fitsWord(word, is) {
				return true
			}
		}
	}
	return false
}

func fitsWord(word, is string) bool {
	if strings.EqualFold(word, is) {
		return true
	}
	if !isPattern(word) {
		return false
	}
	// A * takes what has slashes too, as those of pools' ids.
	flat := strings.NewReplacer("/", "\x01")
	ok, err := path.Match(flat.Replace(strings.ToLower(word)), flat.Replace(strings.ToLower(is)))
	return err == nil && ok
}

func fitsAddr(word string, is netip.Addr) bool {
	if p, err := netip.ParsePrefix(word); err == nil {
		return p.Masked().Contains(is)
	}
	if a, err := netip.ParseAddr(word); err == nil {
		return a == is
	}
	return fitsWord(word, is.String())
}

func fitsState(word string, l Lease) bool {
	if strings.EqualFold(word, StateReserved) {
		return l.Reserved
	}
	return strings.EqualFold(word, l.State)
}

// subnetOf is the subnet in a pool's id.
func subnetOf(pool string) string {
	subnet, _, _ := strings.Cut(pool, "@")
	return subnet
}

// MatchWords is whether one of the words is one of what there is, with patterns
// as a Filter has them. No words take all.
func MatchWords(words []string, are ...string) bool { return fits(words, are...) }
