package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dockstack/dockstack/test/scale/sim"
)

const (
	// tripNames are measured in each round, after tripWarm.
	tripNames = 40
	tripWarm  = 5
)

// roundTrips counts etcd's calls for a new name and for a known one, by etcd's
// own metrics, with three members and two hosts.
func roundTrips(ctx context.Context, b *bench) (rows []row, err error) {
	dir := filepath.Join(b.root, "build", "bench-etcd")
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	e, err := sim.StartEtcd(ctx, dir, 3)
	if err != nil {
		return nil, err
	}
	defer e.Stop()
	t := trips{etcd: e}
	for i := range 2 {
		a, err := sim.StartAgent(ctx, e.URL(), sim.Host(i), sim.Callbacks{}, nil)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, a.Stop()) }()
		if err := sim.CreateNetwork(ctx, a.Leases); err != nil {
			return nil, err
		}
		t.host = a
	}
	for i := range b.rounds(5) {
		if err := t.round(ctx, i); err != nil {
			return nil, err
		}
	}
	b.sayf("calls for a new name %v, a known one %v, an end %v", t.fresh, t.known, t.ends)
	note := func(ours []float64) string {
		return fmt.Sprintf("%.1f ms (median), a bare commit to the same etcd %.1f ms", median(ours), median(t.bareMS))
	}
	return []row{
		{
			what: "new name through etcd", bound: atMost, target: 1, ratios: by(t.fresh, 2),
			ours: fmt.Sprintf("%.2f calls", median(t.fresh)), peer: "2 calls limit", note: note(t.freshMS),
		},
		{
			what: "known name restarting, through etcd", bound: atMost, target: 1, ratios: by(t.known, 1),
			ours: fmt.Sprintf("%.2f calls", median(t.known)), peer: "1 call limit",
			note: note(t.knownMS) + fmt.Sprintf("; its end before took %.2f calls", median(t.ends)),
		},
	}, nil
}

// trips is what was counted, per name, and what it took.
type trips struct {
	etcd                     *sim.Etcd
	host                     *sim.Agent
	fresh, known, ends       []float64
	freshMS, knownMS, bareMS []float64
}

func by(v []float64, d float64) []float64 {
	out := make([]float64, len(v))
	for i := range v {
		out[i] = v[i] / d
	}
	return out
}

// count returns how many calls etcd had for one name, and how long one took.
func (t *trips) count(ctx context.Context, do func(i int) error) (calls, ms float64, err error) {
	before, err := t.etcd.Metrics(ctx)
	if err != nil {
		return 0, 0, err
	}
	var took []float64
	for i := range tripNames {
		began := time.Now()
		if err := do(i); err != nil {
			return 0, 0, err
		}
		took = append(took, float64(time.Since(began))/float64(time.Millisecond))
	}
	after, err := t.etcd.Metrics(ctx)
	methods := []string{"Txn", "Range", "Put", "DeleteRange"}
	return (after.Calls(methods...) - before.Calls(methods...)) / tripNames, median(took), err
}

func (t *trips) round(ctx context.Context, round int) error {
	name := func(i int) string { return fmt.Sprintf("trip-%d-%d", round, i) }
	var addrs [tripNames]netip.Addr
	start := func(i int) (err error) {
		addrs[i], err = t.host.Start(ctx, name(i))
		return err
	}
	for i := range tripWarm {
		if _, err := t.host.Start(ctx, fmt.Sprintf("warm-%d-%d", round, i)); err != nil {
			return err
		}
	}
	client, err := t.etcd.Client(0)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	for _, part := range []struct {
		calls, ms *[]float64
		do        func(i int) error
	}{
		{&t.fresh, &t.freshMS, start},
		{&t.ends, nil, func(i int) error { return t.host.End(ctx, name(i), addrs[i]) }},
		{&t.known, &t.knownMS, start},
		{nil, &t.bareMS, func(i int) error {
			_, err := client.Put(ctx, "/elsewhere/"+name(i), strings.Repeat("x", 60))
			return err
		}},
	} {
		calls, ms, err := t.count(ctx, part.do)
		if err != nil {
			return err
		}
		if part.calls != nil {
			*part.calls = append(*part.calls, calls)
		}
		if part.ms != nil {
			*part.ms = append(*part.ms, ms)
		}
	}
	return nil
}
