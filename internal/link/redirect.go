package link

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// portTable is the name of our nftables table, one a family.
const portTable = "dockstack"

// beforeDocker is the priority of our NAT chains: just before Docker's
// (NF_IP_PRI_NAT_DST), so that a container which publishes the port on all of
// the host's addresses gets what is asked of the host, and not what is asked
// of us.
const beforeDocker = nftables.ChainPriority(-101)

// Redirect hands what is sent to a port of some of the host's addresses, over
// UDP and TCP, to another port of the same address.
type Redirect struct {
	// Addrs are the host's addresses; none takes the redirection away.
	Addrs []netip.Addr
	// From and To are the ports.
	From, To uint16
}

// PutRedirect makes r the one redirection that there is in the calling thread's
// network namespace. The reason for it: a
// socket that listens on a port of any of the host's addresses keeps containers
// from publishing that port, and DNS servers in containers do.
func PutRedirect(r Redirect) error {
	nftMu.Lock()
	defer nftMu.Unlock()
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	for _, family := range []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6} {
		// Added first so that the removal can't fail; all in one transaction.
		t := &nftables.Table{Name: portTable, Family: family}
		c.AddTable(t)
		c.DelTable(t)
		own := slices.DeleteFunc(slices.Clone(r.Addrs), func(a netip.Addr) bool {
			return a.Is4() != (family == nftables.TableFamilyIPv4)
		})
		if len(own) == 0 {
			continue
		}
		c.AddTable(t)
		if err := addRedirect(c, t, own, r); err != nil {
			return err
		}
	}
	if err := c.Flush(); err != nil {
		if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("%w: %w", ErrNoNAT, err)
		}
		return fmt.Errorf("redirect port %d to %d: %w", r.From, r.To, err)
	}
	return nil
}

// addRedirect fills one family's table.
func addRedirect(c *nftables.Conn, t *nftables.Table, addrs []netip.Addr, r Redirect) error {
	set := &nftables.Set{Table: t, Name: "addresses", KeyType: nftables.TypeIPAddr}
	offset, length := uint32(16), uint32(4) // the IPv4 header's destination (RFC 791)
	if t.Family == nftables.TableFamilyIPv6 {
		set.KeyType = nftables.TypeIP6Addr
		offset, length = 24, 16 // RFC 8200, section 3
	}
	elements := make([]nftables.SetElement, len(addrs))
	for i, a := range addrs {
		elements[i].Key = a.AsSlice()
	}
	if err := c.AddSet(set, elements); err != nil {
		return fmt.Errorf("redirect port %d: %w", r.From, err)
	}
	priority := beforeDocker
	for name, hook := range map[string]*nftables.ChainHook{"received": nftables.ChainHookPrerouting, "sent": nftables.ChainHookOutput} {
		chain := c.AddChain(&nftables.Chain{Name: name, Table: t, Type: nftables.ChainTypeNAT, Hooknum: hook, Priority: &priority})
		for _, proto := range []byte{unix.IPPROTO_UDP, unix.IPPROTO_TCP} {
			c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: []expr.Any{
				&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
				&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{proto}},
				&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length},
				&expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID},
				&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
				&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(r.From)},
				&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(r.To)},
				// Without an address register the address stays.
				&expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(t.Family), RegProtoMin: 1, Specified: true},
			}})
		}
	}
	return nil
}
