package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/dockstack/dockstack/internal/fabric"
	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/copied"
	"github.com/dockstack/dockstack/internal/peers"
	"github.com/dockstack/dockstack/ipam"
)

const (
	// retryStore is how often a shared store that can't be used is tried again.
	retryStore = 3 * time.Second
	// storeGrace is how long after the start a call waits for a store that seems
	// to be away: at boot the way to it may come up a little later than we.
	storeGrace = 5 * time.Second
	// awayAfter is how long a store is away before that is worth a line.
	awayAfter = 2 * time.Second
	// syncWait bounds how long a call waits until the shared store was read.
	syncWait = 15 * time.Second
)

// clusterConfig is what a cluster needs.
type clusterConfig struct {
	// where is the setting of the store, for people.
	where string
	// local is this host's own store, and mine the cluster that it is a copy of.
	local kv.Store
	mine  clusterRecord
	// dial makes the shared store. It does not wait for it.
	dial func() (kv.Shared, error)
	// self is this host, without its tunnel address.
	self     peers.Host
	underlay *underlay
	// setUnderlay is told how this host reaches the others.
	setUnderlay func(fabric.Underlay)
	// failed is called when the host's own store has to be opened anew.
	failed func()
	// changed is called when there is something new to tell people.
	changed func()
	log     *slog.Logger
}

// cluster keeps this host one of those that share a store.
type cluster struct {
	cfg   clusterConfig
	log   *slog.Logger
	gate  *gate
	peers *peers.Peers
	// leases and about are set before run.
	leases *ipam.Registry
	about  *about
	// hosts gets a value when hosts came, went or changed.
	hosts   chan struct{}
	started time.Time

	stopped chan struct{}
	cancel  context.CancelFunc

	mu    sync.Mutex
	in    clusterRecord // the cluster that this host is in; guarded by mu
	away  error         // guarded by mu
	since time.Time     // of away's being nil or not; guarded by mu
	// lost ends the session of now; guarded by mu.
	lost   context.CancelCauseFunc
	report []string // what did not come along at joining; guarded by mu
}

// newCluster does nothing yet but read which hosts there were.
func newCluster(ctx context.Context, cfg clusterConfig) (*cluster, error) {
	c := &cluster{
		cfg: cfg, log: cfg.log, gate: newGate(), hosts: make(chan struct{}, 1),
		in: cfg.mine, started: time.Now(), since: time.Now(), away: errNotReached, stopped: make(chan struct{}),
	}
	c.peers = peers.New(peers.Config{Self: cfg.self, Log: cfg.log, Changed: func() { nudge(c.hosts) }})
	var marks []kv.Op
	err := cfg.local.Load(ctx, peers.Prefix, func(key string, value []byte) error {
		marks = append(marks, kv.Op{Key: key, Value: slices.Clone(value)})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read which hosts there were: %w", err)
	}
	c.peers.Learn(kv.Change{Whole: true, Ops: marks})
	return c, nil
}

// config completes what the leases need.
func (c *cluster) config(cfg ipam.Config, moved func([]ipam.Move)) ipam.Config {
	cfg.Shared, cfg.Hosts, cfg.Moved = c.gate, c.peers, moved
	cfg.Standalone = c.cfg.mine.ID == ""
	return cfg
}

// start begins to take part; what o has decides on top of the gate. stop ends
// it.
func (c *cluster) start(ctx context.Context, o *opened) {
	c.leases, c.about = o.Leases, o.about
	ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(c.stopped)
		var wg sync.WaitGroup
		wg.Go(func() { c.tellHosts(ctx) })
		c.run(ctx)
		wg.Wait()
	}()
}

func (c *cluster) stop() {
	c.cancel()
	<-c.stopped
}

// run goes from one try to the next.
func (c *cluster) run(ctx context.Context) {
	select {
	case <-c.cfg.underlay.looked: // so that the first mark has an address
	case <-ctx.Done():
	}
	c.lookAtUnderlay()
	last := ""
	for ctx.Err() == nil {
		err := c.try(ctx)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errMoved) {
			continue
		}
		if !errors.Is(err, errRefused) {
			err = fmt.Errorf("%w: %w", errRefused, err)
		}
		if text := err.Error(); text != last {
			last = text
			c.log.Error("this host takes no part in the cluster", "error", err)
		}
		c.gate.shut(err)
		c.cfg.changed()
		if pause(ctx, retryStore) != nil {
			return
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// try takes part until ctx ends or the store proves not to be the right one; it
// returns why.
func (c *cluster) try(ctx context.Context) error {
	shared, err := c.cfg.dial()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	o := &ours{Shared: shared, where: c.cfg.where, lost: cancel}
	store := copied.New(o, watched{c.cfg.local, c.cfg.failed}, copied.Config{Prefixes: copiedPrefixes, Log: c.log})
	var wg sync.WaitGroup
	c.setLost(cancel)
	defer func() {
		c.setLost(nil)
		cancel(nil)
		if errors.Is(context.Cause(ctx), errMoved) {
			_ = shared.Close() // what goes on over it would wait for an answer
		}
		wg.Wait()
		if err := store.Close(); err != nil && !errors.Is(err, kv.ErrClosed) {
			c.log.Warn("the shared store did not close well", "error", err)
		}
	}()
	wg.Go(func() { c.watchState(ctx, shared) })
	there, err := c.enter(ctx, shared)
	if err != nil {
		return err
	}
	o.there = there
	s := &session{cluster: c, store: store, there: there, lost: cancel, whole: make(chan struct{})}
	s.run(ctx, &wg)
	return context.Cause(ctx)
}

// enter waits until the store can be read, and checks what it is.
func (c *cluster) enter(ctx context.Context, shared kv.Shared) (clusterRecord, error) {
	for {
		there, err := enter(ctx, shared, c.cfg.where, c.current())
		if !errors.Is(err, kv.ErrAway) {
			return there, err
		}
		away, changed := shared.State()
		if away == nil {
			changed = nil
		}
		wait := time.NewTimer(retryStore)
		select {
		case <-changed:
		case <-wait.C:
		case <-ctx.Done():
		}
		wait.Stop()
		if ctx.Err() != nil {
			return there, ctx.Err()
		}
		c.gate.shut(nil) // an earlier refusal may be over
	}
}

// errMoved ends a session whose host has another address: connections from the
// old one hang, and this host's mark would end before that is noticed.
var errMoved = errors.New("this host's address has changed")

func (c *cluster) setLost(lost context.CancelCauseFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost = lost
}

// redial has the session begin anew, with new connections.
func (c *cluster) redial() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost != nil {
		c.lost(errMoved)
	}
}

// current is the cluster that this host is in.
func (c *cluster) current() clusterRecord {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.in
}

// watchState keeps what is known of the store's being away.
func (c *cluster) watchState(ctx context.Context, shared kv.Shared) {
	said := errNotReached // what the log has last
	for ctx.Err() == nil {
		away, changed := shared.State()
		c.mu.Lock()
		if (c.away == nil) != (away == nil) {
			c.since = time.Now()
		}
		c.away = away
		c.mu.Unlock()
		c.gate.setAway(away)
		c.cfg.changed()
		if away == nil && said != nil {
			said = nil
			c.log.Info("the shared store is reached", "store", c.cfg.where)
		}
		// One way or another it goes on failing, and that is said once, when it
		// is no matter of a moment.
		var settled <-chan time.Time
		if away != nil && (said == nil || errors.Is(said, errNotReached)) {
			settled = time.After(awayAfter - time.Since(c.sinceWhen()))
		}
		select {
		case <-changed:
		case <-settled:
			said = away
			c.log.Warn("the shared store is away; names that ran here last still start", "store", c.cfg.where, "error", away)
		case <-ctx.Done():
		}
	}
}

func (c *cluster) sinceWhen() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.since
}

// ready waits until the leases have what the shared store has. While that is
// known to be away they go on with what they have.
func (c *cluster) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, syncWait)
	defer cancel()
	for {
		away, changed := c.gate.State()
		if errors.Is(away, errRefused) {
			return away
		}
		if err := c.peers.Refused(); err != nil {
			return err
		}
		select {
		case <-c.leases.Synced():
			return nil
		default:
		}
		grace := storeGrace - time.Since(c.started)
		if away != nil && grace <= 0 {
			return nil
		}
		look := time.NewTimer(max(grace, 100*time.Millisecond))
		select {
		case <-changed:
		case <-look.C:
		case <-c.leases.Synced():
		case <-ctx.Done():
			look.Stop()
			return nil // with what there is
		}
		look.Stop()
	}
}

// tellHosts tells those who want to know which hosts there are.
func (c *cluster) tellHosts(ctx context.Context) {
	for ctx.Err() == nil {
		if before := c.peers.Self().VTEP; c.lookAtUnderlay() && before.IsValid() {
			c.redial()
		}
		c.cfg.setUnderlay(c.underlay())
		if err := c.leases.HostsChanged(ctx); err != nil && ctx.Err() == nil {
			c.log.Warn("leases don't know yet which hosts are alive", "error", err)
		}
		c.cfg.changed()
		select {
		case <-ctx.Done():
		case <-c.hosts:
		case <-c.cfg.underlay.news:
		}
	}
}

// lookAtUnderlay reports whether the tunnels end elsewhere now.
func (c *cluster) lookAtUnderlay() bool {
	addr, _, _ := c.cfg.underlay.now()
	moved := addr != c.peers.Self().VTEP
	c.peers.SetVTEP(addr)
	return moved
}

// underlay is how this host reaches those that are alive.
func (c *cluster) underlay() fabric.Underlay {
	all := c.peers.All()
	self := c.peers.Self()
	u := fabric.Underlay{VTEP: self.VTEP, Port: self.Port}
	for _, h := range all {
		// Hosts that can't be told apart, or not be reached, are problems that
		// package peers names.
		if h.ID != self.ID && h.VTEP.IsValid() && h.VTEP != self.VTEP && h.VTEP.Is4() == self.VTEP.Is4() {
			u.Peers = append(u.Peers, fabric.Peer{ID: h.ID, VTEP: h.VTEP})
		}
	}
	return u
}

// problems is what people should know of the cluster.
func (c *cluster) problems() []string {
	var out []string
	if away, _ := c.gate.State(); errors.Is(away, errRefused) {
		out = append(out, away.Error())
	}
	if _, _, err := c.cfg.underlay.now(); err != nil {
		out = append(out, err.Error())
	}
	out = append(out, c.peers.Problems()...)
	if c.leases != nil {
		out = append(out, c.leases.Problems()...)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return append(out, c.report...)
}
