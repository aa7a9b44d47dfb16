package stack

import (
	"fmt"
	"slices"
	"testing"
)

// wholeTwice is everything of OpenStack on two hosts, with a compute node on each. The first host's comes last, since
// it is not well before the databases are.
var wholeTwice = What{"full on two hosts", append(slices.Clone(Whole.Groups),
	Group{Files: []string{"compute"}, Host: 1, Env: []string{"COMPUTE_NAME=compute2"}},
)}

// TestDisruptions lets everything that happens to hosts happen to all of OpenStack, with virtual machines that run.
func TestDisruptions(t *testing.T) {
	Full(t)
	disrupted(t, Options{}, Whole, "compute1", "compute1")
}

// TestDisruptionsAcrossHosts has the databases, Keystone and Glance on one host and the rest on another, and a compute
// node on each.
func TestDisruptionsAcrossHosts(t *testing.T) {
	Full(t)
	disrupted(t, Options{Hosts: 2}, wholeTwice, "compute1", "compute2")
}

func disrupted(t *testing.T, opts Options, w What, nodes ...string) {
	t.Helper()
	s, vms := booted(t, opts, w, nodes...)
	ctx := t.Context()
	must(t, s.Check(ctx, t.Logf))
	k, err := s.Keep(ctx, w, vms)
	must(t, err)
	if least := 12; len(k.Before) < least {
		t.Fatalf("%d addresses, want %d at least: %v", len(k.Before), least, k.Before)
	}
	k.Through(t, Storms)
	// What was there before is not all: new things can be made, too.
	must(t, s.Check(ctx, t.Logf))
	must(t, s.OpenStack(ctx, nil, "server", "create", "--image", "vm", "--flavor", "vm", "--network", VMNetwork, fmt.Sprint("vm", len(vms)+1)))
	must(t, retry(ctx, recoverLimit, func() error {
		now, err := s.VMs(ctx)
		if err == nil && len(now) != len(vms)+1 {
			err = fmt.Errorf("%d virtual machines: %+v", len(now), now)
		}
		if err != nil {
			return err
		}
		return s.ReachVMs(ctx, now)
	}))
}
