// Package convert makes compose files of an environment.yaml, one for each
// container host, and says what of it compose has no equivalent for.
package convert

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/dockstack/dockstack/internal/environment"
	"github.com/dockstack/dockstack/internal/nearest"
)

// Options are how files are made. The zero Options are good ones.
type Options struct {
	// Network is what the network is called, "internal" where empty.
	Network string
	// Host is the container host whose file is wanted, "" for all.
	Host string
}

// File is one that is to be written.
type File struct {
	Name string `json:"name"`
	// Host is the container host that it is for.
	Host string `json:"host,omitempty"`
	Data []byte `json:"-"`
}

// NoEquivalent is something that compose files can't say.
type NoEquivalent struct {
	// File is the compose file that it is missing from, "" for all of them.
	File string `json:"file,omitempty"`
	// Container is whose it is, "" for what all have in common.
	Container string `json:"container,omitempty"`
	// What is the key, Value what it has: a hook's whole command.
	What  string `json:"what"`
	Value string `json:"value,omitempty"`
	// Instead says what there is in its place.
	Instead string `json:"instead,omitempty"`
	// Line is where it stands in environment.yaml.
	Line int `json:"line,omitempty"`
}

// defaultNetwork is what the network is called in README.
const defaultNetwork = "internal"

// unsafe is what a file's name should not have.
var unsafe = regexp.MustCompile(`[^a-zA-Z0-9_.-]+`)

// Files makes the files, in the order of the hosts.
func Files(env *environment.Environment, opts Options) ([]File, []NoEquivalent, error) {
	opts.Network = cmp.Or(opts.Network, defaultNetwork)
	c := &converter{env: env, networks: networksOf(env, opts.Network)}
	hosts, err := hostsOf(env, opts.Host)
	if err != nil {
		return nil, nil, err
	}
	if err := check(env); err != nil {
		return nil, nil, err
	}
	common := c.common()
	out, missing := make([]File, 0, len(hosts)), slices.Clone(common)
	for _, h := range hosts {
		f := File{Name: fileName(h), Host: h}
		if i := slices.IndexFunc(out, func(o File) bool { return o.Name == f.Name }); i >= 0 {
			return nil, nil, fmt.Errorf("%s: container hosts %q and %q would both have the file %s; rename one", env.File, out[i].Host, h, f.Name)
		}
		of, err := c.file(&f, common)
		if err != nil {
			return nil, nil, err
		}
		out, missing = append(out, f), append(missing, of...)
	}
	return out, missing, nil
}

func fileName(host string) string {
	if host == "" {
		return "docker-compose.yml"
	}
	return "docker-compose." + strings.Trim(unsafe.ReplaceAllString(host, "-"), ".-") + ".yml"
}

// hostsOf are the container hosts that have containers, in the file's order.
func hostsOf(env *environment.Environment, only string) ([]string, error) {
	var out, all []string
	for _, h := range env.Hosts {
		all = append(all, h.Name)
	}
	all = append(all, "")
	for _, h := range all {
		if slices.ContainsFunc(env.Containers, func(c environment.Container) bool { return c.Host == h }) {
			out = append(out, h)
		}
	}
	if only == "" {
		return out, nil
	}
	if !slices.Contains(all, only) {
		return nil, fmt.Errorf("%s: there is no container host %q%s", env.File, only, nearest.Hint(only, all))
	}
	if !slices.Contains(out, only) {
		return nil, fmt.Errorf("%s: no container is on host %s; there are some on %s", env.File, only, strings.Join(out, ", "))
	}
	return []string{only}, nil
}

// check refuses what can't be a service.
func check(env *environment.Environment) error {
	for _, c := range env.Containers {
		if c.Image == "" {
			return fmt.Errorf("%s:%d: container %s has no image", env.File, c.Line, c.Name)
		}
	}
	return nil
}

// network is one that the containers of a subnet share.
type network struct {
	name    string
	subnet  netip.Prefix
	gateway netip.Addr
	vip     netip.Addr
}

// networksOf are the networks, one for each subnet. The first has the plain
// name.
func networksOf(env *environment.Environment, name string) []network {
	var out []network
	for _, c := range env.Containers {
		subnet := c.Subnet()
		i := slices.IndexFunc(out, func(n network) bool { return n.subnet == subnet })
		if i < 0 {
			n := network{name: name, subnet: subnet}
			if len(out) > 0 {
				n.name += "-" + suffix(subnet)
			}
			if env.VIP.IsValid() && subnet.IsValid() && subnet.Contains(env.VIP) {
				n.vip = env.VIP
			}
			out = append(out, n)
			i = len(out) - 1
		}
		if !out[i].gateway.IsValid() {
			out[i].gateway = c.Gateway
		}
	}
	return out
}

// suffix is a subnet as a part of a network's name.
func suffix(p netip.Prefix) string {
	if !p.IsValid() {
		return "any"
	}
	return strings.Trim(unsafe.ReplaceAllString(strings.NewReplacer(".", "-", ":", "-", "/", "-").Replace(p.String()), "-"), "-")
}

// converter makes the files of one environment.
type converter struct {
	env      *environment.Environment
	networks []network
}

func (c *converter) network(of environment.Container) network {
	i := slices.IndexFunc(c.networks, func(n network) bool { return n.subnet == of.Subnet() })
	return c.networks[i]
}
