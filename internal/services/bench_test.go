package services

import (
	"fmt"
	"log/slog"
	"runtime"
	"testing"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/kvtest"
)

// many are the facts of n containers: 100 to a host, each service has three
// replicas, and what else there is differs.
func many(n int) kv.Change {
	c := kv.Change{Whole: true}
	for i := range n {
		f := Facts{
			Project: "shop", Service: fmt.Sprintf("service-%d", i/3), Ports: []Port{{80, "tcp"}, {443, "tcp"}},
			On: []On{{Pools: []string{"172.16.0.0/12"}, Aliases: []string{fmt.Sprintf("service-%d", i/3), fmt.Sprintf("alias_%d", i/3)}}},
		}
		c.Ops = append(c.Ops, kv.Op{Key: Key(fmt.Sprintf("host%05d", i/100), fmt.Sprintf("shop-service-%d-%d", i/3, i%3+1)), Value: f.encode()})
	}
	return c
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkMemory tells what a container's facts take, and a change of one among
// 100,000.
func BenchmarkMemory(b *testing.B) {
	const n = 100_000
	s, err := Open(b.Context(), kvtest.NewMemory(), Config{Host: "me", Label: label, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	change := many(n)
	before := heap()
	s.Learn(change)
	each := float64(heap()-before) / n
	op := change.Ops[n/2]
	other := change.Ops[n/2+3]
	for i := 0; b.Loop(); i++ {
		if i%2 == 0 {
			op.Value = other.Value
		} else {
			op.Value = change.Ops[n/2].Value
		}
		s.Learn(kv.Change{Ops: []kv.Op{op}})
	}
	b.ReportMetric(each, "B/container")
	runtime.KeepAlive(change)
}

func BenchmarkMembers(b *testing.B) {
	s, err := Open(b.Context(), kvtest.NewMemory(), Config{Host: "me", Label: label, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	s.Learn(many(100_000))
	b.ReportAllocs()
	for b.Loop() {
		m := s.Now().Members("service-1000")
		for i := range m {
			if m.At(i).Container == "" {
				b.Fatal("nobody")
			}
		}
	}
}
