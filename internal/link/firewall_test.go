package link

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"
)

// What the kernel's filters drop, and what they may let pass.
func TestDrops(t *testing.T) {
	for name, c := range map[string]struct {
		iptables, nft string // one line each rule
		want          string // the chain that drops it
	}{
		"nothing":             {},
		"open":                {iptables: "-P INPUT ACCEPT"},
		"closed":              {iptables: "-P INPUT DROP", want: "ip filter INPUT"},
		"an opened port":      {iptables: "-P INPUT DROP\n-A INPUT -p udp --dport 14789 -j ACCEPT"},
		"another port opened": {iptables: "-P INPUT DROP\n-A INPUT -p udp --dport 4789 -j ACCEPT", want: "ip filter INPUT"},
		"the usual, closed": {iptables: "-P INPUT DROP\n-A INPUT -i lo -j ACCEPT\n-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n" +
			"-A INPUT -p tcp --dport 22 -j ACCEPT", want: "ip filter INPUT"},
		"the usual, opened for hosts": {iptables: "-P INPUT DROP\n-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A INPUT -s 192.0.2.0/24 -j ACCEPT"},
		"opened for others":           {iptables: "-P INPUT DROP\n-A INPUT -s 198.51.100.0/24 -j ACCEPT", want: "ip filter INPUT"},
		"rejected":                    {iptables: "-A INPUT -p udp --dport 14789 -j REJECT", want: "ip filter INPUT"},
		"by a chain":                  {iptables: "-N mine\n-A INPUT -i eth0 -j mine\n-A mine -p udp -m comment --comment no -j DROP", want: "ip filter mine"},
		"a chain for another link":    {iptables: "-N mine\n-A INPUT -i eth1 -j mine\n-A mine -p udp -j DROP"},
		"returned before":             {iptables: "-N mine\n-A INPUT -j mine\n-A mine -s 192.0.2.1 -j RETURN\n-A mine -j DROP"},
		"what is not known":           {iptables: "-P INPUT DROP\n-A INPUT -m mark --mark 7 -j ACCEPT"},
		"nftables, closed": {nft: "add table inet f; add chain inet f in { type filter hook input priority 0; policy drop; }; " +
			"add rule inet f in ct state established,related accept; add rule inet f in iifname lo accept; add rule inet f in udp dport { 53, 123, 5000-6000 } accept", want: "inet f in"},
		"nftables, a set that has it": {nft: "add table inet f; add chain inet f in { type filter hook input priority 0; policy drop; }; " +
			"add rule inet f in udp dport { 53, 14000-15000 } accept"},
		"nftables, a rule": {nft: "add table ip f; add chain ip f in { type filter hook input priority 0; policy accept; }; " +
			"add rule ip f in ip saddr 192.0.2.1 udp dport 14789 drop", want: "ip f in"},
		"nftables, but these":         {nft: "add table inet f; add chain inet f in { type filter hook input priority 0; }; add set inet f h { type ipv4_addr; elements = { 192.0.2.1, 192.0.2.3 }; }; add rule inet f in udp dport 14789 ip saddr != @h drop"},
		"nftables, but others":        {nft: "add table inet f; add chain inet f in { type filter hook input priority 0; }; add set inet f h { type ipv4_addr; elements = { 192.0.2.3 }; }; add rule inet f in udp dport 14789 ip saddr != @h drop", want: "inet f in"},
		"nftables, a map":             {nft: "add table inet f; add chain inet f in { type filter hook input priority 0; policy drop; }; add rule inet f in udp dport vmap { 14789 : accept }"},
		"nftables, of IPv6":           {nft: "add table ip6 f; add chain ip6 f in { type filter hook input priority 0; policy drop; }"},
		"nftables, another hook":      {nft: "add table ip f; add chain ip f in { type filter hook forward priority 0; policy drop; }"},
		"accepted early, but dropped": {nft: "add table ip f; add chain ip f a { type filter hook input priority -5; }; add rule ip f a accept; add chain ip f b { type filter hook input priority 0; policy drop; }", want: "ip f b"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSpace(t)
			for line := range strings.Lines(c.iptables) {
				s.in(t, func() error {
					return exec.CommandContext(t.Context(), "iptables-nft", strings.Fields(line)...).Run()
				})
			}
			if c.nft != "" {
				s.nft(t, c.nft)
			}
			m := s.manager(t)
			d, err := m.Drops(t.Context(), Datagram{From: netip.MustParseAddr("192.0.2.1"), To: netip.MustParseAddr("192.0.2.2"), Port: 14789, In: "eth0"})
			must(t, err)
			got := ""
			if d != nil {
				got = d.Family + " " + d.Table + " " + d.Chain
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
