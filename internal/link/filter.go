package link

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	mdnetlink "github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/dockstack/dockstack/internal/fabric"
)

const (
	// filterTable is the name of the nftables table with the tunnels' filter.
	filterTable = "dockstack_tunnels"
	filterChain = "received"
	// setPart is how many addresses go into one message: its length is a number
	// of 16 bits, and an IPv6 address takes 28 bytes.
	setPart = 1000
	// sendBuffer is for the whole transaction, which is one write: 10,000
	// addresses and what the kernel adds to each message.
	sendBuffer = 4 << 20
)

// nftMu is for the whole process: the library counts sets in a variable of its
// own, without a lock.
var nftMu sync.Mutex

// PutTunnelFilter makes the table dockstack_tunnels as it should be, in one
// transaction: no packet meets half a filter. It sees only what is for this
// host itself, and of that only UDP packets to the port; it counts what it
// drops. It stands before other filters, and what it lets pass they may drop.
func (m *Manager) PutTunnelFilter(_ context.Context, f fabric.TunnelFilter) error {
	nftMu.Lock()
	defer nftMu.Unlock()
	c, err := m.nftConnLocked()
	if err != nil {
		return fmt.Errorf("filter UDP port %d: %w: %w", f.Port, ErrNoFilter, err)
	}
	// Added first so that the removal can't fail.
	t := &nftables.Table{Name: filterTable, Family: nftables.TableFamilyINet}
	c.AddTable(t)
	c.DelTable(t)
	if f.Port != 0 {
		c.AddTable(t)
		if err := addFilter(c, t, f); err != nil {
			return fmt.Errorf("filter UDP port %d: %w", f.Port, err)
		}
	}
	if err := c.Flush(); err != nil {
		return filterError(f, err)
	}
	return nil
}

func filterError(f fabric.TunnelFilter, err error) error {
	if noFamily(err) || errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("filter UDP port %d: %w: %w", f.Port, ErrNoFilter, err)
	}
	return fmt.Errorf("filter UDP port %d for %d peers: %w", f.Port, len(f.Peers), err)
}

// TunnelDrops returns how many packets of strangers the filter has dropped since
// it was last changed.
func (m *Manager) TunnelDrops() (uint64, error) {
	nftMu.Lock()
	defer nftMu.Unlock()
	c, err := m.nftConnLocked()
	if err != nil {
		return 0, fmt.Errorf("read the tunnels' filter: %w", err)
	}
	n, err := tunnelDrops(c)
	if err != nil {
		return 0, fmt.Errorf("read the tunnels' filter: %w", err)
	}
	return n, nil
}

func tunnelDrops(c *nftables.Conn) (uint64, error) {
	t := &nftables.Table{Name: filterTable, Family: nftables.TableFamilyINet}
	rules, err := c.GetRules(t, &nftables.Chain{Name: filterChain, Table: t})
	if errors.Is(err, unix.ENOENT) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var n uint64
	for _, r := range rules {
		for _, e := range r.Exprs {
			if counter, ok := e.(*expr.Counter); ok {
				n += counter.Packets
			}
		}
	}
	return n, nil
}

// nftConnLocked returns the connection, opened anew where that failed before.
func (m *Manager) nftConnLocked() (*nftables.Conn, error) {
	if m.nft != nil {
		return m.nft, nil
	}
	c, err := openNFT()
	if err != nil {
		return nil, err
	}
	m.nft = c
	return c, nil
}

// openNFT keeps the socket: it belongs to the namespace that it was opened in.
func openNFT() (*nftables.Conn, error) {
	return nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(c *mdnetlink.Conn) error {
		return c.SetWriteBuffer(sendBuffer)
	}))
}

// filterFamily is what differs between the two.
type filterFamily struct {
	proto          byte
	set            string
	kind           nftables.SetDatatype
	offset, length uint32 // of the source address in the IP header
}

var filterFamilies = []filterFamily{
	{unix.NFPROTO_IPV4, "peers4", nftables.TypeIPAddr, 12, 4},
	{unix.NFPROTO_IPV6, "peers6", nftables.TypeIP6Addr, 8, 16},
}

// addFilter fills the table: a set of peers and a rule a family.
func addFilter(c *nftables.Conn, t *nftables.Table, f fabric.TunnelFilter) error {
	priority := nftables.ChainPriorityRaw
	accept := nftables.ChainPolicyAccept
	chain := c.AddChain(&nftables.Chain{
		Name: filterChain, Table: t, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookInput, Priority: priority, Policy: &accept,
	})
	for _, fam := range filterFamilies {
		set := &nftables.Set{Table: t, Name: fam.set, KeyType: fam.kind}
		elements := peerKeys(f.Peers, fam)
		if err := c.AddSet(set, nil); err != nil {
			return err
		}
		for part := range slices.Chunk(elements, setPart) {
			if err := c.SetAddElements(set, part); err != nil {
				return err
			}
		}
		c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: []expr.Any{
			&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{fam.proto}},
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_UDP}},
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(f.Port)},
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: fam.offset, Len: fam.length},
			&expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID, Invert: true},
			&expr.Counter{},
			&expr.Verdict{Kind: expr.VerdictDrop},
		}})
	}
	return nil
}

// peerKeys are the addresses of one family, each once.
func peerKeys(peers []netip.Addr, fam filterFamily) []nftables.SetElement {
	sorted := make([]netip.Addr, 0, len(peers))
	for _, p := range peers {
		if p = p.Unmap().WithZone(""); p.IsValid() && p.BitLen() == int(fam.length)*8 {
			sorted = append(sorted, p)
		}
	}
	slices.SortFunc(sorted, netip.Addr.Compare)
	sorted = slices.Compact(sorted)
	out := make([]nftables.SetElement, len(sorted))
	for i, p := range sorted {
		out[i].Key = p.AsSlice()
	}
	return out
}
