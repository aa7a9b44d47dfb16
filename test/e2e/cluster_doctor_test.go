package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/dockstack/dockstack/internal/admin"
)

// TestClusterDoctor: the doctor finds nothing on hosts that are well, and on one
// what keeps it from the others: a link that takes less, and a firewall.
func TestClusterDoctor(t *testing.T) {
	c := newCluster(t)
	c.create("cdr", "--subnet", "172.31.9.0/24")
	c.h1.serve("cdr-web", "cdr")
	c.h2.serve("cdr-db", "cdr")
	c.h1.meets("cdr-web", "cdr-db", c.h2.ipv4("cdr-db", "cdr"))
	c.atOnce(func(h *host) error {
		h.diagnosedOf("as it should be", ofTheWay)
		return nil
	})

	c.check(c.h2.SetMTU(c.h2.ctx(), 1400))
	t.Cleanup(func() { c.check(c.h2.SetMTU(c.h2.ctx(), 1500)) })
	found := c.h1.diagnosedOf("h2's link takes less", ofTheWay, "path-mtu")
	for _, f := range found {
		if f.ID == "path-mtu" && (f.Subject != "h2" || !strings.Contains(f.What, "packets of 1400 bytes at most get to host h2")) {
			t.Errorf("found %+v", f)
		}
	}
	c.check(c.h2.SetMTU(c.h2.ctx(), 1500))

	_, err := c.h1.Exec(c.h1.ctx(), "iptables", "-A", "INPUT", "-p", "udp", "--dport", "14789", "-j", "DROP")
	c.check(err)
	t.Cleanup(func() {
		_, _ = c.h1.Exec(c.h1.ctx(), "iptables", "-D", "INPUT", "-p", "udp", "--dport", "14789", "-j", "DROP")
	})
	found = c.h1.diagnosedOf("a firewall", ofTheWay, "firewall")
	c.h1.mend(found, "firewall")
	t.Cleanup(func() {
		_, _ = c.h1.Exec(c.h1.ctx(), "iptables", "-D", "INPUT", "-p", "udp", "--dport", "14789", "-j", "ACCEPT")
	})
	c.h1.diagnosedOf("the firewall opened", ofTheWay)
	c.h1.meets("cdr-web", "cdr-db", c.h2.ipv4("cdr-db", "cdr"))
}

// ofTheWay is whether a finding is about the switch or the way to other hosts:
// what else there may be, other tests have left, or the machine is so.
func ofTheWay(f admin.Finding) bool {
	return slices.Contains([]string{
		"switch-down", "switch-lagging", "stale-port", "stale-flow", "missing-flow", "foreign-flow", "stale-link", "gateway-missing",
		"tunnel-fault", "port-clash", "firewall", "filter-missing", "path-down", "path-silent", "path-mtu", "rp-filter", "cut-off", "stale-endpoint",
	}, f.ID)
}
