// Package pagetest is a daemon for tests of what shows one: its state is in
// memory and changes at the test's word.
package pagetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/events"
)

// World is a daemon that says what it was told to.
type World struct {
	mu      sync.Mutex
	status  admin.Status
	hosts   []admin.Host // gone ones too
	leases  []admin.Lease
	samples []admin.DNSSample
	failing error
	ring    *events.Ring
}

// Change changes the world; leases are counted anew, and then put in order.
func (w *World) Change(fn func(s *admin.Status, leases *[]admin.Lease)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fn(&w.status, &w.leases)
	w.count()
}

// Fail has leases fail from now on, unless err is nil.
func (w *World) Fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failing = err
}

// Tell adds events.
func (w *World) Tell(all ...admin.Event) { w.ring.Add(all...) }

func (w *World) count() {
	slices.SortFunc(w.leases, func(a, b admin.Lease) int {
		return cmp.Or(cmp.Compare(a.Pool, b.Pool), a.Address.Compare(b.Address))
	})
	pools := map[string]*admin.Pool{}
	for i := range w.status.Pools {
		p := &w.status.Pools[i]
		p.Live, p.Parked, p.Reserved = 0, 0, 0
		pools[p.ID] = p
	}
	live := map[string]int{}
	for _, l := range w.leases {
		p := pools[l.Pool]
		if l.State == admin.StateLive {
			p.Live++
			live[l.HostID]++
		} else {
			p.Parked++
		}
		if l.Reserved {
			p.Reserved++
		}
	}
	for _, p := range pools {
		bits := p.Range.Addr().BitLen() - p.Range.Bits()
		p.Free = admin.MaxFree
		if bits < 40 {
			p.Free = max(0, 1<<bits-int64(p.Live+p.Parked+len(p.Excluded))-3)
		}
	}
	for i := range w.status.Hosts {
		w.status.Hosts[i].Live = live[w.status.Hosts[i].ID]
	}
}

// Status implements page.Source.
func (w *World) Status(context.Context) admin.Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.status
	s.At = time.Now()
	s.Pools, s.Hosts, s.Problems = slices.Clone(s.Pools), slices.Clone(s.Hosts), slices.Clone(s.Problems)
	return s
}

// Leases implements page.Source.
func (w *World) Leases(_ context.Context, keep func(admin.Lease) bool) ([]admin.Lease, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failing != nil {
		return nil, w.failing
	}
	var out []admin.Lease
	for _, l := range w.leases {
		if keep(l) {
			out = append(out, l)
		}
	}
	return out, nil
}

// Hosts implements page.Source.
func (w *World) Hosts(context.Context) ([]admin.Host, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Concat(w.status.Hosts, w.hosts), nil
}

// Watch implements page.Source.
func (w *World) Watch(since uint64) admin.Watch { return w.ring.Watch(since) }

// Samples implements page.Source.
func (w *World) Samples() []admin.DNSSample {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.samples)
}

// Sample adds what DNS did, and counts it.
func (w *World) Sample(s admin.DNSSample) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.samples = append(w.samples, s)
	d := &w.status.DNS
	d.Queries, d.Answered, d.Forwarded, d.Failed = d.Queries+s.Queries, d.Answered+s.Answered, d.Forwarded+s.Forwarded, d.Failed+s.Failed
	d.Cached += s.Forwarded / 3
}

// ErrAway is what a store that is not reached says.
var ErrAway = errors.New("no member of the etcd answers: 10.0.0.1:2379: connection refused")

// lease puts a name at an address of a pool.
func (w *World) lease(p *admin.Pool, name string, a netip.Addr, host admin.Host, since time.Time) *admin.Lease {
	w.leases = append(w.leases, admin.Lease{
		Name: name, Address: a, MAC: mac(a), Network: p.Network, Pool: p.ID, Overlay: p.Overlay, State: admin.StateLive,
		Host: host.Name, HostID: host.ID, Since: since,
	})
	return &w.leases[len(w.leases)-1]
}

func mac(a netip.Addr) string {
	b := a.AsSlice()
	b = b[len(b)-4:]
	return fmt.Sprintf("02:42:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3])
}

func pool(network, subnet string, vni uint32) admin.Pool {
	s := netip.MustParsePrefix(subnet)
	return admin.Pool{ID: s.String(), Subnet: s, Range: s, Gateway: s.Addr().Next(), Network: network, NetworkID: "5d0b6f2a91c4" + fmt.Sprint(vni), VNI: vni, MTU: 1450, InUse: true}
}
