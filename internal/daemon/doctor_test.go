package daemon

import (
	"slices"
	"strings"
	"testing"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/kvtest"
)

// What the doctor asks of the cluster is what the shared store has.
func TestDoctorSeesTheCluster(t *testing.T) {
	m := kvtest.NewMemory()
	a, b := newNode(t, "a"), newNode(t, "b")
	link := a.sharesMemory(m)
	b.sharesMemory(m)
	a.start().mustBeReady()
	b.start().mustBeReady()
	pool := a.network()
	b.until("b knows the network", func() bool { _, ok := b.Leases.Pool(pool.ID); return ok })
	b.network()
	d := doctorCluster{a.cluster}
	if p := d.Peers(); len(p) != 1 || p[0].ID != b.id() || p[0].Name != "b" || p[0].VTEP.String() != b.vtep || d.Self() != a.id() {
		t.Errorf("peers %+v of %s", p, d.Self())
	}
	uses, err := d.Uses(limited(t))
	if err != nil || len(uses) != 2 || !slices.Equal(uses[b.id()], []string{subnet}) || !slices.Equal(uses[a.id()], []string{subnet}) {
		t.Errorf("uses %v, %v", uses, err)
	}
	// Of an import of a host that is alive nothing is said: it goes on.
	for _, id := range []string{b.id(), "0123456789abcdef"} {
		for _, key := range []string{"import/" + id, "import/" + id + "/0"} {
			if err := m.Commit(limited(t), []kv.Op{{Key: key, Value: []byte("x")}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	left, err := d.Imports(limited(t))
	if err != nil || !slices.Equal(left, []string{"0123456789abcdef"}) {
		t.Errorf("imports %v, %v", left, err)
	}
	if since, err := d.Away(); err != nil || since.IsZero() {
		t.Errorf("away since %s: %v", since, err)
	}
	link.Cut()
	a.until("the store is away", func() bool { _, err := d.Away(); return err != nil })
	if _, err := d.Uses(limited(t)); err == nil || !strings.Contains(err.Error(), "which host has which network") {
		t.Errorf("what can't be read is %v", err)
	}
	link.Mend()
}

func TestLastCut(t *testing.T) {
	for text, want := range map[string][2]string{"172.16.0.0/24/aa": {"172.16.0.0/24", "aa"}, "10.0.0.0/8@x%2Fy/bb": {"10.0.0.0/8@x%2Fy", "bb"}, "no": {"no", ""}} {
		if before, after, _ := lastCut(text); before != want[0] || after != want[1] {
			t.Errorf("%s: %q and %q", text, before, after)
		}
	}
}
