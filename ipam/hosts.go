package ipam

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/dockstack/dockstack/internal/kv"
)

// Hosts is what the registry needs to know of the hosts that share a store.
type Hosts interface {
	// Alive tells whether the host renews its mark.
	Alive(id string) bool
	// Name is what people call it.
	Name(id string) string
	// Mark is the key and value that stand in the store while this host is
	// alive there. Other hosts' keys differ in the id at their end only.
	Mark() (key string, value []byte)
	// Held waits until the mark is in the store, or says what keeps it.
	Held(ctx context.Context) error
	// Learn takes over what a conflict told of marks. The store does not tell it
	// again (see kv.Shared's Follow). It must not wait.
	Learn(c kv.Change)
}

// hostNumber stands for a host's id in leases: there may be 100,000 of them.
type hostNumber uint32

const (
	nowhere hostNumber = iota // no host ever had it
	me

	// maxHostID bounds a host's id, in bytes.
	maxHostID = 64
)

// hostMark stands between a container's name and its host's id where each host
// has names of its own. Docker allows it in no container's name.
const hostMark = "@"

// hosts numbers the hosts that leases name, and knows which are alive.
type hosts struct {
	ids     []string
	numbers map[string]hostNumber
	// alive is by number. It is replaced, never changed: snapshots have it.
	alive []bool
}

func newHosts(own string) hosts {
	return hosts{ids: []string{"", own}, numbers: map[string]hostNumber{own: me}, alive: []bool{false, true}}
}

func (r *Registry) hostNumber(id []byte) hostNumber {
	if n, ok := r.hosts.numbers[string(id)]; ok {
		return n
	}
	n := hostNumber(len(r.hosts.ids))
	r.hosts.ids = append(r.hosts.ids, string(id))
	r.hosts.numbers[string(id)] = n
	alive := r.cfg.Hosts != nil && r.cfg.Hosts.Alive(string(id))
	r.hosts.alive = append(slices.Clip(r.hosts.alive), alive)
	return n
}

func (r *Registry) hostID(n hostNumber) string { return r.hosts.ids[n] }

// hostName is what people call the host.
func (r *Registry) hostName(n hostNumber) string {
	if n == me || r.cfg.Hosts == nil {
		return "this host"
	}
	if n == nowhere {
		return "(forgotten)"
	}
	return r.cfg.Hosts.Name(r.hostID(n))
}

// up tells whether the host is alive, as far as is known.
func (r *Registry) up(n hostNumber) bool {
	return n == me || int(n) < len(r.hosts.alive) && r.hosts.alive[n]
}

// elsewhere tells whether another host's container holds the lease.
func (t *tx) elsewhere(l *lease) bool { return l.live && l.host != me && t.r.up(l.host) }

// inUseBy are the ids of other hosts, alive, that have the pool in use, in
// order.
func (t *tx) inUseBy(p *pool) []string {
	var ids []string
	for id, u := range p.others {
		if (u.Network != "" || t.fresh(u)) && t.r.cfg.Hosts != nil && t.r.cfg.Hosts.Alive(id) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// hostNames are the names of some hosts, for people.
func (t *tx) hostNames(ids []string) string {
	const most = 3
	names := make([]string, 0, most)
	for _, id := range ids[:min(len(ids), most)] {
		names = append(names, t.r.cfg.Hosts.Name(id))
	}
	if len(ids) > most {
		names = append(names, "…")
	}
	return strings.Join(names, ", ")
}

// keyName is what the name is called in the pool's leases.
func (r *Registry) keyName(p *pool, name string) string {
	if p.rec.PerHost && name != "" {
		return name + hostMark + r.cfg.Host
	}
	return name
}

// useOf is what a host does with the pool, nil for nothing.
func (r *Registry) useOf(p *pool, host string) *use {
	if host == r.cfg.Host {
		return p.mine
	}
	return p.others[host]
}

// putUse puts what a host does with the pool in place; nil for nothing.
func (r *Registry) putUse(p *pool, host string, u *use) {
	if host == r.cfg.Host {
		p.mine, p.rec.here = u, ""
		if u != nil {
			p.rec.here = cmp.Or(u.Name, short(u.Network))
		}
		return
	}
	switch {
	case u == nil:
		delete(p.others, host)
	case p.others == nil:
		p.others = map[string]*use{host: u}
	default:
		p.others[host] = u
	}
}

// setUse alters what this host does with the pool; alter gets nothing where
// it does nothing yet, and returns nil to end it.
func (t *tx) setUse(p *pool, alter func(use) *use) {
	var old use
	if p.mine != nil {
		old = *p.mine
	}
	changed := alter(old)
	if changed == nil && p.mine == nil || changed != nil && p.mine != nil && *changed == *p.mine {
		return
	}
	t.write(useKey(p.id, t.r.cfg.Host))
	if changed == nil || changed.Network != old.Network {
		t.whole = true
	}
	t.undo = append(t.undo, step{kind: stepUse, pool: p, name: t.r.cfg.Host, oldUse: p.mine})
	t.r.putUse(p, t.r.cfg.Host, changed)
}
