package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	leases     = 100_000
	startLimit = time.Second
	memoryMB   = 100
	// settleTime is how long after the first answer memory is looked at again:
	// by then the daemon has done what it does at each start.
	settleTime = 2 * time.Second
)

// starts times the daemon from exec to its first answer with a store of 100,000
// leases, and reads its memory. It does so twice: with all leases parked, as
// after a stop, and all live, as after a power cut, when each is unsure.
func starts(ctx context.Context, b *bench) (rows []row, err error) {
	// On the disk that would be used, and always the same: a killed run's is removed by the next.
	dir := filepath.Join(b.root, "build", "bench")
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s := starter{bench: b, dir: dir}
	if err := s.prepare(ctx); err != nil {
		return nil, fmt.Errorf("prepare the state: %w", err)
	}
	took, memory := map[lives][]float64{}, map[lives][]float64{}
	for range b.rounds(5) {
		for _, l := range []lives{parked, live} {
			seconds, mb, err := s.round(ctx, l)
			if err != nil {
				return nil, fmt.Errorf("start with %d leases, all %s: %w", leases, l, err)
			}
			took[l] = append(took[l], seconds/startLimit.Seconds())
			memory[l] = append(memory[l], mb/memoryMB)
		}
	}
	for _, l := range []lives{parked, live} {
		rows = append(rows, row{
			what: fmt.Sprintf("start with 100,000 leases, %s", l), bound: atMost, target: 1, ratios: took[l],
			ours: fmt.Sprintf("%.2f s", median(took[l])*startLimit.Seconds()), peer: fmt.Sprintf("%.0f s limit", startLimit.Seconds()),
		}, row{
			what: fmt.Sprintf("memory then, %s", l), bound: atMost, target: 1, ratios: memory[l],
			ours: fmt.Sprintf("%.0f MB", median(memory[l])*memoryMB), peer: fmt.Sprintf("%d MB limit", memoryMB),
		})
	}
	return rows, nil
}

// round starts the daemon once. The memory is the most of what it holds when it
// answers and when it has settled.
func (s *starter) round(ctx context.Context, l lives) (seconds, mb float64, err error) {
	if err := copyFile(s.store(l), s.used()); err != nil {
		return 0, 0, err
	}
	d, err := startDaemon(ctx, s.bench.root, s.dir)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, d.kill()) }()
	for i, name := range []string{leaseName(leases / 2), leaseName(leases - 1)} {
		got, err := d.ready(ctx, s.pool, name)
		if err != nil {
			return 0, 0, err
		}
		if want := s.addrs[name]; got != want {
			return 0, 0, fmt.Errorf("%s had %s, the daemon says %s", name, want, got)
		}
		if i == 0 {
			seconds = time.Since(d.began).Seconds()
		}
	}
	first, err := d.memory()
	if err != nil {
		return 0, 0, err
	}
	select {
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	case <-time.After(settleTime):
	}
	later, err := d.memory()
	s.bench.sayf("%s: %.3f s, %.0f MB, later %.0f MB", l, seconds, first, later)
	return seconds, slices.Max([]float64{first, later}), err
}
