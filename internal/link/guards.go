package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/dockstack/dockstack/internal/fabric"
)

// What of ours is missing in the host's rules, for people: anybody who flushes
// them takes ours along.

// redirectRules is how many rules a chain of the redirection has: one for UDP,
// one for TCP.
const redirectRules = 2

// RedirectMissing tells what of a redirection is not there, in the calling
// thread's network namespace; "" if all is.
func RedirectMissing(r Redirect) (string, error) {
	nftMu.Lock()
	defer nftMu.Unlock()
	c, err := nftables.New()
	if err != nil {
		return "", fmt.Errorf("open nftables: %w", err)
	}
	for _, family := range []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6} {
		want := slices.DeleteFunc(slices.Clone(r.Addrs), func(a netip.Addr) bool { return a.Is4() != (family == nftables.TableFamilyIPv4) })
		if len(want) == 0 {
			continue
		}
		name := fmt.Sprintf("nftables table %s %s", familyName(family), portTable)
		missing, err := tableLacks(c, &nftables.Table{Name: portTable, Family: family}, want)
		if err != nil {
			return "", fmt.Errorf("look at %s: %w", name, err)
		}
		if missing != "" {
			return name + " " + missing, nil
		}
	}
	return "", nil
}

// tableLacks tells what one family's table of a redirection lacks.
func tableLacks(c *nftables.Conn, t *nftables.Table, addrs []netip.Addr) (string, error) {
	missing, err := setLacks(c, t, "addresses", addrs)
	if err != nil || missing != "" {
		return missing, err
	}
	for _, chain := range []string{"received", "sent"} {
		rules, err := c.GetRules(t, &nftables.Chain{Name: chain, Table: t})
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return "", err
		}
		if len(rules) != redirectRules {
			return fmt.Sprintf("has %d rules in the chain %s, not %d", len(rules), chain, redirectRules), nil
		}
	}
	return "", nil
}

// setLacks tells what a set of addresses lacks, "" if nothing.
func setLacks(c *nftables.Conn, t *nftables.Table, name string, want []netip.Addr) (string, error) {
	set, err := c.GetSetByName(t, name)
	if errors.Is(err, unix.ENOENT) {
		return "is not there", nil
	}
	if err != nil {
		return "", err
	}
	have, err := c.GetSetElements(set)
	if err != nil {
		return "", err
	}
	for _, a := range want {
		if !slices.ContainsFunc(have, func(e nftables.SetElement) bool { return bytes.Equal(e.Key, a.AsSlice()) }) {
			return "lacks " + a.String(), nil
		}
	}
	return "", nil
}

// FilterMissing tells what of the tunnels' filter is not there; "" if all is, or
// if there is to be none.
func (m *Manager) FilterMissing(f fabric.TunnelFilter) (string, error) {
	if f.Port == 0 {
		return "", nil
	}
	nftMu.Lock()
	defer nftMu.Unlock()
	c, err := m.nftConnLocked()
	if err != nil {
		return "", fmt.Errorf("look at the tunnels' filter: %w: %w", ErrNoFilter, err)
	}
	t := &nftables.Table{Name: filterTable, Family: nftables.TableFamilyINet}
	name := "nftables table inet " + filterTable
	for _, fam := range filterFamilies {
		var want []netip.Addr
		for _, e := range peerKeys(f.Peers, fam) {
			a, _ := netip.AddrFromSlice(e.Key)
			want = append(want, a)
		}
		missing, err := setLacks(c, t, fam.set, want)
		if err != nil {
			return "", fmt.Errorf("look at the tunnels' filter: %w", err)
		}
		if missing != "" {
			return name + " " + missing, nil
		}
	}
	rules, err := c.GetRules(t, &nftables.Chain{Name: filterChain, Table: t})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return "", fmt.Errorf("look at the tunnels' filter: %w", err)
	}
	if len(rules) != len(filterFamilies) {
		return fmt.Sprintf("%s has %d rules, not %d", name, len(rules), len(filterFamilies)), nil
	}
	return "", nil
}

// GatewayMissing tells which of a gateway's addresses and routing rules are not
// there.
func (m *Manager) GatewayMissing(ctx context.Context, inner string, addrs []netip.Prefix) ([]string, error) {
	have, err := m.addrsOf(ctx, inner)
	if absent(err) {
		return []string{"interface " + inner}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look at gateway interface %s: %w", inner, err)
	}
	var out []string
	for _, a := range addrs {
		if !slices.Contains(have, a) {
			out = append(out, "address "+a.String()+" on "+inner)
		}
	}
	m.rulesMu.Lock()
	defer m.rulesMu.Unlock()
	rules, err := m.rulesLocked(ctx)
	if err != nil {
		return nil, fmt.Errorf("look at gateway interface %s: %w", inner, err)
	}
	for _, family := range families {
		if rules[family] == nil {
			continue
		}
		for _, r := range gatewayRules(family, inner, addrs) {
			if !rules[family][r] {
				out = append(out, "ip rule "+r.String())
			}
		}
	}
	return out, nil
}
