package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
)

// TestFixedAddresses: --ip and --ip6 give that address, always.
func TestFixedAddresses(t *testing.T) {
	h := newHost(t)
	h.create("net", "--ipv6", "--subnet", "172.30.0.0/24", "--subnet", "fd00:30::/64")
	want := attachment{IPv4: "172.30.0.77", IPv6: "fd00:30::77"}
	start := func() { h.serve("fixed", "net", "--ip", want.IPv4, "--ip6", want.IPv6) }
	start()
	h.serve("client", "net")
	got := h.picture("net")["fixed net"]
	want.MAC = got.MAC
	if got != want {
		t.Errorf("fixed is %v, want %v", got, want)
	}
	h.meets("client", "fixed", netip.MustParseAddr(want.IPv4))
	h.meets("client", "fixed", netip.MustParseAddr(want.IPv6))
	h.remove("fixed")
	start()
	if got := h.picture("net")["fixed net"]; got != want {
		t.Errorf("after rm and run fixed is %v, was %v", got, want)
	}
}

// TestFixedBeatsParked: who asks for an address by its number gets it from a
// name that only keeps it; that name gets another, and the log says so.
func TestFixedBeatsParked(t *testing.T) {
	h := newHost(t)
	h.create("net", "--subnet", "172.30.0.0/28")
	h.run("squatter", "net")
	addr := h.ipv4("squatter", "net")
	h.remove("squatter")
	m := h.logged()
	h.run("owner", "net", "--ip", addr.String())
	if got := h.ipv4("owner", "net"); got != addr {
		t.Errorf("owner has %s, want %s", got, addr)
	}
	h.warned(m, "level=WARN", "squatter", "owner", addr.String())
	h.run("squatter", "net")
	if got := h.ipv4("squatter", "net"); got == addr {
		t.Errorf("squatter has %s as well", got)
	}
	h.refused([]string{"run", "-d", "--name", "late", "--network", "net", "--ip", addr.String(), standin}, "172.30.0.0/28", "owner", "late")
}

// TestFixedStartsLast is Docker's old complaint, "Address already in use"
// after a reboot: containers without a fixed address start first, in a pool
// that they fill.
func TestFixedStartsLast(t *testing.T) {
	h := newHost(t)
	// 172.30.0.1 is the gateway, 2 to 6 are for containers.
	h.create("net", "--subnet", "172.30.0.0/29")
	const fixed = "172.30.0.2"
	h.run("database", "net", "--ip", fixed)
	dynamic := []string{"aa", "bb", "cc", "dd"}
	for _, name := range dynamic {
		h.run(name, "net")
	}
	before := h.picture("net")
	distinct(t, before)
	h.stop(append(dynamic, "database")...)
	h.startAll(reversed(dynamic))
	h.refused([]string{"run", "-d", "--name", "one-too-many", "--network", "net", standin}, "full", "one-too-many", "172.30.0.0/29")
	h.remove("one-too-many")
	h.docker("start", "database")
	for _, c := range before.Changed(h.picture("net")) {
		t.Error(c)
	}

	// New names take parked ones' addresses, the longest parked first, and
	// never the fixed one's.
	h.remove(append(dynamic, "database")...)
	m := h.logged()
	var got []string
	for i := range 4 {
		name := fmt.Sprintf("new%d", i)
		h.run(name, "net")
		got = append(got, h.ipv4(name, "net").String())
	}
	if slices.Contains(got, fixed) {
		t.Errorf("new names got %v, of which %s is database's", got, fixed)
	}
	h.warned(m, "level=WARN", "longest-parked", "new0")
	h.run("database", "net", "--ip", fixed)
	distinct(t, h.picture("net"))
}
