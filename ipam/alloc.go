package ipam

import (
	"cmp"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
)

// allocate finds an address for a name that has none: the next one after the
// last handed out that no name holds, so that one which was given up stays
// unused as long as possible. When names hold them all, the lease that has
// been parked longest gives way.
func (t *tx) allocate(p *pool, name string) (netip.Addr, error) {
	var skip uint32
	if t.retries > 1 {
		// Other hosts look for an address at the same time, and take the next
		// as well.
		skip = t.skip(16)
	}
	if addr, ok := t.nextFree(p, skip); ok {
		t.moveCursor(p, addr)
		return addr, nil
	}
	l := t.oldestIdle(p)
	if l == nil {
		return netip.Addr{}, t.full(p, name)
	}
	t.drop(l)
	t.warn("the pool has no other address left: the longest-parked name loses its own",
		slog.String("network", p.rec.network()), slog.String("name", l.name), slog.String("addr", l.addr.String()), slog.String("to", name))
	return l.addr, nil
}

// skip is a number below some times the number of tries, which keeps hosts that
// look for the same thing apart.
func (t *tx) skip(some uint32) uint32 { return rand.Uint32N(some << min(t.retries, 6)) } //nolint:gosec // no secret

// nextFree looks through the range once, beginning skip addresses after the
// cursor. It takes at most as many steps as there are holders, and skip,
// however large the range is.
func (t *tx) nextFree(p *pool, skip uint32) (netip.Addr, bool) {
	if p.noFree {
		return netip.Addr{}, false
	}
	first, last := p.rec.Range.Addr(), lastOf(p.rec.Range)
	start := first
	if p.cursor.IsValid() && p.rec.Range.Contains(p.cursor) && p.cursor != last {
		start = p.cursor.Next()
	}
	for ; skip > 0; skip-- {
		if start == last {
			start = first
		} else {
			start = start.Next()
		}
	}
	for a := start; ; {
		if p.addrs[a] == nil && p.rec.setAside(a) == "" && !t.r.isClaimed(p, a) {
			return a, true
		}
		if a == last {
			a = first
		} else {
			a = a.Next()
		}
		if a == start {
			p.noFree = len(t.r.claimed) == 0
			return netip.Addr{}, false
		}
	}
}

// mayGive tells whether the lease may go to another name.
func (t *tx) mayGive(l *lease) bool {
	return !l.fixed && !l.reserved && l.pool.rec.Range.Contains(l.addr) && l.pool.rec.setAside(l.addr) == "" && !t.held(l)
}

// oldestIdle is the lease that has been parked longest and may go, nil where
// none may.
func (t *tx) oldestIdle(p *pool) *lease {
	for range 2 {
		for len(p.idle) > 0 {
			l := p.idle[0]
			p.idle = p.idle[1:]
			if p.names[l.name] == l && t.mayGive(l) {
				return l
			}
		}
		for _, l := range p.names {
			if t.mayGive(l) {
				p.idle = append(p.idle, l)
			}
		}
		slices.SortFunc(p.idle, func(a, b *lease) int {
			return cmp.Or(cmp.Compare(a.since, b.since), a.addr.Compare(b.addr), strings.Compare(a.name, b.name))
		})
	}
	return nil
}

// full explains why a name gets no address.
func (t *tx) full(p *pool, name string) error {
	var live, kept int
	for _, l := range p.names {
		switch {
		case !p.rec.Range.Contains(l.addr):
		case t.held(l):
			live++
		default:
			kept++
		}
	}
	t.doubt(poolKey(p.id))
	return fmt.Errorf("%w: no address for %q in %s: of the %s addresses of %s, running containers hold %d, %d are kept for fixed or reserved names, and the rest belong to the network itself; remove containers, take reservations back, or create the network with a larger --subnet or --ip-range",
		ErrPoolFull, name, &p.rec, size(p.rec.Range), p.rec.Range, live, kept)
}

// size is the number of addresses of prefix, in words where it is large.
func size(prefix netip.Prefix) string {
	bits := prefix.Addr().BitLen() - prefix.Bits()
	if bits > 32 {
		return fmt.Sprintf("2^%d", bits)
	}
	return fmt.Sprint(uint64(1) << bits)
}
