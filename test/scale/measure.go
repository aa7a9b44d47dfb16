package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/dockstack/dockstack/internal/peers"
	"github.com/dockstack/dockstack/test/scale/sim"
	"github.com/dockstack/dockstack/test/stall"
)

// result is what one size gave.
type result struct {
	sim.Size
	full int
	// perLease is what an endpoint takes in etcd's database, in bytes; rss what
	// the largest member has.
	perLease, etcdDB, etcdRSS float64
	start                     started
	// heap is what a whole host's data takes.
	heap float64
	// Times from a start's beginning: until its host answered, and until the
	// last of the others knew.
	answered, moved, watched, switched times
	// Per change: calls of etcd, and bytes of its watches, of all and of each host.
	txns, ranges, watchBytes, perHost float64
	// idle is what etcd answers in a second when nothing happens.
	idleCalls, idleBytes float64
	flows                int
	flowsPerChange       float64
	// stalled is how long this process stood still during the changes.
	stalled time.Duration
	died    time.Duration
}

func heap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// cluster is a simulated one that runs.
type cluster struct {
	setup
	etcd   *sim.Etcd
	whole  []*full
	light  []*light
	moved  *tracker
	flows  *tracker
	watch  *tracker
	result result
}

func (s setup) measure(ctx context.Context) (r result, err error) {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return r, err
	}
	c := &cluster{setup: s, moved: newTracker(), flows: newTracker(), watch: newTracker(), result: result{Size: s.Size, full: s.full}}
	if c.etcd, err = sim.StartEtcd(ctx, s.dir, 3, s.etcd...); err != nil {
		return r, err
	}
	defer c.etcd.Stop()
	defer func() { err = errors.Join(err, c.stop()) }()
	for _, step := range []func(context.Context) error{
		c.fill, c.startAlone, c.startFull, c.startLight, c.rest, c.change, c.known, c.die,
	} {
		if err := step(ctx); err != nil {
			return r, err
		}
	}
	return c.result, nil
}

// fill writes the content.
func (c *cluster) fill(ctx context.Context) error {
	began := time.Now()
	ops, err := sim.Content(ctx, c.Size)
	if err != nil {
		return fmt.Errorf("make the content: %w", err)
	}
	made := time.Now()
	client, err := c.etcd.Client(0)
	if err != nil {
		return err
	}
	if err := errors.Join(sim.Write(ctx, client, ops), client.Close()); err != nil {
		return err
	}
	m, err := c.etcd.Metrics(ctx)
	if err != nil {
		return err
	}
	c.result.etcdDB = m["etcd_mvcc_db_total_size_in_use_in_bytes"] / 3
	c.result.perLease = c.result.etcdDB / float64(c.Endpoints)
	say("%d hosts, %d endpoints: %d keys made in %.1f s and written in %.1f s, %.1f MB in each member's database", c.Hosts, c.Endpoints,
		len(ops), made.Sub(began).Seconds(), time.Since(made).Seconds(), c.result.etcdDB/1e6)
	return nil
}

// startAlone starts one whole host in a process of its own.
func (c *cluster) startAlone(ctx context.Context) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, exe, "-agent", c.etcd.URL())
	cmd.Stderr = os.Stderr
	cmd.Dir = filepath.Dir(c.dir)
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("a host in a process of its own: %w", err)
	}
	if err := json.Unmarshal(out, &c.result.start); err != nil {
		return fmt.Errorf("a host in a process of its own said %q: %w", out, err)
	}
	s := c.result.start
	say("one host alone has everything after %.2f s; %.0f MB resident, %.0f MB at most, %.0f MB of data", s.Synced, s.RSS/1e6, s.Most/1e6, s.Heap/1e6)
	return nil
}

func (c *cluster) startFull(ctx context.Context) error {
	before := heap()
	var took times
	for i := range c.full {
		began := time.Now()
		f, err := startFull(ctx, c.etcd, fullConfig{number: i, withSwitch: i >= c.full-c.switched, moved: c.moved.saw, flows: c.flows.saw})
		if f != nil {
			c.whole = append(c.whole, f)
		}
		if err != nil {
			return fmt.Errorf("host %d: %w", i, err)
		}
		took = append(took, time.Since(began))
		if i == c.full-c.switched-1 {
			c.result.heap = (heap() - before) / float64(i+1)
		}
	}
	say("%d whole hosts started, each in %.2f s (median); %.0f MB of data each", len(c.whole), took.at(0.5).Seconds(), c.result.heap/1e6)
	return nil
}

// startLight starts the other hosts, some at a time.
func (c *cluster) startLight(ctx context.Context) error {
	began := time.Now()
	n := c.Hosts - len(c.whole)
	c.light = make([]*light, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	next := make(chan int)
	for range 16 {
		wg.Go(func() {
			for i := range next {
				c.light[i], errs[i] = startLight(ctx, c.etcd, len(c.whole)+i, c.watch.saw)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	say("%d hosts with a mark and a watch started in %.1f s", n, time.Since(began).Seconds())
	return errors.Join(errs...)
}

// rest looks at what etcd does when nothing happens.
func (c *cluster) rest(ctx context.Context) error {
	if err := pause(ctx, c.rested/2); err != nil {
		return err
	}
	during := c.rested
	before, err := c.etcd.Metrics(ctx)
	if err != nil {
		return err
	}
	if err := pause(ctx, during); err != nil {
		return err
	}
	after, err := c.etcd.Metrics(ctx)
	if err != nil {
		return err
	}
	c.result.idleCalls = (after.Calls("Range", "Txn") - before.Calls("Range", "Txn")) / during.Seconds()
	c.result.idleBytes = (after.Sent() - before.Sent()) / during.Seconds()
	for _, pid := range c.etcd.PIDs() {
		rss, err := sim.RSS(pid, "VmRSS")
		if err != nil {
			return err
		}
		c.result.etcdRSS = max(c.result.etcdRSS, rss)
	}
	say("at rest etcd answers %.0f reads a second and sends %.0f kB; its largest member has %.0f MB resident", c.result.idleCalls, c.result.idleBytes/1e3, c.result.etcdRSS/1e6)
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// change starts new names, one after the other, on the whole hosts in turn.
func (c *cluster) change(ctx context.Context) error {
	for _, t := range []*tracker{c.moved, c.flows, c.watch} {
		t.begin()
	}
	before, err := c.etcd.Metrics(ctx)
	if err != nil {
		return err
	}
	began, sent := time.Now(), c.sent()
	r := &c.result
	for i := range c.changes {
		if err := c.one(ctx, i); err != nil {
			return err
		}
	}
	took := time.Since(began).Seconds()
	after, err := c.etcd.Metrics(ctx)
	if err != nil {
		return err
	}
	// What was right before is still felt: hosts look for etcd anew.
	r.stalled = stall.Since(began.Add(-2 * time.Second))
	n := float64(c.changes)
	r.txns = (after.Calls("Txn") - before.Calls("Txn")) / n
	r.ranges = (after.Calls("Range") - before.Calls("Range") - r.idleCalls*took) / n
	r.watchBytes = (after.Sent() - before.Sent() - r.idleBytes*took) / n
	r.perHost = r.watchBytes / float64(c.Hosts)
	if c.switched > 0 {
		r.flowsPerChange = float64(c.sent()-sent) / n / float64(c.switched)
		r.flows = c.whole[len(c.whole)-1].fabric.Status().Flows
	}
	say("a new name: answered %.1f ms, all Moved %.1f ms, all watches %.1f ms, flows %.1f ms (medians of the last host); %.2f txns, %.0f bytes to each host",
		ms(r.answered.at(0.5)), ms(r.moved.at(0.5)), ms(r.watched.at(0.5)), ms(r.switched.at(0.5)), r.txns, r.perHost)
	return nil
}

// sent is how many single flows the switches were sent.
func (c *cluster) sent() int {
	n := 0
	for _, f := range c.whole {
		if f.sw != nil {
			n += f.sw.Sent()
		}
	}
	return n
}

func (c *cluster) one(ctx context.Context, i int) error {
	// Not those with a switch: how long they work is no part of the lease.
	host, name := c.whole[i%(len(c.whole)-c.switched)], fmt.Sprintf("new-name-%d", i)
	began := time.Now()
	addr, err := host.Start(ctx, name)
	if err != nil {
		return err
	}
	c.result.answered = append(c.result.answered, time.Since(began))
	for _, t := range []struct {
		*tracker
		what string
		n    int
		into *times
	}{
		{c.moved, addr.String(), len(c.whole) - 1, &c.result.moved},
		{c.watch, name, len(c.light), &c.result.watched},
		{c.flows, addr.String(), c.switched, &c.result.switched},
	} {
		if t.n == 0 {
			continue
		}
		all, err := t.await(t.what, t.n, began)
		if err != nil {
			return err
		}
		*t.into = append(*t.into, all[len(all)-1])
	}
	return nil
}

// known restarts a name, and counts.
func (c *cluster) known(ctx context.Context) error {
	host := c.whole[0]
	addr, err := host.Start(ctx, "known-name")
	if err != nil {
		return err
	}
	for range 10 {
		if err := host.End(ctx, "known-name", addr); err != nil {
			return err
		}
		again, err := host.Start(ctx, "known-name")
		if err != nil || again != addr {
			return fmt.Errorf("a known name got %s after %s: %w", again, addr, err)
		}
	}
	return nil
}

// die has a host die hard, and looks how long the others take to notice.
func (c *cluster) die(ctx context.Context) error {
	if len(c.light) == 0 {
		return nil
	}
	dead := len(c.whole)
	began := time.Now()
	if err := c.light[0].store.Close(); err != nil {
		return err
	}
	for _, f := range c.whole {
		for f.Peers.Alive(sim.HostID(dead)) {
			if time.Since(began) > 5*peers.TTL {
				return errors.New("a host that died is not noticed")
			}
			if err := pause(ctx, 10*time.Millisecond); err != nil {
				return err
			}
		}
	}
	c.result.died = time.Since(began)
	say("a host that died hard was gone everywhere after %.1f s", c.result.died.Seconds())
	return nil
}

func (c *cluster) stop() error {
	var wg sync.WaitGroup
	errs := make([]error, len(c.whole))
	for i, f := range c.whole {
		wg.Go(func() { errs[i] = f.stop() })
	}
	for _, l := range c.light {
		if l != nil {
			wg.Go(func() { _ = l.stop() }) // one has died
		}
	}
	wg.Wait()
	return errors.Join(errs...)
}
