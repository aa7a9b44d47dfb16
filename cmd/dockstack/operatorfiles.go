package main

import (
	"context"
	"io"
	"time"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/ipam"
)

func ipamReservation(r admin.Reservation) ipam.Reservation {
	return ipam.Reservation{Pool: r.Pool, Name: r.Name, Addr: r.Address, MAC: r.MAC}
}

// Import implements admin.Backend.
func (o operator) Import(ctx context.Context, in admin.Import) (admin.Plan, error) {
	st, err := o.leases(ctx)
	if err != nil {
		return admin.Plan{}, err
	}
	want := ipam.Import{Subnets: in.Subnets, DryRun: in.DryRun, Reservations: make([]ipam.Reservation, len(in.Reservations))}
	from := make(map[ipam.Reservation]string, len(in.Reservations))
	for i, r := range in.Reservations {
		want.Reservations[i] = ipamReservation(r)
		key := want.Reservations[i]
		key.Pool = "" // the plan names it
		from[key] = r.From
	}
	plan, err := st.Leases.Import(ctx, want)
	return adminPlan(plan, from), o.told(err)
}

// adminPlan is a plan in the API's words, with where each reservation was read.
func adminPlan(plan ipam.Plan, from map[ipam.Reservation]string) admin.Plan {
	one := func(r ipam.Reservation) admin.Reservation {
		key := r
		key.Pool = ""
		return admin.Reservation{Name: r.Name, Address: r.Addr, MAC: r.MAC, Pool: r.Pool, From: from[key]}
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
	in := ipam.Restore{DryRun: mode == admin.RestoreDry, Records: make([]kv.Op, len(entries))}
	for i, e := range entries {
		in.Records[i] = kv.Op{Key: e.Key, Value: e.Value}
	}
	report, err := st.Leases.RestoreDump(ctx, in)
	return admin.Restore{
		Made: info.Made, Host: info.Host, Version: info.Version, Pools: report.Pools,
		Same: report.Same, New: report.New, Moved: report.Moved, Gone: report.Gone,
		Kept: report.Kept, Clashes: report.Clashes, Done: report.Done,
	}, o.told(err)
}
