package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestSpoofing: a container that may change its interfaces at will can't be
// another. What it sends as such is dropped and counted.
func TestSpoofing(t *testing.T) {
	h := newHost(t)
	h.networks()
	for _, c := range []string{"victim", "peer", "thief"} {
		h.serve(c, "ext", "--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW")
	}
	dev := h.device("thief", h.ipv4("thief", "ext"))
	own := h.mac("thief", "ext")
	for _, c := range []struct {
		what     string
		do, undo [][]string
		// from is the address that the thief speaks under, to a peer's.
		from, to netip.Addr
	}{
		{
			"another's IPv4 address",
			[][]string{
				{"ip", "addr", "add", h.ipv4("victim", "ext").String() + "/24", "dev", dev.Name},
				{"arping", "-U", "-c", "2", "-w", "1", "-I", dev.Name, h.ipv4("victim", "ext").String()},
			},
			[][]string{{"ip", "addr", "del", h.ipv4("victim", "ext").String() + "/24", "dev", dev.Name}},
			h.ipv4("victim", "ext"), h.ipv4("peer", "ext"),
		},
		{
			"another's IPv6 address",
			[][]string{{"ip", "addr", "add", h.ipv6("victim", "ext").String() + "/64", "dev", dev.Name, "nodad"}},
			[][]string{{"ip", "addr", "del", h.ipv6("victim", "ext").String() + "/64", "dev", dev.Name}},
			h.ipv6("victim", "ext"), h.ipv6("peer", "ext"),
		},
		{
			"an address that nobody has",
			[][]string{{"ip", "addr", "add", "172.29.0.222/24", "dev", dev.Name}},
			[][]string{{"ip", "addr", "del", "172.29.0.222/24", "dev", dev.Name}},
			netip.MustParseAddr("172.29.0.222"), h.ipv4("peer", "ext"),
		},
		{
			"another's MAC",
			[][]string{{"ip", "link", "set", dev.Name, "address", h.mac("victim", "ext")}},
			[][]string{{"ip", "link", "set", dev.Name, "address", own}},
			h.ipv4("thief", "ext"), h.ipv4("peer", "ext"),
		},
	} {
		t.Run(strings.ReplaceAll(c.what, " ", "-"), func(t *testing.T) {
			h := h.in(t)
			before := h.dropped()
			for _, args := range c.do {
				_, err := h.within("thief", args...)
				if err != nil && args[0] != "arping" {
					t.Fatal(err)
				}
			}
			out, err := h.within("thief", "ping", "-c", "3", "-i", "0.2", "-W", "1", "-I", c.from.String(), c.to.String())
			if err == nil {
				t.Errorf("the thief is answered: %s", out)
			}
			if now := h.dropped(); now <= before {
				t.Errorf("%d frames were dropped before, %d now: none was counted", before, now)
			}
			for _, addr := range []netip.Addr{h.ipv4("victim", "ext"), h.ipv6("victim", "ext")} {
				h.meets("peer", "victim", addr)
			}
			for _, args := range c.undo {
				h.does("thief", args...)
			}
			h.eventually(5*time.Second, func() string {
				if _, err := h.get("thief", at(h.ipv4("peer", "ext"))); err != nil {
					return "honest again, the thief does not reach peer: " + err.Error()
				}
				return ""
			})
		})
	}
}

// dropped counts the frames that port security has dropped.
func (h *host) dropped() int {
	h.t.Helper()
	out, err := h.vswitch("ovs-ofctl", "-O", "OpenFlow15", "dump-flows", "dockstack0", "table=10")
	h.check(err)
	total := 0
	for line := range strings.Lines(out) {
		if !strings.HasSuffix(strings.TrimSpace(line), "actions=drop") {
			continue
		}
		_, rest, ok := strings.Cut(line, "n_packets=")
		var n int
		if _, err := fmt.Sscanf(rest, "%d", &n); !ok || err != nil {
			h.t.Fatalf("no count in the flow %q", line)
		}
		total += n
	}
	return total
}
