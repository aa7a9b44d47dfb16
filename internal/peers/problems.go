package peers

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
)

const (
	// clockOff is how far two clocks may be apart: beyond it "idle longest" and
	// "since" mislead people.
	clockOff = 30 * time.Second
	// settled is how long after the store came back news may still be late.
	settled = 15 * time.Second
	// named is how many hosts one problem names.
	named = 5
)

// offLocked returns how far the host's clock is ahead of ours at least, going
// by a mark that has arrived. One that was written long ago (late) proves only
// that a clock is ahead; and while our own mark isn't held, news come late.
func (p *Peers) offLocked(h Host, before seen, late bool) time.Duration {
	off := h.Clock.Sub(p.now())
	if off < 0 && (late || !p.own.held || p.now().Sub(p.own.since) < settled) {
		if off = 0; before.host.Run == h.Run {
			off = min(0, before.off)
		}
	}
	if (off - before.off).Abs() < clockOff/3 {
		return before.off // so that it isn't news each time
	}
	return off
}

// Problems returns what is wrong with the hosts, in sentences for people.
func (p *Peers) Problems() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.said)
}

// judgeLocked finds the problems of now, logs new ones, and tells whether any
// came or went.
func (p *Peers) judgeLocked() bool {
	now := p.findLocked()
	for _, text := range now {
		if !slices.Contains(p.said, text) {
			p.log.Warn("problem among the hosts", "problem", text)
		}
	}
	for _, text := range p.said {
		if !slices.Contains(now, text) {
			p.log.Info("problem is over", "problem", text)
		}
	}
	news := !slices.Equal(now, p.said)
	p.said = now
	return news
}

func (p *Peers) findLocked() []string {
	var out []string
	if p.own.usurped != nil {
		out = append(out, p.own.usurped.Error())
	}
	all := p.allLocked()
	out = append(out, sameVTEP(all)...)
	out = append(out, sameName(all)...)
	out = append(out, p.unlikeLocked(all)...)
	return append(append(out, p.unreadLocked()...), p.clocksLocked()...)
}

func (p *Peers) unreadLocked() []string {
	var out []string
	for _, id := range slices.Sorted(maps.Keys(p.seen)) {
		if err := p.seen[id].err; err != nil {
			if len(out) == named {
				return append(out, "more hosts have marks that can't be read")
			}
			out = append(out, fmt.Sprintf("host %s has a mark that can't be read (%s%s), so nothing is sent there: %v", short(id), Prefix, id, err))
		}
	}
	return out
}

// clocksLocked names the hosts whose clocks are furthest from ours.
func (p *Peers) clocksLocked() []string {
	var off []seen
	for _, s := range p.seen {
		if s.err == nil && s.off.Abs() > clockOff {
			off = append(off, s)
		}
	}
	slices.SortFunc(off, func(a, b seen) int {
		return cmp.Or(cmp.Compare(b.off.Abs(), a.off.Abs()), strings.Compare(a.host.ID, b.host.ID))
	})
	var out []string
	for i, s := range off {
		if i == named {
			return append(out, fmt.Sprintf("clocks differ: so do those of %d more hosts, so it may be this host's", len(off)-named))
		}
		word := "ahead of"
		if s.off < 0 {
			word = "behind"
		}
		out = append(out, fmt.Sprintf("clocks differ: that of host %s is %s %s this host's, so times in messages mislead: have both follow NTP",
			s.host.Name, s.off.Abs().Round(time.Second), word))
	}
	return out
}

// sameVTEP finds hosts that can't be told apart by their tunnels.
func sameVTEP(all []Host) []string {
	by := map[netip.Addr][]Host{}
	for _, h := range all {
		if h.VTEP.IsValid() {
			by[h.VTEP] = append(by[h.VTEP], h)
		}
	}
	var out []string
	for _, addr := range slices.SortedFunc(maps.Keys(by), netip.Addr.Compare) {
		if len(by[addr]) > 1 {
			out = append(out, fmt.Sprintf("hosts %s have one tunnel address, %s, so nothing reaches both: set DOCKSTACK_VTEP, or the host's address, on all but one",
				names(by[addr]), addr))
		}
	}
	return out
}

func sameName(all []Host) []string {
	var out []string
	for i := 0; i < len(all); {
		j := i + 1
		for j < len(all) && all[j].Name == all[i].Name {
			j++
		}
		if j > i+1 {
			out = append(out, fmt.Sprintf("hosts %s have one name, so messages can't tell them apart: set DOCKSTACK_HOST, or the host's name, on all but one", names(all[i:j])))
		}
		i = j
	}
	return out
}

// unlikeLocked finds hosts whose tunnels can't meet ours.
func (p *Peers) unlikeLocked(all []Host) []string {
	if !p.self.VTEP.IsValid() {
		return nil
	}
	var family, port []Host
	for _, h := range all {
		if h.VTEP.IsValid() && h.VTEP.Is4() != p.self.VTEP.Is4() {
			family = append(family, h)
		}
		if h.Port != p.self.Port {
			port = append(port, h)
		}
	}
	var out []string
	if len(family) > 0 {
		mine, theirs := "IPv4", "IPv6"
		if p.self.VTEP.Is6() {
			mine, theirs = theirs, mine
		}
		out = append(out, fmt.Sprintf("this host's tunnel address %s is %s and %s of %s is %s, so no tunnel joins them: set DOCKSTACK_VTEP to one family on all hosts",
			p.self.VTEP, mine, family[0].VTEP, names(family), theirs))
	}
	if len(port) > 0 {
		out = append(out, fmt.Sprintf("this host's VXLAN port is %d and that of %s is %d, so no tunnel joins them: set DOCKSTACK_VXLAN_PORT alike on all hosts",
			p.self.Port, names(port), port[0].Port))
	}
	return out
}

// names lists the hosts, the first few of many.
func names(hosts []Host) string {
	var b strings.Builder
	for i, h := range hosts {
		switch {
		case i == named:
			fmt.Fprintf(&b, " and %d more", len(hosts)-named)
			return b.String()
		case i > 0 && i == len(hosts)-1:
			b.WriteString(" and ")
		case i > 0:
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s (%s)", h.Name, short(h.ID))
	}
	return b.String()
}
