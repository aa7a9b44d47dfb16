package ipam_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/boltkv"
	"github.com/dockstack/dockstack/ipam"
)

// The benchmarks compare with bbolt itself in the same run, on the same disk,
// taking turns, and report the ratio. A disk's speed says nothing by itself.

type bench struct {
	reg  *ipam.Registry
	pool ipam.Pool
	raw  *bolt.DB
}

func newBench(b *testing.B) *bench {
	b.Helper()
	dir := b.TempDir()
	store, err := boltkv.Open(filepath.Join(dir, "store.db"))
	if err != nil {
		b.Fatal(err)
	}
	raw, err := bolt.Open(filepath.Join(dir, "raw.db"), 0o600, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = store.Close()
		_ = raw.Close()
	})
	if err := raw.Update(func(t *bolt.Tx) error {
		_, err := t.CreateBucket([]byte("b"))
		return err
	}); err != nil {
		b.Fatal(err)
	}
	reg, err := ipam.Open(b.Context(), store, ipam.Config{})
	if err != nil {
		b.Fatal(err)
	}
	pool, err := reg.RequestPool(b.Context(), ipam.PoolRequest{Subnet: netip.MustParsePrefix("10.0.0.0/8")})
	if err != nil {
		b.Fatal(err)
	}
	return &bench{reg: reg, pool: pool, raw: raw}
}

// put is what a lease is in the store: a key of its length and a value.
func put(t *bolt.Tx, name string) error {
	value := binary.AppendVarint(make([]byte, 11, 24), time.Now().UnixMilli())
	return t.Bucket([]byte("b")).Put([]byte("lease/10.0.0.0/8/"+name), value)
}

// BenchmarkKnownName is what a container's restart costs: its parked lease
// becomes live. The release between is not counted.
func BenchmarkKnownName(b *testing.B) {
	s := newBench(b)
	ctx := b.Context()
	const names = 1000
	for i := range names {
		if _, err := s.reg.RequestAddress(ctx, ipam.AddressRequest{Pool: s.pool.ID, Name: fmt.Sprint("name-", i)}); err != nil {
			b.Fatal(err)
		}
		if err := s.raw.Batch(func(t *bolt.Tx) error { return put(t, fmt.Sprint("name-", i)) }); err != nil {
			b.Fatal(err)
		}
	}
	var ours, theirs []time.Duration
	for i := 0; b.Loop(); i++ {
		name := fmt.Sprint("name-", i%names)
		addr, err := s.reg.RequestAddress(ctx, ipam.AddressRequest{Pool: s.pool.ID, Name: name})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.reg.ReleaseAddress(ctx, s.pool.ID, addr.Addr()); err != nil {
			b.Fatal(err)
		}
		at := time.Now()
		if _, err := s.reg.RequestAddress(ctx, ipam.AddressRequest{Pool: s.pool.ID, Name: name}); err != nil {
			b.Fatal(err)
		}
		ours = append(ours, time.Since(at))
		at = time.Now()
		if err := s.raw.Update(func(t *bolt.Tx) error { return put(t, name) }); err != nil {
			b.Fatal(err)
		}
		theirs = append(theirs, time.Since(at))
	}
	b.ReportMetric(float64(median(ours).Microseconds()), "µs/request")
	b.ReportMetric(float64(median(theirs).Microseconds()), "µs/bbolt-commit")
	b.ReportMetric(float64(median(ours))/float64(median(theirs)), "of-bbolt-commit(max1.5)")
}

// BenchmarkNewNames has 64 callers ask for new names at once, against 64
// callers of bbolt's Batch. One op is 1280 names of each.
func BenchmarkNewNames(b *testing.B) {
	const callers, each = 64, 20
	s := newBench(b)
	ctx := b.Context()
	all := func(do func(name string) error, round int) time.Duration {
		var wg sync.WaitGroup
		at := time.Now()
		for c := range callers {
			wg.Go(func() {
				for i := range each {
					if err := do(fmt.Sprintf("name-%d-%d-%d", round, c, i)); err != nil {
						b.Error(err)
					}
				}
			})
		}
		wg.Wait()
		return time.Since(at)
	}
	var ours, theirs []time.Duration
	for round := 0; b.Loop(); round++ {
		ours = append(ours, all(func(name string) error {
			_, err := s.reg.RequestAddress(ctx, ipam.AddressRequest{Pool: s.pool.ID, Name: name})
			return err
		}, round))
		theirs = append(theirs, all(func(name string) error {
			return s.raw.Batch(func(t *bolt.Tx) error { return put(t, name) })
		}, round))
	}
	b.ReportMetric(callers*each/median(ours).Seconds(), "names/s")
	b.ReportMetric(callers*each/median(theirs).Seconds(), "bbolt-batch/s")
	b.ReportMetric(float64(median(theirs))/float64(median(ours)), "of-bbolt-batch(min0.8)")
}

// BenchmarkOpen100k is a start with 100,000 leases, all of them live, so that
// all are in the snapshot as well.
func BenchmarkOpen100k(b *testing.B) {
	path := filepath.Join(b.TempDir(), "store.db")
	fillStore(b, path, 100_000)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var keep *ipam.Registry
	for b.Loop() {
		store, err := boltkv.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		if keep, err = ipam.Open(b.Context(), store, ipam.Config{}); err != nil {
			b.Fatal(err)
		}
		if err := store.Close(); err != nil {
			b.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if got := len(keep.Names().ByName("name-99999")); got != 1 {
		b.Fatalf("name-99999 has %d addresses", got)
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MB-heap")
}

func fillStore(tb testing.TB, path string, n int) {
	tb.Helper()
	store, err := boltkv.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	collect := &collector{Store: store}
	reg, err := ipam.Open(tb.Context(), collect, ipam.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	pool, err := reg.RequestPool(tb.Context(), ipam.PoolRequest{Subnet: netip.MustParsePrefix("172.16.0.0/12")})
	if err != nil {
		tb.Fatal(err)
	}
	for i := range n {
		if _, err := reg.RequestAddress(tb.Context(), ipam.AddressRequest{Pool: pool.ID, Name: fmt.Sprint("name-", i)}); err != nil {
			tb.Fatal(err)
		}
	}
	for len(collect.ops) > 0 {
		some := collect.ops[:min(5000, len(collect.ops))]
		if err := store.Commit(tb.Context(), some); err != nil {
			tb.Fatal(err)
		}
		collect.ops = collect.ops[len(some):]
	}
	if err := store.Close(); err != nil {
		tb.Fatal(err)
	}
}

// collector keeps commits back, to write them in large pieces.
type collector struct {
	kv.Store
	ops []kv.Op
}

func (c *collector) Commit(_ context.Context, ops []kv.Op, _ ...kv.Cond) error {
	c.ops = append(c.ops, ops...)
	return nil
}

func median(d []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(d))
	return sorted[len(sorted)/2]
}
