package daemon

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/events"
	"github.com/dockstack/dockstack/internal/records"
)

// telling turns statuses, one after another, into events of what differs.
type telling struct {
	ring     *events.Ring
	was      *admin.Status
	problems events.Told
	// records are those of the last time.
	records *records.Snapshot
}

// tell takes the status of now.
func (t *telling) tell(s admin.Status) {
	out := t.problems.Compare(s.Problems)
	if was := t.was; was != nil {
		out = append(out, tellHosts(*was, s)...)
		out = append(out, tellStore(was.Store, s.Store)...)
		out = append(out, tellSwitch(was.Switch, s.Switch)...)
		out = append(out, tellDNS(was.DNS, s.DNS)...)
	}
	t.was = &s
	t.ring.Add(out...)
}

// tellRecords takes the operator's DNS records of now, whoever changed them.
func (t *telling) tellRecords(now *records.Snapshot) {
	was := t.records
	t.records = now
	if was == nil || was == now {
		return
	}
	before := map[records.Record]struct{}{}
	was.All(func(r records.Record) bool { before[r] = struct{}{}; return true })
	var out []admin.Event
	say := func(r records.Record, what string) {
		if len(out) < changesTold {
			out = append(out, admin.Event{Kind: admin.EventDNS, Name: r.Name, Text: fmt.Sprintf("the record %s %s", r, what)})
		}
	}
	now.All(func(r records.Record) bool {
		if _, known := before[r]; !known {
			say(r, "is new")
		}
		delete(before, r)
		return true
	})
	for r := range before {
		say(r, "is gone")
	}
	slices.SortFunc(out, func(a, b admin.Event) int { return strings.Compare(a.Text, b.Text) })
	t.ring.Add(out...)
}

func tellHosts(was, is admin.Status) []admin.Event {
	before := map[string]admin.Host{}
	for _, h := range was.Hosts {
		before[h.ID] = h
	}
	var out []admin.Event
	say := func(h admin.Host, format string, args ...any) {
		out = append(out, admin.Event{Kind: admin.EventHost, Host: h.Name, Text: "host " + h.Name + " " + fmt.Sprintf(format, args...)})
	}
	for _, h := range is.Hosts {
		b, known := before[h.ID]
		delete(before, h.ID)
		switch {
		case !known && len(was.Hosts) == 0:
			// That is the start.
		case !known:
			say(h, "came, with dockstack %s", h.Version)
		case b.VTEP != h.VTEP && h.VTEP.IsValid():
			say(h, "has its tunnels' end at %s now", h.VTEP)
		case b.Name != h.Name:
			say(h, "was called %s before", b.Name)
		case b.Version != h.Version:
			say(h, "runs dockstack %s now, before %s", h.Version, b.Version)
		case !b.Since.Equal(h.Since):
			say(h, "came back")
		}
	}
	for _, h := range was.Hosts {
		if _, gone := before[h.ID]; gone && len(is.Hosts) > 0 {
			say(h, "went; the names that ran there may start elsewhere")
		}
	}
	return out
}

func tellStore(was, is admin.StoreStatus) []admin.Event {
	say := func(text string) []admin.Event {
		return []admin.Event{{Kind: admin.EventStore, Text: "the store " + text}}
	}
	switch {
	case is.Closed != "" && was.Closed != is.Closed:
		return say("is not used: " + is.Closed)
	case is.Closed == "" && was.Closed != "":
		return say("is used")
	case is.Away != "" && was.Away == "":
		return say("is away: " + is.Away)
	case is.Away == "" && was.Away != "":
		return say("is back")
	}
	return nil
}

func tellSwitch(was, is admin.SwitchStatus) []admin.Event {
	say := func(text string) []admin.Event {
		return []admin.Event{{Kind: admin.EventSwitch, Text: "the switch " + text}}
	}
	switch {
	case !is.Up && was.Up:
		return say("is down: " + is.Error)
	case is.Up && !was.Up:
		return say(fmt.Sprintf("is up: Open vSwitch %s, %s datapath", is.Version, is.Datapath))
	case is.Up && !is.Since.Equal(was.Since):
		return say("was started anew")
	}
	return nil
}

func tellDNS(was, is admin.DNSStatus) []admin.Event {
	before := map[string]string{}
	for _, l := range was.Listeners {
		before[l.Addr.String()] = l.Error
	}
	var out []admin.Event
	for _, l := range is.Listeners {
		b, known := before[l.Addr.String()]
		switch {
		case l.Error != "" && (!known || b == ""):
			out = append(out, admin.Event{Kind: admin.EventDNS, Address: l.Addr.Addr(), Text: fmt.Sprintf("DNS can't listen on %s: %s", l.Addr, l.Error)})
		case l.Error == "" && (!known || b != ""):
			out = append(out, admin.Event{Kind: admin.EventDNS, Address: l.Addr.Addr(), Text: fmt.Sprintf("DNS listens on %s", l.Addr)})
		}
	}
	return out
}
