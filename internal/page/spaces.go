package page

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/dockstack/dockstack/internal/admin"
)

// spaceView is the section of addresses: every pool small, one of them large.
type spaceView struct {
	Cards []card
	// Hidden is how many pools have no card.
	Hidden int
	Detail *detail
	Error  string
}

// card is a pool in small.
type card struct {
	Pool     admin.Pool
	Name     string
	Link     string
	Selected bool
	Bar      bar
	Mini     mini
	// Shown is what the small map covers.
	Shown netip.Prefix
}

// Held is how many addresses names have.
func (c card) Held() int { return c.Pool.Live + c.Pool.Parked }

// mostCards is how many pools are shown unless all are asked for.
const mostCards = 24

// bar is how full a pool is, in percent.
type bar struct{ Live, Parked, Reserved, LiveParked float64 }

func barOf(p admin.Pool) bar {
	all := float64(int64(p.Live+p.Parked) + max(p.Free, 0))
	if all == 0 {
		return bar{}
	}
	share := func(n int) float64 {
		if n == 0 {
			return 0
		}
		return round(max(0.8, 100*float64(n)/all)) // else nobody sees it
	}
	b := bar{Live: share(p.Live), Parked: share(p.Parked), Reserved: share(p.Reserved)}
	if over := b.Live + b.Parked - 100; over > 0 {
		if b.Live > b.Parked {
			b.Live -= over
		} else {
			b.Parked -= over
		}
	}
	b.LiveParked = b.Live + b.Parked
	return b
}

// mini is a map without text: one path for each kind of cell.
type mini struct {
	W, H                                        float64
	Free, Live, Parked, Reserved, Aside, Ground string
}

func drawMini(g grid) mini {
	cols := g.Cols()
	m := mini{W: float64(cols), H: float64((len(g.Cells) + cols - 1) / cols)}
	var free, live, parked, reserved, aside strings.Builder
	square := func(b *strings.Builder, x, y, w, h float64) {
		_, _ = fmt.Fprintf(b, "M%g %gh%gv%gh-%gz", x, y, w, h, w)
	}
	for i, c := range g.Cells {
		x, y := float64(i%cols)+0.06, float64(i/cols)+0.06
		const full = 0.88
		square(&free, x, y, full, full)
		switch {
		case !g.Single:
			l, p := fill(c, full)
			if l > 0 {
				square(&live, x, round2(y+full-l), full, l)
			}
			if p > 0 {
				square(&parked, x, round2(y+full-l-p), full, p)
			}
		case c.Live > 0:
			square(&live, x, y, full, full)
		case c.Parked > 0:
			square(&parked, x, y, full, full)
		case c.Gateway, c.Aside > 0, c.Edge:
			square(&aside, round2(x+0.28), round2(y+0.28), 0.32, 0.32)
		}
		if c.Reserved > 0 {
			_, _ = fmt.Fprintf(&reserved, "M%g %gh.44v.44z", round2(x+full-0.44), y)
		}
	}
	m.Free, m.Live, m.Parked, m.Reserved, m.Aside = free.String(), live.String(), parked.String(), reserved.String(), aside.String()
	return m
}

// fill is how high a block's parts stand in a cell of that height. What is there
// at all is seen.
func fill(c cell, height float64) (live, parked float64) {
	all := float64(size(c.Prefix))
	part := func(n int) float64 {
		if n == 0 {
			return 0
		}
		return round2(max(0.1*height, height*float64(n)/all))
	}
	live, parked = part(c.Live), part(c.Parked)
	if over := live + parked - height; over > 0 {
		if live > parked {
			live = round2(live - over)
		} else {
			parked = round2(parked - over)
		}
	}
	return live, parked
}

func round2(x float64) float64 { return float64(int(x*100+0.5)) / 100 }

// detail is one pool in large.
type detail struct {
	Pool admin.Pool
	Name string
	// Crumbs lead from the whole pool to what is shown.
	Crumbs []crumb
	// Blocks is the map of blocks, where the pool has more than one.
	Blocks *bigMap
	// Addresses is the map of single addresses.
	Addresses *bigMap
	// Held are the first leases of a map that stands alone, More is how many
	// others it has.
	Held []admin.Lease
	More int
}

// mostHeld is how many leases stand beside a map.
const mostHeld = 40

type crumb struct{ Text, Link string }

// mostLevels bounds how deep a map goes: IPv6 has 128 bits.
const mostLevels = 8

// spaces makes the section.
func spaces(ctx context.Context, src Source, p *picture, v view) (spaceView, error) {
	var out spaceView
	if p.census == nil {
		return out, nil
	}
	chosen := 0
	for i, pc := range p.census.pools {
		if pc.pool.ID == v.Pool {
			chosen = i
		}
	}
	for i, pc := range p.census.pools {
		if !v.AllPools && i >= mostCards && i != chosen {
			out.Hidden++
			continue
		}
		out.Cards = append(out.Cards, card{
			Pool: pc.pool, Name: networkOf(pc.pool.Network, pc.pool.Subnet.String()), Link: v.withPool(pc.pool.ID, netip.Prefix{}),
			Selected: i == chosen, Bar: barOf(pc.pool), Mini: drawMini(pc.small), Shown: pc.small.Prefix,
		})
	}
	var err error
	if len(p.census.pools) > 0 && p.Unread == nil {
		out.Detail, err = zoom(ctx, src, p.census.pools[chosen], v)
	}
	return out, err
}

// zoom goes from the whole pool into the block that is asked for, or into the
// fullest, until cells are single addresses.
func zoom(ctx context.Context, src Source, pc poolCount, v view) (*detail, error) {
	d := &detail{Pool: pc.pool, Name: networkOf(pc.pool.Network, pc.pool.ID)}
	g := pc.grid
	if g.Single && g.Prefix != pc.pool.Subnet {
		d.Crumbs = append(d.Crumbs, crumb{pc.pool.Subnet.String(), ""})
	}
	var err error
	for range mostLevels {
		if g.Single {
			break
		}
		block := g.Cells[g.choose(v.Block)].Prefix
		d.Crumbs = append(d.Crumbs, crumb{g.Prefix.String(), v.withPool(pc.pool.ID, g.Prefix)})
		d.Blocks = newBigMap(pc.pool, g, v, block)
		if g, err = draw(ctx, src, pc.pool, block); err != nil {
			return nil, err
		}
	}
	if d.Blocks == nil {
		// The census has counts only.
		if g, err = draw(ctx, src, pc.pool, g.Prefix); err != nil {
			return nil, err
		}
	}
	d.Crumbs = append(d.Crumbs, crumb{g.Prefix.String(), ""})
	d.Addresses = newBigMap(pc.pool, g, v, netip.Prefix{})
	d.hold(g)
	return d, nil
}

// hold notes the first leases of a map.
func (d *detail) hold(g grid) {
	for _, c := range g.Cells {
		switch {
		case c.Lease == nil:
		case len(d.Held) < mostHeld:
			d.Held = append(d.Held, *c.Lease)
		default:
			d.More++
		}
	}
}

// draw makes the map of a part of a pool, with the leases of single addresses.
func draw(ctx context.Context, src Source, p admin.Pool, within netip.Prefix) (grid, error) {
	s := newSketch(p, within, withLeases)
	_, err := src.Leases(ctx, func(l admin.Lease) bool {
		if l.Pool == p.ID {
			s.add(l)
		}
		return false
	})
	if err != nil {
		return grid{}, fmt.Errorf("the addresses of %s can't be read now: %w", p.ID, err)
	}
	return s.done(), nil
}
