package page

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/dockstack/dockstack/internal/admin"
)

// States of a host in the picture.
const (
	hostSelf  = "self"
	hostUp    = "up"    // alive, with a tunnel from here
	hostFault = "fault" // alive, but its tunnel does not work
	hostGone  = "gone"  // not alive
)

// hostView is a host as the page shows it.
type hostView struct {
	hostCount
	State string
	// Fault is what is wrong with the way there.
	Fault string
}

// Word is the state for people.
func (h hostView) Word() string {
	switch h.State {
	case hostSelf:
		return "this host"
	case hostUp:
		return "alive"
	case hostFault:
		return "no tunnel"
	}
	return "not seen"
}

// Tip is the host in one line.
func (h hostView) Tip() string {
	parts := []string{admin.Plain(h.Name) + ": " + h.Word()}
	if h.Fault != "" {
		parts = append(parts, admin.Plain(h.Fault))
	}
	if h.VTEP.IsValid() {
		parts = append(parts, "tunnels end at "+h.VTEP.String())
	}
	parts = append(parts, plural(h.Live, "live address", "live addresses"))
	if h.Parked > 0 {
		parts = append(parts, plural(h.Parked, "parked", "parked"))
	}
	return strings.Join(parts, " · ")
}

// hostsOf are the hosts, this one first, with what is wrong with each.
func hostsOf(p *picture) []hostView {
	all := []hostCount{}
	if p.census != nil {
		all = p.census.hosts
	} else {
		for _, h := range p.Status.Hosts {
			all = append(all, hostCount{Host: h})
		}
	}
	var self admin.Host
	for _, h := range all {
		if h.Self {
			self = h.Host
		}
	}
	out := make([]hostView, 0, len(all))
	for _, h := range all {
		v := hostView{hostCount: h}
		v.State, v.Fault = stateOf(p.Status, self, h)
		out = append(out, v)
	}
	return out
}

func stateOf(s admin.Status, self admin.Host, h hostCount) (state, fault string) {
	switch {
	case h.Self:
		return hostSelf, ""
	case h.Gone:
		return hostGone, ""
	case !s.Switch.Up:
		return hostFault, "this host's switch is not up"
	case !h.VTEP.IsValid():
		return hostFault, "it has not said where its tunnels end"
	case self.VTEP.IsValid() && self.VTEP.Is4() != h.VTEP.Is4():
		return hostFault, "its tunnels end at an address of the other family"
	case self.Port != 0 && h.Port != 0 && self.Port != h.Port:
		return hostFault, fmt.Sprintf("it uses UDP port %d, this host %d", h.Port, self.Port)
	}
	for _, text := range s.Switch.Tunnel.Faults {
		if hasWord(text, h.Name) || hasWord(text, h.ID) || hasWord(text, h.VTEP.String()) {
			return hostFault, text
		}
	}
	return hostUp, ""
}

// hasWord is whether a text names something, and not only a longer name.
func hasWord(text, word string) bool {
	if word == "" {
		return false
	}
	part := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_' }
	for from := 0; ; {
		i := strings.Index(text[from:], word)
		if i < 0 {
			return false
		}
		i += from
		before, after := []rune(text[:i]), []rune(text[i+len(word):])
		if (len(before) == 0 || !part(before[len(before)-1])) && (len(after) == 0 || !part(after[0])) {
			return true
		}
		from = i + len(word)
	}
}
