package ipam

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/group"
)

const (
	// attachWithin is how long an address that was asked for may stay without
	// an endpoint before it counts as left behind. The engine creates the
	// endpoint right after it got the addresses; a retry takes it 15 s at most.
	attachWithin = time.Minute
	// bindWithin is the same for a pool without a network.
	bindWithin = time.Minute
	// maxName is the longest container name that is taken, in bytes.
	maxName = 2048
)

// Config is what a Registry needs to know of its surroundings.
type Config struct {
	// Supernet4 and Supernet6 are where pools without a subnet come from, in
	// blocks of AutoBits4 (24) and AutoBits6 (64) bits.
	Supernet4, Supernet6 netip.Prefix
	AutoBits4, AutoBits6 int
	// HostRoutes are the subnets that the host reaches already; may be nil.
	HostRoutes func() []netip.Prefix
	// Alive tells whether the endpoint's link still sits in a container. It is
	// called while others wait, so it answers from memory or the kernel. nil:
	// nobody knows.
	Alive func(endpointID string) bool
	// Label turns a container's name into a DNS label; nil leaves it as it is.
	Label func(name string) string
	// FlushAfter is how long the store may be behind about which leases are
	// live; 500 ms if zero. See Flush.
	FlushAfter time.Duration
	// Host is this host's id, the same for ever; "local" if empty.
	Host string
	// Shared is the store that several hosts write, nil where this host is
	// alone: the store that Open reads is then the only one, else it is this
	// host's copy, and never written. Hosts goes with Shared.
	Shared kv.Shared
	Hosts  Hosts
	// Standalone: what Open reads is no copy of Shared, but a host's own that is
	// going to join (see Join).
	Standalone bool
	// Moved is told where addresses are on other hosts, of the networks that
	// this host has; nil: nobody wants to know. It must not wait.
	Moved func([]Move)
	// Changed is told every change of leases, by this host or another, in order;
	// nil: nobody wants to know. What is found at start is no change. It must not
	// wait, nor call the registry.
	Changed func([]Change)
	// Now is the clock, time.Now if nil.
	Now func() time.Time
	// Log takes warnings about names that lose an address.
	Log *slog.Logger
}

// Registry decides who has which address. Its methods are safe for concurrent
// use, and what they report as done is in the store.
//
// All decisions are made by one caller at a time, on behalf of everybody who
// waits (see serve): in memory first, then written to the store in one commit,
// and only then answered. A commit that fails undoes them all.
type Registry struct {
	cfg   Config
	store kv.Store
	snap  atomic.Pointer[Snapshot]

	calls group.Queue[*call]

	// What follows belongs to serve, and to Open before it.

	pools map[string]*pool
	// endpoints are the leases attached to each endpoint.
	endpoints map[string][]*lease
	hosts     hosts
	// behind are the keys that the store may not have as memory has them: of
	// leases that only became live, which waits for a commit to come along
	// with, and of commits that failed, since a store may have applied one and
	// lost the answer. Of a shared store it's what changed while it was away,
	// with what it had under the key before (nil: nothing).
	behind map[string][]byte
	// news are changes that wait to be learned.
	newsMu sync.Mutex
	news   []news
	// newsCame gets a value with each.
	newsCame chan struct{}
	// claimed are addresses that a conflict told of, whose leases are not known
	// yet.
	claimed map[string]struct{}
	// epoch counts pools that came into use, in a shared store.
	epoch uint64
	// synced: memory has what the shared store has, but for what is on its way.
	// syncedC is closed then.
	synced  bool
	syncedC chan struct{}
	// aside is what this host had before it joined, until that is taken along.
	aside map[string]*pool
	// told are the networks that Moved knows.
	told map[uint32]struct{}
	// opened is when this process began.
	opened time.Time
	// moved are the texts of Problems, by the key that they are about.
	moved    map[string]string
	problems atomic.Pointer[[]string]
	// lost are the endpoints whose lease went to another host, with its key.
	lost map[string]string
	// gone are the addresses of names that lost them before their endpoint came:
	// it may come yet, and is not that of whoever has the address now.
	gone map[string]struct{}
	// imports are the records of imports under way, by key; unfinished is whether
	// one of this host is among them. working holds the one that goes on.
	imports    map[string][]byte
	unfinished atomic.Bool
	working    chan struct{}
	// flusher calls Flush; flushing is whether it is set, flushFailed whether
	// its last time failed.
	flusher               *time.Timer
	flushing, flushFailed atomic.Bool
}

// Open reads what the store has. It fails, and leaves the store alone, where
// a record is not one that this version writes.
func Open(ctx context.Context, store kv.Store, cfg Config) (*Registry, error) {
	if cfg.AutoBits4 == 0 {
		cfg.AutoBits4 = 24
	}
	if cfg.AutoBits6 == 0 {
		cfg.AutoBits6 = 64
	}
	if cfg.FlushAfter == 0 {
		cfg.FlushAfter = 500 * time.Millisecond
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Host == "" {
		cfg.Host = "local"
	}
	if cfg.Label == nil {
		cfg.Label = func(name string) string { return name }
	}
	r := &Registry{
		cfg: cfg, store: store,
		pools:     map[string]*pool{},
		endpoints: map[string][]*lease{},
		behind:    map[string][]byte{},
		hosts:     newHosts(cfg.Host),
		syncedC:   make(chan struct{}),
		claimed:   map[string]struct{}{},
		newsCame:  make(chan struct{}, 1),
		told:      map[uint32]struct{}{},
		moved:     map[string]string{},
		lost:      map[string]string{},
		gone:      map[string]struct{}{},
		imports:   map[string][]byte{},
		working:   make(chan struct{}, 1),
		opened:    cfg.Now(),
	}
	if cfg.Shared == nil {
		close(r.syncedC)
	}
	r.flusher = time.AfterFunc(time.Hour, r.flushByItself)
	r.flusher.Stop()
	if err := r.load(ctx); err != nil {
		return nil, err
	}
	r.snap.Store(r.firstSnapshot())
	t := r.newTx()
	t.whole = true
	t.tellMoves()
	if r.unfinished.Load() {
		r.flushSoon()
	}
	return r, nil
}

func (r *Registry) load(ctx context.Context) error {
	err := r.store.Load(ctx, poolPrefix, func(key string, value []byte) error {
		id := key[len(poolPrefix):]
		rec, err := decodePool(id, value)
		if err != nil {
			return badRecord(key, err)
		}
		if r.shared() {
			rec.raw = bytes.Clone(value)
		}
		p := newPool(id)
		p.rec = rec
		r.epoch = max(r.epoch, rec.Epoch)
		r.pools[id] = p
		return nil
	})
	if err != nil {
		return fmt.Errorf("read pools: %w", err)
	}
	var p *pool
	err = r.store.Load(ctx, usePrefix, func(key string, value []byte) error {
		id, host, ok := splitKey(key, usePrefix)
		u, err := decodeUse(value)
		if err != nil || !ok || r.pools[id] == nil {
			return badRecord(key, cmp.Or(err, errRecord))
		}
		// A host alone has left the others.
		if host == r.cfg.Host || r.shared() {
			r.putUse(r.pools[id], host, u)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read uses: %w", err)
	}
	err = r.store.Load(ctx, leasePrefix, func(key string, value []byte) error {
		id, name, ok := splitLeaseKey(key)
		if !ok {
			return badRecord(key, errRecord)
		}
		if p == nil || p.id != id {
			p = r.pools[id]
		}
		return r.loadLease(p, key, name, value)
	})
	if err != nil {
		return fmt.Errorf("read leases: %w", err)
	}
	return r.loadImports(ctx)
}

func (r *Registry) loadLease(p *pool, key, name string, value []byte) error {
	if p == nil {
		return badRecord(key, fmt.Errorf("%w: its pool is missing", errRecord))
	}
	l := &lease{pool: p, name: string([]byte(name))}
	if err := r.decodeLease(l, value); err != nil {
		return badRecord(key, err)
	}
	if !p.rec.Subnet.Contains(l.addr) {
		return badRecord(key, fmt.Errorf("%w: %s lies outside", errRecord, l.addr))
	}
	if l.host == nowhere {
		l.host = me
	}
	if other := p.addrs[l.addr]; other != nil {
		if !r.shared() && l.host == me && other.host == me {
			return badRecord(key, fmt.Errorf("%w: %s is %s's too", errRecord, l.addr, other.name))
		}
		// A copy of a shared store has what a conflict told about one name before
		// it has what became of another. Who came later has the address.
		if other.since > l.since {
			return nil
		}
		r.apply(p, other.name, nil)
	}
	if l.live && l.host != me && (!r.shared() || r.cfg.Standalone) {
		// This host has left the others: it keeps their names, which nobody runs
		// where it is going.
		l.live = false
	}
	l.unsure = l.live && l.host == me
	r.apply(p, l.name, l)
	if !l.fixed && p.rec.Range.Contains(l.addr) && (!p.cursor.IsValid() || p.cursor.Less(l.addr)) {
		p.cursor = l.addr
	}
	return nil
}

// badRecord says which record is wrong. What is newer stays newer; the rest is
// damage, whatever decoding called it.
func badRecord(key string, err error) error {
	if isNewer(err) {
		return fmt.Errorf("record %q: %w; install that version again, or a newer one", key, err)
	}
	return fmt.Errorf("%w: record %q: %w; put a backup of the store in its place, or move it away to start without names", kv.ErrDamaged, key, err)
}

// checkName refuses names that can't be a key, or would be taken for one that
// we made up. Docker allows neither.
func checkName(name string) error {
	if i := strings.IndexAny(name, placeholderMark+hostMark); i >= 0 {
		return fmt.Errorf("%w: container name %.64q has a %q; choose another --name", ErrNotUsable, name, name[i:i+1])
	}
	if len(name) > maxName {
		return fmt.Errorf("%w: a container name of %d bytes (%.32s…): %d is the most; choose a shorter --name", ErrNotUsable, len(name), name, maxName)
	}
	return nil
}
