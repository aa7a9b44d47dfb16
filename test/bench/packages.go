package main

import (
	"context"
	"fmt"
)

// figures runs a benchmark and returns the figures of the given units.
func figures(ctx context.Context, b *bench, g goBench, units ...string) ([][]float64, error) {
	m, err := g.run(ctx, b)
	if err != nil {
		return nil, err
	}
	return m.need(units...)
}

// knownName is a container's restart as the store sees it: a known name asks
// for its address over the plugin's socket.
func knownName(ctx context.Context, b *bench) ([]row, error) {
	f, err := figures(ctx, b, goBench{pkg: "./plugin", name: "^BenchmarkSocketKnownName$", rounds: 300, repeat: 5},
		"µs/request", "µs/bbolt-commit", "of-bbolt-commit")
	if err != nil {
		return nil, err
	}
	return []row{{
		what: "RequestAddress, known name, over the socket", bound: atMost, target: 1.5, ratios: f[2],
		ours: fmt.Sprintf("%.0f µs", median(f[0])), peer: fmt.Sprintf("%.0f µs bbolt commit", median(f[1])),
	}}, nil
}

func newNames(ctx context.Context, b *bench) ([]row, error) {
	f, err := figures(ctx, b, goBench{pkg: "./ipam", name: "^BenchmarkNewNames$", rounds: 4, repeat: 5},
		"names/s", "bbolt-batch/s", "of-bbolt-batch")
	if err != nil {
		return nil, err
	}
	return []row{{
		what: "new names, 64 callers at once", bound: atLeast, target: 0.8, ratios: f[2],
		ours: fmt.Sprintf("%.0f/s", median(f[0])), peer: fmt.Sprintf("%.0f/s bbolt Batch", median(f[1])),
	}}, nil
}

// dnsPeers are the servers that DNS is measured against, each with the least
// that ours is to have of its queries per second.
var dnsPeers = []struct {
	name, benchmark string
	target          float64
}{
	{"dnsmasq", "BenchmarkAgainstDnsmasq", 1.5},
	{"CoreDNS", "BenchmarkAgainstCoreDNS", 1},
}

func dns(ctx context.Context, b *bench) ([]row, error) {
	var rows []row
	for _, p := range dnsPeers {
		// One round of this benchmark is five of its own.
		f, err := figures(ctx, b, goBench{pkg: "./dnsd", name: "^" + p.benchmark + "$/^names=100000$", rounds: 1, repeat: 3},
			"qps", "peer-qps", "ratio", "cpu-us/query", "peer-cpu-us/query")
		if err != nil {
			return rows, err
		}
		rows = append(rows, row{
			what: "DNS queries, 100,000 names, against " + p.name, bound: atLeast, target: p.target, ratios: f[2],
			ours: fmt.Sprintf("%.0f/s", median(f[0])), peer: fmt.Sprintf("%.0f/s %s", median(f[1]), p.name),
			note: fmt.Sprintf("%.1f µs of processor time a query, %s %.1f", median(f[3]), p.name, median(f[4])),
		})
	}
	return rows, nil
}

func tcp(ctx context.Context, b *bench) ([]row, error) {
	f, err := figures(ctx, b, goBench{pkg: "./test/datapath", name: "^BenchmarkTCP$", rounds: 5, repeat: 5, how: eachAlone},
		"dockstack-Gbit/s", "hand-Gbit/s", "bridge-Gbit/s", "of-hand", "of-bridge")
	if err != nil {
		return nil, err
	}
	ours := fmt.Sprintf("%.1f Gbit/s", median(f[0]))
	return []row{
		{
			what: "TCP, same host, against the switch set up by hand", bound: atLeast, target: 0.95, ratios: f[3],
			ours: ours, peer: fmt.Sprintf("%.1f Gbit/s by hand", median(f[1])),
		},
		{
			what: "TCP, same host, against a Linux bridge", bound: atLeast, target: 0.65, ratios: f[4],
			ours: ours, peer: fmt.Sprintf("%.1f Gbit/s bridge", median(f[2])),
		},
	}, nil
}
