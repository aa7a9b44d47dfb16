package convert

import (
	"fmt"
	"strings"

	"github.com/dockstack/dockstack/internal/environment"
)

// whenText says when a hook was run.
var whenText = map[string]string{
	"precreation":  "before it was created",
	"postcreation": "after it was created",
	"postdestroy":  "after it was destroyed",
}

// common is what no file has: settings that all containers shared, and keys that
// nobody knew.
func (c *converter) common() []NoEquivalent {
	var out []NoEquivalent
	for _, s := range c.env.Common {
		n := NoEquivalent{What: "common." + s.Key, Value: s.Value, Line: s.Line, Instead: "give it to the containers that read it, as `environment:`"}
		switch s.Key {
		case "vip":
			if c.hasVIP() {
				continue // dockstack.vip
			}
			n.Instead = "`-o dockstack.vip=" + s.Value + "` on the network that has it"
		case "vip_mask":
			n.Instead = "nothing: the VIP is in the network's subnet"
		case "vip_name":
			n.Instead = "`dockstack import environment.yaml` makes it a DNS record"
		case "domain":
			n.Instead = "set DOCKSTACK_ZONE=" + s.Value
		default:
			if secret(s.Key) {
				n.Value = ""
				n.Instead = "its value is not copied; give it to the containers that read it, as a secret or by `env_file:`"
			}
		}
		out = append(out, n)
	}
	for _, h := range c.env.Hosts {
		if h.Port != 0 {
			out = append(out, NoEquivalent{What: "containerhosts." + h.Name + ".port", Value: fmt.Sprint(h.Port), Line: h.Line, Instead: "nothing: no server listens on a container host"})
		}
	}
	for _, s := range c.env.Services {
		if len(s.Containers) == 0 {
			out = append(out, NoEquivalent{What: "registered_services." + s.Name, Line: s.Line, Instead: "nothing: no container stands for it"})
		}
	}
	for _, u := range c.env.Unknown {
		n := NoEquivalent{What: u.Path, Line: u.Line, Instead: "nothing: the ancestor did not know the key"}
		if u.Meant != "" {
			n.Instead = "was `" + u.Meant + "` meant? the ancestor did not know the key"
		}
		out = append(out, n)
	}
	return append(out, NoEquivalent{What: "privileged", Instead: "the ancestor started every container with --privileged; add `privileged: true` to those that need it"})
}

func (c *converter) hasVIP() bool {
	for _, n := range c.networks {
		if n.vip.IsValid() {
			return true
		}
	}
	return false
}

// secret tells whether a setting's value is not to be shown around.
func secret(key string) bool {
	key = strings.ToLower(key)
	for _, part := range []string{"password", "passwd", "secret", "token", "_key"} {
		if strings.Contains(key, part) {
			return true
		}
	}
	return false
}

// missing is what a container has and its service has not.
func (c *converter) missing(file string, of environment.Container) []NoEquivalent {
	var out []NoEquivalent
	add := func(n NoEquivalent) {
		n.File, n.Container = file, of.Name
		out = append(out, n)
	}
	for _, h := range of.Hooks {
		add(NoEquivalent{What: h.When, Value: h.Command, Line: h.Line, Instead: "it was run on the container host " + whenText[h.When]})
	}
	if of.Bridge != "" {
		add(NoEquivalent{What: "bridge", Value: of.Bridge, Line: of.Line, Instead: "nothing: dockstack has a bridge of its own"})
	}
	if of.StateKnown && !of.State {
		add(NoEquivalent{What: "state", Value: "false", Line: of.Line, Instead: "the profile `stopped` keeps `up` from starting it; `--profile stopped up -d " + of.Name + "` does"})
	}
	if n := c.network(of); of.Gateway.IsValid() && of.Gateway != n.gateway {
		add(NoEquivalent{What: "gateway", Value: of.Gateway.String(), Line: of.Line, Instead: fmt.Sprintf("a network has one gateway, and %s has %s", n.name, n.gateway)})
	}
	return out
}

// line is what is missing, in one line of a comment.
func (n NoEquivalent) line() string {
	text := n.What
	if n.Value != "" {
		text += ": " + n.Value
	}
	if n.Instead != "" && whenText[n.What] == "" {
		text += " (" + n.Instead + ")"
	}
	return oneLine(text)
}

// String says it in one line, for people.
func (n NoEquivalent) String() string {
	text := n.What
	if n.Container != "" {
		text = n.Container + ": " + text
	}
	if n.Value != "" {
		text += ": " + n.Value
	}
	if n.Instead != "" {
		text += " (" + n.Instead + ")"
	}
	return oneLine(text)
}

// oneLine is text without what would end a comment or act on a terminal.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t' || r == '\u0085' || r == '\u2028' || r == '\u2029':
			return ' '
		case r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\uFEFF':
			return '\uFFFD'
		}
		return r
	}, text)
}
