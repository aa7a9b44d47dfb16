// Package services knows what Docker's engine tells of containers beyond name
// and address: the compose service that they are replicas of, network aliases,
// ports and health. Hosts that share a store share it.
//
// Each host writes the facts of its own containers and of no other's. They say
// nothing about who is alive or where: whoever looks a service up joins them
// with the leases, so facts of a container that is gone answer nothing, however
// late their removal is. No call of Docker's waits for any of this.
package services

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/dockstack/dockstack/internal/kv"
)

// Prefix is what the keys begin with: Prefix + host's id + "/" + container.
const Prefix = "about/"

// Hosts is what a host that shares a store has to prove when it writes: that no
// other machine has its id.
type Hosts interface {
	// Mark is the key and value that stand in the store while this host is
	// alive there.
	Mark() (key string, value []byte)
	// Learn takes over what a conflict told of marks, which the store does not
	// tell again. It must not wait.
	Learn(c kv.Change)
}

// Config is what Services need; Hosts is nil for a host alone.
type Config struct {
	// Host is this host's id.
	Host string
	// Store is where facts are written: the shared store, or the host's own.
	Store kv.Store
	Hosts Hosts
	// Label makes a DNS label of a name; nil leaves it as it is.
	Label func(string) string
	// Health: replicas whose health check fails are to be left out, unless their
	// label says otherwise.
	Health bool
	Log    *slog.Logger
}

// Services are the facts of all containers. Its methods are safe for
// concurrent use; only ForgetHost waits for the store.
type Services struct {
	cfg  Config
	snap atomic.Pointer[Snapshot]
	// dirty gets a value when the store lacks something.
	dirty chan struct{}

	mu sync.Mutex
	// index is what snap shows; guarded by mu.
	index index
	// mine are the containers of this host that index has; guarded by mu.
	mine map[string]struct{}
	// have is what the store has of this host's containers, as far as is known;
	// guarded by mu.
	have map[string][]byte
	// flying are those that are being written: true where news of the store came
	// meanwhile, of which nobody knows whether it is older; guarded by mu.
	flying map[string]bool
	// unsure are keys whose last write failed, so that nobody knows; guarded by mu.
	unsure map[string]struct{}
	// want is what it should have, nil until the engine was heard; guarded by mu.
	want map[string][]byte
	// stray are keys that this host alone has no use for; guarded by mu.
	stray []string
	// unread are keys whose value this version can't read, so that each is said
	// once; guarded by mu.
	unread map[string]struct{}

	// flushing is held while the store is written.
	flushing sync.Mutex
}

// Open reads what a host's own store has: its own facts, or the copy of the
// shared store.
func Open(ctx context.Context, local kv.Store, cfg Config) (*Services, error) {
	if cfg.Label == nil {
		cfg.Label = func(name string) string { return name }
	}
	s := &Services{
		cfg: cfg, dirty: make(chan struct{}, 1), index: newIndex(cfg.Label),
		mine: map[string]struct{}{}, have: map[string][]byte{}, unsure: map[string]struct{}{}, unread: map[string]struct{}{},
	}
	e := s.index.edit()
	err := local.Load(ctx, Prefix, func(key string, value []byte) error {
		host, container, ok := splitKey(key)
		switch {
		case !ok:
			s.unreadable(key, errKey)
		case host == cfg.Host:
			container = strings.Clone(container)
			s.have[container] = bytes.Clone(value)
			s.take(e, host, container, value)
		case cfg.Hosts == nil:
			s.stray = append(s.stray, strings.Clone(key)) // of a time with others
		default:
			s.take(e, host, container, value)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what is known of services: %w", err)
	}
	s.snap.Store(e.done())
	if len(s.stray) > 0 {
		nudge(s.dirty)
	}
	return s, nil
}

// Now is the present picture.
func (s *Services) Now() *Snapshot { return s.snap.Load() }

// Learn takes news of the shared store. Keys of others are left alone.
func (s *Services) Learn(c kv.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c = c.Fresh()
	e := s.index.edit()
	if c.Whole {
		s.keepOnly(e, c.Ops)
	}
	own := c.Whole
	for _, op := range c.Ops {
		if !strings.HasPrefix(op.Key, Prefix) {
			continue
		}
		host, container, ok := splitKey(op.Key)
		switch {
		case !ok:
			s.unreadable(op.Key, errKey)
		case host == s.cfg.Host:
			s.learnOwn(e, container, op)
			own = true
		case op.Delete:
			e.remove(host, container)
			delete(s.unread, op.Key)
		default:
			s.take(e, host, container, op.Value)
		}
	}
	s.publish(e)
	if own && s.lacks() {
		nudge(s.dirty)
	}
}

// learnOwn takes what the store has of a container of this host. What there is
// to know of it the engine tells; until it is heard, the store does.
func (s *Services) learnOwn(e *edit, container string, op kv.Op) {
	if _, flies := s.flying[container]; flies {
		s.flying[container] = true
	}
	delete(s.unsure, container)
	if op.Delete {
		delete(s.have, container)
		return
	}
	container = strings.Clone(container)
	s.have[container] = bytes.Clone(op.Value)
	if s.want == nil {
		s.take(e, s.cfg.Host, container, op.Value)
	}
}

// keepOnly forgets what is not among all that is there.
func (s *Services) keepOnly(e *edit, all []kv.Op) {
	there := make(map[entryKey]struct{}, len(all))
	for _, op := range all {
		if host, container, ok := splitKey(op.Key); ok && !op.Delete {
			there[entryKey{host, container}] = struct{}{}
		}
	}
	var gone []entryKey
	for k := range e.entries.All {
		if _, ok := there[k]; !ok && k.host != s.cfg.Host {
			gone = append(gone, k)
		}
	}
	for _, k := range gone {
		e.remove(k.host, k.container)
	}
	for name := range s.flying {
		s.flying[name] = true
	}
	clear(s.have)
	clear(s.unsure)
	clear(s.unread)
}

// take puts a value of the store in place of what was known.
func (s *Services) take(e *edit, host, container string, value []byte) {
	key := Key(host, container)
	if err := e.put(host, container, value); err != nil {
		s.unreadable(key, err)
		e.remove(host, container)
		return
	}
	delete(s.unread, key)
	if host == s.cfg.Host {
		s.mine[container] = struct{}{}
	}
}

func (s *Services) unreadable(key string, err error) {
	if _, said := s.unread[key]; said {
		return
	}
	s.unread[strings.Clone(key)] = struct{}{}
	s.cfg.Log.Warn("what a host wrote of a container can't be read and is passed over; upgrade this host", "key", key, "error", err)
}

// publish shows what was edited, if anything was.
func (s *Services) publish(e *edit) {
	if e.changed {
		s.snap.Store(e.done())
	}
}

// Key is where the facts of a host's container stand.
func Key(host, container string) string { return Prefix + host + "/" + container }

func splitKey(key string) (host, container string, ok bool) {
	rest, ok := strings.CutPrefix(key, Prefix)
	if !ok {
		return "", "", false
	}
	host, container, ok = strings.Cut(rest, "/")
	return host, container, ok && host != "" && container != "" && !strings.Contains(container, "/")
}

// nudge leaves a value for whoever looks next.
func nudge(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
