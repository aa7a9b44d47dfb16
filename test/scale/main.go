// Command scale owns the figures of large clusters: it simulates many hosts
// that share a real etcd, in two sizes, and prints what grows with what.
//
// Some hosts are whole but for the switch (store, peers, leases, and a few with
// the fabric on a switch that takes everything). The others keep a real mark
// and hold a real watch, and drop what arrives: a thousand whole hosts need
// 100 GB.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/dockstack/dockstack/test/lab"
	"github.com/dockstack/dockstack/test/scale/sim"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "\nscale:", err)
		os.Exit(1) //nolint:gocritic // stop has nothing left to do
	}
}

// setup is what one run simulates.
type setup struct {
	sim.Size
	// full hosts are whole, and switched ones of them have a fabric too.
	full, switched int
	// changes is how many names start.
	changes int
	// rested is how long nothing happens, to see what that costs.
	rested time.Duration
	dir    string
	// etcd is what its members are told beside an operator's settings.
	etcd []string
}

func run(ctx context.Context) error {
	hosts := flag.Int("hosts", 1000, "hosts of the larger cluster")
	endpoints := flag.Int("endpoints", 100_000, "endpoints of the larger cluster, all in one network")
	by := flag.Int("by", 10, "the smaller cluster has hosts and endpoints divided by this; 1: none")
	full := flag.Int("full", 20, "hosts that are whole but for the switch")
	switched := flag.Int("switched", 2, "of these, hosts with the fabric on a switch that takes everything")
	changes := flag.Int("changes", 100, "names that start")
	agent := flag.String("agent", "", "be one host of the etcd that is there, and say what that took")
	flag.Parse()
	if *agent != "" {
		return alone(ctx, *agent)
	}
	root, err := lab.Root()
	if err != nil {
		return err
	}
	dir := filepath.Join(root, "build", "scale")
	if err := os.RemoveAll(dir); err != nil { // a killed run's
		return err
	}
	sizes := []sim.Size{{Hosts: *hosts, Endpoints: *endpoints}}
	if *by > 1 {
		sizes = []sim.Size{{Hosts: *hosts / *by, Endpoints: *endpoints / *by}, sizes[0]}
	}
	var results []result
	for _, size := range sizes {
		s := setup{Size: size, full: min(*full, size.Hosts-1), switched: *switched, changes: *changes, rested: 10 * time.Second, dir: dir}
		r, err := s.measure(ctx)
		if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
			return fmt.Errorf("%d hosts, %d endpoints: %w", size.Hosts, size.Endpoints, err)
		}
		results = append(results, r)
	}
	_, err = fmt.Print(table(results))
	return err
}

// started is what a host says of its start.
type started struct {
	Synced, Held    float64 // seconds
	RSS, Most, Heap float64 // bytes
}

// alone is one whole host in a process of its own.
func alone(ctx context.Context, url string) error {
	began := time.Now()
	a, err := sim.StartAgent(ctx, url, sim.Host(1_000_000), sim.Callbacks{}, nil)
	if err != nil {
		return err
	}
	out := started{Synced: a.Synced.Sub(began).Seconds(), Held: time.Since(began).Seconds()}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(2 * time.Second): // the collector has run by then, as in a daemon
	}
	if out.RSS, err = sim.RSS(os.Getpid(), "VmRSS"); err != nil {
		return err
	}
	if out.Most, err = sim.RSS(os.Getpid(), "VmHWM"); err != nil {
		return err
	}
	out.Heap = heap()
	return errors.Join(json.NewEncoder(os.Stdout).Encode(out), a.Stop())
}

func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}
