package daemon

import (
	"errors"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/boltkv"
	"github.com/dockstack/dockstack/internal/kv/kvtest"
)

func TestHostsShareNames(t *testing.T) {
	m := kvtest.NewMemory()
	a, b := newNode(t, "a"), newNode(t, "b")
	a.sharesMemory(m)
	b.sharesMemory(m)
	a.start().mustBeReady()
	b.start().mustBeReady()
	a.network()
	b.until("b knows the network", func() bool { _, ok := b.Leases.PoolFor(netip.MustParsePrefix(subnet), ""); return ok })
	b.network()
	web := a.runs("web")
	if other := b.runs("other"); other == web {
		t.Fatalf("both have %s", web)
	}
	b.sees(web, a.id())
	_, err := b.ask("web")
	b.fails("a name that is alive elsewhere", err, "web", "host a")
	a.ends("web", web)
	b.sees(web, "")
	if got := b.runs("web"); got != web {
		t.Errorf("on b it has %s, on a it had %s", got, web)
	}
	a.sees(web, b.id())
	// Each knows where the other's tunnels end, and follows it.
	tunnel := func(n *node, want string) {
		t.Helper()
		n.until("tunnels to "+want, func() bool {
			n.mu.Lock()
			defer n.mu.Unlock()
			return len(n.underlays.Peers) == 1 && n.underlays.Peers[0].VTEP.String() == want && n.underlays.VTEP.String() == n.vtep
		})
	}
	tunnel(a, b.vtep)
	tunnel(b, a.vtep)
	b.vtep = "198.51.100.7"
	b.ways.set(func() { b.ways.vteps["eth0"] = b.vtep })
	tunnel(a, b.vtep)
	tunnel(b, a.vtep)
	for _, word := range []string{"reached since", "198.51.100.7", "problems   none"} {
		if text := b.text(); !strings.Contains(text, word) {
			t.Errorf("the status lacks %q:\n%s", word, text)
		}
	}
}

// A host brings its names along, and takes home those that ran there.
func TestHostJoinsAndLeaves(t *testing.T) {
	m := kvtest.NewMemory()
	first := newNode(t, "first")
	first.sharesMemory(m)
	first.start().mustBeReady()
	first.network()
	theirs := first.runs("web")

	n := newNode(t, "late").start()
	n.network()
	if got := n.runs("db"); got != theirs {
		t.Fatalf("alone db gets %s, this test wants %s", got, theirs)
	}
	n.runs("web")
	mail := n.runs("mail")
	n.stop()

	n.sharesMemory(m)
	n.start().mustBeReady()
	n.until("it has joined", func() bool { return n.cluster.current().ID != "" })
	report := strings.Join(n.cluster.problems(), "\n")
	for _, word := range []string{"did not come along", "db", "web"} {
		if !strings.Contains(report, word) {
			t.Errorf("problems are %q, want %q", report, word)
		}
	}
	if got := n.runs("mail"); got != mail {
		t.Errorf("mail has %s, alone it had %s", got, mail)
	}
	first.sees(mail, n.id())
	if !strings.Contains(n.log.String(), "this host joined the cluster") {
		t.Errorf("the log lacks it:\n%s", n.log)
	}
	n.stop()

	// It is a member now, and joins no second time.
	n.start().mustBeReady()
	if got := n.runs("mail"); got != mail {
		t.Errorf("as a member mail has %s", got)
	}
	if problems := n.cluster.problems(); len(problems) != 0 {
		t.Errorf("problems are %q", problems)
	}
	n.stop()

	n.shares(nil)
	n.start()
	if got := n.runs("mail"); got != mail {
		t.Errorf("alone again mail has %s", got)
	}
	if got, err := n.ask("web"); err != nil || got != theirs {
		t.Errorf("alone again web gets %s, %v; in the cluster it had %s", got, err, theirs)
	}
	if !strings.Contains(n.log.String(), "has left its cluster") {
		t.Errorf("the log lacks it:\n%s", n.log)
	}
	if in, err := copyOf(t.Context(), n.Store); err != nil || in.ID != "" {
		t.Errorf("its own store is a copy of %+v, %v", in, err)
	}
	n.stop()

	// And once more a member.
	n.sharesMemory(m)
	n.start().mustBeReady()
	if got := n.runs("mail"); got != mail {
		t.Errorf("back in the cluster mail has %s", got)
	}
}

// While the store is away at the start, names that ran here start, and others
// say why not.
func TestStoreIsAwayAtStart(t *testing.T) {
	m := kvtest.NewMemory()
	n := newNode(t, "a")
	link := n.sharesMemory(m)
	n.start().mustBeReady()
	n.network()
	web := n.runs("web")
	n.stop()
	link.Cut()
	n.start()
	if err := n.ready(); err != nil {
		t.Fatal(err)
	}
	if got := n.runs("web"); got != web {
		t.Errorf("web has %s, it had %s", got, web)
	}
	_, err := n.ask("new")
	n.fails("a new name", err, "new", "away")
	if !errors.Is(err, kv.ErrAway) {
		t.Errorf("it is another kind of error: %v", err)
	}
	for _, word := range []string{"AWAY since", "cut off by its test", "mark is NOT in the store"} {
		if text := n.text(); !strings.Contains(text, word) {
			t.Errorf("the status lacks %q:\n%s", word, text)
		}
	}
	link.Mend()
	n.until("the store was read", func() bool {
		select {
		case <-n.Leases.Synced():
			return true
		default:
			return false
		}
	})
	if got := n.runs("new"); got == web {
		t.Errorf("both have %s", got)
	}
	if text := n.text(); strings.Contains(text, "AWAY") {
		t.Errorf("the status is behind:\n%s", text)
	}
}

// What must not be used is said in every call, and tried again.
func TestStoreIsNotOurs(t *testing.T) {
	foreign := kvtest.NewMemory()
	if err := foreign.Commit(t.Context(), []kv.Op{put("calico/ipam", "x")}); err != nil {
		t.Fatal(err)
	}
	second := kvtest.NewMemory()
	if _, err := enter(t.Context(), second.Join(), where, clusterRecord{}); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		what  string
		dial  func() (kv.Shared, error)
		words []string
	}{
		{"another program's", func() (kv.Shared, error) { return foreign.Join(), nil }, []string{"no cluster", "DOCKSTACK_STORE"}},
		{"another cluster's", func() (kv.Shared, error) { return second.Join(), nil }, []string{"cluster", "DOCKSTACK_STORE to nothing once"}},
		{"empty, though the cluster's was not", func() (kv.Shared, error) { return kvtest.NewMemory().Join(), nil }, []string{"no cluster", "backup"}},
		{"one that can't be asked", func() (kv.Shared, error) { return nil, errors.New("DOCKSTACK_STORE_CA: no such file") }, []string{"DOCKSTACK_STORE_CA"}},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			m := kvtest.NewMemory()
			n := newNode(t, "a")
			right := m.Join()
			n.shares(func() (kv.Shared, error) { return right.Reopen(), nil }).start().mustBeReady()
			n.network()
			web := n.runs("web")
			n.stop()
			n.shares(tt.dial).start()
			var err error
			n.until("it is refused", func() bool { err = n.ready(); return err != nil })
			n.fails("a call", err, tt.words...)
			if text := n.text(); !strings.Contains(text, "NOT USED") || !strings.Contains(text, tt.words[0]) {
				t.Errorf("the status lacks it:\n%s", text)
			}
			if strings.Count(n.log.String(), "takes no part in the cluster") != 1 {
				t.Errorf("the log lacks it, or has it again and again:\n%s", n.log)
			}
			n.shares(func() (kv.Shared, error) { return right.Reopen(), nil })
			n.until("it is mended", func() bool { return n.ready() == nil })
			n.mustBeReady()
			if got := n.runs("web"); got != web {
				t.Errorf("web has %s, it had %s", got, web)
			}
		})
	}
}

// A machine cloned with its disk does not write, and says so.
func TestClonedMachine(t *testing.T) {
	m := kvtest.NewMemory()
	n := newNode(t, "original")
	n.sharesMemory(m)
	n.start().mustBeReady()
	n.stop()
	clone := newNode(t, "clone")
	source, err := boltkv.Open(filepath.Join(n.dir, "dockstack.db"))
	if err != nil {
		t.Fatal(err)
	}
	target, err := boltkv.Open(filepath.Join(clone.dir, "dockstack.db"))
	if err != nil {
		t.Fatal(err)
	}
	var all []kv.Op
	err = source.Load(t.Context(), "", func(key string, value []byte) error {
		all = append(all, put(strings.Clone(key), string(value)))
		return nil
	})
	if err = errors.Join(err, target.Commit(t.Context(), all), source.Close(), target.Close()); err != nil {
		t.Fatal(err)
	}
	n.sharesMemory(m)
	n.start().mustBeReady()
	n.until("its mark is there", n.cluster.peers.Holds)
	clone.sharesMemory(m)
	clone.start()
	clone.until("the clone is refused", func() bool { err = clone.ready(); return err != nil })
	clone.fails("a call", err, "original at "+n.vtep, "clone at "+clone.vtep, "remove")
	if err := n.ready(); err != nil {
		t.Errorf("the original: %v", err)
	}
}
