package ipam

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dockstack/dockstack/internal/nearest"
)

// ForgetHost takes a host that is gone for good out of the store: what it was in
// the middle of is undone, its networks and its names per host go, and its names
// are nobody's any more and keep their addresses. It is refused while the host is
// alive. One that comes back all the same says again what runs on it. What it
// wrote last is known here by then: the end of its mark comes after it.
func (r *Registry) ForgetHost(ctx context.Context, id string) error {
	if id == r.cfg.Host {
		return fmt.Errorf("%w: it is this one; ask another host to forget it, after dockstack was stopped here", ErrHostAlive)
	}
	var left []*lease
	var uses []string
	var begun bool
	err := r.change(ctx, func(t *tx) error {
		if err := t.mayForget(id); err != nil {
			return err
		}
		left, uses, begun = t.of(id)
		if len(left) > 0 || len(uses) > 0 || begun {
			return nil
		}
		return fmt.Errorf("%w %q: neither a name nor a network is its own%s", ErrUnknownHost, id, nearest.Hint(id, t.deadHosts()))
	})
	if err != nil {
		return err
	}
	if begun {
		end, err := r.begin(ctx)
		if err != nil {
			return err
		}
		_, err = r.undoOf(ctx, id)
		end()
		if err != nil {
			return err
		}
	}
	return r.forget(ctx, id, left, uses)
}

// forget lets go of a dead host's leases and networks, some with each commit.
func (r *Registry) forget(ctx context.Context, id string, left []*lease, uses []string) error {
	change := func(do func(*tx)) error {
		return r.change(ctx, func(t *tx) error {
			if err := t.mayForget(id); err != nil {
				return err
			}
			t.guardDead(id)
			do(t)
			return nil
		})
	}
	for some := range slices.Chunk(left, max(r.atOnce()/2, 1)) {
		if err := change(func(t *tx) { t.disownAll(some) }); err != nil {
			return err
		}
	}
	for some := range slices.Chunk(uses, max(r.atOnce()/2, 1)) {
		if err := change(func(t *tx) { t.endUses(some, id) }); err != nil {
			return err
		}
	}
	return nil
}

// mayForget tells why a host can't be forgotten now, if so.
func (t *tx) mayForget(id string) error {
	if !t.r.shared() {
		return fmt.Errorf("%w %q: this host is alone", ErrUnknownHost, id)
	}
	if t.r.cfg.Hosts.Alive(id) {
		return fmt.Errorf("%w: %s; stop dockstack there, and wait until its mark is gone (a minute at most)", ErrHostAlive, t.r.cfg.Hosts.Name(id))
	}
	return t.needStore()
}

// of is what a host has: leases, pools, and whether it is in the middle of
// something.
func (t *tx) of(id string) (leases []*lease, uses []string, begun bool) {
	n, known := t.r.hosts.numbers[id]
	for _, p := range t.r.pools {
		if p.others[id] != nil {
			uses = append(uses, p.id)
		}
		for _, l := range p.names {
			if known && l.host == n || strings.HasSuffix(l.name, hostMark+id) {
				leases = append(leases, l)
			}
		}
	}
	slices.Sort(uses)
	slices.SortFunc(leases, func(a, b *lease) int {
		return cmp.Or(strings.Compare(a.pool.id, b.pool.id), strings.Compare(a.name, b.name))
	})
	for key := range t.r.imports {
		begun = begun || key == intentKey(id) || strings.HasPrefix(key, intentKey(id)+"/")
	}
	return leases, uses, begun
}

// deadHosts are the ids of hosts that have something and are not alive.
func (t *tx) deadHosts() []string {
	ids := map[string]struct{}{}
	for _, p := range t.r.pools {
		for id := range p.others {
			ids[id] = struct{}{}
		}
		for _, l := range p.names {
			ids[t.r.hostID(l.host)] = struct{}{}
		}
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(ids)), func(id string) bool {
		return id == "" || id == t.r.cfg.Host || t.r.cfg.Hosts.Alive(id)
	})
}

// leaseNow is what has become of a lease, nil where its name has none.
func (r *Registry) leaseNow(l *lease) *lease {
	if p := r.pools[l.pool.id]; p != nil {
		return p.names[l.name]
	}
	return nil
}

// disownAll has no host run the names any more, or have run them.
func (t *tx) disownAll(left []*lease) {
	for _, l := range left {
		// Not if it changed meanwhile: somebody wants it.
		if now := t.r.leaseNow(l); now != nil && now.host == l.host {
			t.disown(now)
		}
	}
}

func (t *tx) disown(l *lease) {
	if l.placeholder() || strings.Contains(l.name, hostMark) {
		t.drop(l)
		return
	}
	t.change(l, func(c *lease) {
		if c.live {
			c.since = t.now.UnixMilli()
		}
		c.live, c.host, c.endpoint, c.unsure = false, nowhere, "", false
	})
}

// endUses says that another host has no network on the pools any more.
func (t *tx) endUses(pools []string, host string) {
	for _, id := range pools {
		p := t.r.pools[id]
		if p == nil || p.others[host] == nil {
			continue
		}
		t.write(useKey(id, host))
		t.undo = append(t.undo, step{kind: stepUse, pool: p, name: host, oldUse: p.others[host]})
		t.r.putUse(p, host, nil)
	}
}
