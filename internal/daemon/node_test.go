package daemon

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

	"github.com/dockstack/dockstack/internal/admin"
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
	// changed is told of leases' changes; it is set before start.
	changed func([]ipam.Change)

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
		local: local, log: log, failed: func() {}, zone: "dockstack",
		leases: ipam.Config{Supernet4: netip.MustParsePrefix("10.212.0.0/14"), Changed: n.changed, Log: log},
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

// mustBeReady waits until it has what the shared store has. A call waits only for
// as long as it may.
func (n *node) mustBeReady() {
	n.t.Helper()
	if err := n.ready(); err != nil {
		n.t.Fatalf("%s: %v\n%s", n.name, err, n.log)
	}
	if !n.synced() && time.Since(n.cluster.started) < storeGrace {
		n.t.Fatalf("%s goes on without the shared store:\n%s", n.name, n.log)
	}
	n.until("it has what the shared store has", n.synced)
}

func (n *node) synced() bool {
	select {
	case <-n.Leases.Synced():
		return true
	default:
		return false
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
	for limit := time.Now().Add(2 * time.Minute); !is(); {
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
	s := admin.Status{Store: admin.StoreStatus{Where: where}}
	n.cluster.fill(&s)
	return s.Text()
}
