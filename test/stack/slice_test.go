package stack

import (
	"os"
	"testing"
	"time"
)

// wellLimit is how long after a storm a stack may take to be well. It takes seconds, but for machines that have a lot to do.
const wellLimit = 5 * time.Minute

// TestSlice brings the smallest OpenStack up on one host, and lets what happens to containers happen to it.
func TestSlice(t *testing.T) {
	storms := []Storm{
		StormNamed("restart of all in random order"),
		StormNamed("down and up"),
		StormNamed("engine kill -9"),
		StormNamed("reboot of all hosts at once"),
	}
	if os.Getenv("DOCKSTACK_STACK") == "full" {
		storms = Storms
	}
	slice(t, Options{}, storms)
}

// TestSliceAcrossHosts has the databases on one host, Keystone and Glance on another.
func TestSliceAcrossHosts(t *testing.T) {
	Full(t)
	slice(t, Options{Hosts: 2}, Storms)
}

func slice(t *testing.T, opts Options, storms []Storm) {
	t.Helper()
	s := ForTest(t, opts)
	ctx := t.Context()
	began := time.Now()
	if err := s.UpAll(ctx, Slice); err != nil {
		t.Fatal(err)
	}
	t.Logf("up and healthy after %.1f s", time.Since(began).Seconds())
	if err := s.StartClient(ctx, s.Host(1)); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(ctx, t.Logf); err != nil {
		t.Fatal(err)
	}
	k, err := s.Keep(ctx, Slice, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := 7; len(k.Before) != want { // four of the database's, Keystone, Glance's group, the client
		t.Fatalf("%d addresses, want %d: %v", len(k.Before), want, k.Before)
	}
	k.Through(t, storms)
	if err := s.Check(ctx, t.Logf); err != nil {
		t.Error(err)
	}
}
