package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/test/scale/sim"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "-agent" {
		main() // what the command starts of itself
		return
	}
	os.Exit(m.Run())
}

// TestSmallCluster keeps the simulation working, and what it counts: those
// figures are the same on any machine.
func TestSmallCluster(t *testing.T) {
	s := setup{
		Size: sim.Size{Hosts: 8, Endpoints: 800}, full: 4, switched: 1, changes: 10, rested: time.Second,
		// Nothing is timed, and a disk that is busy would have marks written anew.
		etcd: []string{"--unsafe-no-fsync"},
	}
	var r result
	// So would hosts that stood still for longer than etcd may be silent.
	for range 3 {
		s.dir = t.TempDir()
		var err error
		if r, err = s.measure(t.Context()); err != nil {
			t.Fatal(err)
		}
		if r.stalled < 500*time.Millisecond {
			break
		}
	}
	if r.txns < 1 || r.txns > 1.3 {
		t.Errorf("a new name took %.1f commits, want 1", r.txns)
	}
	if r.flowsPerChange != 2 {
		t.Errorf("a new name took %.1f flows on another host, want 2", r.flowsPerChange)
	}
	// All endpoints but those of the host itself, the new names, and the one on
	// the switch.
	const far = 800 - 800/8 + 10
	if r.flows < 2*far || r.flows > 2*far+60 {
		t.Errorf("a host has %d flows, want 2 for each of %d addresses on other hosts and a few", r.flows, far)
	}
	if got := table([]result{r, r}); !strings.Contains(got, "1.00") {
		t.Errorf("a table without ratios:\n%s", got)
	}
}
