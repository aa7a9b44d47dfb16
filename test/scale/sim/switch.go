package sim

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"

	"github.com/dockstack/dockstack/internal/fabric"
)

// Switch is one that takes everything and forwards nothing.
type Switch struct {
	// Added is called with the address of each flow that answers ARP for one.
	Added func(addr string)

	mu    sync.Mutex // guards below
	ports []fabric.Port
	flows map[flowKey]uint64 // cookies
	sent  int
}

type flowKey struct {
	table, priority int
	match           string
}

var _ fabric.Switch = (*Switch)(nil)

// State implements fabric.Switch.
func (*Switch) State() (fabric.SwitchState, <-chan struct{}) {
	return fabric.SwitchState{Up: true, Generation: 1, Offloads: fabric.OffloadAll, Datapath: "kernel", Origin: "own", Version: "simulated"}, nil
}

// Ports implements fabric.Switch.
func (s *Switch) Ports(context.Context) ([]fabric.Port, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]fabric.Port(nil), s.ports...), nil
}

// ChangePorts implements fabric.Switch.
func (s *Switch) ChangePorts(_ context.Context, del []string, add []fabric.PortSpec) ([]fabric.Port, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(del) > 0 {
		return nil, errors.New("the simulated switch removes no port")
	}
	var made []fabric.Port
	for _, spec := range add {
		made = append(made, fabric.Port{PortSpec: spec})
	}
	s.ports = append(s.ports, made...)
	return made, nil
}

// ChangeFlows implements fabric.Switch.
func (s *Switch) ChangeFlows(_ context.Context, change fabric.FlowChange) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flows == nil || change.Reset {
		s.flows = map[flowKey]uint64{}
	}
	for _, w := range change.Wipe {
		maps.DeleteFunc(s.flows, func(_ flowKey, cookie uint64) bool { return w.Has(cookie) })
	}
	for _, f := range change.Del {
		delete(s.flows, flowKey{f.Table, f.Priority, f.Match})
	}
	for _, f := range change.Add {
		s.flows[flowKey{f.Table, f.Priority, f.Match}] = f.Cookie
		if _, addr, ok := strings.Cut(f.Match, "arp_tpa="); ok && s.Added != nil {
			addr, _, _ = strings.Cut(addr, ",")
			s.Added(addr)
		}
	}
	s.sent += len(change.Add) + len(change.Del)
	return nil
}

// Drops implements fabric.Switch.
func (*Switch) Drops(context.Context, int) (map[uint64]uint64, error) {
	return map[uint64]uint64{}, nil
}

// FlowCount implements fabric.Switch.
func (s *Switch) FlowCount(_ context.Context, which fabric.Cookies) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, cookie := range s.flows {
		if which.Has(cookie) {
			n++
		}
	}
	return n, nil
}

// Sent is how many single flows were added or removed in all.
func (s *Switch) Sent() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent
}

// Links are a host's that has none.
type Links struct {
	mu  sync.Mutex // guards below
	all []fabric.Link
}

var _ fabric.Links = (*Links)(nil)

func (l *Links) put(name, alias string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, have := range l.all {
		if have.Name == name {
			return
		}
	}
	l.all = append(l.all, fabric.Link{Name: name, Index: len(l.all) + 2, Alias: alias, PeerElsewhere: true})
}

// AddVeth implements fabric.Links.
func (l *Links) AddVeth(_ context.Context, spec fabric.VethSpec) error {
	l.put(spec.Host, spec.Alias)
	return nil
}

// Raise implements fabric.Links.
func (*Links) Raise(context.Context, string, int) error { return nil }

// DeleteVeth implements fabric.Links.
func (*Links) DeleteVeth(context.Context, ...string) error { return nil }

// List implements fabric.Links.
func (l *Links) List(_ context.Context, prefix string) ([]fabric.Link, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []fabric.Link
	for _, link := range l.all {
		if strings.HasPrefix(link.Name, prefix) {
			out = append(out, link)
		}
	}
	return out, nil
}

// Find implements fabric.Links.
func (l *Links) Find(name string) (fabric.Link, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, link := range l.all {
		if link.Name == name {
			return link, true, nil
		}
	}
	return fabric.Link{}, false, nil
}

// PutGateway implements fabric.Links.
func (l *Links) PutGateway(_ context.Context, spec fabric.GatewaySpec) error {
	l.put(spec.Host, spec.Alias)
	return nil
}

// RemoveGateway implements fabric.Links.
func (*Links) RemoveGateway(context.Context, string) error { return nil }

// PutVXLAN implements fabric.Links.
func (*Links) PutVXLAN(context.Context, fabric.VXLANSpec) error { return nil }

// ChangeFDB implements fabric.Links.
func (*Links) ChangeFDB(context.Context, string, fabric.FDBChange) error { return nil }

// RemoveVXLAN implements fabric.Links.
func (*Links) RemoveVXLAN(context.Context, ...string) error { return nil }

// PutTunnelFilter implements fabric.Links.
func (*Links) PutTunnelFilter(context.Context, fabric.TunnelFilter) error { return nil }
