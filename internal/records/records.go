// Package records has the operator's DNS records: what stands at which name,
// beside the containers. Hosts that share a store share them.
package records

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/miekg/dns"

	"github.com/dockstack/dockstack/internal/kv"
)

// Prefix is what the keys begin with. All records of a name stand under one
// key, so that two hosts can't put what excludes each other at it.
const Prefix = "record/"

// Errors of changing records.
var (
	// ErrUsage: it is no record.
	ErrUsage = errors.New("not a DNS record")
	// ErrClash: something else that is there excludes it.
	ErrClash = errors.New("the record clashes")
	// ErrUnknown: there is no such record.
	ErrUnknown = errors.New("no such record")
)

// Record is a DNS record by the operator's word.
type Record struct {
	// Name is the full name, in lower case, without a dot at its end. Its first
	// label may be "*".
	Name string
	Type uint16
	// Data is what a zone file has there, names in it complete.
	Data string
	// TTL is in seconds, 0 for the default.
	TTL uint32
}

// String is the record as a zone file has it.
func (r Record) String() string {
	return r.Name + ". " + dns.TypeToString[r.Type] + " " + r.Data
}

// Config is what Records need.
type Config struct {
	// Zone is the zone that short names are relative to.
	Zone string
	// Store is where records are written: the shared store, or the host's own.
	Store kv.Store
	// Standalone: what Open reads is a host's own that is going to join others
	// (see Join).
	Standalone bool
	// Live says what live container the full name is one of, "" for none. nil:
	// nobody knows.
	Live func(name string) string
	Log  *slog.Logger
}

// Records are the operator's. Its methods are safe for concurrent use.
type Records struct {
	cfg  Config
	snap atomic.Pointer[Snapshot]

	// mu is held while the store is written: what Learn brings meanwhile waits.
	mu sync.Mutex
	// raw is what the store has, by name; guarded by mu.
	raw map[string][]byte
	// bad are names whose value this version can't read; guarded by mu.
	bad map[string]error
	// aside is what this host had before it joined, until that is taken along;
	// guarded by mu.
	aside map[string][]byte
	// learned: everything in the shared store was told; guarded by mu.
	learned bool
}

// Open reads what a host's own store has: its own records, or the copy of the
// shared store.
func Open(ctx context.Context, local kv.Store, cfg Config) (*Records, error) {
	r := &Records{cfg: cfg, raw: map[string][]byte{}, bad: map[string]error{}}
	e := (&Snapshot{}).edit()
	err := local.Load(ctx, Prefix, func(key string, value []byte) error {
		r.put(e, strings.Clone(key[len(Prefix):]), bytes.Clone(value))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the operator's records: %w", err)
	}
	r.snap.Store(e.done())
	return r, nil
}

// Now is the present picture.
func (r *Records) Now() *Snapshot { return r.snap.Load() }

// List returns all records by name, type and data.
func (r *Records) List() []Record {
	var out []Record
	r.Now().All(func(rec Record) bool {
		out = append(out, rec)
		return true
	})
	slices.SortFunc(out, compare)
	return out
}

// Learn takes news of the shared store. Keys of others are left alone.
func (r *Records) Learn(c kv.Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.learn(c.Fresh())
}

func (r *Records) learn(c kv.Change) {
	e := r.Now().edit()
	if c.Whole {
		if r.cfg.Standalone && !r.learned {
			r.aside = maps.Clone(r.raw)
		}
		r.learned = true
		there := map[string]struct{}{}
		for _, op := range c.Ops {
			if name, ok := strings.CutPrefix(op.Key, Prefix); ok && !op.Delete {
				there[name] = struct{}{}
			}
		}
		for name := range r.raw {
			if _, ok := there[name]; !ok {
				r.remove(e, name)
			}
		}
	}
	for _, op := range c.Ops {
		name, ok := strings.CutPrefix(op.Key, Prefix)
		switch {
		case !ok:
		case op.Delete:
			r.remove(e, name)
		case !bytes.Equal(r.raw[name], op.Value):
			r.put(e, strings.Clone(name), bytes.Clone(op.Value))
		}
	}
	if e.changed {
		r.snap.Store(e.done())
	}
}

// put makes value what stands at name.
func (r *Records) put(e *edit, name string, value []byte) {
	r.raw[name] = value
	list, err := decode(name, value)
	if err != nil {
		if r.bad[name] == nil {
			r.cfg.Log.Warn("records in the store can't be read and are passed over; upgrade this host, or remove the key", "key", Prefix+name, "error", err)
		}
		r.bad[name] = err
		list = nil
	} else {
		delete(r.bad, name)
	}
	e.set(name, list)
}

func (r *Records) remove(e *edit, name string) {
	delete(r.raw, name)
	delete(r.bad, name)
	e.set(name, nil)
}
