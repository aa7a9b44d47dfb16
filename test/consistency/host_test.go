package consistency

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/peers"
	"github.com/dockstack/dockstack/ipam"
)

// host is a machine with its engine, its containers and its dockstack.
type host struct {
	w  *world
	n  int
	id string
	// local opens the host's disk.
	local func() (kv.Store, error)

	// ops are held for reading by who starts or stops containers: the engine
	// takes no calls while dockstack's process is exchanged.
	ops  sync.RWMutex
	proc *process // guarded by ops

	mu   sync.Mutex
	runs map[string]*container // by pool and name; guarded by mu
	// links are the endpoints that sit in containers; guarded by mu.
	links  map[string]bool
	serial atomic.Int64
	// rebooted: dockstack began anew since the round began, and does not know
	// what it told before.
	rebooted bool
}

// container is one that starts, runs or stops.
type container struct {
	pool testPool
	name string
	addr netip.Addr
	// link is its endpoint, "" while it starts; busy: somebody stops it.
	link string
	busy bool
}

// process is dockstack on a host.
type process struct {
	reg    *ipam.Registry
	spy    *spy
	peers  *peers.Peers
	local  kv.Store
	cancel context.CancelFunc
	all    sync.WaitGroup
}

func hostID(n int) string { return fmt.Sprint("h", n+1) }

func hostNumber(id string) int {
	for n := range maxHosts {
		if hostID(n) == id {
			return n
		}
	}
	return -1
}

// alive tells whether an endpoint sits in a container.
func (h *host) alive(link string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.links[link]
}

// boot starts dockstack. The host's ops are held, or nobody knows it yet.
func (h *host) boot(ctx context.Context) {
	h.w.t.Helper()
	local, err := h.local()
	h.w.ok(err)
	shared, err := h.w.net.open(h.n)
	h.w.ok(err)
	p := &process{local: local, spy: newSpy(h, shared, local)}
	ctx, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	news := make(chan struct{}, 1)
	nudge := func() {
		select {
		case news <- struct{}{}:
		default:
		}
	}
	p.peers = peers.New(peers.Config{
		Self:    peers.Host{ID: h.id, Name: h.id, Boot: "boot-" + h.id, Version: "test"},
		Changed: nudge, Log: slog.New(slog.DiscardHandler),
	})
	var marks []kv.Op
	h.w.ok(local.Load(ctx, peers.Prefix, func(key string, value []byte) error {
		marks = append(marks, kv.Op{Key: strings.Clone(key), Value: slices.Clone(value)})
		return nil
	}))
	p.peers.Learn(kv.Change{Whole: true, Ops: marks})
	p.reg, err = ipam.Open(ctx, local, ipam.Config{
		Host: h.id, Shared: p.spy, Hosts: p.peers, FlushAfter: 20 * time.Millisecond, Alive: h.alive,
		Log: slog.New(slog.DiscardHandler),
	})
	h.w.ok(err)
	h.w.ok(p.reg.Sweep(ctx, h.endpoints()))
	p.all.Go(func() {
		if err := p.spy.copies(ctx); err != nil {
			h.w.t.Errorf("%s: its copy: %v", h.id, err)
		}
	})
	p.all.Go(func() { _ = p.peers.Run(ctx, p.spy) })
	p.all.Go(func() { _ = p.spy.Follow(ctx, "", func(ch kv.Change) { h.learn(ctx, p, ch) }) })
	p.all.Go(func() {
		for ctx.Err() == nil {
			select {
			case <-news:
				_ = p.reg.HostsChanged(ctx)
			case <-ctx.Done():
			}
		}
	})
	h.proc = p
}

func (h *host) learn(ctx context.Context, p *process, ch kv.Change) {
	p.peers.Learn(ch)
	if ch.Whole {
		_ = p.reg.HostsChanged(ctx)
	}
	if err := p.reg.Learn(ctx, ch); err != nil && ctx.Err() == nil {
		h.w.t.Errorf("%s learns: %v", h.id, err)
	}
}

// endpoints are those that sit in containers.
func (h *host) endpoints() []ipam.Endpoint {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []ipam.Endpoint
	for _, c := range h.runs {
		if c.link != "" {
			out = append(out, ipam.Endpoint{ID: c.link, Network: h.network(c.pool), Addrs: []netip.Addr{c.addr}})
		}
	}
	return out
}

func (h *host) network(p testPool) string { return "net-" + h.id + "-" + p.id }

// end ends dockstack's process: cleanly, or as if killed.
func (h *host) end(ctx context.Context, clean bool) {
	p := h.proc
	if clean {
		p.cancel()
		p.all.Wait()
		_ = p.spy.write(context.WithoutCancel(ctx))
		h.w.ok(p.spy.Close())
	} else {
		h.w.ok(p.spy.Close())
		p.cancel()
		p.all.Wait()
	}
	h.w.noteWrites(h.n, p.spy)
	h.w.ok(p.local.Close())
}

// crash kills the machine: no container is left.
func (h *host) crash() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.runs)
	clear(h.links)
}

// takes returns a container that the name may start in, nil where it has one.
func (h *host) takes(pool testPool, name string) *container {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := pool.id + " " + name
	if h.runs[key] != nil {
		return nil
	}
	c := &container{pool: pool, name: name}
	h.runs[key] = c
	return c
}

// running returns a container that runs, the n-th, and has nobody else take it.
func (h *host) running(n int) *container {
	h.mu.Lock()
	defer h.mu.Unlock()
	keys := slices.Sorted(maps.Keys(h.runs))
	for i := range keys {
		c := h.runs[keys[(n+i)%len(keys)]]
		if c.link != "" && !c.busy {
			c.busy = true
			return c
		}
	}
	return nil
}

func (h *host) forget(c *container) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if key := c.pool.id + " " + c.name; h.runs[key] == c {
		delete(h.runs, key)
	}
	delete(h.links, c.link)
}

// record notes a request of p's registry, and its answer.
func (h *host) record(p *process, e event, do func() (netip.Prefix, error)) error {
	e, err := h.watch(p, e, do)
	h.w.hist.add(e)
	return err
}

// recordAll notes a request that is about several names at once.
func (h *host) recordAll(p *process, all []event, do func() error) error {
	first, err := h.watch(p, all[0], func() (netip.Prefix, error) { return netip.Prefix{}, do() })
	for _, e := range all {
		e.host, e.by, e.out, e.err, e.call, e.ret = first.host, first.by, first.out, first.err, first.call, first.ret
		if e.out == done {
			e.got = e.addr
		}
		h.w.hist.add(e)
	}
	return err
}

// watch makes a request and says what became of it.
func (h *host) watch(p *process, e event, do func() (netip.Prefix, error)) (event, error) {
	e.host, e.by = h.n, -1
	sure := false
	select {
	case <-p.reg.Synced():
		sure = true
	default:
	}
	e.call = h.w.hist.now()
	got, err := do()
	e.ret = h.w.hist.now()
	told, away, sent := p.spy.between(e.call, e.ret)
	sure = sure && told && !away
	if err == nil && got.IsValid() {
		e.got = got.Addr()
	}
	if err != nil {
		e.err = err.Error()
	}
	switch {
	case err == nil && !sure:
		e.out = alone
	case err == nil:
		e.out = done
	case errors.Is(err, ipam.ErrElsewhere) && sure:
		e.out = elsewhere
		_, text, _ := strings.Cut(err.Error(), " on host ")
		id, _, _ := strings.Cut(text, " since ")
		e.by = hostNumber(id)
	case sent:
		e.out = unknown
		// It may be on its way still.
		e.ret += int64(3 * time.Second)
	default:
		e.out = refused
	}
	h.w.tally(e, err)
	return e, err
}
