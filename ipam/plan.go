package ipam

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// planner finds out what an import comes to.
type planner struct {
	t    *tx
	plan Plan
	out  *bulk
	// pools are those that there are and those that the import makes.
	pools map[string]*pool
	all   []*pool
	// made are the latter.
	made []*pool
	// wants are the import's reservations by pool and name, takers by pool and
	// address, macs by network and hardware address.
	wants  map[nameIn]*want
	takers map[addrIn]*want
	macs   map[macIn]string
	order  []*want
}

type (
	nameIn struct {
		pool *pool
		name string
	}
	addrIn struct {
		pool *pool
		addr netip.Addr
	}
	macIn struct {
		pool *pool
		mac  mac
	}
)

// want is a reservation whose pool is known.
type want struct {
	Reservation
	pool *pool
	key  string
	mac  mac
}

// planImport checks everything before anything is done. It changes nothing.
func (t *tx) planImport(in Import) (Plan, *bulk) {
	pl := &planner{
		t: t, out: &bulk{}, pools: maps.Clone(t.r.pools),
		wants: map[nameIn]*want{}, takers: map[addrIn]*want{}, macs: map[macIn]string{},
	}
	for _, s := range in.Subnets {
		pl.subnet(s)
	}
	pl.all = slices.Collect(maps.Values(pl.pools))
	for _, res := range in.Reservations {
		if w, reason := pl.resolve(res); reason != "" {
			pl.clash(res, "%s", reason)
		} else if w != nil {
			pl.order = append(pl.order, w)
		}
	}
	pl.keptMACs()
	for _, w := range pl.order {
		pl.decide(w)
	}
	return pl.plan, pl.out
}

func (pl *planner) clash(res Reservation, format string, args ...any) {
	pl.plan.Clashes = append(pl.plan.Clashes, Clash{Reservation: res, Reason: fmt.Sprintf(format, args...)})
}

// subnet makes a pool ahead of its network.
func (pl *planner) subnet(subnet netip.Prefix) {
	asked := Reservation{Pool: subnet.String()}
	req, err := checkPool(PoolRequest{Subnet: subnet})
	if err == nil && !subnet.IsValid() {
		err = fmt.Errorf("%w: a subnet is missing", ErrNotUsable)
	}
	if err != nil {
		pl.clash(asked, "%v", err)
		return
	}
	id := PoolID(req.Subnet, "")
	if pl.pools[id] != nil {
		return
	}
	for _, p := range slices.SortedFunc(maps.Values(pl.pools), func(a, b *pool) int { return strings.Compare(a.id, b.id) }) {
		isNew := slices.Contains(pl.made, p)
		if p.rec.Overlay != "" || !p.rec.Subnet.Overlaps(req.Subnet) || !isNew && !pl.t.matters(p) {
			continue
		}
		if isNew {
			pl.clash(asked, "it shares addresses with %s of the same import", p.rec.Subnet)
		} else {
			pl.clash(asked, "it shares addresses with %s%s", &p.rec, pl.t.onHosts(p))
		}
		return
	}
	p := newPool(id)
	p.rec.Subnet, p.rec.Range = req.Subnet, req.Subnet
	pl.pools[id] = p
	pl.made = append(pl.made, p)
	pl.plan.Pools = append(pl.plan.Pools, id)
	pl.out.pools = append(pl.out.pools, bulkPool{id: id, new: p.rec})
}

// resolve finds a reservation's pool and refuses what makes no sense by itself,
// or next to another of the import. It returns nothing for one that is there
// twice.
func (pl *planner) resolve(res Reservation) (*want, string) {
	res.Addr = res.Addr.Unmap()
	if err := checkContainer(res.Name); err != nil {
		return nil, err.Error()
	}
	if !res.Addr.IsValid() {
		return nil, "it has no address"
	}
	w := &want{Reservation: res, key: res.Name}
	if res.MAC != "" {
		var err error
		if w.mac, err = parseMAC(res.MAC); err != nil {
			return nil, err.Error()
		}
	}
	var err error
	if w.pool, err = pl.poolFor(res); err != nil {
		return nil, err.Error()
	}
	w.Pool = w.pool.id
	if err := pl.t.usable(w.pool, res.Addr); err != nil && !w.pool.virtualAt(res.Name, res.Addr) {
		return nil, err.Error()
	}
	if w.pool.rec.PerHost {
		return nil, fmt.Sprintf("%s has names of each host's own; reserve it on the host where %q is to run", &w.pool.rec, res.Name)
	}
	if o := pl.wants[nameIn{w.pool, w.key}]; o != nil {
		if o.Addr == w.Addr && o.mac == w.mac {
			return nil, ""
		}
		return nil, fmt.Sprintf("the import has %q twice, also with %s", w.Name, strings.TrimSpace(o.Addr.String()+" "+o.MAC))
	}
	if o := pl.takers[addrIn{w.pool, w.Addr}]; o != nil {
		return nil, fmt.Sprintf("the import has %s also for %q", w.Addr, o.Name)
	}
	pl.wants[nameIn{w.pool, w.key}], pl.takers[addrIn{w.pool, w.Addr}] = w, w
	return w, ""
}

func (pl *planner) poolFor(res Reservation) (*pool, error) {
	if res.Pool == "" {
		return onePool(res.Addr, pl.all, func(p *pool) bool {
			return pl.t.matters(p) || slices.Contains(pl.made, p)
		})
	}
	if p := pl.pools[res.Pool]; p != nil {
		return p, nil
	}
	return pl.t.poolByID(res.Pool)
}

// keptMACs gathers who keeps a hardware address of the user's choice in the
// networks that the import has some for.
func (pl *planner) keptMACs() {
	done := map[*pool]bool{}
	for _, w := range pl.order {
		if w.mac == (mac{}) || done[w.pool] {
			continue
		}
		for _, p := range pl.t.siblings(w.pool) {
			if done[p] {
				continue
			}
			done[p] = true
			for _, l := range p.names {
				if l.mac != (mac{}) {
					pl.macs[macIn{pl.network(p), l.mac}] = l.name
				}
			}
		}
	}
}

// network stands for all pools of the network that has p.
func (pl *planner) network(p *pool) *pool {
	return slices.MinFunc(pl.t.siblings(p), func(a, b *pool) int { return strings.Compare(a.id, b.id) })
}

// decide says what becomes of one reservation, next to what there is.
func (pl *planner) decide(w *want) {
	own, holder := w.pool.names[w.key], w.pool.addrs[w.Addr]
	if holder != nil && holder.name != w.key && !pl.leaves(holder) {
		pl.refuse(w, holder, "%s%s", pl.t.keeps(holder), pl.wayOut(holder))
		return
	}
	if own != nil && own.addr != w.Addr && pl.t.held(own) {
		pl.refuse(w, own, "%s; stop it first", pl.t.runs(own))
		return
	}
	if own != nil && own.addr != w.Addr && w.pool.virtual(w.key) {
		pl.refuse(w, own, "%s has %s as a virtual address called %q; remove the network first", &w.pool.rec, own.addr, w.key)
		return
	}
	if w.mac != (mac{}) && (own == nil || own.hardware() != w.mac) {
		if own != nil && pl.t.held(own) {
			pl.refuse(w, own, "%s, and MAC address %s; stop it first", pl.t.runs(own), own.hardware())
			return
		}
		if reason := pl.badMAC(w); reason != "" {
			pl.clash(w.Reservation, "%s", reason)
			return
		}
	}
	l := pl.lease(w, own)
	if own != nil && sameButState(own, l) {
		pl.plan.Same = append(pl.plan.Same, w.Reservation)
		pl.out.same = append(pl.out.same, leaseKey(w.pool.id, w.key))
		return
	}
	pl.plan.New = append(pl.plan.New, w.Reservation)
	if own != nil && own.addr != w.Addr {
		pl.plan.Replaced = append(pl.plan.Replaced, Replaced{Reservation: w.Reservation, Old: own.addr})
	}
	pl.out.items = append(pl.out.items, bulkItem{pool: w.pool.id, name: w.key, old: own, new: l})
}

// refuse is clash, because of a lease that others may have changed by now.
func (pl *planner) refuse(w *want, because *lease, format string, args ...any) {
	pl.clash(w.Reservation, format, args...)
	pl.t.doubtSome(leaseKey(because.pool.id, because.name))
}

// leaves tells whether the import gives the lease's name another address.
func (pl *planner) leaves(l *lease) bool {
	w := pl.wants[nameIn{l.pool, l.name}]
	return w != nil && w.Addr != l.addr && !pl.t.held(l)
}

func (pl *planner) wayOut(l *lease) string {
	switch {
	case pl.t.held(l):
		return "; stop it first, or choose another address"
	case l.fixed && !l.reserved:
		return "; change that container, or release " + l.container() + " first"
	}
	return "; release " + l.container() + " first"
}

// badMAC tells why the name can't have the hardware address, or "".
func (pl *planner) badMAC(w *want) string {
	if w.mac.ours() && macOf(w.Addr) != w.mac {
		return fmt.Sprintf("MAC address %s is one that dockstack gives out itself; choose one that begins with neither %02x:%02x nor %02x",
			w.mac, macPrefix4>>8, macPrefix4&0xff, macPrefix6)
	}
	at := macIn{pl.network(w.pool), w.mac}
	if name, kept := pl.macs[at]; kept && name != w.key {
		return fmt.Sprintf("MAC address %s is that of %q in the same network", w.mac, name)
	}
	pl.macs[at] = w.key
	return ""
}

// lease is what the name is to have.
func (pl *planner) lease(w *want, own *lease) *lease {
	l := lease{name: w.key, addr: w.Addr, host: me, since: pl.t.now.UnixMilli()}
	if own != nil {
		l.mac, l.macByUser = own.mac, own.macByUser
		if own.addr == w.Addr {
			l = *own
		} else if !own.macByUser {
			l.mac = mac{}
		}
	}
	l.pool, l.reserved = w.pool, true
	if w.mac != (mac{}) && l.hardware() != w.mac {
		l.setMAC(w.mac, w.mac)
	}
	return &l
}
