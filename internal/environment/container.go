package environment

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/dockstack/dockstack/internal/nearest"
	"github.com/dockstack/dockstack/internal/yamldoc"
)

// containerName is what the engine takes as a container's name.
var containerName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)

func (r *reader) container(p yamldoc.Pair) {
	c := Container{Name: p.Key, Line: p.Line}
	what := "container " + p.Key
	if !containerName.MatchString(p.Key) {
		r.wrong.Add(r.doc.At(p.Line), "container %q: the engine takes no such name; two or more of letters, digits, _, . and -, the first a letter or digit", p.Key)
	}
	hostSaid := false
	for _, q := range r.pairs(p.Value, what) {
		if slices.Contains(hookKeys, q.Key) {
			for _, item := range r.texts(q, what) {
				c.Hooks = append(c.Hooks, Hook{When: q.Key, Command: item.text, Line: item.line})
			}
			continue
		}
		if q.Value.Empty() && slices.Contains(containerKeys, q.Key) {
			continue // as if it were not there
		}
		if q.Key == "host" {
			c.Host, hostSaid = r.host(q, what), true
			continue
		}
		r.field(&c, q, what)
	}
	if !hostSaid {
		switch hosts := r.env.Hosts; {
		case len(hosts) == 1:
			c.Host = hosts[0].Name
		case len(hosts) > 1:
			r.wrong.Add(r.doc.At(c.Line), "%s: no `host:`, and there are %s; say which, as in `host: *%s`, or `<<: *containerdefault`", what, names(hosts), hosts[0].Name)
		}
	}
	r.network(c, what)
	slices.SortStableFunc(c.Hooks, func(a, b Hook) int { return slices.Index(hookKeys, a.When) - slices.Index(hookKeys, b.When) })
	r.env.Containers = append(r.env.Containers, c)
}

// field reads one key into c.
func (r *reader) field(c *Container, q yamldoc.Pair, what string) {
	switch q.Key {
	case "ip":
		c.IP, c.IPLine = r.addr(q, what), q.Line
	case "mac":
		text, _ := q.Value.Scalar()
		if hw, err := net.ParseMAC(text); err != nil || len(hw) != 6 {
			r.wrong.Add(r.doc.At(q.Line), "%s: mac %s is none; six bytes such as 02:42:0a:00:00:02 are wanted, in quotes", what, q.Value.Kind())
		} else {
			c.MAC = hw.String()
		}
	case "image":
		c.Image = r.text(q, what)
	case "mask":
		c.Mask = r.mask(q, what)
	case "gateway":
		c.Gateway = r.addr(q, what)
	case "dns":
		for _, item := range r.texts(q, what) {
			a, err := parseAddr(item.text)
			if err != nil {
				r.wrong.Add(r.doc.At(item.line), "%s: dns %w", what, err)
				continue
			}
			c.DNS = append(c.DNS, a)
		}
	case "domain":
		c.Domain = r.text(q, what)
	case "bridge":
		c.Bridge = r.text(q, what)
	case "volumes":
		for _, item := range r.texts(q, what) {
			if !isVolume(item.text) {
				r.wrong.Add(r.doc.At(item.line), "%s: volume %q is none; FOLDER:FOLDER-IN-THE-CONTAINER is wanted", what, item.text)
			}
			c.Volumes = append(c.Volumes, item.text)
		}
	case "state":
		var ok bool
		if c.State, ok = q.Value.Bool(); !ok {
			r.wrong.Add(r.doc.At(q.Line), "%s: state %s is neither true nor false", what, q.Value.Kind())
		}
		c.StateKnown = ok
	default:
		r.unknown(q, "containers."+c.Name+".", containerKeys)
	}
}

// isVolume tells whether text is SOURCE:TARGET, SOURCE:TARGET:OPTIONS or TARGET,
// where a source is a folder or a volume's name.
func isVolume(text string) bool {
	parts := strings.Split(text, ":")
	if len(parts) == 1 {
		return strings.HasPrefix(text, "/")
	}
	source := parts[0]
	return len(parts) <= 3 && !slices.Contains(parts, "") && strings.HasPrefix(parts[1], "/") &&
		(strings.ContainsAny(source[:1], "/.~") || containerName.MatchString(source))
}

// network checks that mask, address and gateway agree.
func (r *reader) network(c Container, what string) {
	if c.IP.IsValid() && c.Mask == 0 {
		r.wrong.Add(r.doc.At(c.IPLine), "%s: %s has no mask; is `<<: *containerdefault` missing?", what, c.IP)
		return
	}
	if c.Mask > c.IP.BitLen() && c.IP.IsValid() {
		r.wrong.Add(r.doc.At(c.IPLine), "%s: mask %d is more than %d, which %s has", what, c.Mask, c.IP.BitLen(), c.IP)
		return
	}
	subnet := c.Subnet()
	if !subnet.IsValid() {
		return
	}
	if c.Gateway.IsValid() && !subnet.Contains(c.Gateway) {
		r.wrong.Add(r.doc.At(c.IPLine), "%s: the gateway %s is not in %s, where %s is; is ip, mask or gateway mistyped?", what, c.Gateway, subnet, c.IP)
	}
	if c.IP.IsValid() && c.IP == subnet.Addr() && subnet.Bits() < c.IP.BitLen()-1 {
		r.wrong.Add(r.doc.At(c.IPLine), "%s: %s is the network %s itself; the first address is %s", what, c.IP, subnet, c.IP.Next())
	}
}

// host finds the container host that is meant: by an alias, by its name, or by
// a copy of it.
func (r *reader) host(q yamldoc.Pair, what string) string {
	for i, v := range r.hostValues {
		if q.Value.Same(v) {
			return r.env.Hosts[i].Name
		}
	}
	if text, ok := q.Value.Scalar(); ok {
		var all []string
		for _, h := range r.env.Hosts {
			if h.Name == text || h.IP.IsValid() && h.IP.String() == text {
				return h.Name
			}
			all = append(all, h.Name)
		}
		if len(all) == 0 {
			r.wrong.Add(r.doc.At(q.Line), "%s: there is no container host %q, since there is no `containerhosts:`", what, text)
			return ""
		}
		r.wrong.Add(r.doc.At(q.Line), "%s: there is no container host %q%s; there are %s", what, text, nearest.Hint(text, all), names(r.env.Hosts))
		return ""
	}
	if ip, _, ok := q.Value.Get("ip"); ok {
		text, _ := ip.Scalar()
		for _, h := range r.env.Hosts {
			if h.IP.IsValid() && h.IP.String() == text {
				return h.Name
			}
		}
		r.wrong.Add(r.doc.At(q.Line), "%s: no container host has the IP %q; there are %s", what, text, names(r.env.Hosts))
		return ""
	}
	r.wrong.Add(r.doc.At(q.Line), "%s: host is %s; a container host is wanted, as in `host: *host1`", what, q.Value.Kind())
	return ""
}

func names(hosts []Host) string {
	if len(hosts) == 0 {
		return "none"
	}
	var out []string
	for _, h := range hosts {
		if h.IP.IsValid() {
			out = append(out, fmt.Sprintf("%s (%s)", h.Name, h.IP))
		} else {
			out = append(out, h.Name)
		}
	}
	return strings.Join(out, ", ")
}

type item struct {
	text string
	line int
}

// texts are the entries of a list, or a single value; empty ones are nothing.
func (r *reader) texts(q yamldoc.Pair, what string) []item {
	var out []item
	for _, v := range q.Value.List() {
		text, ok := v.Scalar()
		switch {
		case ok:
			out = append(out, item{text, v.Line()})
		case !v.Empty():
			r.wrong.Add(v.At(), "%s: %s has %s where a line of text is wanted; is something to be put in quotes?", what, q.Key, v.Kind())
		}
	}
	return out
}

func (r *reader) text(q yamldoc.Pair, what string) string {
	text, ok := q.Value.Scalar()
	if !ok {
		r.wrong.Add(r.doc.At(q.Line), "%s: %s is %s where a word is wanted", what, q.Key, q.Value.Kind())
	}
	return text
}

func (r *reader) addr(q yamldoc.Pair, what string) netip.Addr {
	text, ok := q.Value.Scalar()
	if !ok {
		r.wrong.Add(r.doc.At(q.Line), "%s: %s is %s where an address is wanted", what, q.Key, q.Value.Kind())
		return netip.Addr{}
	}
	a, err := parseAddr(text)
	if err != nil {
		r.wrong.Add(r.doc.At(q.Line), "%s: %s %w", what, q.Key, err)
	}
	return a
}

func (r *reader) mask(q yamldoc.Pair, what string) int {
	text, _ := q.Value.Scalar()
	bits, err := parseMask(text)
	if err != nil {
		r.wrong.Add(r.doc.At(q.Line), "%s: %s %w", what, q.Key, err)
	}
	return bits
}

// parseMask reads 16, /16 or 255.255.0.0.
func parseMask(text string) (int, error) {
	if n, err := strconv.Atoi(strings.TrimPrefix(text, "/")); err == nil {
		if n > 0 && n <= 128 {
			return n, nil
		}
		return 0, fmt.Errorf("%q is none; it is 1 to 32 for IPv4, 1 to 128 for IPv6", text)
	}
	a, err := netip.ParseAddr(text)
	if err != nil || !a.Is4() {
		return 0, fmt.Errorf("%q is none; a number such as 16 is wanted", text)
	}
	b := a.As4()
	ones, bits := net.IPMask(b[:]).Size()
	if bits == 0 {
		for i := range b {
			b[i] = ^b[i]
		}
		if ones, bits = net.IPMask(b[:]).Size(); bits != 0 {
			return 0, fmt.Errorf("%q is a wildcard and no mask; did you mean %d?", text, ones)
		}
		return 0, fmt.Errorf("%q is none: its ones are not all in front", text)
	}
	if ones == 0 {
		return 0, fmt.Errorf("%q is every address there is", text)
	}
	return ones, nil
}
