package consistency

import (
	"net/netip"
	"testing"
)

// TestHistories has the model judge histories that once were judged wrongly, or
// are just not as promised. Their events come one after the other.
func TestHistories(t *testing.T) {
	pool := testPool{id: "10.0.0.0/29", subnet: netip.MustParsePrefix("10.0.0.0/29")}
	two, three := netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")
	reserved := []event{
		{kind: starts, name: "web", host: 1, got: two},
		{kind: stops, name: "web", host: 1, addr: two},
		{kind: reserves, name: "web", host: 0, got: two},
	}
	parked := func(name string, a netip.Addr) event {
		return event{kind: ends, name: name, got: a, by: -1}
	}
	alone := event{kind: starts, name: "web", host: 1, out: alone, got: two}
	released := event{kind: releases, name: "web", host: 0}
	for _, c := range []struct {
		what  string
		right bool
		all   []event
	}{
		{"a released name that a host ran alone is written back by its stop", true, append(reserved[:3:3],
			alone, released,
			event{kind: stops, name: "web", host: 1, addr: two}, event{kind: writes, name: "web", host: 1, got: two, by: -1},
			parked("web", two))},
		{"nobody writes it back", false, append(reserved[:3:3], alone, released, parked("web", two))},
		{"it is written back with its reservation", false, append(reserved[:3:3],
			alone, released, event{kind: writes, name: "web", host: 1, got: two, by: 1, reserved: true})},
		{"it is written back without", true, append(reserved[:3:3],
			alone, released, event{kind: writes, name: "web", host: 1, got: two, by: 1},
			event{kind: ends, name: "web", got: two, by: 1})},
		{"a reservation is lost by a late write", false, append(reserved[:3:3],
			alone, event{kind: writes, name: "web", host: 1, got: two, by: 1})},
		{"what came with a rename goes to another name", true, []event{
			{kind: starts, name: "web", host: 1, got: two},
			{kind: stops, name: "web", host: 1, addr: two},
			released,
			{kind: comes, name: "web", host: 0},
			{kind: starts, name: "db", host: 0, addr: three, got: three},
			parked("web", netip.Addr{}),
		}},
		{"a name's address may have gone to a request without an answer", true, append(reserved[:2:2],
			event{kind: starts, name: "db", host: 0, out: unknown}, parked("web", netip.Addr{}))},
		{"but not where that one asked for another", false, append(reserved[:2:2],
			event{kind: starts, name: "db", host: 0, out: unknown, addr: three}, parked("web", netip.Addr{}))},
	} {
		for i := range c.all {
			c.all[i].pool, c.all[i].call, c.all[i].ret = pool.id, int64(10*i), int64(10*i+5)
		}
		r := &recorder{T: t}
		checkName(r, pool, "web", c.all, 0)
		if right := !r.Failed(); right != c.right {
			t.Errorf("%s: right is %v, want %v: %q", c.what, right, c.right, r.errors)
		}
	}
}
