package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dockstack/dockstack/internal/fabric"
	"github.com/dockstack/dockstack/internal/peers"
)

// status is how things stand, for people.
type status struct {
	at       time.Time
	store    storeStatus
	self     peers.Host
	hosts    []peers.Host // with this one; none where it is alone
	sw       fabric.Status
	name     func(hostID string) string
	problems []string
}

// storeStatus is how the store stands.
type storeStatus struct {
	// where is what it is; cluster the id of the cluster, if any.
	where, cluster string
	// closed is why it isn't open or not to be used, away why it isn't reached.
	closed, away error
	// since is when it was reached or went away.
	since time.Time
	// synced and held are whether what others wrote is known here, and whether
	// others know that this host is alive.
	synced, held bool
}

// statusWidth is where the right-hand side begins.
const statusWidth = 11

// text is the status as the file has it.
func (s status) text() string {
	var b strings.Builder
	section := func(head string, lines ...string) {
		b.WriteByte('\n')
		for i, line := range lines {
			if i > 0 {
				head = ""
			}
			fmt.Fprintf(&b, "%-*s%s\n", statusWidth, head, strings.ReplaceAll(line, "\n", "; "))
		}
	}
	fmt.Fprintf(&b, "dockstack %s, %s\n", version, stamp(s.at))
	section("store", s.storeLines()...)
	if s.hosts != nil {
		section("this host", s.selfLines()...)
		section("hosts", s.hostLines()...)
	}
	section("switch", s.switchLines()...)
	if len(s.problems) == 0 {
		section("problems", "none")
		return b.String()
	}
	bullets := make([]string, len(s.problems))
	for i, p := range s.problems {
		bullets[i] = "- " + p
	}
	section("problems", bullets...)
	return b.String()
}

func (s status) storeLines() []string {
	out := []string{s.store.where}
	switch {
	case s.store.closed != nil:
		out = append(out, "NOT USED: "+strings.TrimPrefix(s.store.closed.Error(), errRefused.Error()+": "))
	case s.store.away != nil:
		out = append(out, fmt.Sprintf("AWAY since %s: %v", stamp(s.store.since), s.store.away),
			"names that ran here last start, new ones don't")
	case s.hosts != nil && !s.store.synced:
		out = append(out, "reached, and being read")
	case s.hosts != nil:
		out = append(out, "reached since "+stamp(s.store.since))
	}
	if s.store.cluster != "" {
		out = append(out, "cluster "+s.store.cluster)
	}
	return out
}

func (s status) selfLines() []string {
	tunnels := "tunnels end nowhere yet"
	if s.self.VTEP.IsValid() {
		tunnels = fmt.Sprintf("tunnels end at %s, UDP port %d", s.self.VTEP, s.self.Port)
	}
	mark := "its mark is in the store: others know that it is alive"
	if !s.store.held {
		mark = "its mark is NOT in the store: others take it for dead, or will soon"
	}
	return []string{s.self.Name + ", " + s.self.ID, tunnels, mark}
}

func (s status) hostLines() []string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "NAME\tID\tTUNNELS END AT\tSINCE\tVERSION") // a Builder takes all
	for _, h := range s.hosts {
		vtep, this := "-", ""
		if h.VTEP.IsValid() {
			vtep = h.VTEP.String()
		}
		if h.ID == s.self.ID {
			this = " (this host)"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s%s\n", h.Name, h.ID, vtep, stamp(h.Since), h.Version, this)
	}
	_ = w.Flush()
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

func (s status) switchLines() []string {
	sw := s.sw
	var out []string
	if sw.Up {
		owner := "dockstack's own"
		if sw.Origin == "host" {
			owner = "the host's"
		}
		out = append(out, fmt.Sprintf("%s Open vSwitch %s, %s datapath, since %s", owner, sw.Version, sw.Datapath, stamp(sw.Since)))
	} else {
		out = append(out, fmt.Sprintf("NOT UP: %v", sw.Err))
	}
	out = append(out, fmt.Sprintf("%s, %s, %s, %s",
		count(sw.Networks, "network"), count(sw.Endpoints, "endpoint"), count(sw.Ports, "port"), count(sw.Flows, "flow")))
	if t := sw.Tunnel; t.Kind != "" {
		kind := map[string]string{fabric.TunnelFlow: "a port of the switch", fabric.TunnelKernel: "the kernel's vxlan devices"}[t.Kind]
		out = append(out, fmt.Sprintf("tunnels by %s: %s, %s with containers here, %s elsewhere, %s",
			kind, count(t.Peers, "host"), count(t.Networks, "network"), count(t.Remotes, "address"), count(t.Flows, "flow")))
	}
	if sw.LastError != "" && sw.Up {
		out = append(out, "not as wanted yet: "+sw.LastError)
	}
	return out
}

func count(n int, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case strings.HasSuffix(what, "s"):
		return fmt.Sprintf("%d %ses", n, what)
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// switchProblems are what a person should know of the switch.
func (s status) switchProblems() []string {
	var out []string
	if s.sw.Tunnel.LastError != "" {
		out = append(out, s.sw.Tunnel.LastError)
	}
	out = append(out, s.sw.Tunnel.Faults...)
	for _, d := range s.sw.Displaced {
		out = append(out, fmt.Sprintf("endpoint %.12s in network %.12s is kept off the network: its address %s is in use on host %s",
			d.Endpoint, d.Network, d.Addr, s.name(d.Host)))
	}
	return out
}

// report is the status as it is now. Only the status file's goroutine calls it.
func (p *parts) report() string {
	s := status{at: time.Now(), sw: p.fabric.Status(), store: storeStatus{where: p.cfg.host(stateFile) + ", this host alone"}}
	s.name = func(id string) string { return id }
	o, err := p.store.now()
	if p.cfg.store.is() {
		s.store.where = p.cfg.store.address.String()
	}
	switch {
	case err != nil:
		s.store.closed = err
	case o == nil:
		s.store.closed = errors.New("it is being opened")
	case o.cluster != nil:
		o.cluster.fill(&s)
	default:
		s.problems = append(s.problems, o.Leases.Problems()...)
	}
	s.problems = append(s.problems, s.switchProblems()...)
	tight := p.mtuProblems()
	for _, text := range tight {
		if !slices.Contains(p.tight, text) {
			p.log.Warn("a network does not fit between the hosts", "problem", text)
		}
	}
	p.tight = tight
	s.problems = append(s.problems, tight...)
	text := s.text()
	if p.cfg.hostRoot != "" {
		// Its reader sits on the host.
		text = strings.ReplaceAll(text, p.cfg.hostRoot+"/", "/")
	}
	return text
}

// fill adds what is known of the cluster.
func (c *cluster) fill(s *status) {
	s.self, s.hosts, s.name = c.peers.Self(), c.peers.All(), c.peers.Name
	s.problems = c.problems()
	away, _ := c.gate.State()
	s.store.held = c.peers.Holds()
	select {
	case <-c.leases.Synced():
		s.store.synced = true
	default:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if errors.Is(away, errRefused) {
		s.store.closed = away
	}
	s.store.away, s.store.since, s.store.cluster = c.away, c.since, c.in.ID
}

// mtuProblems are the networks whose packets don't fit into tunnels.
func (p *parts) mtuProblems() []string {
	if p.underlay == nil {
		return nil
	}
	room := p.underlay.room()
	if room == 0 {
		return nil
	}
	var out []string
	for _, n := range p.status.known() {
		if n.MTU > room && !n.Alone {
			out = append(out, fmt.Sprintf("network %.12s has MTU %d, but between hosts %d bytes fit: larger packets get lost; "+
				"raise the MTU of the hosts' network, or remove the network on all hosts and create it with `-o com.docker.network.driver.mtu=%d`", n.ID, n.MTU, room, room))
		}
	}
	slices.Sort(out)
	return out
}
