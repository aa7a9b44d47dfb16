package convert

import (
	"bytes"
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/dockstack/dockstack/internal/environment"
)

// file fills in one container host's file.
func (c *converter) file(f *File, common []NoEquivalent) ([]NoEquivalent, error) {
	var missing []NoEquivalent
	services, networks, volumes := mapping(), mapping(), mapping()
	var used []string
	for _, of := range c.env.Containers {
		if of.Host != f.Host {
			continue
		}
		gone := c.missing(f.Name, of)
		missing = append(missing, gone...)
		key := str(of.Name)
		key.HeadComment = serviceComment(gone)
		services.Content = append(services.Content, key, c.service(of))
		if n := c.network(of); !slices.Contains(used, n.name) {
			used = append(used, n.name)
			put(networks, n.name, n.node())
		}
		for _, v := range named(of.Volumes) {
			if !has(volumes, v) {
				m := mapping()
				put(m, "name", str(v))
				put(volumes, v, m)
			}
		}
	}
	top := mapping()
	put(top, "name", str(projectName(f.Host)))
	put(top, "services", services)
	put(top, "networks", networks)
	if len(volumes.Content) > 0 {
		put(top, "volumes", volumes)
	}
	var out bytes.Buffer
	out.WriteString(c.header(f.Host, common))
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(top); err != nil {
		return nil, fmt.Errorf("write %s: %w", f.Name, err)
	}
	f.Data = out.Bytes()
	return missing, enc.Close()
}

// header says where the file comes from, and what is in none.
func (c *converter) header(host string, common []NoEquivalent) string {
	var out strings.Builder
	where := ""
	if host != "" {
		where = ", for container host " + host
		for _, h := range c.env.Hosts {
			if h.Name == host && h.IP.IsValid() {
				where += " (" + h.IP.String() + ")"
			}
		}
	}
	fmt.Fprintf(&out, "# %s\n", oneLine("Made by `dockstack convert` of "+c.env.File+where+"."))
	out.WriteString("#\n# There is no equivalent for:\n")
	for _, n := range common {
		fmt.Fprintf(&out, "#   %s\n", n.line())
	}
	out.WriteString("# and for what stands above the services.\n")
	return out.String()
}

// serviceComment lists what a service has not.
func serviceComment(gone []NoEquivalent) string {
	var out []string
	when := ""
	for _, n := range gone {
		if text, hook := whenText[n.What]; hook {
			if n.What != when {
				out = append(out, "# "+n.What+", run on the container host "+text+":")
				when = n.What
			}
			out = append(out, "#   "+oneLine(n.Value))
			continue
		}
		out = append(out, "# "+n.line())
	}
	return strings.Join(out, "\n")
}

// service is a container as a service.
func (c *converter) service(of environment.Container) *yaml.Node {
	s := mapping()
	put(s, "image", str(of.Image))
	put(s, "container_name", str(of.Name))
	put(s, "hostname", str(of.Name))
	if of.Domain != "" {
		put(s, "domainname", str(of.Domain))
	}
	if of.StateKnown && !of.State {
		put(s, "restart", str("no"))
		put(s, "profiles", list("stopped"))
	} else {
		put(s, "restart", str("always"))
	}
	if len(of.DNS) > 0 {
		var dns []string
		for _, a := range of.DNS {
			dns = append(dns, a.String())
		}
		put(s, "dns", list(dns...))
	}
	if of.Domain != "" {
		put(s, "dns_search", list(of.Domain))
	}
	on := mapping()
	if of.IP.IsValid() {
		put(on, map[bool]string{true: "ipv4_address", false: "ipv6_address"}[of.IP.Is4()], str(of.IP.String()))
	}
	if of.MAC != "" {
		put(on, "mac_address", str(of.MAC))
	}
	if aliases := c.aliases(of.Name); len(aliases) > 0 {
		put(on, "aliases", list(aliases...))
	}
	nets := mapping()
	put(nets, c.network(of).name, on)
	put(s, "networks", nets)
	if len(of.Volumes) > 0 {
		put(s, "volumes", list(of.Volumes...))
	}
	return s
}

// aliases are the registered services that a container stands for.
func (c *converter) aliases(name string) []string {
	var out []string
	for _, s := range c.env.Services {
		if slices.Contains(s.Containers, name) && s.Name != name {
			out = append(out, s.Name)
		}
	}
	return out
}

// node is the network as a compose file declares it.
func (n network) node() *yaml.Node {
	m, ipam := mapping(), mapping()
	put(m, "name", str(n.name))
	put(m, "driver", str("dockstack"))
	if n.vip.IsValid() {
		opts := mapping()
		put(opts, "dockstack.vip", str(n.vip.String()))
		put(m, "driver_opts", opts)
	}
	if n.subnet.IsValid() && n.subnet.Addr().Is6() {
		put(m, "enable_ipv6", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: "true"})
	}
	put(ipam, "driver", str("dockstack"))
	if n.subnet.IsValid() {
		config := mapping()
		put(config, "subnet", str(n.subnet.String()))
		if n.gateway.IsValid() {
			put(config, "gateway", str(n.gateway.String()))
		}
		put(ipam, "config", &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{config}})
	}
	put(m, "ipam", ipam)
	return m
}

// named are the volumes that have a name instead of a folder.
func named(volumes []string) []string {
	var out []string
	for _, v := range volumes {
		if source, _, found := strings.Cut(v, ":"); found && !strings.ContainsAny(source[:1], "/.~") {
			out = append(out, source)
		}
	}
	return out
}

// projectName is a container host's name as Compose takes one for a project.
func projectName(host string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		}
		return '-'
	}, strings.ToLower(host))
	return cmp.Or(strings.TrimLeft(name, "-_"), "dockstack")
}

func mapping() *yaml.Node { return &yaml.Node{Kind: yaml.MappingNode} }

func put(m *yaml.Node, key string, value *yaml.Node) {
	m.Content = append(m.Content, str(key), value)
}

func has(m *yaml.Node, key string) bool {
	for i := 0; i < len(m.Content); i += 2 {
		if m.Content[i].Value == escape(key) {
			return true
		}
	}
	return false
}

// escape doubles what Compose would take for a variable.
func escape(text string) string { return strings.ReplaceAll(text, "$", "$$") }

// oldWords are words that older readers of YAML take for true, false or nothing.
var oldWords = regexp.MustCompile(`(?i)^(y|n|yes|no|on|off|true|false|null|~)$`)

// str is text that stays text.
func str(text string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(escape(text))
	if oldWords.MatchString(text) {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

func list(texts ...string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode}
	for _, t := range texts {
		n.Content = append(n.Content, str(t))
	}
	return n
}
