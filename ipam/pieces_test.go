package ipam_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/kvtest"
	"github.com/dockstack/dockstack/ipam"
)

// mortal is a host's way to the shared store that ends in the middle: its
// process is killed, or loses an answer.
type mortal struct {
	kv.Shared
	host *kvtest.Host
	mu   sync.Mutex
	// left is how many commits succeed yet; landed: the one after them is carried
	// out all the same. error is what it says; dead: nothing works any more then.
	left   int
	landed bool
	err    error
	killed bool
	dead   bool
	// before is called before each commit.
	before func(n int)
	n      int
	// late: the one after them is on its way until somebody calls land.
	late bool
	land func() error
}

func (m *mortal) Commit(ctx context.Context, ops []kv.Op, conds ...kv.Cond) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return kv.ErrClosed
	}
	m.n++
	if m.before != nil {
		m.before(m.n)
	}
	if m.left--; m.left != -1 {
		return m.Shared.Commit(ctx, ops, conds...)
	}
	m.dead = m.killed
	if m.late {
		ops, conds, store := slices.Clone(ops), slices.Clone(conds), m.Shared
		ctx := context.WithoutCancel(ctx)
		m.land = func() error { return store.Commit(ctx, ops, conds...) }
		return m.err
	}
	if m.landed {
		m.host.LoseNext(m.err)
	} else {
		m.host.FailNext(m.err)
	}
	return m.Shared.Commit(ctx, ops, conds...)
}

// big is an import that takes several commits on hosts that share a store: names
// that are new, that exchange their addresses, that have others, and that run.
func big(c *cluster, n *node) ipam.Import {
	c.t.Helper()
	for i := range 60 {
		n.gets(fmt.Sprint("n", i), fmt.Sprintf("172.16.0.%d", i+2))
		if i%3 != 0 {
			n.release(fmt.Sprintf("172.16.0.%d", i+2))
		}
	}
	n.fixes("fixed", "172.16.0.200")
	n.release("172.16.0.200")
	in := ipam.Import{Subnets: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}}
	add := func(name string, format string, i int) {
		in.Reservations = append(in.Reservations, ipam.Reservation{Name: name, Addr: netip.MustParseAddr(fmt.Sprintf(format, i))})
	}
	for i := range 60 {
		switch i % 3 {
		case 0: // runs
			add(fmt.Sprint("n", i), "172.16.0.%d", i+2)
		case 1: // has its neighbour's
			add(fmt.Sprint("n", i), "172.16.0.%d", i+3)
		default:
			add(fmt.Sprint("n", i), "172.16.0.%d", i+1)
		}
	}
	add("fixed", "172.16.0.%d", 201)
	for i := range 40 {
		add(fmt.Sprint("new", i), "10.9.0.%d", i+2)
	}
	return in
}

// picture is all leases, but for what nobody was promised.
func (n *node) picture() []string {
	n.t.Helper()
	all, err := n.reg.Leases(n.ctx, ipam.LeaseFilter{})
	n.ok(err)
	out := make([]string, 0, len(all))
	for _, l := range all {
		out = append(out, fmt.Sprint(l.Pool, " ", l.Name, " ", l.Addr, " ", l.MAC, " ", l.State, " ", l.Fixed, " ", l.Reserved))
	}
	return out
}

// sound tells whether the store's own index fits its leases, and nothing is
// left of an import.
func (c *cluster) sound() error {
	data := c.store.Data()
	leases, addrs := 0, 0
	for key := range data {
		switch prefix, _, _ := strings.Cut(key, "/"); prefix {
		case "lease":
			leases++
		case "addr":
			addrs++
			at := strings.LastIndex(key, "/")
			lease := "lease/" + key[len("addr/"):at] + "/" + string(data[key])
			if data[lease] == nil {
				return fmt.Errorf("%s is of %q, which has no lease", key, data[key])
			}
		case "import":
			return fmt.Errorf("%s is left", key)
		}
	}
	if leases != addrs {
		return fmt.Errorf("%d leases and %d addresses", leases, addrs)
	}
	return nil
}

func (c *cluster) isSound() {
	c.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for err := c.sound(); err != nil; err = c.sound() {
		if time.Now().After(deadline) {
			c.t.Fatalf("the store does not become sound: %v", err)
		}
		time.Sleep(time.Millisecond)
	}
}

// agree waits until all hosts see the same, and returns it.
func (c *cluster) agree() []string {
	c.t.Helper()
	var first []string
	c.eventually("all hosts agree", func() bool {
		first = nil
		for _, n := range c.hosts {
			p := n.picture()
			if first != nil && !slices.Equal(first, p) {
				return false
			}
			first = p
		}
		return true
	})
	return first
}

// through opens the host again with m between it and the store.
func (n *node) through(m *mortal) {
	n.t.Helper()
	n.down()
	n.shared = n.shared.Reopen()
	n.cfg.Shared = n.shared
	if m != nil {
		m.Shared, m.host = n.shared, n.shared
		n.cfg.Shared = m
	}
	n.open()
	n.follow()
}

func TestImportInPieces(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1, h2 := c.hosts["h1"], c.hosts["h2"]
	in := big(c, h1)
	before := c.agree()
	in.DryRun = true
	if _, err := h2.reg.Import(h2.ctx, in); err != nil {
		t.Fatal(err)
	}
	in.DryRun = false
	if got := c.agree(); !slices.Equal(got, before) {
		t.Error("a dry run changed something")
	}
	plan, err := h2.reg.Import(h2.ctx, in)
	h2.ok(err)
	if !plan.Done || len(plan.New) != len(in.Reservations) || len(plan.Replaced) != 41 {
		t.Errorf("done %v, %d new, %d replaced", plan.Done, len(plan.New), len(plan.Replaced))
	}
	c.isSound()
	after := c.agree()
	for _, r := range in.Reservations {
		if !slices.ContainsFunc(after, func(l string) bool {
			return strings.Contains(l, " "+r.Name+" "+r.Addr.String()+" ") && strings.HasSuffix(l, " true")
		}) {
			t.Errorf("%s has not %s", r.Name, r.Addr)
		}
	}
	c.eventually("nothing is unfinished", func() bool {
		left, err := h1.reg.Unfinished(h1.ctx)
		h1.ok(err)
		return len(left) == 0
	})
	h1.gets("n1", "172.16.0.4")
	h2.startsElsewhere("n0", "h1")
}

// Wherever an import ends, by an error, a lost answer, or with its process, all
// of it is there in the end, or nothing.
func TestImportCutOffAnywhere(t *testing.T) {
	bad := errors.New("injected")
	for _, how := range []struct {
		name           string
		killed, landed bool
		err            error
	}{
		{"fails", false, false, bad},
		{"away", false, false, kv.ErrAway},
		{"answer lost", false, true, kv.ErrAway},
		{"killed before", true, false, kv.ErrClosed},
		{"killed after", true, true, kv.ErrClosed},
	} {
		t.Run(how.name, func(t *testing.T) {
			undone, whole := 0, false
			for cut := 0; !whole; cut++ {
				c := newCluster(t, "h1", "h2")
				h1 := c.hosts["h1"]
				in := big(c, h1)
				before := c.agree()
				m := &mortal{left: 1 << 30, landed: how.landed, killed: how.killed, err: how.err}
				h1.through(m)
				m.mu.Lock()
				m.left = cut
				m.mu.Unlock()
				plan, err := h1.reg.Import(h1.ctx, in)
				m.mu.Lock()
				reached := m.left < 0
				m.mu.Unlock()
				whole = !reached
				if (err == nil) != plan.Done || whole && err != nil {
					t.Fatalf("after %d commits: done %v, %v", cut, plan.Done, err)
				}
				if how.killed {
					h1.through(nil)
				}
				c.isSound()
				got := c.agree()
				all := len(got) == len(before)+40
				if plan.Done && !all || !all && !slices.Equal(got, before) || err != nil && all && !how.landed {
					t.Fatalf("after %d commits (%v): there is\n%s\nwas\n%s", cut, err, strings.Join(got, "\n"), strings.Join(before, "\n"))
				}
				if !all {
					undone++
				}
				h1.down()
				c.hosts["h2"].down()
			}
			if undone < 5 {
				t.Errorf("it was undone %d times only", undone)
			}
		})
	}
}

// Others start and stop containers meanwhile: what they run stays theirs, and
// what can't be any more undoes all of it.
func TestImportWhileOthersWork(t *testing.T) {
	for n := 1; n < 14; n++ {
		for _, what := range []string{"takes an address", "starts an imported name", "reserves", "creates the network"} {
			c := newCluster(t, "h1", "h2")
			h1, h2 := c.hosts["h1"], c.hosts["h2"]
			in := big(c, h1)
			c.agree()
			m := &mortal{left: 1 << 30}
			var told error
			m.before = func(at int) {
				if at != n {
					return
				}
				switch what {
				case "takes an address":
					_, told = h2.reg.RequestAddress(h2.ctx, ipam.AddressRequest{Pool: h2.pool.ID, Name: "intruder", Addr: netip.MustParseAddr("172.16.0.201")})
				case "starts an imported name":
					_, told = h2.ask("n1")
				case "reserves":
					_, told = h2.reg.Reserve(h2.ctx, h2.pool.ID, "n58", netip.MustParseAddr("172.16.0.250"))
				default:
					_, told = h2.reg.RequestPool(h2.ctx, ipam.PoolRequest{Subnet: netip.MustParsePrefix("10.9.0.0/24")})
				}
			}
			h1.through(m)
			m.mu.Lock()
			m.n = 0
			m.mu.Unlock()
			plan, err := h1.reg.Import(h1.ctx, in)
			if (err == nil) != plan.Done || err != nil && !errors.Is(err, ipam.ErrClash) {
				t.Errorf("%s before commit %d: %v", what, n, err)
			}
			c.isSound()
			got := c.agree()
			reserved := 0
			for _, l := range got {
				if strings.HasSuffix(l, " true") {
					reserved++
				}
			}
			want := 0
			if plan.Done {
				want = len(in.Reservations)
			}
			if what == "reserves" && told == nil && (!plan.Done || reserved > want) {
				want++
			}
			if reserved != want {
				t.Errorf("%s (%v) before commit %d: %d are reserved, want %d (%v)", what, told, n, reserved, want, err)
			}
			h1.down()
			h2.down()
		}
	}
}

// What a killed process had on its way to the store comes too late once the next
// one has begun to undo.
func TestLateCommitOfACutOffImport(t *testing.T) {
	for _, at := range []int{1, 2, 3, 4, 7, 1 << 30} {
		for cut := 0; ; cut++ {
			c := newCluster(t, "h1", "h2")
			h1, h2 := c.hosts["h1"], c.hosts["h2"]
			in := big(c, h1)
			before := c.agree()
			m := &mortal{left: 1 << 30, killed: true, late: true, err: kv.ErrClosed}
			h1.through(m)
			m.mu.Lock()
			m.left = cut
			m.mu.Unlock()
			if _, err := h1.reg.Import(h1.ctx, in); err == nil {
				break
			}
			next := &mortal{left: 1 << 30, before: func(n int) {
				if n == at {
					_ = m.land()
				}
			}}
			h1.through(next)
			c.isSound()
			_ = m.land()
			c.isSound()
			got := c.agree()
			// The very last one ends the import if it lands before the undoing.
			whole := at == 1 && len(got) == len(before)+40
			if !whole && !slices.Equal(got, before) {
				t.Fatalf("after %d commits: there is\n%s\nwas\n%s", cut, strings.Join(got, "\n"), strings.Join(before, "\n"))
			}
			h1.down()
			h2.down()
		}
	}
}

// A note that can't be read is told to people, and keeps nobody from his work.
func TestUnreadableNote(t *testing.T) {
	for what, note := range map[string]map[string]string{
		"no note":        {"import/h1": "x"},
		"newer":          {"import/h1": `{"v":9}`},
		"no part":        {"import/h1": `{"v":1,"parts":1}`, "import/h1/0": "x"},
		"a bad lease":    {"import/h1": `{"v":1,"parts":1}`, "import/h1/0": `{"items":[{"pool":"172.16.0.0/24","name":"x","new":"AQ=="}]}`},
		"a bad pool":     {"import/h1": `{"v":1,"parts":1}`, "import/h1/0": `{"pools":[{"id":"172.16.0.0/24","new":"e30="}]}`},
		"an old bad one": {"import/h1": `{"v":1,"parts":1}`, "import/h1/0": `{"items":[{"pool":"172.16.0.0/24","name":"x","old":"/w=="}]}`},
	} {
		t.Run(what, func(t *testing.T) {
			c := newCluster(t, "h1", "h2")
			h1 := c.hosts["h1"]
			var ops []kv.Op // at once: what has a note and no part yet has changed nothing, and is tidied away
			for key, value := range note {
				ops = append(ops, kv.Op{Key: key, Value: []byte(value)})
			}
			h1.ok(c.store.Commit(t.Context(), ops))
			c.eventually("the problem is told", func() bool {
				p := h1.reg.Problems()
				return len(p) == 1 && strings.Contains(p[0], "an import was cut off in the middle and can't be undone") && strings.Contains(p[0], "import/h1")
			})
			h1.gets("web", "172.16.0.2")
			h1.ok(h1.reg.Flush(h1.ctx))
			if _, err := h1.reg.Import(h1.ctx, ipam.Import{Reservations: reservations("x 172.16.0.9")}); err == nil {
				t.Error("the next import goes on as if nothing was")
			}
		})
	}
}

// A host that leaves the others in the middle of an import undoes it in what it
// keeps.
func TestImportOfAHostThatLeft(t *testing.T) {
	for cut := 2; cut < 9; cut++ {
		c := newCluster(t, "h1", "h2")
		h1 := c.hosts["h1"]
		in := big(c, h1)
		c.agree()
		m := &mortal{left: 1 << 30, killed: true, err: kv.ErrClosed}
		h1.through(m)
		m.mu.Lock()
		m.left = cut
		m.mu.Unlock()
		if _, err := h1.reg.Import(h1.ctx, in); err == nil {
			t.Fatalf("it needs but %d commits", cut)
		}
		h1.down()
		alone := newWorld(t)
		for key, value := range c.store.Data() {
			prefix, _, _ := strings.Cut(key, "/")
			if slices.Contains([]string{"lease", "pool", "use", "import"}, prefix) {
				alone.ok(alone.store.Commit(t.Context(), []kv.Op{{Key: key, Value: value}}))
			}
		}
		alone.cfg.Host = "h1"
		alone.open()
		alone.ok(alone.reg.Flush(alone.ctx))
		for key := range alone.store.Data() {
			if strings.HasPrefix(key, "import/") {
				t.Errorf("after %d commits: %s is left", cut, key)
			}
		}
		all, err := alone.reg.Leases(alone.ctx, ipam.LeaseFilter{})
		alone.ok(err)
		for _, l := range all {
			if l.Reserved || strings.HasPrefix(l.Name, "new") {
				t.Fatalf("after %d commits: %+v", cut, l)
			}
		}
		if len(all) != 61 {
			t.Fatalf("after %d commits: %d leases, want 61", cut, len(all))
		}
		c.hosts["h2"].down()
	}
}
