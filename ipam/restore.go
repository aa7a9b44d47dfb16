package ipam

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dockstack/dockstack/internal/kv"
)

// Restore puts a dump back.
type Restore struct {
	Records []kv.Op
	// DryRun: only say what would happen.
	DryRun bool
}

// RestoreReport says what a restore does, or would do.
type RestoreReport struct {
	// Pools are the ids of pools that come back.
	Pools []string
	// Same, New, Moved and Gone count names: those that stay as they are, those
	// that come back, those that get back another address or mark than they have,
	// and those that the dump does not know, which go.
	Same, New, Moved, Gone int
	// Kept are names that the dump does not know and whose containers run; they
	// stay.
	Kept []string
	// Clashes keep the whole from being done.
	Clashes []string
	// Done: it was carried out.
	Done bool
}

// RestoreDump puts what Dump said back, all or nothing as Import does: names have
// the addresses of then, parked where no container runs. It is refused where a
// running container would lose its address; a network that is there keeps its
// settings; who uses which pool the engines say, not the dump.
func (r *Registry) RestoreDump(ctx context.Context, in Restore) (RestoreReport, error) {
	var report RestoreReport
	look := func(t *tx) (*bulk, error) {
		pl := &putBack{t: t, pools: map[string]poolRecord{}, leases: map[nameID]*lease{}, out: &bulk{}}
		err := pl.read(in.Records)
		report = RestoreReport{}
		if err != nil {
			return nil, err
		}
		pl.decide()
		report = pl.report
		if n := len(report.Clashes); n > 0 {
			more := ""
			if n > 1 {
				more = fmt.Sprintf("; and %d more", n-1)
			}
			return nil, fmt.Errorf("%w: nothing was restored: %s%s", ErrClash, report.Clashes[0], more)
		}
		return pl.out, nil
	}
	if in.DryRun {
		var failed error
		err := r.read(ctx, func(t *tx) { _, failed = look(t) })
		if err == nil {
			err = failed
		}
		return report, err
	}
	err := r.inBulk(ctx, "restore", look)
	report.Done = err == nil
	return report, err
}

// nameID is a name of a pool that may not be there.
type nameID struct{ pool, name string }

// putBack finds out what a restore comes to.
type putBack struct {
	t      *tx
	pools  map[string]poolRecord
	leases map[nameID]*lease
	out    *bulk
	report RestoreReport
}

// read decodes a dump, and takes only one that Dump can have made.
func (pl *putBack) read(ops []kv.Op) error {
	addrs := map[nameID]string{}
	for _, op := range ops {
		if id, is := strings.CutPrefix(op.Key, poolPrefix); is && !op.Delete {
			rec, err := decodePool(id, op.Value)
			if err != nil {
				return badDump(op.Key, err)
			}
			pl.pools[id] = rec
		}
	}
	for _, op := range ops {
		var err error
		switch {
		case op.Delete:
			err = errRecord
		case strings.HasPrefix(op.Key, poolPrefix):
		case strings.HasPrefix(op.Key, usePrefix):
			_, err = decodeUse(op.Value)
		case strings.HasPrefix(op.Key, leasePrefix):
			err = pl.readLease(op, addrs)
		default:
			err = errRecord
		}
		if err != nil {
			return badDump(op.Key, err)
		}
	}
	return nil
}

// badDump says which record of a dump is wrong.
func badDump(key string, err error) error {
	if isNewer(err) {
		return fmt.Errorf("record %q of the backup: %w; nothing was restored: install that version, or a newer one", key, err)
	}
	return fmt.Errorf("%w: record %q of the backup: %w; nothing was restored: take another backup", kv.ErrDamaged, key, err)
}

func (pl *putBack) readLease(op kv.Op, addrs map[nameID]string) error {
	id, name, ok := splitLeaseKey(op.Key)
	if !ok {
		return errRecord
	}
	rec, known := pl.pools[id]
	if !known {
		return fmt.Errorf("%w: its pool is missing", errRecord)
	}
	l := &lease{name: strings.Clone(name)}
	if err := pl.t.r.decodeLease(l, op.Value); err != nil {
		return err
	}
	switch {
	case l.placeholder():
		return nil // of a container that was being renamed
	case len(l.container()) > maxName:
		return errRecord
	case !rec.Subnet.Contains(l.addr) || notHost(rec.Subnet, l.addr) != "":
		return fmt.Errorf("%w: %s lies outside", errRecord, l.addr)
	}
	at := nameID{id, l.addr.String()}
	if other, twice := addrs[at]; twice {
		return fmt.Errorf("%w: %s is %s's too", errRecord, l.addr, other)
	}
	addrs[at] = name
	l.live = false
	if l.host == nowhere && !pl.t.r.shared() {
		l.host = me // as it would be read at start
	}
	pl.leases[nameID{id, l.name}] = l
	return nil
}

func (pl *putBack) clash(format string, args ...any) {
	pl.report.Clashes = append(pl.report.Clashes, fmt.Sprintf(format, args...))
}

// decide says what becomes of everything, next to what there is.
func (pl *putBack) decide() {
	for _, id := range slices.Sorted(maps.Keys(pl.pools)) {
		pl.pool(id, pl.pools[id])
	}
	order := slices.SortedFunc(maps.Keys(pl.leases), func(a, b nameID) int {
		return strings.Compare(a.pool+"/"+a.name, b.pool+"/"+b.name)
	})
	for _, at := range order {
		pl.lease(at, pl.leases[at])
	}
	for id, p := range pl.t.r.pools {
		for name, l := range p.names {
			if pl.leases[nameID{id, name}] != nil {
				continue
			}
			if pl.t.held(l) {
				pl.report.Kept = append(pl.report.Kept, l.container())
				continue
			}
			pl.report.Gone++
			pl.out.items = append(pl.out.items, bulkItem{pool: id, name: name, old: l})
		}
	}
	slices.Sort(pl.report.Kept)
	slices.SortFunc(pl.out.items, func(a, b bulkItem) int { return strings.Compare(a.pool+"/"+a.name, b.pool+"/"+b.name) })
}

// pool says what becomes of a pool.
func (pl *putBack) pool(id string, rec poolRecord) {
	t, p := pl.t, pl.t.r.pools[id]
	if other := t.overlapping(rec.Subnet, rec.Overlay, id); p == nil && other != nil {
		pl.clash("%s shares addresses with %s of %s%s", rec.Subnet, other.rec.Subnet, other.user(), t.onHosts(other))
		return
	}
	if p != nil && t.inUse(p) {
		if p.rec.PerHost != rec.PerHost {
			pl.clash("%s has names per %s by now, and per %s in the backup", &p.rec, perWhat(p.rec.PerHost), perWhat(rec.PerHost))
		}
		return
	}
	rec.free()
	rec.Epoch = 0
	for _, other := range t.r.pools {
		if other.id != id && other.rec.VNI == rec.VNI {
			rec.VNI = 0
		}
	}
	out := bulkPool{id: id, new: rec}
	if p != nil {
		old := p.rec
		rec.Epoch = old.Epoch
		if out.old = &old; old.equal(&rec) {
			return
		}
	}
	pl.report.Pools = append(pl.report.Pools, id)
	pl.out.pools = append(pl.out.pools, out)
}

// perWhat is whose a container's name is.
func perWhat(perHost bool) string {
	if perHost {
		return "host"
	}
	return "overlay"
}

// lease says what becomes of a name.
func (pl *putBack) lease(at nameID, l *lease) {
	t, p := pl.t, pl.t.r.pools[at.pool]
	var own, holder *lease
	if p != nil {
		own, holder = p.names[at.name], p.addrs[l.addr]
		if why := p.rec.setAside(l.addr); why != "" && t.inUse(p) && !p.virtualAt(at.name, l.addr) {
			pl.clash("%s in %s is %s by now, and %q's in the backup", l.addr, &p.rec, why, l.container())
			return
		}
	}
	switch {
	case holder != nil && holder.name != at.name && t.held(holder):
		pl.refuse(holder, "%s, and it is %q's in the backup; stop it first", t.runs(holder), l.container())
	case own != nil && own.addr != l.addr && p.virtual(at.name):
		pl.refuse(own, "%s has %s as a virtual address called %q, and that has %s in the backup; remove the network first", &p.rec, own.addr, at.name, l.addr)
	case own != nil && own.addr != l.addr && t.held(own):
		pl.refuse(own, "%s, and has %s in the backup; stop it first", t.runs(own), l.addr)
	case own == nil:
		pl.report.New++
		pl.out.items = append(pl.out.items, bulkItem{pool: at.pool, name: at.name, new: l})
	case own.addr == l.addr && own.reserved == l.reserved &&
		(t.held(own) || own.fixed == l.fixed && own.mac == l.mac && own.macByUser == l.macByUser):
		pl.report.Same++
		pl.out.same = append(pl.out.same, leaseKey(at.pool, at.name))
	default:
		pl.report.Moved++
		pl.out.items = append(pl.out.items, bulkItem{pool: at.pool, name: at.name, old: own, new: l})
	}
}

func (pl *putBack) refuse(because *lease, format string, args ...any) {
	pl.clash(format, args...)
	pl.t.doubtSome(leaseKey(because.pool.id, because.name))
}
