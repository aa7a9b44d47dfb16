package page

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/dockstack/dockstack/internal/admin"
)

// Levels of a finding.
const (
	levelGood = "good"
	levelWarn = "warn"
	levelBad  = "bad"
)

// finding is one thing that a person should mend.
type finding struct {
	Level, Title, Text, Do string
}

// health is the answer to "is everything all right?".
type health struct {
	Level    string
	Headline string
	Findings []finding
	// Tiles are the parts and how each stands.
	Tiles []tile
}

// tile is one part of the whole.
type tile struct {
	Level, Name, Value, Note, Link string
}

// almostFull is the share of a pool's addresses in use that is worth a warning.
const almostFull = 0.95

func judge(p *picture) health {
	h := health{Level: levelGood, Findings: findings(p.Status)}
	h.Findings = append(h.Findings, missing(p)...)
	if p.Unread != nil {
		h.Findings = append(h.Findings, finding{Level: levelWarn, Title: "The page is incomplete", Text: p.Unread.Error(), Do: "It tries again by itself."})
	}
	slices.SortStableFunc(h.Findings, func(a, b finding) int { return strings.Compare(a.Level, b.Level) }) // bad before warn
	bad := 0
	for _, f := range h.Findings {
		if f.Level == levelBad {
			bad++
		}
	}
	switch n := len(h.Findings); n {
	case 0:
		h.Headline = "All is well"
	case 1:
		h.Level, h.Headline = levelWarn, "1 thing to mend"
	default:
		h.Level, h.Headline = levelWarn, fmt.Sprintf("%d things to mend", n)
	}
	if bad > 0 {
		h.Level = levelBad
	}
	h.Tiles = tiles(p)
	return h
}

// findings are the daemon's problems, and what its status says beside them.
func findings(s admin.Status) []finding {
	var out []finding
	add := func(f finding) {
		for _, old := range out {
			if f.Text != "" && strings.Contains(old.Text, f.Text) {
				return
			}
		}
		out = append(out, f)
	}
	st := s.Store
	switch {
	case st.Closed != "":
		add(finding{levelBad, "The store is not used", st.Closed, "Until it is, no new name gets an address."})
	case st.Away != "":
		add(finding{levelBad, "The shared store is away", st.Away, "Names that ran on this host last go on and start; new ones, and moves from other hosts, wait for it."})
	case !s.Alone && st.Cluster != "" && !st.Held:
		add(finding{levelWarn, "Other hosts can't see this one", "its mark is not in the store: others take it for dead, or will soon", "It tries by itself. If this stays, run `docker dockstack doctor` here."})
	case !s.Alone && st.Cluster != "" && !st.Synced:
		add(finding{levelWarn, "The shared store is being read", "what other hosts wrote is not known yet", "This takes seconds; wait."})
	}
	if sw := s.Switch; !sw.Up {
		add(finding{levelBad, "The switch is not up", sw.Error, "Containers can't start on dockstack networks until it is. Run `docker dockstack doctor` on this host."})
	} else if sw.Error != "" {
		add(finding{levelWarn, "The switch is not as wanted yet", sw.Error, "It is tried again by itself."})
	}
	for _, l := range s.DNS.Listeners {
		if l.Error != "" {
			add(finding{levelWarn, "DNS does not listen on " + l.Addr.String(), l.Error, "Another program may have the port: `ss -lunp` shows which."})
		}
	}
	known := s.Switch.Tunnel.Faults
	for _, text := range known {
		add(finding{levelWarn, "A tunnel does not work", text, ""})
	}
	for _, text := range s.Problems {
		add(finding{Level: levelWarn, Text: text})
	}
	for _, p := range s.Pools {
		if f, full := filling(p); full {
			add(f)
		}
	}
	return out
}

// mostMissing is how many hosts that are not seen are named one by one.
const mostMissing = 5

// missing are hosts that are not seen, though containers ran there.
func missing(p *picture) []finding {
	if p.census == nil || p.Status.Store.Away != "" {
		return nil // while the store is away nobody is seen
	}
	var out []finding
	more := 0
	for _, h := range p.census.hosts {
		if !h.Gone || h.Live == 0 {
			continue
		}
		if len(out) == mostMissing {
			more++
			continue
		}
		out = append(out, finding{
			Level: levelWarn, Title: h.Name + " is not seen", Text: plural(h.Live, "name", "names") + " ran there when it was seen last.",
			Do: "Its names start on other hosts with the addresses that they have. If the machine is gone for good: `docker dockstack host forget " + h.Name + "`.",
		})
	}
	if more > 0 {
		out = append(out, finding{Level: levelWarn, Title: plural(more, "more host is", "more hosts are") + " not seen"})
	}
	return out
}

// filling warns of a pool that has hardly a free address.
func filling(p admin.Pool) (finding, bool) {
	held := p.Live + p.Parked
	name := networkOf(p.Network, p.ID)
	switch {
	case !p.InUse || held == 0:
		return finding{}, false
	case p.Free <= 0 && p.Parked == 0:
		return finding{levelBad, name + " is full", fmt.Sprintf("all addresses of %s are held by running containers", p.Range), "New names can't start there: stop containers, or create a network with a larger subnet."}, true
	case p.Free <= 0:
		return finding{levelWarn, name + " has no address that is free", fmt.Sprintf("new names in %s get those that were kept for others, longest idle first (%d are parked)", p.Range, p.Parked), "Release names that won't come back: `docker dockstack release NAME`."}, true
	case float64(held) >= almostFull*float64(int64(held)+p.Free):
		return finding{levelWarn, name + " is almost full", fmt.Sprintf("%d addresses of %s are free", p.Free, p.Range), "Release names that won't come back: `docker dockstack release NAME`."}, true
	}
	return finding{}, false
}

func tiles(p *picture) []tile {
	s := p.Status
	names := tile{Level: levelGood, Name: "Names", Link: sectionNames}
	var live, parked, reserved int
	for _, pool := range s.Pools {
		live, parked, reserved = live+pool.Live, parked+pool.Parked, reserved+pool.Reserved
	}
	names.Value = plural(live, "live address", "live addresses")
	names.Note = fmt.Sprintf("%s parked, %s reserved", grouped(int64(parked)), grouped(int64(reserved)))
	out := []tile{storeTile(s), switchTile(s.Switch)}
	if s.Alone {
		out = append(out, tile{levelGood, "Hosts", "this host alone", "it shares no store", sectionHosts})
	} else {
		out = append(out, hostsTile(p))
	}
	out = append(out, names, dnsTile(s.DNS, p.samples))
	if s.Engine != "" {
		out = append(out, tile{levelGood, "Docker Engine", s.Engine, "", ""})
	} else {
		out = append(out, tile{levelWarn, "Docker Engine", "not heard of", "names of networks may be missing", ""})
	}
	return out
}

// commas let a long list of addresses break where people do.
var commas = regexp.MustCompile(`,\s*`)

func storeTile(s admin.Status) tile {
	t := tile{Level: levelGood, Name: "Store", Value: "reached", Note: commas.ReplaceAllString(s.Store.Where, ", ")}
	switch {
	case s.Store.Closed != "":
		t.Level, t.Value = levelBad, "not used"
	case s.Store.Away != "":
		t.Level, t.Value = levelBad, "away"
	case s.Alone:
		t.Value = "open"
	case !s.Store.Held:
		t.Level, t.Value = levelWarn, "this host has no mark"
	case !s.Store.Synced:
		t.Level, t.Value = levelWarn, "being read"
	}
	return t
}

func switchTile(sw admin.SwitchStatus) tile {
	if !sw.Up {
		return tile{Level: levelBad, Name: "Switch", Value: "not up", Note: "no container can start"}
	}
	t := tile{Level: levelGood, Name: "Switch", Value: plural(sw.Ports, "port", "ports") + ", " + plural(sw.Flows, "flow", "flows")}
	owner := "the host's"
	if sw.Own {
		owner = "own"
	}
	t.Note = strings.TrimSpace(fmt.Sprintf("%s Open vSwitch %s, %s", owner, sw.Version, sw.Datapath))
	t.Note = strings.TrimSuffix(t.Note, ",")
	if sw.Error != "" {
		t.Level = levelWarn
	}
	return t
}

func hostsTile(p *picture) tile {
	t := tile{Level: levelGood, Name: "Hosts", Value: fmt.Sprintf("%d alive", len(p.Status.Hosts)), Link: sectionHosts}
	gone := 0
	if p.census != nil {
		for _, h := range p.census.hosts {
			if h.Gone && h.Live > 0 {
				gone++
			}
		}
	}
	t.Note = "none is missing"
	if gone > 0 {
		t.Level, t.Note = levelWarn, fmt.Sprintf("%d not seen", gone)
	}
	return t
}

func dnsTile(d admin.DNSStatus, samples []admin.DNSSample) tile {
	t := tile{Level: levelGood, Name: "DNS", Value: rate(samples), Note: "zone " + d.Zone, Link: sectionDNS}
	for _, l := range d.Listeners {
		if l.Error != "" {
			t.Level, t.Note = levelWarn, "does not listen everywhere"
		}
	}
	return t
}

// rate is how much DNS was asked lately.
func rate(samples []admin.DNSSample) string {
	if len(samples) == 0 {
		return "0 queries/s"
	}
	last := samples[len(samples)-1]
	return perSecond(last.Queries, last.Seconds) + " queries/s"
}
