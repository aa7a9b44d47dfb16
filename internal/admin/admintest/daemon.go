// Package admintest has a daemon in memory, for tests of who asks one. It keeps
// the few rules that make calls fail; package ipam has the real ones.
package admintest

import (
	"cmp"
	"context"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/events"
)

// Daemon implements admin.Backend. Its fields are set before it is used.
type Daemon struct {
	StatusNow admin.Status
	PoolsNow  []admin.Pool
	HostsNow  []admin.Host
	Found     admin.Report
	Answer    admin.Answer
	Sampled   []admin.DNSSample
	Ring      *events.Ring
	// Fails is the error of every call that can fail, if any.
	Fails error
	// Panics has every call of Status end in a panic.
	Panics bool
	// Blocks has Pools wait for its context.
	Blocks bool

	mu      sync.Mutex
	leases  []admin.Lease  // guarded by mu
	records []admin.Record // guarded by mu
	// Asked is the last question, Restored the last backup; guarded by mu.
	asked    admin.Question
	restored []admin.BackupEntry
}

var _ admin.Backend = (*Daemon)(nil)

// At is when everything was as it is.
var At = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// New makes a daemon with a network called internal and three names in it.
func New() *Daemon {
	pool := admin.Pool{ID: "172.16.0.0/16", Subnet: netip.MustParsePrefix("172.16.0.0/16"), Range: netip.MustParsePrefix("172.16.0.0/16"), Network: "internal", InUse: true}
	blue := admin.Pool{ID: "10.9.0.0/24@blue", Subnet: netip.MustParsePrefix("10.9.0.0/24"), Range: netip.MustParsePrefix("10.9.0.0/24"), Network: "front", Overlay: "blue", InUse: true}
	lease := func(name, addr, mac, state, host string) admin.Lease {
		return admin.Lease{
			Name: name, Address: netip.MustParseAddr(addr), MAC: mac, Network: pool.Network, Pool: pool.ID,
			State: state, Host: host, HostID: strings.Repeat(host[len(host)-1:], 16), Since: At.Add(-3 * time.Hour),
		}
	}
	d := &Daemon{
		PoolsNow: []admin.Pool{blue, pool},
		HostsNow: []admin.Host{
			{ID: "1111111111111111", Name: "node1", Self: true, Version: "1.0", Since: At},
			{ID: "2222222222222222", Name: "node2", Version: "1.0", Since: At},
			{ID: "3333333333333333", Name: "node3"},
		},
		Ring: events.New(16),
		leases: []admin.Lease{
			lease("rabbitmq1", "172.16.0.31", "0a:d5:ac:10:00:1f", admin.StateLive, "node1"),
			lease("rabbitmq2", "172.16.0.32", "0a:d5:ac:10:00:20", admin.StateLive, "node2"),
			lease("mariadb", "172.16.0.40", "02:00:00:00:00:28", admin.StateParked, "node1"),
		},
		StatusNow: admin.Status{At: At, Version: "1.0", Alone: true, Problems: []string{}},
		Answer:    admin.Answer{Rcode: "NOERROR", Answers: []string{"rabbitmq1.\t5\tIN\tA\t172.16.0.31"}, Source: "container rabbitmq1"},
	}
	d.leases[2].Reserved = true
	return d
}

// Put adds a lease.
func (d *Daemon) Put(l admin.Lease) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.leases = append(d.leases, l)
}

// Clear forgets all leases.
func (d *Daemon) Clear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.leases = nil
}

// Asked is the last question.
func (d *Daemon) Asked() admin.Question {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked
}

// Restored is the last backup that was put back.
func (d *Daemon) Restored() []admin.BackupEntry {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.restored
}

// Status implements admin.Backend.
func (d *Daemon) Status(context.Context) admin.Status {
	if d.Panics {
		panic("a bug")
	}
	return d.StatusNow
}

// Leases implements admin.Backend.
func (d *Daemon) Leases(_ context.Context, keep func(admin.Lease) bool) ([]admin.Lease, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []admin.Lease
	for _, l := range d.leases {
		if keep(l) {
			out = append(out, l)
		}
	}
	return out, d.Fails
}

// Pools implements admin.Backend.
func (d *Daemon) Pools(ctx context.Context) ([]admin.Pool, error) {
	if d.Blocks {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return d.PoolsNow, d.Fails
}

// Hosts implements admin.Backend.
func (d *Daemon) Hosts(context.Context) ([]admin.Host, error) { return d.HostsNow, d.Fails }

// index is where a name's lease is, -1 for nowhere; mu is held.
func (d *Daemon) index(name string) int {
	return slices.IndexFunc(d.leases, func(l admin.Lease) bool { return l.Name == name })
}

// Reserve implements admin.Backend.
func (d *Daemon) Reserve(_ context.Context, r admin.Reservation) (admin.Lease, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.leases {
		if l.Address == r.Address && l.Name != r.Name {
			return admin.Lease{}, admin.Errorf(admin.CodeClash, "%s is %s's, which runs", r.Address, l.Name)
		}
	}
	l := admin.Lease{Name: r.Name, Address: r.Address, MAC: cmp.Or(r.MAC, "0a:d5:00:00:00:01"), Network: "internal", Pool: cmp.Or(r.Pool, "172.16.0.0/16"), State: admin.StateParked, Reserved: true, Since: At}
	if i := d.index(r.Name); i >= 0 {
		d.leases[i].Reserved = true
		if r.Address.IsValid() {
			d.leases[i].Address = r.Address
		}
		return d.leases[i], d.Fails
	}
	d.leases = append(d.leases, l)
	return l, d.Fails
}

// Release implements admin.Backend.
func (d *Daemon) Release(_ context.Context, name string, _ ...string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := d.index(name)
	switch {
	case i < 0:
		return admin.Errorf(admin.CodeNotFound, "no name `%s`", name)
	case d.leases[i].State == admin.StateLive:
		return admin.Errorf(admin.CodeClash, "%s runs; stop it first", name)
	}
	d.leases = slices.Delete(d.leases, i, i+1)
	return d.Fails
}

// RenameLease implements admin.Backend.
func (d *Daemon) RenameLease(_ context.Context, from, to string, _ ...string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := d.index(from)
	if i < 0 {
		return admin.Errorf(admin.CodeNotFound, "no name `%s`", from)
	}
	if d.index(to) >= 0 {
		return admin.Errorf(admin.CodeClash, "there is a %s", to)
	}
	d.leases[i].Name = to
	return d.Fails
}

// Import implements admin.Backend.
func (d *Daemon) Import(_ context.Context, in admin.Import) (admin.Plan, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	plan := admin.Plan{Records: in.Records}
	for _, r := range in.Reservations {
		if i := slices.IndexFunc(d.leases, func(l admin.Lease) bool { return l.Address == r.Address && l.Name != r.Name }); i >= 0 {
			plan.Clashes = append(plan.Clashes, admin.Clash{Reservation: r, Reason: "it is " + d.leases[i].Name + "'s"})
			continue
		}
		plan.New = append(plan.New, r)
	}
	for _, s := range in.Subnets {
		plan.Pools = append(plan.Pools, s.String())
	}
	if len(plan.Clashes) > 0 {
		return plan, admin.Errorf(admin.CodeClash, "clash")
	}
	plan.Done = !in.DryRun
	for _, r := range plan.New {
		if plan.Done && len(plan.Pools) == 1 && d.index(r.Name) < 0 {
			d.leases = append(d.leases, admin.Lease{Name: r.Name, Address: r.Address, MAC: r.MAC, Pool: plan.Pools[0], State: admin.StateParked, Reserved: true, Since: At})
		}
	}
	return plan, d.Fails
}

// ForgetHost implements admin.Backend.
func (d *Daemon) ForgetHost(_ context.Context, id string) error {
	for _, h := range d.HostsNow {
		if h.ID == id && h.Version != "" {
			return admin.Errorf(admin.CodeClash, "host %s is alive", h.Name)
		}
	}
	return d.Fails
}

// Backup implements admin.Backend.
func (d *Daemon) Backup(_ context.Context, to io.Writer) error {
	if d.Fails != nil {
		return d.Fails
	}
	return admin.WriteBackup(to, admin.BackupInfo{Version: "1.0", Made: At, Host: "node1"}, []admin.BackupEntry{{Key: "pool/a", Value: []byte("{}")}, {Key: "lease/a", Value: []byte{0xff, 0}}})
}

// Restore implements admin.Backend.
func (d *Daemon) Restore(_ context.Context, from io.Reader, mode admin.RestoreMode) (admin.Restore, error) {
	info, entries, err := admin.ReadBackup(from)
	if err != nil {
		return admin.Restore{}, err
	}
	out := admin.Restore{Made: info.Made, Host: info.Host, Version: info.Version, New: len(entries), Done: mode == admin.RestoreReal}
	if d.Fails != nil {
		out.Clashes, out.Done = []string{d.Fails.Error()}, false
		return out, d.Fails
	}
	if out.Done {
		d.mu.Lock()
		d.restored = entries
		d.mu.Unlock()
	}
	return out, nil
}

// Ask implements admin.Backend.
func (d *Daemon) Ask(_ context.Context, q admin.Question) (admin.Answer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = q
	return d.Answer, d.Fails
}

// Records implements admin.Backend.
func (d *Daemon) Records(context.Context) ([]admin.Record, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.records), d.Fails
}

// AddRecord implements admin.Backend.
func (d *Daemon) AddRecord(_ context.Context, r admin.Record) (admin.Record, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.records = append(d.records, r)
	return r, d.Fails
}

// RemoveRecord implements admin.Backend.
func (d *Daemon) RemoveRecord(_ context.Context, r admin.Record) ([]admin.Record, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var gone, left []admin.Record
	for _, o := range d.records {
		if o.Name == r.Name && (r.Type == "" || r.Type == o.Type) && (r.Value == "" || r.Value == o.Value) {
			gone = append(gone, o)
		} else {
			left = append(left, o)
		}
	}
	if gone == nil {
		return nil, admin.Errorf(admin.CodeNotFound, "no record `%s`", r.Name)
	}
	d.records = left
	return gone, d.Fails
}

// Doctor implements admin.Backend.
func (d *Daemon) Doctor(_ context.Context, mode admin.DoctorMode) (admin.Report, error) {
	out := d.Found
	out.Findings = slices.Clone(out.Findings)
	for i := range out.Findings {
		out.Findings[i].Mended = mode == admin.DoctorFix && out.Findings[i].Fix
	}
	return out, d.Fails
}

// Watch implements admin.Backend.
func (d *Daemon) Watch(since uint64) admin.Watch { return d.Ring.Watch(since) }

// Samples implements admin.Backend.
func (d *Daemon) Samples() []admin.DNSSample { return d.Sampled }
