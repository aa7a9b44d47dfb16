package daemon

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/dockstack/dockstack/dnsd"
	"github.com/dockstack/dockstack/internal/records"
	"github.com/dockstack/dockstack/internal/services"
	"github.com/dockstack/dockstack/ipam"
)

// pictures puts leases, services and records together to one picture, which
// lasts until one of the three changes.
type pictures struct {
	leases   func() *ipam.Snapshot
	services func() *services.Snapshot
	records  func() *records.Snapshot
	// machine is what people call a host, nil where there is only one.
	machine func(id string) string
	serial  *serial

	last atomic.Pointer[names]
	// making is held while a new one is made.
	making sync.Mutex
}

// now is the present picture.
func (p *pictures) now() *names {
	if n := p.last.Load(); p.fresh(n) {
		return n
	}
	p.making.Lock()
	defer p.making.Unlock()
	if n := p.last.Load(); p.fresh(n) {
		return n
	}
	n := &names{Snapshot: p.leases(), services: p.services(), records: p.records(), serial: p.serial.next(), machine: p.machine}
	p.last.Store(n)
	return n
}

func (p *pictures) fresh(n *names) bool {
	return n != nil && n.Snapshot == p.leases() && n.services == p.services() && n.records == p.records()
}

// Serial grows with every change of any of the three, and across restarts.
func (n *names) Serial() uint32 { return n.serial }

// ByService joins who a service's or alias' members are, by the engines' words,
// with who is live where, by the leases.
func (n *names) ByService(to []dnsd.Host, name string) []dnsd.Host {
	before := len(to)
	if to = n.join(to, n.services.Members(name)); len(to) == before {
		to = n.join(to, n.services.Labelled(name))
	}
	return to
}

// Below joins whose names, by their own, a service's or an alias, end in a dot
// and name.
func (n *names) Below(to []dnsd.Host, name string) []dnsd.Host {
	var room [8]ipam.Host
	return n.join(hosts(to, n.AppendBelow(room[:0], name)), n.services.Below(name))
}

func (n *names) join(to []dnsd.Host, members services.Members) []dnsd.Host {
	var room [8]ipam.Located
	for i := range members {
		m := members.At(i)
		for _, l := range n.Locate(room[:0], m.Container) {
			if l.Name != m.Container || l.HostID != m.Host || !slices.Contains(m.Pools, l.PoolID) {
				continue
			}
			h := host(&l.Host)
			h.Out, h.Via = m.Out, m.Via
			to = append(to, h)
		}
	}
	return to
}

// Ports is what h's container exposes or publishes.
func (n *names) Ports(h dnsd.Host) []dnsd.Port {
	l, ok := n.located(h)
	if !ok {
		return nil
	}
	f, _ := n.services.Facts(l.HostID, l.Name)
	out := make([]dnsd.Port, len(f.Ports))
	for i, p := range f.Ports {
		out[i] = dnsd.Port(p)
	}
	return out
}

// located is h with where its container runs.
func (n *names) located(h dnsd.Host) (ipam.Located, bool) {
	var room [8]ipam.Located
	for _, l := range n.Locate(room[:0], h.Name) {
		if l.Name == h.Name && l.Addr == h.Addr && l.Pool == h.Pool && l.Overlay == h.Overlay {
			return l, true
		}
	}
	return ipam.Located{}, false
}

// Records are the operator's at exactly name.
func (n *names) Records(name string) []dnsd.Record { return publicRecords(n.records.At(name)) }

// RecordsFor are the operator's that lead to addr.
func (n *names) RecordsFor(addr netip.Addr) []dnsd.Record { return publicRecords(n.records.For(addr)) }

func publicRecords(all []records.Record) []dnsd.Record {
	if len(all) == 0 {
		return nil
	}
	out := make([]dnsd.Record, len(all))
	for i, r := range all {
		out[i] = dnsd.Record(r)
	}
	return out
}

// HasRecordsBelow tells whether operator's records stand below name.
func (n *names) HasRecordsBelow(name string) bool { return n.records.HasBelow(name) }

// All yields every live address.
func (n *names) All(yield func(dnsd.Host) bool) {
	n.Snapshot.All(func(l ipam.Located) bool { return yield(host(&l.Host)) })
}

// AllServices yields every name that ByService knows.
func (n *names) AllServices(yield func(string) bool) { n.services.Names(yield) }

// AllRecords yields every record of the operator's.
func (n *names) AllRecords(yield func(dnsd.Record) bool) {
	n.records.All(func(r records.Record) bool { return yield(dnsd.Record(r)) })
}

// liveAs says which live container the full name is one of, "" for none.
func (n *names) liveAs(zone, name string) string {
	rest := strings.TrimSuffix(name, "."+zone)
	if found := n.ByName(nil, rest); len(found) > 0 {
		return "container " + found[0].Name
	}
	for dot := range len(rest) {
		if rest[dot] != '.' {
			continue
		}
		for _, h := range n.ByName(nil, rest[:dot]) {
			if network := rest[dot+1:]; strings.EqualFold(h.Network, network) || strings.EqualFold(h.Overlay, network) {
				return "container " + h.Name + " on network " + network
			}
		}
	}
	return ""
}
