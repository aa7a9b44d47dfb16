package ipam

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/nearest"
)

// Reservation is an operator's word: Addr is kept for Name.
type Reservation struct {
	// Pool is the pool's id; "": the pool in which Addr lies.
	Pool, Name string
	Addr       netip.Addr
	// MAC is the hardware address that the container is to have, "" for the one
	// that it has or that follows from Addr.
	MAC string
}

// maxDoubts bounds how many refusals of one request are made sure of in a
// shared store: a commit takes so many conditions.
const maxDoubts = 16

// doubtSome is doubt for a request that may be refused for a thousand reasons:
// the first few are made sure of.
func (t *tx) doubtSome(key string) {
	if len(t.doubts) < maxDoubts {
		t.doubt(key)
	}
}

// needStore tells why an operator's word can't be taken now: it is for all hosts.
func (t *tx) needStore() error {
	if !t.away {
		return nil
	}
	away := kv.ErrAway
	if why, _ := t.r.cfg.Shared.State(); why != nil {
		away = why
	}
	return needOthers(away)
}

// poolByID is the pool that an operator names by its id.
func (t *tx) poolByID(id string) (*pool, error) {
	if p := t.r.pools[id]; p != nil {
		return p, nil
	}
	t.doubtSome(poolKey(id))
	return nil, fmt.Errorf("%w %q: no network ever had that subnet%s", ErrUnknownPool, id, nearest.Hint(id, slices.Collect(maps.Keys(t.r.pools))))
}

// poolOf is the pool in which addr lies.
func (t *tx) poolOf(addr netip.Addr) (*pool, error) {
	return onePool(addr, slices.Collect(maps.Values(t.r.pools)), t.matters)
}

// matters tells whether people know of the pool: it has a network or names.
func (t *tx) matters(p *pool) bool { return len(p.names) > 0 || t.inUse(p) }

// onePool is the pool among pools in which addr lies. Those that don't matter
// are meant only where no other is.
func onePool(addr netip.Addr, pools []*pool, matters func(*pool) bool) (*pool, error) {
	var found []*pool
	for _, p := range pools {
		if p.rec.Subnet.Contains(addr) {
			found = append(found, p)
		}
	}
	if slices.ContainsFunc(found, matters) {
		found = slices.DeleteFunc(found, func(p *pool) bool { return !matters(p) })
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, fmt.Errorf("%w: %s lies in no network's subnet; create the network first, or name the subnet that it will have (--subnet)", ErrUnknownPool, addr)
	}
	ids := make([]string, 0, len(found))
	for _, p := range found {
		ids = append(ids, p.id)
	}
	slices.Sort(ids)
	return nil, fmt.Errorf("%w: %s lies in %s; say which pool is meant", ErrAmbiguous, addr, strings.Join(ids, " and in "))
}

// named are the leases that an operator means by a name: the one in the pool,
// or with poolID "" all that there are, by pool.
func (t *tx) named(poolIDs []string, name string) ([]*lease, error) {
	if name == "" {
		return nil, fmt.Errorf("%w: say which name", ErrNoName)
	}
	var pools []*pool
	for _, id := range poolIDs {
		p, err := t.poolByID(id)
		if err != nil {
			return nil, err
		}
		pools = append(pools, p)
	}
	if poolIDs == nil {
		pools = slices.SortedFunc(maps.Values(t.r.pools), func(a, b *pool) int { return strings.Compare(a.id, b.id) })
	}
	var found []*lease
	for _, p := range pools {
		key := t.r.keyName(p, name)
		if l := p.names[key]; l != nil && !l.placeholder() {
			found = append(found, l)
		} else {
			t.doubtSome(leaseKey(p.id, key))
		}
	}
	if len(found) == 0 {
		return nil, &noNameError{name: name, pools: poolIDs}
	}
	return found, nil
}

// noNameError says that no lease has a name, and which names look alike.
type noNameError struct {
	name, hint string
	pools      []string // none: all
}

func (e *noNameError) Error() string {
	where := "any network"
	if e.pools != nil {
		where = "pool " + strings.Join(e.pools, " or ")
	}
	return fmt.Sprintf("%v: no name `%s` in %s%s", ErrNoLease, e.name, where, e.hint)
}

func (*noNameError) Unwrap() error { return ErrNoLease }

// hint adds the nearest names to an error about one that does not exist. There
// may be 100,000 to look at, which others should not wait for.
func (r *Registry) hint(ctx context.Context, err error) error {
	var e *noNameError
	if !errors.As(err, &e) {
		return err
	}
	var names []string
	_ = r.read(ctx, func(t *tx) {
		for _, p := range t.r.pools {
			if e.pools != nil && !slices.Contains(e.pools, p.id) {
				continue
			}
			for _, l := range p.names {
				if !l.placeholder() {
					names = append(names, l.container())
				}
			}
		}
	})
	e.hint = nearest.Hint(e.name, names)
	return err
}

// runs says that the lease's container runs, with what and where.
func (t *tx) runs(l *lease) string {
	where := ""
	if l.host != me {
		where = " on host " + t.r.hostName(l.host)
	}
	return fmt.Sprintf("%s runs%s with %s in %s since %s", l.who(), where, l.addr, &l.pool.rec, l.at().UTC().Format(time.RFC3339))
}

// live refuses what would take a running container's address or name.
func (t *tx) live(l *lease, what string) error {
	t.doubt(leaseKey(l.pool.id, l.name))
	return fmt.Errorf("%w: %s; stop it (docker stop %s), then %s", ErrLive, t.runs(l), l.container(), what)
}

// mayBeName is what Docker takes as a container's name.
var mayBeName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

// checkContainer refuses what can't be a container's name.
func checkContainer(name string) error {
	if name == "" {
		return fmt.Errorf("%w: say for whom", ErrNoName)
	}
	if err := checkName(name); err != nil {
		return err
	}
	if !mayBeName.MatchString(name) {
		return fmt.Errorf("%w: %.64q can't be a container's name: letters, digits, and _ . - after the first", ErrNotUsable, name)
	}
	return nil
}

// keeps says for whom the lease's address is kept, and how.
func (t *tx) keeps(l *lease) string {
	at := l.at().UTC().Format(time.RFC3339)
	switch {
	case t.held(l):
		return t.runs(l)
	case l.reserved:
		return fmt.Sprintf("%s in %s is reserved for %q", l.addr, &l.pool.rec, l.container())
	case l.fixed:
		return fmt.Sprintf("%s in %s is kept for %s, which names it (--ip, ipv4_address) and is stopped since %s", l.addr, &l.pool.rec, l.who(), at)
	}
	return fmt.Sprintf("%s in %s is parked for %q since %s", l.addr, &l.pool.rec, l.container(), at)
}
