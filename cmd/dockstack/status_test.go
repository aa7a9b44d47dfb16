package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/fabric"
	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/peers"
)

var update = flag.Bool("update", false, "write what the tests compare with")

func TestStatusText(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	up := fabric.Status{
		SwitchState: fabric.SwitchState{Up: true, Version: "3.5.0", Datapath: "userspace", Origin: "own", Since: at.Add(-time.Hour)},
		Networks:    2, Endpoints: 13, Ports: 15, Flows: 212,
	}
	far := up
	far.Tunnel = fabric.TunnelStatus{Kind: fabric.TunnelKernel, Peers: 2, Networks: 1, Remotes: 40, Flows: 81, Faults: []string{"host h9 has no tunnel address"}}
	far.Displaced = []fabric.Displaced{{Endpoint: "0123456789abcdef", Network: "fedcba9876543210", Addr: netip.MustParseAddr("172.16.0.7"), Host: "2222222222222222"}}
	host := func(n int, name string) peers.Host {
		id := strings.Repeat(fmt.Sprint(n), 16)
		return peers.Host{ID: id, Name: name, VTEP: netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}), Port: 14789, Since: at.Add(-time.Duration(n) * time.Minute), Version: "1.0"}
	}
	self, other := host(1, "h1"), host(2, "database-2.example")
	bare := host(3, "h3")
	bare.VTEP = netip.Addr{}
	etcd := storeStatus{where: where, cluster: "c0ffee", since: at.Add(-time.Minute), synced: true, held: true}
	tests := []struct {
		name string
		status
	}{
		{"alone", status{at: at, store: storeStatus{where: "/var/lib/dockstack/dockstack.db, this host alone"}, sw: up}},
		{"member", status{
			at: at, store: etcd, self: self, hosts: []peers.Host{other, self, bare}, sw: far,
			problems: []string{"clocks differ: that of host h3 is 1m35s behind this host's", "two\nlines"},
		}},
		{"away", status{
			at: at, store: storeStatus{where: where, cluster: "c0ffee", since: at.Add(-time.Minute), away: fmt.Errorf("%w: etcd 10.0.0.1:2379 is silent", kv.ErrAway)},
			self: bare, hosts: []peers.Host{bare}, sw: fabric.Status{SwitchState: fabric.SwitchState{Err: errors.New("ovs-vswitchd ended")}, LastError: "no switch"},
		}},
		{"refused", status{at: at, store: storeStatus{where: where, closed: refuse("%s holds another program's keys", where)}, self: self, hosts: []peers.Host{self}, sw: up}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.status.name = func(id string) string { return "host-" + id[:2] }
			tt.problems = append(tt.problems, tt.switchProblems()...)
			path := filepath.Join("testdata", "status-"+tt.name+".txt")
			got := tt.text()
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("the status is\n%s\nwant\n%s", got, want)
			}
		})
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
		for limit := time.Now().Add(20 * time.Second); ; {
			got, err := os.ReadFile(path)
			if err == nil && strings.HasPrefix(string(got), want) {
				return
			}
			if time.Now().After(limit) {
				t.Fatalf("the file has %q, %v; want %q", got, err, want)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	reads("text 1\n")
	begun := time.Now()
	for range 100 {
		s.changed()
	}
	reads("text 2\n")
	if took := time.Since(begun); took > statusEvery/2 {
		t.Errorf("news took %s", took)
	}
	cancel()
	<-done
	reads("dockstack dev was stopped at ")
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
