package page

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/dockstack/dockstack/internal/admin"
)

// poolOf is a pool with a gateway at its first address.
func poolOf(subnet string) admin.Pool {
	p := netip.MustParsePrefix(subnet)
	return admin.Pool{ID: subnet, Subnet: p, Range: p, Gateway: p.Addr().Next(), InUse: true}
}

func lease(addr, state string) admin.Lease {
	return admin.Lease{Name: "n" + addr, Address: netip.MustParseAddr(addr), State: state}
}

// picture of a map in letters: L live, P parked, R reserved, G gateway, X set
// aside, E edge, o outside the range, . free; a block has its number of leases.
func drawn(g grid) string {
	var b strings.Builder
	for i, c := range g.Cells {
		if i > 0 && i%g.Cols() == 0 {
			b.WriteByte('\n')
		}
		switch {
		case !g.Single:
			fmt.Fprintf(&b, "%d ", c.used())
		case c.Reserved > 0:
			b.WriteByte('R')
		case c.Live > 0:
			b.WriteByte('L')
		case c.Parked > 0:
			b.WriteByte('P')
		case c.Gateway:
			b.WriteByte('G')
		case c.Aside > 0:
			b.WriteByte('X')
		case c.Edge:
			b.WriteByte('E')
		case c.Outside:
			b.WriteByte('o')
		default:
			b.WriteByte('.')
		}
	}
	return b.String()
}

func TestMapOfAddresses(t *testing.T) {
	p := poolOf("10.0.0.0/27")
	p.Range = netip.MustParsePrefix("10.0.0.0/28")
	p.Excluded = []netip.Addr{netip.MustParseAddr("10.0.0.20"), p.Gateway, netip.MustParseAddr("192.0.2.1")}
	s := newSketch(p, p.Subnet, withLeases)
	reserved := lease("10.0.0.17", admin.StateParked)
	reserved.Reserved = true
	for _, l := range []admin.Lease{lease("10.0.0.3", admin.StateParked), reserved, lease("10.0.0.2", admin.StateLive), lease("192.0.2.7", admin.StateLive)} {
		s.add(l)
	}
	g := s.done()
	if got, want := drawn(g), "EGLP....\n........\noRooXooo\noooooooE"; got != want {
		t.Errorf("the map is\n%s\nwant\n%s", got, want)
	}
	if c := g.Cells[2]; c.Lease == nil || c.Lease.Name != "n10.0.0.2" {
		t.Errorf("the cell of 10.0.0.2 has %v", c.Lease)
	}
}

func TestMapOfBlocks(t *testing.T) {
	p := poolOf("10.30.0.0/20")
	s := newSketch(p, p.Subnet, withoutLeases)
	s.add(lease("10.30.2.5", admin.StateLive))
	if g := s.small(s.done()); !g.Single || g.Prefix.String() != "10.30.2.0/24" {
		t.Errorf("one block in use is shown small as %s", g.Prefix)
	}
	s.add(lease("10.30.2.255", admin.StateParked))
	s.add(lease("10.30.15.255", admin.StateParked))
	g := s.done()
	if got, want := drawn(g), "0 0 2 0 \n0 0 0 0 \n0 0 0 0 \n0 0 0 1 "; got != want {
		t.Errorf("the map is\n%s\nwant\n%s", got, want)
	}
	if g.Single || !g.Cells[0].Gateway || g.Bits != 24 {
		t.Errorf("the first block is %+v", g.Cells[0])
	}
	if got := g.Cells[g.choose(netip.MustParsePrefix("10.30.7.9/32"))].Prefix.String(); got != "10.30.7.0/24" {
		t.Errorf("the wanted block is %s", got)
	}
	if got := g.Cells[g.choose(netip.Prefix{})].Prefix.String(); got != "10.30.2.0/24" {
		t.Errorf("the fullest block is %s", got)
	}
	if inner := newSketch(p, netip.MustParsePrefix("10.30.2.0/24"), withLeases).done(); !inner.Single || len(inner.Cells) != 256 {
		t.Errorf("a block's own map has %d cells", len(inner.Cells))
	}
	if outer := newSketch(p, netip.MustParsePrefix("192.0.2.0/24"), withLeases).done(); outer.Prefix != p.Subnet {
		t.Errorf("a block that is not in the pool shows %s", outer.Prefix)
	}
}

func TestMapOfWhatIsUsed(t *testing.T) {
	t.Run("nothing", func(t *testing.T) {
		p := poolOf("fd00::/64")
		g := newSketch(p, p.Subnet, withoutLeases).done()
		if !g.Single || g.Prefix.String() != "fd00::/120" || !g.Cells[1].Gateway {
			t.Errorf("an empty IPv6 pool shows %s", g.Prefix)
		}
	})
	t.Run("one block", func(t *testing.T) {
		p := poolOf("fd00::/64")
		s := newSketch(p, p.Subnet, withLeases)
		s.add(lease("fd00::5:10", admin.StateLive))
		s.add(lease("fd00::5:ff", admin.StateParked))
		g := s.done()
		if !g.Single || g.Prefix.String() != "fd00::5:0/120" || g.Cells[0x10].Live != 1 || g.Cells[255].Parked != 1 {
			t.Errorf("the used part is %s:\n%s", g.Prefix, drawn(g))
		}
	})
	t.Run("some blocks", func(t *testing.T) {
		p := poolOf("10.0.0.0/8")
		s := newSketch(p, p.Subnet, withLeases)
		for _, a := range []string{"10.9.0.1", "10.0.3.1", "10.200.0.9", "10.0.3.2"} {
			s.add(lease(a, admin.StateLive))
		}
		g := s.done()
		if got := drawn(g); got != "2 1 1 " || !g.Sparse || g.Cells[1].Prefix.String() != "10.9.0.0/24" {
			t.Errorf("the map of used blocks is %s", got)
		}
	})
	t.Run("too many blocks", func(t *testing.T) {
		p := poolOf("10.0.0.0/8")
		s := newSketch(p, p.Subnet, withoutLeases)
		for i := range 4000 {
			s.add(lease(fmt.Sprintf("10.%d.%d.1", i/250, i%250), admin.StateLive))
		}
		g := s.done()
		sum := 0
		for _, c := range g.Cells {
			sum += c.used()
		}
		if len(g.Cells) > maxCells || sum != 4000 || g.Bits != 20 {
			t.Errorf("%d cells of /%d have %d leases", len(g.Cells), g.Bits, sum)
		}
		if !slices.IsSortedFunc(g.Cells, func(a, b cell) int { return a.Prefix.Addr().Compare(b.Prefix.Addr()) }) {
			t.Error("blocks are not in order")
		}
	})
}

// FuzzMap: a map of any part of any pool has each lease in one cell, and never
// too many cells.
func FuzzMap(f *testing.F) {
	f.Add("10.0.0.0/24", "10.0.0.0/24", []byte{1, 2, 3, 4})
	f.Add("fd00::/64", "fd00::5:0/120", []byte{9, 9, 9, 9, 200, 1, 1, 1})
	f.Add("10.0.0.0/8", "10.3.0.0/16", []byte{3, 3, 3, 3})
	f.Add("0.0.0.0/0", "255.255.255.255/32", []byte{255, 255, 255, 255})
	f.Add("::/0", "::/1", []byte{})
	f.Fuzz(func(t *testing.T, subnet, block string, where []byte) {
		sub, err := netip.ParsePrefix(subnet)
		within, err2 := netip.ParsePrefix(block)
		if err != nil || err2 != nil || sub.Addr().Is4In6() {
			return
		}
		p := admin.Pool{ID: subnet, Subnet: sub.Masked(), Range: within, Gateway: sub.Addr(), Excluded: []netip.Addr{within.Addr(), sub.Addr()}}
		s := newSketch(p, within, withLeases)
		seen, count := map[netip.Addr]bool{}, 0
		for ; len(where) >= 4; where = where[4:] {
			b := sub.Masked().Addr().AsSlice()
			host := b[len(b)-4:]
			for i := range host {
				host[i] |= where[i]
			}
			a, _ := netip.AddrFromSlice(b)
			if !p.Subnet.Contains(a) || seen[a] {
				continue
			}
			seen[a] = true
			s.add(admin.Lease{Address: a, State: admin.StateLive})
			if s.grid.Prefix.Contains(a) {
				count++
			}
		}
		g, sum := s.done(), 0
		for _, c := range g.Cells {
			sum += c.used()
		}
		if len(g.Cells) == 0 && count > 0 || len(g.Cells) > maxCells || sum != count {
			t.Fatalf("%s in %s: %d cells with %d of %d leases", within, sub, len(g.Cells), sum, count)
		}
		_, _ = drawMini(g), newBigMap(p, g, view{}, netip.Prefix{})
	})
}
