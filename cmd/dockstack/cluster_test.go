package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/fabric"
	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/boltkv"
	"github.com/dockstack/dockstack/internal/kv/kvtest"
	"github.com/dockstack/dockstack/internal/peers"
	"github.com/dockstack/dockstack/ipam"
)

// node is a host whose own store is a file, and which may share another one.
type node struct {
	t    *testing.T
	name string
	dir  string
	vtep string
	ways *fakeWays
	log  *lockedBuffer

	mu sync.Mutex
	// dial is how it reaches the shared store; nil: it is alone. Guarded by mu.
	dial func() (kv.Shared, error)
	// underlays and moves are what the switch was told. Guarded by mu.
	underlays fabric.Underlay
	moves     map[netip.Addr]string

	*opened
	stop func()
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

var nodes int

// newNode makes a host that is alone and off.
func newNode(t *testing.T, name string) *node {
	t.Helper()
	nodes++
	vtep := fmt.Sprintf("192.0.2.%d", nodes%250+1)
	return &node{t: t, name: name, dir: t.TempDir(), vtep: vtep, log: &lockedBuffer{}, moves: map[netip.Addr]string{}}
}

// shares has it share a store from its next start on.
func (n *node) shares(dial func() (kv.Shared, error)) *node {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dial = dial
	return n
}

// sharesMemory is shares with a store in memory, which can cut the host off.
func (n *node) sharesMemory(m *kvtest.Memory) *kvtest.Host {
	h := m.Join()
	n.shares(func() (kv.Shared, error) { return h.Reopen(), nil })
	return h
}

// start opens its state, as the daemon does.
func (n *node) start() *node {
	n.t.Helper()
	log := slog.New(slog.NewTextHandler(n.log, nil))
	local, err := boltkv.Open(filepath.Join(n.dir, "dockstack.db"))
	if err != nil {
		n.t.Fatal(err)
	}
	open := opening{
		local: local, log: log,
		leases: ipam.Config{Supernet4: netip.MustParsePrefix("10.212.0.0/14"), Log: log},
		moved:  n.moved,
		compare: func(ctx context.Context, leases *ipam.Registry) error {
			return leases.Sweep(ctx, nil)
		},
	}
	ctx, cancel := context.WithCancel(n.t.Context())
	var wg sync.WaitGroup
	if n.dial != nil {
		n.ways = &fakeWays{vteps: map[string]string{"eth0": n.vtep}, mtu: 1500, changed: make(chan struct{}, 1)}
		u := newUnderlay(config{vtep: "eth0"}, n.ways, log)
		wg.Go(func() { u.run(ctx) })
		open.cluster = &clusterConfig{
			where: where, underlay: u, setUnderlay: n.setUnderlay, failed: func() {}, changed: func() {}, log: log,
			dial: func() (kv.Shared, error) {
				n.mu.Lock()
				defer n.mu.Unlock()
				return n.dial()
			},
			self: peers.Host{Name: n.name, Port: defaultVXLANPort, Boot: n.dir, Version: "test"},
		}
	}
	if n.opened, err = open.open(ctx); err != nil {
		n.t.Fatal(err)
	}
	var once sync.Once
	n.stop = func() {
		once.Do(func() {
			if err := n.close(context.Background()); err != nil {
				n.t.Error(err)
			}
			cancel()
			wg.Wait()
		})
	}
	n.t.Cleanup(n.stop)
	return n
}

func (n *node) moved(moves []ipam.Move) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range moves {
		if m.Whole {
			clear(n.moves) // tests have one network
		}
		for _, a := range m.Gone {
			delete(n.moves, a)
		}
		for _, at := range m.Set {
			n.moves[at.Addr] = at.Host
		}
	}
}

func (n *node) setUnderlay(u fabric.Underlay) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.underlays = u
}

func (n *node) id() string { return n.cluster.peers.Self().ID }

// ready waits as Docker's calls do.
func (n *node) ready() error {
	n.t.Helper()
	return n.cluster.ready(limited(n.t))
}

func (n *node) mustBeReady() {
	n.t.Helper()
	if err := n.ready(); err != nil {
		n.t.Fatalf("%s: %v\n%s", n.name, err, n.log)
	}
	select {
	case <-n.Leases.Synced():
	default:
		n.t.Fatalf("%s goes on without the shared store:\n%s", n.name, n.log)
	}
}

const subnet = "172.16.0.0/24"

// network makes the host's network, as Docker does.
func (n *node) network() ipam.Pool {
	n.t.Helper()
	ctx := limited(n.t)
	pool, err := n.Leases.RequestPool(ctx, ipam.PoolRequest{Subnet: netip.MustParsePrefix(subnet)})
	if err == nil {
		_, err = n.Leases.RequestGateway(ctx, pool.ID, netip.Addr{})
	}
	if err == nil {
		_, err = n.Leases.Bind(ctx, ipam.Binding{Network: "net-" + n.name, Pools: []string{pool.ID}, DefaultMTU: 1450})
	}
	if err != nil {
		n.t.Fatalf("%s: %v", n.name, err)
	}
	return pool
}

func (n *node) ask(name string) (string, error) {
	n.t.Helper()
	pool, ok := n.Leases.PoolFor(netip.MustParsePrefix(subnet), "")
	if !ok {
		n.t.Fatalf("%s does not know the network", n.name)
	}
	got, err := n.Leases.RequestAddress(limited(n.t), ipam.AddressRequest{Pool: pool.ID, Name: name})
	if err != nil {
		return "", err
	}
	return got.Addr().String(), nil
}

// runs starts a container, whose address is returned.
func (n *node) runs(name string) string {
	n.t.Helper()
	got, err := n.ask(name)
	if err == nil {
		_, err = n.Leases.Attach(limited(n.t), ipam.Endpoint{ID: name + "-on-" + n.name, Network: "net-" + n.name, Addrs: []netip.Addr{netip.MustParseAddr(got)}})
	}
	if err != nil {
		n.t.Fatalf("%s on %s: %v", name, n.name, err)
	}
	return got
}

// ends ends a container.
func (n *node) ends(name, at string) {
	n.t.Helper()
	pool, _ := n.Leases.PoolFor(netip.MustParsePrefix(subnet), "")
	err := errors.Join(n.Leases.Detach(limited(n.t), name+"-on-"+n.name), n.Leases.ReleaseAddress(limited(n.t), pool.ID, netip.MustParseAddr(at)))
	if err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) fails(what string, err error, words ...string) {
	n.t.Helper()
	if err == nil {
		n.t.Fatalf("%s: %s worked", n.name, what)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			n.t.Errorf("%s: %s: %q lacks %q", n.name, what, err, word)
		}
	}
}

// until waits for what other parts bring about.
func (n *node) until(what string, is func() bool) {
	n.t.Helper()
	for limit := time.Now().Add(30 * time.Second); !is(); {
		if time.Now().After(limit) {
			n.t.Fatalf("%s: never came: %s\n%s", n.name, what, n.log)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// sees waits until the host knows where an address is; "" for nowhere else.
func (n *node) sees(at, host string) {
	n.t.Helper()
	n.until(at+" is on host "+host, func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.moves[netip.MustParseAddr(at)] == host
	})
}

func (n *node) text() string {
	s := status{store: storeStatus{where: where}, name: func(id string) string { return id }}
	n.cluster.fill(&s)
	return s.text()
}

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
