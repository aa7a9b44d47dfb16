package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/fabric"
	"github.com/dockstack/dockstack/test/stall"
)

// What the switch says of itself is what operators are told.
func TestSwitchStatus(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	sw := fabric.Status{
		SwitchState: fabric.SwitchState{Up: true, Version: "3.5.0", Datapath: "userspace", Origin: "own", Since: at},
		Networks:    2, Endpoints: 13, Ports: 15, Flows: 212,
		Tunnel:    fabric.TunnelStatus{Kind: fabric.TunnelKernel, Peers: 2, Networks: 1, Remotes: 40, Flows: 81, Faults: []string{"host h9 has no tunnel address"}, LastError: "no device"},
		Displaced: []fabric.Displaced{{Endpoint: "0123456789abcdef", Network: "fedcba9876543210", Addr: netip.MustParseAddr("172.16.0.7"), Host: "2222222222222222"}},
	}
	s := admin.Status{Alone: true, Switch: switchStatus(sw)}
	s.Problems = switchProblems(sw, func(id string) string { return "host-" + id[:2] })
	for _, line := range []string{
		"switch     dockstack's own Open vSwitch 3.5.0, userspace datapath, since 2026-05-01 12:00:00 UTC",
		"2 networks, 13 endpoints, 15 ports, 212 flows",
		"tunnels by the kernel's vxlan devices: 2 hosts, 1 network with containers here, 40 addresses elsewhere, 81 flows",
		"- no device", "- host h9 has no tunnel address",
		"endpoint 0123456789ab in network fedcba987654 is kept off the network: its address 172.16.0.7 is in use on host host-22",
	} {
		if !strings.Contains(s.Text(), line) {
			t.Errorf("the status lacks %q:\n%s", line, s.Text())
		}
	}
	sw.Up, sw.Err, sw.Origin = false, errors.New("ovs-vswitchd ended"), "host"
	if got := switchStatus(sw); got.Up || got.Own || got.Error != "ovs-vswitchd ended" {
		t.Errorf("a switch that is down is %+v", got)
	}
}

// The file is there at once, follows what changes, is never half a text, and
// says at the end that it is the end.
func TestStatusFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dockstack", "status")
	var n int
	s := newStatusFile(path, func() string { n++; return fmt.Sprintf("text %d\n", n) }, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.run(ctx) }()
	defer func() { cancel(); <-done }()
	reads := func(want string) {
		t.Helper()
		is := regexp.MustCompile(want)
		for limit := time.Now().Add(time.Minute); ; {
			got, err := os.ReadFile(path)
			if err == nil && is.Match(got) {
				return
			}
			if time.Now().After(limit) {
				t.Fatalf("the file has %q, %v; want %q", got, err, want)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	reads(`^text 1\n$`)
	begun := time.Now()
	for range 100 {
		s.changed()
	}
	reads(`^text ([2-9]|\d\d+)\n$`) // the next one may be there already
	if took := stall.Took(begun); took > statusEvery/2 {
		t.Errorf("news took %s", took)
	}
	cancel()
	<-done
	reads("^dockstack dev was stopped at ")
	if n > 4 {
		t.Errorf("a hundred changes made %d texts", n)
	}
}

// A network that no longer fits between the hosts, because the way shrank, is a
// problem that is told and logged once.
func TestNetworkDoesNotFit(t *testing.T) {
	w := &fakeWays{vteps: map[string]string{"eth0": "10.0.0.9"}, mtu: 1400}
	p := &parts{underlay: runUnderlay(t, "eth0", w)}
	p.status = newStatusFile("", func() string { return "" }, slog.New(slog.DiscardHandler))
	p.status.networks([]fabric.Network{
		{ID: "large0123456789", MTU: 1450}, {ID: "fits", MTU: 1350}, {ID: "alone", MTU: 1450, Alone: true},
	})
	got := p.mtuProblems()
	if len(got) != 1 {
		t.Fatalf("problems are %q", got)
	}
	for _, word := range []string{"large0123456 has MTU 1450", "1350 bytes fit", "driver.mtu=1350"} {
		if !strings.Contains(got[0], word) {
			t.Errorf("%q lacks %q", got[0], word)
		}
	}
	if p.maxMTU() != 1350 || p.defaultMTU() != 1350 {
		t.Errorf("networks get %d of at most %d", p.defaultMTU(), p.maxMTU())
	}
}
