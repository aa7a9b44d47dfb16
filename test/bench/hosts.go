package main

import (
	"context"
	"fmt"
	"time"
)

// tcpAcrossHosts is what two containers on two hosts reach, on the datapath of
// this machine.
func tcpAcrossHosts(ctx context.Context, b *bench) ([]row, error) {
	m, err := goBench{pkg: "./test/datapath", name: "^BenchmarkTCPAcrossHosts$", rounds: 5, repeat: 5, how: eachAlone}.run(ctx, b)
	if err != nil {
		return nil, err
	}
	// In userspace, each frame is copied to the switch and back.
	return hostRows(m, "TCP, two hosts", 0.4)
}

// vmLimit bounds the machine: 4 minutes on two idle cores.
const vmLimit = 20 * time.Minute

// tcpInKernel is the same on Debian's kernel with its datapath, in an emulated
// machine. That counts instructions, not time: its figures vary little, and say
// nothing of caches.
func tcpInKernel(ctx context.Context, b *bench) ([]row, error) {
	m, err := command{
		limit: vmLimit, env: []string{"DOCKSTACK_VM_STEPS=^bench-tcp$"},
		args: []string{"test", "-count", "1", "-v", "-timeout", vmLimit.String(), "-run", "^TestKernelDatapath$", "./test/vm"},
	}.run(ctx, b)
	if err != nil {
		return nil, err
	}
	return hostRows(m, "TCP, two hosts, kernel datapath", 0.95)
}

func hostRows(m metrics, what string, ofBridge float64) ([]row, error) {
	f, err := m.need("dockstack-Gbit/s", "hand-Gbit/s", "bridge-Gbit/s", "of-hand", "of-bridge")
	if err != nil {
		return nil, err
	}
	ours := fmt.Sprintf("%.1f Gbit/s", median(f[0]))
	return []row{
		{
			what: what + ", against the same set up by hand", bound: atLeast, target: 0.95, ratios: f[3],
			ours: ours, peer: fmt.Sprintf("%.1f Gbit/s by hand", median(f[1])),
		},
		{
			what: what + ", against Linux bridges and VXLAN", bound: atLeast, target: ofBridge, ratios: f[4],
			ours: ours, peer: fmt.Sprintf("%.1f Gbit/s bridges", median(f[2])),
		},
	}, nil
}
