package ipam

import "net/netip"

// Place is an address that a container on another host has.
type Place struct {
	Addr netip.Addr
	MAC  [6]byte
	// Host is the host's id.
	Host string
}

// Move is news of where a network's addresses are on other hosts.
type Move struct {
	VNI uint32
	// Whole: Set is all there is.
	Whole bool
	Set   []Place
	Gone  []netip.Addr
}

// elsewhere tells whether the lease is a container's on another host.
func elsewhere(l *lease) bool { return l != nil && l.live && l.host != me }

// place tells where a lease's container is, if on another host.
func (r *Registry) place(l *lease) (Place, bool) {
	if l == nil || !l.live || l.host == me || !r.up(l.host) {
		return Place{}, false
	}
	return Place{Addr: l.addr, MAC: l.hardware(), Host: r.hostID(l.host)}, true
}

// tellMoves tells what the batch changed about addresses on other hosts, of
// networks that this host has.
func (t *tx) tellMoves() {
	if t.r.cfg.Moved == nil || !t.r.shared() {
		return
	}
	var moves []Move
	if t.whole {
		moves = t.r.wholeMoves()
	} else {
		moves = t.moves()
	}
	if len(moves) > 0 {
		t.r.cfg.Moved(moves)
	}
}

// moves are the single changes of the batch.
func (t *tx) moves() []Move {
	byVNI := map[uint32]*Move{}
	type at struct {
		pool *pool
		addr netip.Addr
	}
	done := map[at]bool{}
	for _, s := range t.undo {
		if s.kind != stepLease || s.pool.network() == "" || s.pool.rec.VNI == 0 {
			continue
		}
		for _, l := range []*lease{s.old, s.new} {
			if l == nil || done[at{s.pool, l.addr}] || !elsewhere(s.old) && !elsewhere(s.new) {
				continue
			}
			done[at{s.pool, l.addr}] = true
			m := byVNI[s.pool.rec.VNI]
			if m == nil {
				m = &Move{VNI: s.pool.rec.VNI}
				byVNI[m.VNI] = m
			}
			if place, there := t.r.place(s.pool.addrs[l.addr]); there {
				m.Set = append(m.Set, place)
			} else {
				m.Gone = append(m.Gone, l.addr)
			}
		}
	}
	moves := make([]Move, 0, len(byVNI))
	for _, m := range byVNI {
		moves = append(moves, *m)
	}
	return moves
}

// wholeMoves are all addresses on other hosts; of networks that this host had
// and has no more, that there are none.
func (r *Registry) wholeMoves() []Move {
	byVNI := map[uint32]*Move{}
	for vni := range r.told {
		byVNI[vni] = &Move{VNI: vni, Whole: true}
	}
	clear(r.told)
	for _, p := range r.pools {
		if p.network() == "" || p.rec.VNI == 0 {
			continue
		}
		r.told[p.rec.VNI] = struct{}{}
		m := byVNI[p.rec.VNI]
		if m == nil {
			m = &Move{VNI: p.rec.VNI, Whole: true}
			byVNI[m.VNI] = m
		}
		for _, l := range p.names {
			if place, there := r.place(l); there {
				m.Set = append(m.Set, place)
			}
		}
	}
	moves := make([]Move, 0, len(byVNI))
	for _, m := range byVNI {
		moves = append(moves, *m)
	}
	return moves
}
