package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/dockstack/dockstack/test/scale/sim"
)

const (
	clusterStartLimit = 5 * time.Second
	clusterMemoryMB   = 200
	// installLimit bounds how long the switch may take for all flows.
	installLimit = 60 * time.Second
)

// fullCluster is what clusterStarts joins.
var fullCluster = sim.Size{Hosts: 1000, Endpoints: 100_000}

// clusterStarts times the daemon's start as a host of a cluster of 1,000 hosts
// with 100,000 containers in one network: once as a new host, once as one that
// was there before and has a copy. Then it starts a container, so that the
// switch gets its flows, and reads the daemon's memory at its most.
func clusterStarts(ctx context.Context, b *bench) (rows []row, err error) {
	dir := filepath.Join(b.root, "build", "bench-cluster")
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	e, err := sim.StartEtcd(ctx, dir, 3)
	if err != nil {
		return nil, err
	}
	defer e.Stop()
	if err := fillCluster(ctx, e); err != nil {
		return nil, err
	}
	c := clusterStarter{bench: b, dir: dir, etcd: e}
	took, memory := map[string][]float64{}, map[string][]float64{}
	for range b.rounds(3) {
		for _, what := range []string{newHost, knownHost} {
			seconds, mb, err := c.round(ctx, what)
			if err != nil {
				return nil, fmt.Errorf("start %s in a full cluster: %w", what, err)
			}
			took[what] = append(took[what], seconds/clusterStartLimit.Seconds())
			memory[what] = append(memory[what], mb/clusterMemoryMB)
		}
	}
	for _, what := range []string{newHost, knownHost} {
		rows = append(rows, row{
			what: "start in a full cluster, " + what, bound: atMost, target: 1, ratios: took[what],
			ours: fmt.Sprintf("%.2f s", median(took[what])*clusterStartLimit.Seconds()), peer: fmt.Sprintf("%.0f s limit", clusterStartLimit.Seconds()),
		}, row{
			what: "memory at most, " + what, bound: atMost, target: 1, ratios: memory[what],
			ours: fmt.Sprintf("%.0f MB", median(memory[what])*clusterMemoryMB), peer: fmt.Sprintf("%d MB limit", clusterMemoryMB),
		})
	}
	return rows, nil
}

const (
	newHost   = "new host"
	knownHost = "known host"
)

func fillCluster(ctx context.Context, e *sim.Etcd) error {
	ops, err := sim.Content(ctx, fullCluster)
	if err != nil {
		return fmt.Errorf("make the cluster's content: %w", err)
	}
	client, err := e.Client(0)
	if err != nil {
		return err
	}
	return errors.Join(sim.Write(ctx, client, ops), client.Close())
}

// clusterStarter starts daemons in a cluster.
type clusterStarter struct {
	bench *bench
	dir   string
	etcd  *sim.Etcd
	// addr is what the last new host's container got.
	addr string
}

func (c *clusterStarter) used() string {
	return filepath.Join(c.dir, "varlib", "dockstack", "dockstack.db")
}

// round starts the daemon once. A known host is the new one of before.
func (c *clusterStarter) round(ctx context.Context, what string) (seconds, mb float64, err error) {
	if what == newHost {
		if err := os.RemoveAll(c.used()); err != nil {
			return 0, 0, err
		}
	}
	if err := os.MkdirAll(filepath.Dir(c.used()), 0o700); err != nil {
		return 0, 0, err
	}
	var store []string
	for i := range c.etcd.Endpoints() {
		store = append(store, fmt.Sprintf("%s:%d", underlay, 2379+i))
	}
	d, err := prepareDaemon(ctx, c.bench.root, c.dir, "DOCKSTACK_STORE=etcd://"+strings.Join(store, ",")+sim.Prefix, "DOCKSTACK_HOST=bench")
	if err != nil {
		return 0, 0, err
	}
	way, err := newForwarder(ctx, d.cmd.Process.Pid, store, c.etcd.Endpoints())
	if err != nil {
		return 0, 0, errors.Join(err, d.kill())
	}
	defer way.stop()
	if err := d.start(); err != nil {
		return 0, 0, errors.Join(err, d.kill())
	}
	seconds, mb, err = c.use(ctx, d, what)
	if err != nil {
		return 0, 0, errors.Join(err, d.kill(), fmt.Errorf("the daemon's log ends with:\n%s", d.log.Bytes()[max(0, d.log.Len()-2000):]))
	}
	// As the engine does it, so that the copy is whole and others know of the end.
	return seconds, mb, d.stop()
}

// use does what an engine does with a daemon that starts.
func (c *clusterStarter) use(ctx context.Context, d *daemonProcess, what string) (seconds, mb float64, err error) {
	if what == newHost {
		if _, err := d.createNetwork(ctx, networkID, sim.Subnet); err != nil {
			return 0, 0, err
		}
	}
	addr, err := d.ready(ctx, sim.Pool, "bench-container")
	if err != nil {
		return 0, 0, err
	}
	seconds = time.Since(d.began).Seconds()
	if what == knownHost && addr != c.addr {
		return 0, 0, fmt.Errorf("a known name had %s and got %s", c.addr, addr)
	}
	c.addr = addr
	if err := d.endpoint(ctx, addr); err != nil {
		return 0, 0, err
	}
	installed, err := c.installed(ctx, d)
	if err != nil {
		return 0, 0, err
	}
	select {
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	case <-time.After(settleTime):
	}
	most, err := sim.RSS(d.cmd.Process.Pid, "VmHWM")
	if err != nil {
		return 0, 0, err
	}
	after, err := d.memory()
	c.bench.sayf("%s: first answer after %.2f s, all flows after %.2f s, %.0f MB at most, %.0f MB then", what, seconds, installed, most/1e6, after)
	return seconds, most / 1e6, errors.Join(err, d.release(ctx, addr))
}

var farFlows = regexp.MustCompile(`addresses elsewhere, (\d+) flows`)

// installed waits until the switch has the flows about all containers on other
// hosts, as the status tells.
func (c *clusterStarter) installed(ctx context.Context, d *daemonProcess) (seconds float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, installLimit)
	defer cancel()
	status := fmt.Sprintf("/proc/%d/root/host/run/dockstack/status", d.cmd.Process.Pid)
	for {
		text, err := os.ReadFile(status)
		if m := farFlows.FindSubmatch(text); err == nil && m != nil {
			// Two of each address, and a few of the network.
			if n, err := strconv.Atoi(string(m[1])); err == nil && n >= 2*fullCluster.Endpoints {
				return time.Since(d.began).Seconds(), nil
			}
		}
		select {
		case <-ctx.Done():
			_, about, _ := strings.Cut(string(text), "\nswitch ")
			return 0, fmt.Errorf("the flows about other hosts are not there after %s; the status says of the switch:\n%s", installLimit, about)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// endpoint starts a container's interface.
func (d *daemonProcess) endpoint(ctx context.Context, addr string) error {
	id := object{"NetworkID": networkID, "EndpointID": endpointID}
	create := object{"NetworkID": networkID, "EndpointID": endpointID, "Interface": object{"Address": addr}, "Options": object{}}
	return errors.Join(
		d.call(ctx, "/NetworkDriver.CreateEndpoint", create, &object{}),
		d.call(ctx, "/NetworkDriver.Join", object{"NetworkID": networkID, "EndpointID": endpointID, "SandboxKey": "/none", "Options": object{}}, &object{}),
		d.call(ctx, "/NetworkDriver.EndpointOperInfo", id, &object{}),
	)
}

// release ends it.
func (d *daemonProcess) release(ctx context.Context, addr string) error {
	id := object{"NetworkID": networkID, "EndpointID": endpointID}
	bare, _, _ := strings.Cut(addr, "/")
	return errors.Join(
		d.call(ctx, "/NetworkDriver.Leave", id, &object{}),
		d.call(ctx, "/NetworkDriver.DeleteEndpoint", id, &object{}),
		d.call(ctx, "/IpamDriver.ReleaseAddress", object{"PoolID": sim.Pool, "Address": bare}, &object{}),
	)
}

const endpointID = "0f6e5d4c3b2a19080f6e5d4c3b2a19080f6e5d4c3b2a19080f6e5d4c3b2a1908"
