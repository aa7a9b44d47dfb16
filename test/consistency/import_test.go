package consistency

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/dockstack/dockstack/ipam"
)

// TestLargeImport imports more than one commit takes on a real etcd: it is there
// on all hosts, and one whose process is killed in the middle is undone by the
// next.
func TestLargeImport(t *testing.T) {
	const names = 1500
	w := newWorld(t, plan{
		hosts: 3, net: newEtcd(t, 3), local: onDisk(t.TempDir()),
		ttl: time.Second, pause: time.Millisecond, patience: 40 * time.Second,
	})
	defer w.close()
	pool := testPool{id: "10.200.0.0/16", subnet: netip.MustParsePrefix("10.200.0.0/16")}
	for _, h := range w.hosts {
		w.ok(h.makeNetwork(t.Context(), pool))
	}
	in := ipam.Import{}
	addr := netip.MustParseAddr("10.200.1.0")
	for i := range names {
		in.Reservations = append(in.Reservations, ipam.Reservation{Name: fmt.Sprintf("name-%04d", i), Addr: addr})
		addr = addr.Next()
	}
	h := w.hosts[0]
	began := time.Now()
	plan, err := h.proc.reg.Import(t.Context(), in)
	w.ok(err)
	t.Logf("%d reservations in %s", len(plan.New), time.Since(began))
	w.agree()
	w.holds(names)
	began = time.Now()
	plan, err = w.hosts[1].proc.reg.Import(t.Context(), in)
	w.ok(err)
	if len(plan.Same) != names {
		t.Errorf("of %d names %d are the same the second time", names, len(plan.Same))
	}
	t.Logf("again in %s", time.Since(began))
	for i := range in.Reservations {
		in.Reservations[i].Addr = addr // all move
		addr = addr.Next()
	}
	ended := make(chan error, 1)
	reg := h.proc.reg
	go func() {
		_, err := reg.Import(context.WithoutCancel(t.Context()), in)
		ended <- err
	}()
	w.cutWhenHalf(w.hosts[2], names)
	h.ops.Lock()
	h.end(t.Context(), false)
	h.boot(t.Context())
	h.ops.Unlock()
	if err := <-ended; err == nil {
		t.Fatal("the import was over before its process was killed")
	}
	w.undone()
	w.holds(names)
	w.agree()
}

// cutWhenHalf waits until another host sees that an import came half way.
func (w *world) cutWhenHalf(h *host, names int) {
	w.t.Helper()
	for w.reserved(h) > names*3/4 && w.t.Context().Err() == nil {
		wait(w.t.Context(), time.Millisecond)
	}
}

// reserved is how many names have a first address, as a host sees it.
func (w *world) reserved(h *host) int {
	w.t.Helper()
	all, err := h.proc.reg.Leases(w.t.Context(), ipam.LeaseFilter{})
	w.ok(err)
	n := 0
	for _, l := range all {
		if l.Reserved {
			n++
		}
	}
	return n
}

// undone waits until no host is in the middle of anything.
func (w *world) undone() {
	w.t.Helper()
	deadline := time.Now().Add(w.patience)
	for {
		left := 0
		for _, h := range w.hosts {
			all, err := h.proc.reg.Unfinished(w.t.Context())
			w.ok(err)
			left += len(all)
		}
		if left == 0 {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatal("the import is not undone")
		}
		wait(w.t.Context(), 5*time.Millisecond)
	}
}

// holds tells whether the store has the names with their first addresses.
func (w *world) holds(names int) {
	w.t.Helper()
	data, err := w.net.look(w.t.Context())
	w.ok(err)
	addr := netip.MustParseAddr("10.200.1.0")
	for i := range names {
		name := fmt.Sprintf("name-%04d", i)
		if got := string(data["addr/10.200.0.0/16/"+addr.String()]); got != name {
			w.t.Fatalf("%s is %q's, want %s", addr, got, name)
		}
		addr = addr.Next()
	}
}
