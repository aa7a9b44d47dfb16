package link

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The rules, in the order in which the kernel asks them, after the table of
// its own addresses and before every other rule that one meets in practice:
//
//	4853: from all to SUBNET iif lo lookup main   this host's own sockets
//	4854: from all to SUBNET prohibit             everything that is forwarded to a network
//	4855: from all iif GATEWAY prohibit           everything that is forwarded from a gateway
//
// The first also serves rp_filter's question "would I send to this source
// through this interface", which the kernel asks as itself. The third has a
// second use: it tells whose rules these are, even when the link is gone.
//
// The rules bear the protocol "kernel": systemd-networkd removes every other
// rule that it doesn't know whenever it starts, and with them the isolation.
// So ours are known by their priorities.
const (
	prefOwn    = 4853
	prefTo     = 4854
	prefFrom   = 4855
	ruleProto  = unix.RTPROT_KERNEL
	ownTraffic = "lo"
	ruleAction = unix.RTN_PROHIBIT
)

// rule is one of ours as a value that compares.
type rule struct {
	pref, family int
	to           netip.Prefix
	iif          string
}

var families = []int{unix.AF_INET, unix.AF_INET6}

// guard adds the rules of a gateway.
func (m *Manager) guard(ctx context.Context, inner string, addrs []netip.Prefix) error {
	m.rulesMu.Lock()
	defer m.rulesMu.Unlock()
	have, err := m.rulesLocked(ctx)
	if err != nil {
		return err
	}
	for _, family := range families {
		if have[family] == nil {
			continue
		}
		for _, r := range gatewayRules(family, inner, addrs) {
			if have[family][r] {
				continue
			}
			if err := m.nl.RuleAdd(r.netlink()); err != nil && !errors.Is(err, unix.EEXIST) {
				return fmt.Errorf("add rule %s: %w", r, err)
			}
		}
	}
	return nil
}

// gatewayRules returns the rules for a gateway in one family.
func gatewayRules(family int, inner string, addrs []netip.Prefix) []rule {
	out := []rule{{pref: prefFrom, family: family, iif: inner}}
	for _, a := range addrs {
		if a.Addr().Is6() != (family == unix.AF_INET6) {
			continue
		}
		to := a.Masked()
		// What is forwarded is refused before what is local is let in, so no
		// moment is open between the two.
		out = append(out, rule{pref: prefTo, family: family, to: to}, rule{pref: prefOwn, family: family, to: to, iif: ownTraffic})
	}
	return out
}

// SweepRules removes the rules that no gateway here needs any more.
func (m *Manager) SweepRules(ctx context.Context) error {
	m.rulesMu.Lock()
	defer m.rulesMu.Unlock()
	have, err := m.rulesLocked(ctx)
	if err != nil {
		return err
	}
	for family, rules := range have {
		wanted := make(map[rule]bool, len(rules))
		for r := range rules {
			if r.pref != prefFrom {
				continue
			}
			addrs, err := m.addrsOf(ctx, r.iif)
			if absent(err) {
				continue
			}
			if err != nil {
				return err
			}
			for _, w := range gatewayRules(family, r.iif, addrs) {
				wanted[w] = true
			}
		}
		if err := m.removeRules(rules, wanted); err != nil {
			return err
		}
	}
	return nil
}

func (m *Manager) removeRules(have, wanted map[rule]bool) error {
	for r := range have {
		if wanted[r] {
			continue
		}
		if err := m.nl.RuleDel(r.netlink()); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("remove rule %s: %w", r, err)
		}
	}
	return nil
}

func (m *Manager) addrsOf(ctx context.Context, name string) ([]netip.Prefix, error) {
	l, err := m.nl.LinkByName(name)
	if err != nil {
		return nil, err
	}
	list, err := dump(ctx, func() ([]netlink.Addr, error) { return m.nl.AddrList(l, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list addresses of %s: %w", name, err)
	}
	out := make([]netip.Prefix, 0, len(list))
	for _, a := range list {
		out = append(out, toPrefix(a.IPNet))
	}
	return out, nil
}

// rulesLocked returns our rules by family. A family that the kernel lacks has
// no entry.
func (m *Manager) rulesLocked(ctx context.Context) (map[int]map[rule]bool, error) {
	out := make(map[int]map[rule]bool, len(families))
	for _, family := range families {
		list, err := dump(ctx, func() ([]netlink.Rule, error) { return m.nl.RuleList(family) })
		if noFamily(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list routing rules: %w", err)
		}
		rules := make(map[rule]bool)
		for i := range list {
			if l := &list[i]; l.Protocol == ruleProto && l.Priority >= prefOwn && l.Priority <= prefFrom {
				rules[rule{pref: l.Priority, family: family, to: toPrefix(l.Dst), iif: l.IifName}] = true
			}
		}
		out[family] = rules
	}
	return out, nil
}

// netlink returns the rule as the library has it.
func (r rule) netlink() *netlink.Rule {
	out := netlink.NewRule()
	out.Priority, out.Family, out.IifName, out.Protocol = r.pref, r.family, r.iif, ruleProto
	if r.to.IsValid() {
		out.Dst = toIPNet(r.to)
	}
	if r.pref == prefOwn {
		out.Table = unix.RT_TABLE_MAIN
	} else {
		out.Type = ruleAction
	}
	return out
}

// String is the rule as ip(8) writes it.
func (r rule) String() string {
	s := fmt.Sprintf("pref %d", r.pref)
	if r.to.IsValid() {
		s += " to " + r.to.String()
	}
	if r.iif != "" {
		s += " iif " + r.iif
	}
	if r.pref == prefOwn {
		return s + " lookup main"
	}
	return s + " prohibit"
}
