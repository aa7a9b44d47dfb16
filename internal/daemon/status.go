package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/fabric"
	"github.com/dockstack/dockstack/internal/peers"
)

// status is how things stand now. It waits for nothing that may be away.
func (p *parts) statusNow(ctx context.Context) admin.Status {
	s := admin.Status{
		At: time.Now(), Version: version, Started: p.started, Alone: !p.cfg.store.is(),
		Store: admin.StoreStatus{Where: stateFile + ", this host alone"},
		DNS:   p.dnsStatus(), Problems: []string{}, Pools: []admin.Pool{},
	}
	if v := p.engineVersion.Load(); v != nil {
		s.Engine = *v
	}
	name := func(id string) string { return id }
	if !s.Alone {
		s.Store.Where = p.cfg.store.address.String()
	}
	o, err := p.store.now()
	switch {
	case err != nil:
		s.Store.Closed = unused(err)
	case o == nil:
		s.Store.Closed = admin.StoreOpening
	case o.cluster != nil:
		o.cluster.fill(&s)
		name = o.cluster.peers.Name
	default:
		s.Store.Synced = true
		s.Hosts = []admin.Host{p.aloneHost(o)}
		s.Problems = append(s.Problems, o.Leases.Problems()...)
	}
	if o != nil && err == nil {
		p.counts.fill(ctx, o, &s)
	}
	sw := p.fabric.Status()
	s.Switch = switchStatus(sw)
	s.Problems = append(s.Problems, switchProblems(sw, name)...)
	s.Problems = append(s.Problems, p.mtuProblems()...)
	s.Problems = append(s.Problems, p.pageProblems()...)
	s.Problems = append(s.Problems, p.unhealed()...)
	s.Problems = append(s.Problems, p.cfg.passedOver...)
	p.hostPaths(&s)
	return s
}

// unused is why a store is not used, without saying that twice.
func unused(err error) string {
	return strings.TrimPrefix(err.Error(), errRefused.Error()+": ")
}

// aloneHost is this host where there are no others.
func (p *parts) aloneHost(o *opened) admin.Host {
	return admin.Host{ID: o.id, Name: p.cfg.hostName, Since: p.started, Version: version, Self: true}
}

// hostPaths has the status name files as its reader on the host does.
func (p *parts) hostPaths(s *admin.Status) {
	if p.cfg.hostRoot == "" {
		return
	}
	for _, text := range []*string{&s.Store.Where, &s.Store.Closed, &s.Store.Away, &s.Switch.Error} {
		*text = p.cfg.onHost(*text)
	}
	for i := range s.Problems {
		s.Problems[i] = p.cfg.onHost(s.Problems[i])
	}
	for i := range s.DNS.Listeners {
		s.DNS.Listeners[i].Error = p.cfg.onHost(s.DNS.Listeners[i].Error)
	}
}

// onHost is a text with files' paths as they are on the host.
func (c config) onHost(text string) string {
	if c.hostRoot == "" {
		return text
	}
	return strings.ReplaceAll(text, c.hostRoot+"/", "/")
}

func switchStatus(sw fabric.Status) admin.SwitchStatus {
	out := admin.SwitchStatus{
		Up: sw.Up, Own: sw.Origin != "host", Version: sw.Version, Datapath: sw.Datapath, Since: sw.Since, Error: sw.LastError,
		Networks: sw.Networks, Endpoints: sw.Endpoints, Ports: sw.Ports, Flows: sw.Flows,
		Tunnel: admin.TunnelStatus{
			Kind: sw.Tunnel.Kind, Peers: sw.Tunnel.Peers, Networks: sw.Tunnel.Networks,
			Remotes: sw.Tunnel.Remotes, Flows: sw.Tunnel.Flows, Faults: sw.Tunnel.Faults,
		},
	}
	if !sw.Up {
		out.Error = fmt.Sprint(sw.Err)
	}
	return out
}

// switchProblems are what a person should know of the switch.
func switchProblems(sw fabric.Status, name func(hostID string) string) []string {
	var out []string
	if sw.Tunnel.LastError != "" {
		out = append(out, sw.Tunnel.LastError)
	}
	out = append(out, sw.Tunnel.Faults...)
	for _, d := range sw.Displaced {
		out = append(out, fmt.Sprintf("endpoint %.12s in network %.12s is kept off the network: its address %s is in use on host %s",
			d.Endpoint, d.Network, d.Addr, name(d.Host)))
	}
	return out
}

// fill adds what is known of the cluster.
func (c *cluster) fill(s *admin.Status) {
	self := c.peers.Self().ID
	for _, h := range c.peers.All() {
		s.Hosts = append(s.Hosts, adminHost(h, self))
	}
	s.Problems = append(s.Problems, c.problems()...)
	away, _ := c.gate.State()
	s.Store.Held = c.peers.Holds()
	select {
	case <-c.leases.Synced():
		s.Store.Synced = true
	default:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if errors.Is(away, errRefused) {
		s.Store.Closed = unused(away)
	}
	if c.away != nil {
		s.Store.Away = c.away.Error()
	}
	s.Store.Since, s.Store.Cluster = c.since, c.in.ID
}

func adminHost(h peers.Host, self string) admin.Host {
	return admin.Host{ID: h.ID, Name: h.Name, VTEP: h.VTEP, Port: h.Port, Since: h.Since, Version: h.Version, Self: h.ID == self}
}

// report is the status for the file, and tells of what differs from the last
// time. Only the status file's goroutine calls it.
func (p *parts) report() string {
	s := p.statusNow(context.Background())
	p.told.tell(s)
	if o, err := p.store.now(); err == nil && o != nil && o.about != nil {
		p.told.tellRecords(o.about.records.Now())
	}
	for _, text := range p.mtuProblems() {
		if !slices.Contains(p.tight, text) {
			p.log.Warn("a network does not fit between the hosts", "problem", text)
		}
	}
	p.tight = p.mtuProblems()
	return s.Text()
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
