package ipam

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// JoinReport says what a host took along when it joined others.
type JoinReport struct {
	// Pools and Leases are how many were new to the others.
	Pools, Leases int
	// Clashes say, for people, what stayed behind and why.
	Clashes []string
}

// putAside empties memory for what the shared store has. What this host had
// stays until Join has taken it along.
func (r *Registry) putAside() {
	r.aside, r.pools = r.pools, map[string]*pool{}
	clear(r.behind)
	clear(r.imports)
	clear(r.endpoints) // they come along with their leases
}

// Join takes along what this host had before it joined others. What clashes
// with theirs stays behind: a name keeps the address that it has there. Before the
// first Change was learned it is an error, and it may be called again after one.
func (r *Registry) Join(ctx context.Context) (JoinReport, error) {
	var report JoinReport
	var old []*pool
	err := r.run(ctx, &call{learns: true, do: func(*tx) error {
		if !r.synced {
			return errUnread
		}
		old = slices.SortedFunc(maps.Values(r.aside), func(a, b *pool) int { return strings.Compare(a.id, b.id) })
		return nil
	}})
	if err != nil {
		return report, err
	}
	for _, p := range old {
		var one JoinReport
		err := r.run(ctx, &call{joins: true, do: func(t *tx) error {
			one = JoinReport{}
			t.joinPool(p, &one)
			return nil
		}})
		if err != nil {
			return report, err
		}
		report.add(one)
		leases := slices.SortedFunc(maps.Values(p.names), func(a, b *lease) int { return strings.Compare(a.name, b.name) })
		for some := range slices.Chunk(leases, r.atOnce()/2) {
			err := r.run(ctx, &call{joins: true, do: func(t *tx) error {
				one = JoinReport{}
				for _, l := range some {
					t.joinLease(l, &one)
				}
				return nil
			}})
			if err != nil {
				return report, err
			}
			report.add(one)
		}
	}
	if err := r.endOldUses(ctx); err != nil {
		return report, err
	}
	return report, r.run(ctx, &call{learns: true, do: func(t *tx) error {
		if r.aside != nil {
			r.aside = nil
			t.whole = true
			// The names of before are still shown, also those that stayed behind.
			all := r.firstSnapshot()
			all.serial = max(all.serial, r.snap.Load().serial+1)
			r.snap.Store(all)
			close(r.syncedC)
		}
		return nil
	}})
}

// endOldUses removes what the store has of this host's networks from an earlier
// time among the others: no engine would ever remove them.
func (r *Registry) endOldUses(ctx context.Context) error {
	var old []string
	err := r.run(ctx, &call{learns: true, do: func(*tx) error {
		for id, p := range r.pools {
			if before := r.aside[id]; p.mine != nil && (before == nil || before.mine == nil) {
				old = append(old, id)
			}
		}
		return nil
	}})
	for some := range slices.Chunk(old, r.atOnce()) {
		if err != nil {
			return err
		}
		err = r.run(ctx, &call{joins: true, do: func(t *tx) error {
			for _, id := range some {
				t.setUse(r.pools[id], func(use) *use { return nil })
			}
			return nil
		}})
	}
	return err
}

func (j *JoinReport) add(o JoinReport) {
	j.Pools += o.Pools
	j.Leases += o.Leases
	j.Clashes = append(j.Clashes, o.Clashes...)
}

func (j *JoinReport) clash(format string, args ...any) {
	j.Clashes = append(j.Clashes, fmt.Sprintf(format, args...))
}

// joinPool takes a pool along.
func (t *tx) joinPool(old *pool, report *JoinReport) {
	p := t.r.pools[old.id]
	switch {
	case p == nil:
		if other := t.overlapping(old.rec.Subnet, old.rec.Overlay, old.id); other != nil && old.mine != nil {
			report.clash("network %s has the subnet %s here, which shares addresses with %s of %s: the two stay networks of their own; give one another subnet",
				old.label(), old.rec.Subnet, other.rec.Subnet, other.user())
		}
		report.Pools++
		p = newPool(old.id)
		t.addPool(p)
		t.setPool(p, func(rec *poolRecord) {
			*rec = old.rec
			rec.VNI = t.joinVNI(old)
		})
		t.countUse(p)
	case old.mine != nil && len(t.inUseBy(p)) > 0:
		t.joinDiffers(old, p, report)
	case old.mine != nil:
		t.setPool(p, func(rec *poolRecord) {
			vni := cmp.Or(rec.VNI, t.joinVNI(old))
			*rec = old.rec
			rec.VNI = vni
		})
		t.joinVIPs(old, p)
		t.countUse(p)
	}
	if old.mine != nil {
		t.setUse(p, func(use) *use {
			u := *old.mine
			return &u
		})
	}
}

// joinDiffers names what is otherwise on other hosts.
func (t *tx) joinDiffers(old, p *pool, report *JoinReport) {
	for _, d := range []struct {
		what        string
		here, there any
	}{
		{"the range", old.rec.Range, p.rec.Range},
		{"the gateway", old.rec.Gateway, p.rec.Gateway},
		{"the MTU", old.rec.MTU, p.rec.MTU},
		{"names per host", old.rec.PerHost, p.rec.PerHost},
		{"the virtual addresses", fmt.Sprint(old.rec.VIPNames), fmt.Sprint(p.rec.VIPNames)},
	} {
		if d.here != d.there {
			report.clash("network %s has %s %v here and %v on %s: remove it here and create it again", old.label(), d.what, d.here, d.there, t.hostNames(t.inUseBy(p)))
		}
	}
}

// joinVNI is the VNI of the network that old belongs to: its other pool's
// there, or its own where nobody has that.
func (t *tx) joinVNI(old *pool) uint32 {
	if old.rec.VNI == 0 {
		return 0
	}
	taken := map[uint32]bool{}
	for id, p := range t.r.pools {
		if before := t.r.aside[id]; before != nil && before.rec.VNI == old.rec.VNI && p.rec.VNI != 0 {
			return p.rec.VNI
		}
		taken[p.rec.VNI] = true
	}
	vni := old.rec.VNI
	for taken[vni] {
		vni++
	}
	return vni
}

// joinLease takes a lease along.
func (t *tx) joinLease(old *lease, report *JoinReport) {
	p := t.r.pools[old.pool.id]
	l := *old
	l.pool, l.host = p, me
	if t.r.keyName(p, old.container()) != old.name && !old.placeholder() {
		l.name = t.r.keyName(p, old.container())
	}
	there, holder := p.names[l.name], p.addrs[l.addr]
	if holder != nil && holder.host == me && strings.HasPrefix(holder.name, l.name+placeholderMark) {
		holder = nil // an earlier try of joining
	}
	switch {
	case there == nil && holder == nil && (p.rec.setAside(l.addr) == "" || slices.Contains(p.rec.VIPNames, l.name) && slices.Contains(p.rec.Exclude, l.addr)):
		report.Leases++
		t.put(&l)
	case there != nil && there.addr == l.addr && (!t.elsewhere(there) || !l.live):
		if l.live {
			t.put(&l)
		}
	case l.live && holder == nil && p.rec.setAside(l.addr) == "":
		// Its name is another's there, or has another address: the container
		// keeps what it has until it is started again.
		if holder = p.addrs[l.addr]; holder != nil {
			l.name = holder.name
		} else {
			l.name += placeholderMark + cmp.Or(short(l.endpoint), short(t.r.cfg.Host))
		}
		report.clash("container %q runs here with %s in %s, and that name %s: this one keeps its address until it is started again", old.container(), old.addr, &p.rec, t.has(there))
		t.put(&l)
	case there != nil:
		report.clash("name %q had %s here in %s, and %s", old.container(), old.addr, &p.rec, t.has(there))
		t.joinLost(old, there)
	case holder != nil:
		report.clash("name %q had %s here in %s, which is %q's on host %s: its next start gets another address", old.container(), old.addr, &p.rec, holder.container(), t.r.hostName(holder.host))
		t.joinLost(old, holder)
	default:
		report.clash("name %q had %s here in %s, which is %s: its next start gets another address", old.container(), old.addr, &p.rec, p.rec.setAside(l.addr))
	}
}

// has says what a name has on other hosts.
func (t *tx) has(l *lease) string {
	state := "is kept there with " + l.addr.String()
	if t.held(l) {
		state = "runs with " + l.addr.String()
	}
	return state + " on host " + t.r.hostName(l.host)
}

// joinLost notes that a running container lost its address to another host.
func (t *tx) joinLost(old, to *lease) {
	if old.live && old.endpoint != "" {
		t.r.lost[old.endpoint] = leaseKey(old.pool.id, old.name)
		t.r.problem(leaseKey(old.pool.id, old.name), fmt.Sprintf("container %q runs here with %s in %s, which belongs to %q on host %s since this host joined: start it again",
			old.container(), old.addr, &old.pool.rec, to.container(), t.r.hostName(to.host)))
	}
}
