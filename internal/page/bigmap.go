package page

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/dockstack/dockstack/internal/admin"
)

// bigMap is a map with a text for each cell.
type bigMap struct {
	Prefix netip.Prefix
	// Label says what is on it, for those who don't see it.
	Label  string
	Single bool
	Sparse bool
	W, H   float64
	Cells  []bigCell
	Rows   []axis
	Cols   []axis
	Bits   int
}

// bigCell is a cell at its place.
type bigCell struct {
	X, Y float64
	// Class is its states, Tip all of it in a line, Link where it leads.
	Class, Tip, Link string
	// LiveY, LiveH, ParkedY and ParkedH are how high a block is filled; Count is
	// how many of its addresses are in use.
	LiveY, LiveH, ParkedY, ParkedH float64
	Count                          string
	Reserved, Gateway, Aside       bool
	Current                        bool
}

type axis struct {
	At   float64
	Text string
}

// The measures of a map.
const (
	cellStep = 30.0
	cellSize = 26.0
	axisX    = 52.0
	axisY    = 20.0
)

func newBigMap(p admin.Pool, g grid, v view, current netip.Prefix) *bigMap {
	cols := g.Cols()
	rows := (len(g.Cells) + cols - 1) / cols
	m := &bigMap{
		Prefix: g.Prefix, Single: g.Single, Sparse: g.Sparse, Bits: g.Bits,
		W: axisX + float64(cols)*cellStep, H: axisY + float64(rows)*cellStep, Label: label(g),
	}
	for i, c := range g.Cells {
		b := bigCell{
			X: axisX + float64(i%cols)*cellStep, Y: axisY + float64(i/cols)*cellStep,
			Reserved: g.Single && c.Reserved > 0, Gateway: c.Gateway, Aside: c.Aside > 0, Current: c.Prefix == current,
		}
		if g.Single {
			b.single(c, v)
		} else {
			b.block(p, c, v)
		}
		if i%cols == 0 {
			m.Rows = append(m.Rows, axis{b.Y + cellSize/2, rowLabel(g, c)})
		}
		m.Cells = append(m.Cells, b)
	}
	for i := range cols {
		if !g.Sparse {
			m.Cols = append(m.Cols, axis{axisX + float64(i)*cellStep + cellSize/2, colLabel(g, i)})
		}
	}
	return m
}

func (b *bigCell) single(c cell, v view) {
	a := c.Prefix.Addr()
	class := []string{"c"}
	tip := []string{a.String()}
	switch {
	case c.Lease != nil:
		l := c.Lease
		class = append(class, l.State)
		tip = append(tip, admin.Plain(l.Name), leaseWord(*l))
		if l.Host != "" {
			tip = append(tip, "on "+admin.Plain(l.Host))
		}
		tip = append(tip, "since "+stamp(l.Since))
		b.Link = v.QueryLink(a.String())
	case c.Gateway:
		class, tip = append(class, "aside"), append(tip, "the gateway, which is each host itself")
	case c.Aside > 0:
		class, tip = append(class, "aside"), append(tip, "set aside: a VIP or auxiliary address")
	case c.Edge:
		class, tip = append(class, "edge"), append(tip, "kept from everybody by IPv4")
	case c.Outside:
		class, tip = append(class, "outside"), append(tip, "free, given only to who names it")
	default:
		class, tip = append(class, "free"), append(tip, "free")
	}
	b.Class, b.Tip = strings.Join(class, " "), strings.Join(tip, " · ")
}

// leaseWord is the state of a lease for people.
func leaseWord(l admin.Lease) string {
	words := []string{l.State}
	if l.Reserved {
		words = append(words, "reserved")
	}
	if l.Fixed {
		words = append(words, "fixed")
	}
	return strings.Join(words, ", ")
}

func (b *bigCell) block(p admin.Pool, c cell, v view) {
	b.Class = "c block"
	tip := []string{c.Prefix.String()}
	if c.used() == 0 {
		b.Class += " free"
		tip = append(tip, "free")
		if c.Outside {
			b.Class += " outside"
			tip[1] = "free, given only to who names an address"
		}
	} else {
		live, parked := fill(c, cellSize)
		b.LiveH, b.LiveY = live, round2(b.Y+cellSize-live)
		b.ParkedH, b.ParkedY = parked, round2(b.LiveY-parked)
		b.Count = short(c.used())
		tip = append(tip, grouped(int64(c.Live))+" live", grouped(int64(c.Parked))+" parked")
		if c.Reserved > 0 {
			tip = append(tip, grouped(int64(c.Reserved))+" reserved")
		}
	}
	if c.Gateway {
		tip = append(tip, "has the gateway")
	}
	if c.Aside > 0 {
		tip = append(tip, plural(c.Aside, "address set aside", "addresses set aside"))
	}
	b.Link = v.withPool(p.ID, c.Prefix)
	b.Tip = strings.Join(tip, " · ")
}

// short is a number of four letters at most.
func short(n int) string {
	switch {
	case n < 1000:
		return fmt.Sprint(n)
	case n < 1_000_000:
		return fmt.Sprintf("%dk", n/1000)
	}
	return fmt.Sprintf("%dM", n/1_000_000)
}

func label(g grid) string {
	var live, parked, reserved int
	for _, c := range g.Cells {
		live, parked, reserved = live+c.Live, parked+c.Parked, reserved+c.Reserved
	}
	what := "one cell for each address"
	if !g.Single {
		what = fmt.Sprintf("one cell for each /%d", g.Bits)
	}
	if g.Sparse {
		what += " that is in use"
	}
	return fmt.Sprintf("Map of %s, %s: %d live, %d parked, %d of them reserved. Arrow keys move between cells.", g.Prefix, what, live, parked, reserved)
}

// rowLabel is the end of the first address of a row: what all cells of a map
// share is above it.
func rowLabel(g grid, c cell) string {
	a := c.Prefix.Addr()
	b := a.AsSlice()
	if a.Is6() {
		if g.Single || !g.Sparse {
			return fmt.Sprintf("::%x", int(b[14])<<8|int(b[15]))
		}
		return ""
	}
	switch {
	case g.Single:
		return fmt.Sprintf(".%d", b[3])
	case g.Bits == 24:
		return fmt.Sprintf(".%d.0", b[2])
	}
	return fmt.Sprintf("%d.%d", b[0], b[1])
}

func colLabel(g grid, i int) string {
	if g.Prefix.Addr().Is6() {
		return fmt.Sprintf("+%x", i)
	}
	return fmt.Sprintf("+%d", i)
}
