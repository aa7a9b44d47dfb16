package peers

import (
	"bytes"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
)

// maxHosts bounds what a store full of nonsense costs; it is ten times what
// dockstack is tested with.
const maxHosts = 10_000

// Config is what Peers need; Changed and Now may be nil.
type Config struct {
	// Self is this host: ID, Name, Boot and Version, and VTEP and Port if known.
	Self Host
	Log  *slog.Logger
	// Changed is called after hosts came, went or changed, or the problems did.
	// It may call All and the like.
	Changed func()
	// Now is the clock.
	Now func() time.Time
}

// Peers knows the hosts. Its methods are safe for concurrent use.
type Peers struct {
	log     *slog.Logger
	now     func() time.Time
	changed func()
	// rewrite and recheck get a value when the own mark has to be written anew,
	// or may be another's by now.
	rewrite, recheck chan struct{}

	mu   sync.Mutex
	self Host            // guarded by mu
	seen map[string]seen // the other hosts' marks by id; guarded by mu
	full bool            // marks beyond maxHosts were left out; guarded by mu
	said []string        // the problems of now; guarded by mu
	own  ownMark         // guarded by mu
}

// seen is another host's mark.
type seen struct {
	value []byte
	host  Host
	err   error // why host isn't known, though it is alive
	// off is how far its clock is ahead of ours at least.
	off time.Duration
}

// New returns Peers that know this host only.
func New(cfg Config) *Peers {
	if cfg.Changed == nil {
		cfg.Changed = func() {}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	self := cfg.Self
	self.Run, self.Since = newID(), cfg.Now().UTC().Truncate(time.Second)
	return &Peers{
		log: cfg.Log, now: cfg.Now, changed: cfg.Changed,
		rewrite: make(chan struct{}, 1), recheck: make(chan struct{}, 1),
		self: self, seen: map[string]seen{}, own: ownMark{news: make(chan struct{})},
	}
}

// Learn takes news of the store. Keys that are no marks are left alone.
func (p *Peers) Learn(c kv.Change) {
	p.mu.Lock()
	marks, news := c.Whole, false
	if c.Whole {
		news = p.keepOnlyLocked(c.Ops)
	}
	for _, op := range c.Ops {
		if strings.HasPrefix(op.Key, Prefix) {
			marks, news = true, p.learnLocked(op, c.Whole) || news
		}
	}
	if marks { // leases come far more often, and all hosts are looked at
		news = p.judgeLocked() || news
	}
	p.mu.Unlock()
	if news {
		p.changed()
	}
}

// keepOnlyLocked forgets hosts that are not among all that is there.
func (p *Peers) keepOnlyLocked(all []kv.Op) bool {
	there := make(map[string]bool, len(p.seen))
	for _, op := range all {
		if id, ok := hostID(op.Key); ok && !op.Delete {
			there[id] = true
		}
	}
	before := len(p.seen)
	maps.DeleteFunc(p.seen, func(id string, _ seen) bool { return !there[id] })
	p.full = false
	if !there[p.self.ID] {
		nudge(p.recheck)
	}
	return len(p.seen) != before
}

// learnLocked takes one mark. late is whether it may have been written long ago.
func (p *Peers) learnLocked(op kv.Op, late bool) (news bool) {
	id, ok := hostID(op.Key)
	if !ok {
		p.log.Warn("a key below the hosts' is no host's", "key", op.Key)
		return false
	}
	if id == p.self.ID {
		if op.Delete || !bytes.Equal(op.Value, p.own.value) {
			nudge(p.recheck)
		}
		return false
	}
	old, known := p.seen[id]
	switch {
	case op.Delete:
		delete(p.seen, id)
		if known {
			p.log.Info("host is gone", "peer", p.nameOf(id, old))
		}
		return known
	case known && bytes.Equal(old.value, op.Value):
		return false
	case !known && len(p.seen) >= maxHosts:
		if !p.full {
			p.full = true
			p.log.Error("more hosts than this version takes", "most", maxHosts)
		}
		return false
	}
	s := seen{value: bytes.Clone(op.Value[:min(len(op.Value), maxRecord+1)])}
	if s.host, s.err = decodeHost(id, op.Value); s.err == nil {
		s.off = p.offLocked(s.host, old, late)
	}
	p.seen[id] = s
	p.sayLocked(old, s)
	return !known || !same(s.host, old.host)
}

// sayLocked logs how a host changed.
func (p *Peers) sayLocked(old, now seen) {
	switch {
	case now.err != nil: // a problem
	case old.host.ID == "":
		p.log.Info("host is there", "peer", now.host.Name, "addr", now.host.VTEP, "version", now.host.Version)
	case old.host.VTEP != now.host.VTEP:
		p.log.Info("host has another tunnel address", "peer", now.host.Name, "addr", now.host.VTEP, "before", old.host.VTEP)
	}
}

// same is whether nothing but the clock tells two marks apart.
func same(a, b Host) bool {
	a.Clock, b.Clock = time.Time{}, time.Time{}
	return a == b
}

// All returns the hosts that are alive and this one, by name and id.
func (p *Peers) All() []Host {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.allLocked()
}

func (p *Peers) allLocked() []Host {
	all := make([]Host, 0, len(p.seen)+1)
	all = append(all, p.self)
	for _, s := range p.seen {
		if s.err == nil {
			all = append(all, s.host)
		}
	}
	slices.SortFunc(all, func(a, b Host) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return all
}

// Self returns this host.
func (p *Peers) Self() Host {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.self
}

// Alive is whether the host has a mark, whatever stands in it. While the store
// is away it is what was known last. This host is always alive.
func (p *Peers) Alive(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.seen[id]
	return ok || id == p.self.ID
}

// Name returns the host's name, or the beginning of its id where it has none.
func (p *Peers) Name(id string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if id == p.self.ID {
		return p.self.Name
	}
	return p.nameOf(id, p.seen[id])
}

func (*Peers) nameOf(id string, s seen) string {
	if s.host.Name != "" {
		return s.host.Name
	}
	return short(id)
}

// SetVTEP says where this host's tunnels end now; the others learn it at once.
func (p *Peers) SetVTEP(addr netip.Addr) {
	p.mu.Lock()
	if p.self.VTEP == addr {
		p.mu.Unlock()
		return
	}
	p.self.VTEP = addr
	p.judgeLocked()
	p.mu.Unlock()
	nudge(p.rewrite)
	p.changed()
}

// nudge leaves a value for whoever looks next.
func nudge(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
