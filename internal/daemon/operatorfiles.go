package daemon

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/records"
	"github.com/dockstack/dockstack/ipam"
)

func ipamReservation(r admin.Reservation) ipam.Reservation {
	return ipam.Reservation{Pool: r.Pool, Name: r.Name, Addr: r.Address, MAC: r.MAC}
}

const (
	// manyNames is how many names at once need memory beyond the daemon's usual.
	manyNames = 5000
	// bulkRoom is how much they get: 100,000 names in one order take 100 MB while
	// they are worked on, and with less the collector runs all the time.
	bulkRoom = 320 << 20
)

// bulkMu is held while many names are worked on.
var bulkMu sync.Mutex

// bulk begins an order for that many names, one at a time, and returns its end.
func bulk(names int) (end func(), err error) {
	if names < manyNames {
		return func() {}, nil
	}
	if !bulkMu.TryLock() {
		return nil, admin.Errorf(admin.CodeBusy, "another import or restore of many names is under way; try again when it is through")
	}
	usual := debug.SetMemoryLimit(-1)
	debug.SetMemoryLimit(usual + bulkRoom)
	return func() {
		debug.SetMemoryLimit(usual)
		debug.FreeOSMemory()
		bulkMu.Unlock()
	}, nil
}

// reservedAt tells reservations of one import apart, for where they were read.
type reservedAt struct {
	name string
	addr netip.Addr
}

// Import implements admin.Backend.
func (o operator) Import(ctx context.Context, in admin.Import) (admin.Plan, error) {
	st, err := o.leases(ctx)
	if err != nil {
		return admin.Plan{}, err
	}
	end, err := bulk(len(in.Reservations))
	if err != nil {
		return admin.Plan{}, err
	}
	defer end()
	want := ipam.Import{Subnets: in.Subnets, DryRun: in.DryRun, Reservations: make([]ipam.Reservation, len(in.Reservations))}
	from := make(map[reservedAt]string, len(in.Reservations))
	for i, r := range in.Reservations {
		want.Reservations[i] = ipamReservation(r)
		from[reservedAt{r.Name, r.Address}] = r.From
	}
	fresh, clashes := lookAtRecords(st.about.records, in.Records)
	// A dry run of the rest says what else is in the way.
	want.DryRun = want.DryRun || len(clashes) > 0
	plan, err := st.Leases.Import(ctx, want)
	out := adminPlan(plan, from)
	out.Records, out.Clashes = adminRecords(fresh), append(out.Clashes, clashes...)
	if err == nil && len(clashes) > 0 {
		err = fmt.Errorf("%w: nothing was imported: record %s: %s", records.ErrClash, clashes[0].Reservation.Name, clashes[0].Reason)
	}
	if err != nil || in.DryRun {
		return out, o.told(err)
	}
	for _, r := range fresh {
		if _, err := o.AddRecord(ctx, adminRecord(r)); err != nil {
			return out, admin.Errorf(admin.CodeOf(err), "the addresses are imported, the record `%s` is not: %s; mend that and import the same again", admin.Plain(r.String()), err)
		}
	}
	return out, nil
}

// adminPlan is a plan in the API's words, with where each reservation was read.
func adminPlan(plan ipam.Plan, from map[reservedAt]string) admin.Plan {
	one := func(r ipam.Reservation) admin.Reservation {
		return admin.Reservation{Name: r.Name, Address: r.Addr, MAC: r.MAC, Pool: r.Pool, From: from[reservedAt{r.Name, r.Addr}]}
	}
	out := admin.Plan{Pools: plan.Pools, Done: plan.Done}
	for _, r := range plan.New {
		out.New = append(out.New, one(r))
	}
	for _, r := range plan.Same {
		out.Same = append(out.Same, one(r))
	}
	for _, r := range plan.Replaced {
		out.Replaced = append(out.Replaced, admin.Replaced{Reservation: one(r.Reservation), Old: r.Old})
	}
	for _, c := range plan.Clashes {
		out.Clashes = append(out.Clashes, admin.Clash{Reservation: one(c.Reservation), Reason: c.Reason})
	}
	return out
}

// Backup implements admin.Backend.
func (o operator) Backup(ctx context.Context, to io.Writer) error {
	st, err := o.leases(ctx)
	if err != nil {
		return err
	}
	ops, err := st.Leases.Dump(ctx)
	if err != nil {
		return o.told(err)
	}
	ops = append(ops, st.about.records.Dump()...)
	entries := make([]admin.BackupEntry, len(ops))
	for i, op := range ops {
		entries[i] = admin.BackupEntry{Key: op.Key, Value: op.Value}
	}
	return admin.WriteBackup(to, admin.BackupInfo{Version: version, Made: time.Now().UTC(), Host: o.p.cfg.hostName}, entries)
}

// Restore implements admin.Backend.
func (o operator) Restore(ctx context.Context, from io.Reader, mode admin.RestoreMode) (admin.Restore, error) {
	st, err := o.leases(ctx)
	if err != nil {
		return admin.Restore{}, err
	}
	info, entries, err := admin.ReadBackup(from)
	if err != nil {
		return admin.Restore{}, err
	}
	end, err := bulk(len(entries))
	if err != nil {
		return admin.Restore{}, err
	}
	defer end()
	in := ipam.Restore{DryRun: mode == admin.RestoreDry}
	var dns []kv.Op
	for _, e := range entries {
		op := kv.Op{Key: e.Key, Value: e.Value}
		if strings.HasPrefix(e.Key, records.Prefix) {
			dns = append(dns, op)
		} else {
			in.Records = append(in.Records, op)
		}
	}
	if err := records.CheckDump(dns); err != nil {
		return admin.Restore{}, admin.Errorf(admin.CodeUsage, "the backup's DNS records: %s; nothing was changed", err)
	}
	report, err := st.Leases.RestoreDump(ctx, in)
	out := admin.Restore{
		Made: info.Made, Host: info.Host, Version: info.Version, Pools: report.Pools, Records: len(dns),
		Same: report.Same, New: report.New, Moved: report.Moved, Gone: report.Gone,
		Kept: report.Kept, Clashes: report.Clashes, Done: report.Done,
	}
	if err != nil {
		return out, o.told(err)
	}
	if _, err := st.about.records.Restore(ctx, dns, in.DryRun); err != nil {
		return out, admin.Errorf(admin.CodeOf(o.told(err)), "the names are restored, the DNS records are not: %s; restore the same again", err)
	}
	return out, nil
}
