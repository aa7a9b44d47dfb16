package page

import (
	"net/netip"
	"slices"

	"github.com/dockstack/dockstack/internal/admin"
)

// grid is a map of a prefix: one cell an address, or a block of them where
// there are more than people can tell apart.
type grid struct {
	// Prefix is what the map covers.
	Prefix netip.Prefix
	Cells  []cell
	// Single: a cell is one address.
	Single bool
	// Sparse: only blocks that are in use have a cell.
	Sparse bool
	// Bits is the length of a block's prefix.
	Bits int
}

// Cols is how many cells stand side by side.
func (g grid) Cols() int {
	switch n := len(g.Cells); {
	case n <= 4:
		return max(n, 1)
	case n <= 16:
		return 4
	case n <= 64:
		return 8
	}
	return gridCols
}

// choose is the cell that has the wanted block, else the fullest.
func (g grid) choose(want netip.Prefix) int {
	fullest := 0
	for i, c := range g.Cells {
		if want.IsValid() && c.Prefix.Contains(want.Addr()) && c.Prefix.Bits() <= want.Bits() {
			return i
		}
		if c.used() > g.Cells[fullest].used() {
			fullest = i
		}
	}
	return fullest
}

// cell is one address or block.
type cell struct {
	Prefix netip.Prefix
	// Live, Parked and Reserved count leases, as admin.Pool has it; Aside what is
	// set aside for no container.
	Live, Parked, Reserved, Aside int
	// Gateway and Outside are of single addresses, or of whole blocks: nothing is
	// taken from there unless somebody names it.
	Gateway, Outside bool
	// Edge: the subnet's own address or its broadcast address.
	Edge bool
	// Lease holds the address, in a map of single ones.
	Lease *admin.Lease
}

func (c cell) used() int { return c.Live + c.Parked }

const (
	// blockBits is 256 addresses, a square of 16 by 16.
	blockBits = 8
	// wholeBits is the largest prefix that is shown whole: 256 blocks of 256.
	wholeBits = 16
	maxCells  = 256
	gridCols  = 16
)

func hostBits(p netip.Prefix) int { return p.Addr().BitLen() - p.Bits() }

// size is how many addresses a prefix has, as far as one can count.
func size(p netip.Prefix) int64 {
	if hostBits(p) >= 40 {
		return admin.MaxFree
	}
	return 1 << hostBits(p)
}

// sketch is a grid that is being drawn; leases come in any order.
type sketch struct {
	pool   admin.Pool
	grid   grid
	unit   int // the host bits of a cell
	leases holders
	// blocks are the cells of a prefix that is too large to be shown whole.
	blocks map[netip.Prefix]*cell
	// one is the map of the first block in use, as long as it is the only one.
	one     *sketch
	several bool
}

// holders says whether the cells of single addresses know their leases.
type holders string

const (
	withLeases    holders = "with leases"
	withoutLeases holders = "without"
)

// newSketch begins the map of the part of a pool that lies within a prefix.
func newSketch(p admin.Pool, within netip.Prefix, leases holders) *sketch {
	if !within.IsValid() || !p.Subnet.Contains(within.Addr()) || within.Bits() < p.Subnet.Bits() {
		within = p.Subnet
	}
	within = within.Masked()
	s := &sketch{pool: p, leases: leases, grid: grid{Prefix: within}}
	bits := hostBits(within)
	switch {
	case bits <= blockBits:
		s.grid.Single, s.grid.Bits = true, within.Addr().BitLen()
	case bits <= wholeBits:
		s.unit, s.grid.Bits = blockBits, within.Addr().BitLen()-blockBits
	default:
		s.unit, s.grid.Bits, s.grid.Sparse = blockBits, within.Addr().BitLen()-blockBits, true
		s.blocks = map[netip.Prefix]*cell{}
		return s
	}
	s.grid.Cells = make([]cell, 1<<(bits-s.unit))
	for i := range s.grid.Cells {
		part := netip.PrefixFrom(plus(within.Addr(), i<<s.unit), s.grid.Bits)
		s.grid.Cells[i] = cell{Prefix: part, Outside: !inRange(p, part), Edge: s.grid.Single && edge(p.Subnet, part.Addr())}
	}
	s.setAside()
	return s
}

// add takes a lease of the pool.
func (s *sketch) add(l admin.Lease) {
	if !s.grid.Prefix.Contains(l.Address) {
		return
	}
	s.addOne(l)
	if s.blocks != nil {
		s.addSparse(l)
		return
	}
	c := &s.grid.Cells[at(s.grid.Prefix, l.Address, s.unit)]
	c.take(l)
	if s.grid.Single && s.leases == withLeases {
		held := l // only these are kept
		c.Lease = &held
	}
}

func (s *sketch) addSparse(l admin.Lease) {
	part, err := l.Address.Prefix(s.grid.Bits)
	if err != nil {
		return
	}
	c := s.blocks[part]
	if c == nil {
		c = &cell{Prefix: part}
		s.blocks[part] = c
	}
	c.take(l)
}

// addOne draws the first block, until there is a second.
func (s *sketch) addOne(l admin.Lease) {
	switch {
	case s.unit == 0 || s.several:
		return
	case s.one == nil:
		part, err := l.Address.Prefix(s.grid.Bits)
		if err != nil {
			return
		}
		s.one = newSketch(s.pool, part, s.leases)
	case !s.one.grid.Prefix.Contains(l.Address):
		s.one, s.several = nil, true
		return
	}
	s.one.add(l)
}

// small is the map for where there is little room: of the only block in use,
// else of all.
func (s *sketch) small(whole grid) grid {
	if s.one != nil {
		return s.one.grid
	}
	return whole
}

// done is the map.
func (s *sketch) done() grid {
	switch {
	case s.blocks == nil:
		return s.grid
	case len(s.blocks) == 0:
		first := s.grid.Prefix.Addr()
		if g := s.pool.Gateway; g.IsValid() && s.grid.Prefix.Contains(g) {
			first = g
		}
		part, _ := first.Prefix(s.grid.Bits)
		return newSketch(s.pool, part, s.leases).grid
	case s.one != nil:
		return s.one.grid
	}
	for len(s.blocks) > maxCells && s.grid.Bits > s.grid.Prefix.Bits()+1 {
		s.coarser()
	}
	for _, c := range s.blocks {
		c.Outside = !inRange(s.pool, c.Prefix)
		c.Gateway = s.pool.Gateway.IsValid() && c.Prefix.Contains(s.pool.Gateway)
		s.grid.Cells = append(s.grid.Cells, *c)
	}
	slices.SortFunc(s.grid.Cells, func(a, b cell) int { return a.Prefix.Addr().Compare(b.Prefix.Addr()) })
	return s.grid
}

// coarser puts blocks together until few enough are left to tell them apart.
func (s *sketch) coarser() {
	s.grid.Bits = max(s.grid.Bits-blockBits/2, s.grid.Prefix.Bits()+1)
	larger := map[netip.Prefix]*cell{}
	for _, c := range s.blocks {
		part, err := c.Prefix.Addr().Prefix(s.grid.Bits)
		if err != nil {
			continue
		}
		sum := larger[part]
		if sum == nil {
			sum = &cell{Prefix: part}
			larger[part] = sum
		}
		sum.Live += c.Live
		sum.Parked += c.Parked
		sum.Reserved += c.Reserved
	}
	s.blocks = larger
}

func (c *cell) take(l admin.Lease) {
	if l.State == admin.StateLive {
		c.Live++
	} else {
		c.Parked++
	}
	if l.Reserved {
		c.Reserved++
	}
}

// setAside notes what no container gets.
func (s *sketch) setAside() {
	g := &s.grid
	if s.pool.Gateway.IsValid() && g.Prefix.Contains(s.pool.Gateway) {
		g.Cells[at(g.Prefix, s.pool.Gateway, s.unit)].Gateway = true
	}
	for _, a := range s.pool.Excluded {
		if g.Prefix.Contains(a) && a != s.pool.Gateway {
			g.Cells[at(g.Prefix, a, s.unit)].Aside++
		}
	}
}

// inRange is whether addresses of the prefix are handed out by themselves.
func inRange(p admin.Pool, part netip.Prefix) bool {
	return !p.Range.IsValid() || p.Range.Overlaps(part)
}

// edge is whether an address is one that IPv4 keeps from everybody.
func edge(subnet netip.Prefix, a netip.Addr) bool {
	if !a.Is4() || hostBits(subnet) < 2 {
		return false
	}
	return a == subnet.Masked().Addr() || !subnet.Contains(a.Next())
}

// at is the number of the cell of an address, in a prefix of at most 2^16.
func at(within netip.Prefix, a netip.Addr, bits int) int {
	return (low(a) - low(within.Addr())) >> bits
}

func low(a netip.Addr) int {
	b := a.AsSlice()
	return int(b[len(b)-2])<<8 | int(b[len(b)-1])
}

// plus adds to the first address of a prefix of at most 2^16.
func plus(a netip.Addr, n int) netip.Addr {
	b := a.AsSlice()
	n += low(a)
	b[len(b)-2], b[len(b)-1] = byte(n>>8), byte(n)
	out, _ := netip.AddrFromSlice(b)
	return out
}
