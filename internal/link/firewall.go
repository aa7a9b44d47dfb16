package link

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// Datagram is one that another host sends to this one, as the first of a
// conversation.
type Datagram struct {
	From, To netip.Addr
	// Port is the UDP port that it's sent to, In the interface that it comes by.
	Port uint16
	In   string
}

// Dropped says which chain of the host's filters drops a datagram for this host.
type Dropped struct {
	Family, Table, Chain string
	// Policy: no rule does, but the chain's policy. Handle is the rule's.
	Policy bool
	Handle uint64
}

// Drops tells whether the host's nftables, which iptables writes as well, drop a
// datagram whatever else is in it; nil if they don't, or if that rests on what
// is not known here. Our own filter is not asked.
func (m *Manager) Drops(_ context.Context, d Datagram) (*Dropped, error) {
	nftMu.Lock()
	defer nftMu.Unlock()
	c, err := m.nftConnLocked()
	if err != nil {
		return nil, fmt.Errorf("read the host's filters: %w: %w", ErrNoFilter, err)
	}
	chains, err := c.ListChains()
	if err != nil {
		return nil, fmt.Errorf("read the host's filters: %w", err)
	}
	w := walk{conn: c, chains: chains, d: d}
	var base []*nftables.Chain
	for _, ch := range chains {
		if ch.Hooknum != nil && *ch.Hooknum == *nftables.ChainHookInput && ch.Type == nftables.ChainTypeFilter && w.sees(ch) {
			base = append(base, ch)
		}
	}
	for _, ch := range base {
		o, err := w.chain(ch, 0)
		if err != nil {
			return nil, fmt.Errorf("read chain %s of table %s: %w", ch.Name, ch.Table.Name, err)
		}
		if o.end && ch.Policy != nil && *ch.Policy == nftables.ChainPolicyDrop {
			o.drop(&Dropped{Family: familyName(ch.Table.Family), Table: ch.Table.Name, Chain: ch.Name, Policy: true})
			o.end = false
		}
		if o.dropped != nil && !o.end && !o.accepted {
			return o.dropped, nil
		}
	}
	return nil, nil //nolint:nilnil // documented
}

func familyName(f nftables.TableFamily) string {
	switch f {
	case nftables.TableFamilyINet:
		return "inet"
	case nftables.TableFamilyIPv4:
		return "ip"
	case nftables.TableFamilyIPv6:
		return "ip6"
	default:
		return "?"
	}
}

// outcome is what may become of a datagram in a chain.
type outcome struct {
	accepted, end bool
	dropped       *Dropped
}

func (o *outcome) drop(d *Dropped) {
	if o.dropped == nil {
		o.dropped = d
	}
}

// walk follows a datagram through chains. What is not known may be one way or
// the other.
type walk struct {
	conn   *nftables.Conn
	chains []*nftables.Chain
	d      Datagram
}

// maxJumps is the kernel's own limit (NFT_JUMP_STACK_SIZE).
const maxJumps = 16

// sees is whether a chain is asked about the datagram.
func (w *walk) sees(ch *nftables.Chain) bool {
	switch ch.Table.Family {
	case nftables.TableFamilyINet:
		return ch.Table.Name != filterTable
	case nftables.TableFamilyIPv4:
		return w.d.To.Is4()
	case nftables.TableFamilyIPv6:
		return w.d.To.Is6()
	default:
		return false
	}
}

// chain returns what may become of the datagram in a chain; end is whether it
// may get to the chain's end.
func (w *walk) chain(ch *nftables.Chain, depth int) (outcome, error) {
	var o outcome
	rules, err := w.conn.GetRules(ch.Table, ch)
	if err != nil || depth > maxJumps {
		return outcome{accepted: true, end: true}, err
	}
	for _, r := range rules {
		m, err := w.matches(ch.Table, r)
		if err != nil {
			return o, err
		}
		if m.certainty == not || m.verdict == nil {
			continue
		}
		goesOn, err := w.follow(&o, place{ch, r, depth}, m.verdict)
		if err != nil {
			return o, err
		}
		if !goesOn && m.certainty == yes {
			return o, nil
		}
	}
	o.end = true
	return o, nil
}

// place is a rule of a chain, some jumps away from where the walk began.
type place struct {
	chain *nftables.Chain
	rule  *nftables.Rule
	depth int
}

// follow adds to o what a rule's verdict makes of the datagram, and tells whether
// it may get to the next rule.
func (w *walk) follow(o *outcome, at place, v *expr.Verdict) (goesOn bool, err error) {
	t := at.chain.Table
	switch v.Kind {
	case expr.VerdictAccept:
		o.accepted = true
	case expr.VerdictDrop:
		o.drop(&Dropped{Family: familyName(t.Family), Table: t.Name, Chain: at.chain.Name, Handle: at.rule.Handle})
	case expr.VerdictReturn:
		o.end = true
	case expr.VerdictJump, expr.VerdictGoto:
		sub, err := w.target(t, v.Chain, at.depth+1)
		if err != nil {
			return false, err
		}
		o.accepted = o.accepted || sub.accepted
		if sub.dropped != nil {
			o.drop(sub.dropped)
		}
		if v.Kind == expr.VerdictJump {
			return sub.end, nil
		}
		o.end = o.end || sub.end
	default: // a program decides, or it goes on
		o.accepted = true
		return true, nil
	}
	return false, nil
}

func (w *walk) target(t *nftables.Table, name string, depth int) (outcome, error) {
	i := slices.IndexFunc(w.chains, func(c *nftables.Chain) bool {
		return c.Name == name && c.Table.Name == t.Name && c.Table.Family == t.Family
	})
	if i < 0 {
		return outcome{accepted: true, end: true}, nil // made after the list
	}
	return w.chain(w.chains[i], depth)
}
