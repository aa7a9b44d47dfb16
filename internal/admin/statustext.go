package admin

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

const (
	// textWidth is where the right-hand side begins.
	textWidth = 11
	// mostPools is how many networks the text lists: it is for reading.
	mostPools = 20
)

// Text is the status for people. The file /run/dockstack/status, the command and
// the page all show it.
func (s Status) Text() string {
	var b strings.Builder
	section := func(head string, lines ...string) {
		if len(lines) == 0 {
			return
		}
		b.WriteByte('\n')
		for i, line := range lines {
			if i > 0 {
				head = ""
			}
			fmt.Fprintf(&b, "%-*s%s\n", textWidth, head, Plain(strings.ReplaceAll(line, "\n", "; ")))
		}
	}
	fmt.Fprintf(&b, "dockstack %s, %s", s.Version, stamp(s.At))
	if !s.Started.IsZero() {
		fmt.Fprintf(&b, ", up since %s", stamp(s.Started))
	}
	b.WriteByte('\n')
	section("store", s.storeLines()...)
	if !s.Alone {
		section("this host", s.selfLines()...)
		section("hosts", s.hostLines()...)
	}
	section("switch", s.switchLines()...)
	section("DNS", s.dnsLines()...)
	section("engine", s.engineLines()...)
	section("networks", s.poolLines()...)
	section("problems", s.problemLines()...)
	return b.String()
}

func (s Status) problemLines() []string {
	var out []string
	if s.Store.Closed != "" && s.Store.Closed != StoreOpening {
		out = append(out, "- the store is not used, see above")
	}
	for _, p := range s.Problems {
		out = append(out, "- "+p)
	}
	if out == nil {
		return []string{"none"}
	}
	return out
}

func (s Status) storeLines() []string {
	out := []string{s.Store.Where}
	switch {
	case s.Store.Closed != "":
		out = append(out, "NOT USED: "+s.Store.Closed)
	case s.Store.Away != "":
		out = append(out, fmt.Sprintf("AWAY since %s: %s", stamp(s.Store.Since), s.Store.Away),
			"names that ran here last start, new ones don't")
	case !s.Alone && !s.Store.Synced:
		out = append(out, "reached, and being read")
	case !s.Alone:
		out = append(out, "reached since "+stamp(s.Store.Since))
	}
	if s.Store.Cluster != "" {
		out = append(out, "cluster "+s.Store.Cluster)
	}
	return out
}

func (s Status) selfLines() []string {
	i := slices.IndexFunc(s.Hosts, func(h Host) bool { return h.Self })
	if i < 0 {
		return nil
	}
	self := s.Hosts[i]
	tunnels := "tunnels end nowhere yet"
	if self.VTEP.IsValid() {
		tunnels = fmt.Sprintf("tunnels end at %s, UDP port %d", self.VTEP, self.Port)
	}
	mark := "its mark is in the store: others know that it is alive"
	if !s.Store.Held {
		mark = "its mark is NOT in the store: others take it for dead, or will soon"
	}
	return []string{self.Name + ", " + self.ID, tunnels, mark}
}

func (s Status) hostLines() []string {
	return tableLines("NAME\tID\tTUNNELS END AT\tSINCE\tVERSION", func(row func(...any)) {
		for _, h := range s.Hosts {
			vtep, version := "-", h.Version
			if h.VTEP.IsValid() {
				vtep = h.VTEP.String()
			}
			if h.Self {
				version += " (this host)"
			}
			row(Plain(h.Name), h.ID, vtep, stamp(h.Since), version)
		}
	})
}

// tableLines are the lines of a table with that head.
func tableLines(head string, fill func(row func(...any))) []string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, head) // a Builder takes all
	rows := 0
	fill(func(cells ...any) {
		rows++
		_, _ = fmt.Fprintf(w, strings.TrimSuffix(strings.Repeat("%v\t", len(cells)), "\t")+"\n", cells...)
	})
	_ = w.Flush()
	if rows == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

func (s Status) switchLines() []string {
	sw := s.Switch
	var out []string
	if sw.Up {
		owner := "the host's"
		if sw.Own {
			owner = "dockstack's own"
		}
		out = append(out, fmt.Sprintf("%s Open vSwitch %s, %s datapath, since %s", owner, sw.Version, sw.Datapath, stamp(sw.Since)))
	} else {
		out = append(out, "NOT UP: "+sw.Error)
	}
	out = append(out, fmt.Sprintf("%s, %s, %s, %s",
		count(sw.Networks, "network"), count(sw.Endpoints, "endpoint"), count(sw.Ports, "port"), count(sw.Flows, "flow")))
	if t := sw.Tunnel; t.Kind != "" {
		kind := map[string]string{"flow": "a port of the switch", "kernel": "the kernel's vxlan devices"}[t.Kind]
		out = append(out, fmt.Sprintf("tunnels by %s: %s, %s with containers here, %s elsewhere, %s",
			kind, count(t.Peers, "host"), count(t.Networks, "network"), count(t.Remotes, "address"), count(t.Flows, "flow")))
	}
	if sw.Error != "" && sw.Up {
		out = append(out, "not as wanted yet: "+sw.Error)
	}
	return out
}

func (s Status) dnsLines() []string {
	d := s.DNS
	if d.Zone == "" {
		return nil
	}
	var open []string
	var shut []string
	for _, l := range d.Listeners {
		if l.Error != "" {
			shut = append(shut, fmt.Sprintf("NOT on %s: %s", l.Addr, l.Error))
			continue
		}
		open = append(open, l.Addr.Addr().String())
	}
	at := "nowhere"
	if len(open) > 0 {
		at = someOf(open, 4)
	}
	ahead := "nowhere"
	if len(d.Forwarders) > 0 {
		ahead = someOf(d.Forwarders, 4)
	}
	out := []string{fmt.Sprintf("zone %s, asked at %s", d.Zone, at), "other names are asked at " + ahead}
	out = append(out, shut...)
	counts := []string{
		countIn(d.Queries, "query"), fmt.Sprintf("%d answered from names", d.Answered), fmt.Sprintf("%d from the cache", d.Cached), fmt.Sprintf("%d forwarded", d.Forwarded),
	}
	for _, c := range []struct {
		n    uint64
		what string
	}{{d.Failed, "without an answer there"}, {d.Refused, "refused"}, {d.Limited, "beyond a limit"}, {d.Malformed, "not readable"}} {
		if c.n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	return append(out, strings.Join(counts, ", "))
}

func (s Status) engineLines() []string {
	if s.Started.IsZero() {
		return nil
	}
	if s.Engine == "" {
		return []string{"not heard of yet"}
	}
	return []string{"Docker " + s.Engine}
}

func (s Status) poolLines() []string {
	lines := tableLines("NAME\tSUBNET\tLIVE\tPARKED\tRESERVED\tFREE", func(row func(...any)) {
		for i, p := range s.Pools {
			if i == mostPools {
				break
			}
			name := p.Network
			if name == "" {
				name = "-"
			}
			row(Plain(name), p.Subnet, p.Live, p.Parked, p.Reserved, FreeText(p.Free))
		}
	})
	if more := len(s.Pools) - mostPools; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return lines
}

// FreeText is how many addresses are free, for people.
func FreeText(n int64) string {
	if n >= MaxFree {
		return "plenty"
	}
	return fmt.Sprint(n)
}

// someOf are the first words, and how many more there are.
func someOf(words []string, most int) string {
	if len(words) <= most {
		return strings.Join(words, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(words[:most], ", "), len(words)-most)
}

func count(n int, what string) string { return countIn(uint64(max(n, 0)), what) }

func countIn(n uint64, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case strings.HasSuffix(what, "s"):
		return fmt.Sprintf("%d %ses", n, what)
	case strings.HasSuffix(what, "y"):
		return fmt.Sprintf("%d %sies", n, strings.TrimSuffix(what, "y"))
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
