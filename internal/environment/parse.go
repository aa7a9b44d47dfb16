package environment

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/dockstack/dockstack/internal/nearest"
	"github.com/dockstack/dockstack/internal/yamldoc"
)

// The keys that the ancestor knew.
var (
	topKeys       = []string{"common", "containerhosts", "containerdefault", "containers", "registered_services"}
	hostKeys      = []string{"ip", "port"}
	hookKeys      = []string{"precreation", "postcreation", "postdestroy"}
	containerKeys = append([]string{"ip", "mac", "image", "mask", "gateway", "dns", "domain", "bridge", "host", "volumes", "state"}, hookKeys...)
)

// reader goes through a document once.
type reader struct {
	doc   *yamldoc.Doc
	env   *Environment
	wrong yamldoc.Problems
	// hostValues are the values of containerhosts, in the order of env.Hosts: a
	// container names its host by an alias.
	hostValues []yamldoc.Value
}

func (r *reader) top() {
	pairs, err := r.doc.Top().Map()
	if err != nil {
		r.wrong.Err(err)
		return
	}
	parts := map[string]yamldoc.Value{}
	for _, p := range pairs {
		if !slices.Contains(topKeys, p.Key) {
			r.unknown(p, "", topKeys)
			continue
		}
		parts[p.Key] = p.Value
	}
	if v, ok := parts["containers"]; !ok || v.Empty() {
		at := r.doc.File
		if ok {
			at = v.At()
		}
		r.wrong.Add(at, "it has no `containers:`; is it an environment.yaml%s", r.meantTop("containers"))
		return
	}
	r.common(parts["common"])
	r.hosts(parts["containerhosts"])
	// Only what merge keys bring counts, but a mistake is named where it stands.
	for _, p := range r.pairs(parts["containerdefault"], "containerdefault") {
		if !slices.Contains(containerKeys, p.Key) {
			r.unknown(p, "containerdefault.", containerKeys)
		}
	}
	for _, p := range r.pairs(parts["containers"], "containers") {
		r.container(p)
	}
	r.services(parts["registered_services"])
	r.distinct()
}

// meantTop ends a question with the unknown top key that was meant for key.
func (r *reader) meantTop(key string) string {
	for _, u := range r.env.Unknown {
		if u.Meant == key {
			return fmt.Sprintf(" with `%s` on line %d mistyped?", u.Path, u.Line)
		}
	}
	return "?"
}

// pairs are a mapping's, and none where there is an error, which is noted.
func (r *reader) pairs(v yamldoc.Value, what string) []yamldoc.Pair {
	pairs, err := v.Map()
	if err != nil {
		r.wrong.Err(fmt.Errorf("%s: %w", what, err))
		return nil
	}
	return pairs
}

func (r *reader) unknown(p yamldoc.Pair, prefix string, known []string) {
	if p.Merged {
		return // said where it is written
	}
	u := Unknown{Path: prefix + p.Key, Line: p.Line}
	if near := nearest.Of(p.Key, known, 1); len(near) > 0 {
		u.Meant = near[0]
	}
	r.env.Unknown = append(r.env.Unknown, u)
}

func (r *reader) common(v yamldoc.Value) {
	for _, p := range r.pairs(v, "common") {
		text, ok := p.Value.Scalar()
		if !ok {
			text = p.Value.Kind()
		}
		r.env.Common = append(r.env.Common, Setting{Key: p.Key, Value: text, Line: p.Line})
		if !ok {
			continue
		}
		switch p.Key {
		case "vip":
			r.env.VIP = r.addr(p, "common")
		case "vip_name":
			r.env.VIPName = text
		case "vip_mask":
			r.mask(p, "common")
		}
	}
}

func (r *reader) hosts(v yamldoc.Value) {
	for _, p := range r.pairs(v, "containerhosts") {
		h := Host{Name: p.Key, Line: p.Line}
		what := "container host " + p.Key
		for _, q := range r.pairs(p.Value, what) {
			switch q.Key {
			case "ip":
				h.IP = r.addr(q, what)
			case "port":
				text, _ := q.Value.Scalar()
				n, err := strconv.ParseUint(text, 10, 16)
				if err != nil || n == 0 {
					r.wrong.Add(r.doc.At(q.Line), "%s: port %s is none; the ancestor's was 3288", what, q.Value.Kind())
				}
				h.Port = int(n)
			default:
				r.unknown(q, "containerhosts."+p.Key+".", hostKeys)
			}
		}
		r.env.Hosts = append(r.env.Hosts, h)
		r.hostValues = append(r.hostValues, p.Value)
	}
}

// services reads which containers stand for a service: a list of names, or a
// mapping whose keys are names.
func (r *reader) services(v yamldoc.Value) {
	var names []string
	for _, c := range r.env.Containers {
		names = append(names, c.Name)
	}
	for _, p := range r.pairs(v, "registered_services") {
		s := Service{Name: p.Key, Line: p.Line}
		for _, name := range r.serviceNames(p) {
			short, _, _ := strings.Cut(name, ".")
			switch {
			case slices.Contains(names, name):
				s.Containers = append(s.Containers, name)
			case slices.Contains(names, short):
				s.Containers = append(s.Containers, short)
			default:
				r.wrong.Add(r.doc.At(p.Line), "registered_services.%s: there is no container %q%s", p.Key, name, nearest.Hint(name, names))
			}
		}
		r.env.Services = append(r.env.Services, s)
	}
}

func (r *reader) serviceNames(p yamldoc.Pair) []string {
	what := "registered_services." + p.Key
	var out []string
	if p.Value.IsMapping() {
		for _, q := range r.pairs(p.Value, what) {
			out = append(out, q.Key)
		}
		return out
	}
	for _, item := range r.texts(p, what) {
		out = append(out, item.text)
	}
	return out
}

// distinct finds addresses that two containers have.
func (r *reader) distinct() {
	seen := map[string]Container{}
	for _, c := range r.env.Containers {
		if !c.IP.IsValid() {
			continue
		}
		key := c.IP.String() + " " + c.Subnet().String()
		if other, twice := seen[key]; twice {
			r.wrong.Add(r.doc.At(c.IPLine), "container %s: %s is %s's address, on line %d", c.Name, c.IP, other.Name, other.IPLine)
			continue
		}
		seen[key] = c
		if c.IP == r.env.VIP {
			r.wrong.Add(r.doc.At(c.IPLine), "container %s: %s is common.vip, which moves between containers", c.Name, c.IP)
		}
		if c.IP == c.Gateway {
			r.wrong.Add(r.doc.At(c.IPLine), "container %s: %s is its own gateway as well", c.Name, c.IP)
		}
	}
}
