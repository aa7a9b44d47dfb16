package main

import (
	"context"
	"fmt"
)

// tcpAcrossHosts is what two containers on two hosts reach, on the datapath of
// this machine; `make vm-test` has the same for the kernel's.
func tcpAcrossHosts(ctx context.Context, b *bench) ([]row, error) {
	f, err := figures(ctx, b, goBench{pkg: "./test/datapath", name: "^BenchmarkTCPAcrossHosts$", rounds: 5, repeat: 5, how: eachAlone},
		"dockstack-Gbit/s", "hand-Gbit/s", "bridge-Gbit/s", "of-hand", "of-bridge")
	if err != nil {
		return nil, err
	}
	ours := fmt.Sprintf("%.1f Gbit/s", median(f[0]))
	return []row{
		{
			what: "TCP, two hosts, against the same set up by hand", bound: atLeast, target: 0.95, ratios: f[3],
			ours: ours, peer: fmt.Sprintf("%.1f Gbit/s by hand", median(f[1])),
		},
		{
			what: "TCP, two hosts, against Linux bridges and VXLAN", bound: atLeast, target: 0.4, ratios: f[4],
			ours: ours, peer: fmt.Sprintf("%.1f Gbit/s bridges", median(f[2])),
		},
	}, nil
}
