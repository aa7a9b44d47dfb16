package ipam_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/kvtest"
	"github.com/dockstack/dockstack/ipam"
)

// cluster is hosts that share a store.
type cluster struct {
	t     *testing.T
	store *kvtest.Memory
	// alive are the hosts whose mark is there.
	mu    sync.Mutex
	alive map[string]bool
	hosts map[string]*node
}

// node is a host of a cluster.
type node struct {
	*world
	c      *cluster
	id     string
	shared *kvtest.Host
	stop   context.CancelFunc
	ended  chan struct{}
	// moves is where addresses on other hosts are, as Moved told.
	mu    sync.Mutex
	moves map[uint32]map[netip.Addr]string
	// told is what conflicts told of hosts.
	told []kv.Op
}

func newCluster(t *testing.T, ids ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, store: kvtest.NewMemory(), alive: map[string]bool{}, hosts: map[string]*node{}}
	for _, id := range ids {
		c.add(id)
	}
	return c
}

// add makes a host with a network "internal".
func (c *cluster) add(id string) *node {
	c.t.Helper()
	n := c.bare(id, nil, false)
	n.network("net-"+id, "internal", ipam.PoolRequest{Subnet: netip.MustParsePrefix("172.16.0.0/24")})
	return n
}

// bare makes a host whose own store is own.
func (c *cluster) bare(id string, own *kvtest.Memory, standalone bool) *node {
	c.t.Helper()
	if own == nil {
		own = kvtest.NewMemory()
	}
	n := &node{c: c, id: id, shared: c.store.Join(), moves: map[uint32]map[netip.Addr]string{}}
	n.world = &world{t: c.t, ctx: c.t.Context(), store: own, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), alive: map[string]bool{}}
	n.cfg = ipam.Config{
		FlushAfter: time.Millisecond, Host: id, Shared: n.shared, Hosts: n, Standalone: standalone,
		Supernet4: netip.MustParsePrefix("10.128.0.0/22"), Supernet6: netip.MustParsePrefix("fd00:77::/62"),
		Alive: func(id string) bool { return n.alive[id] },
		Now:   func() time.Time { return n.now },
		Moved: n.moved,
		Log:   slog.New(slog.NewTextHandler(&lockedBuffer{b: &n.log}, nil)),
	}
	c.hosts[id] = n
	c.mark(id, true)
	n.open()
	n.follow()
	return n
}

type lockedBuffer struct {
	mu sync.Mutex
	b  *bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// mark sets or removes a host's mark.
func (c *cluster) mark(id string, alive bool) {
	c.t.Helper()
	c.mu.Lock()
	c.alive[id] = alive
	c.mu.Unlock()
	op := kv.Op{Key: "host/" + id, Value: []byte("mark of " + id), Delete: !alive}
	if err := c.store.Commit(c.t.Context(), []kv.Op{op}); err != nil {
		c.t.Fatal(err)
	}
	for _, n := range c.hosts {
		if n.reg != nil {
			n.ok(n.reg.HostsChanged(c.t.Context()))
		}
	}
}

func (n *node) Alive(id string) bool {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	return n.c.alive[id]
}
func (*node) Name(id string) string          { return "the " + id }
func (n *node) Mark() (string, []byte)       { return "host/" + n.id, []byte("mark of " + n.id) }
func (*node) Held(ctx context.Context) error { return ctx.Err() }
func (n *node) Learn(c kv.Change) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.told = append(n.told, c.Ops...)
}

func (n *node) moved(all []ipam.Move) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range all {
		if m.Whole || n.moves[m.VNI] == nil {
			n.moves[m.VNI] = map[netip.Addr]string{}
		}
		for _, p := range m.Set {
			n.moves[m.VNI][p.Addr] = p.Host
		}
		for _, a := range m.Gone {
			delete(n.moves[m.VNI], a)
		}
	}
}

// follow learns from the store until the test ends or the host does.
func (n *node) follow() {
	ctx, cancel := context.WithCancel(n.c.t.Context())
	n.stop, n.ended = cancel, make(chan struct{})
	reg := n.reg
	go func() {
		defer close(n.ended)
		_ = n.shared.Follow(ctx, "", func(c kv.Change) {
			if err := reg.Learn(ctx, c); err != nil && ctx.Err() == nil {
				n.c.t.Errorf("learn: %v", err)
			}
		})
	}()
	n.c.t.Cleanup(n.down)
	if !n.cfg.Standalone {
		<-n.reg.Synced()
	}
}

func (n *node) down() {
	n.stop()
	<-n.ended
}

// eventually waits for what the others' news bring.
func (c *cluster) eventually(what string, so func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !so() {
		if time.Now().After(deadline) {
			c.t.Fatalf("it never came: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func (n *node) sees(addr, want string) {
	n.c.t.Helper()
	n.c.eventually(n.id+" sees "+addr+": "+want, func() bool { return n.lease(addr) == want })
}

func (n *node) startsElsewhere(name, on string) {
	n.c.t.Helper()
	_, err := n.ask(name)
	if !errors.Is(err, ipam.ErrElsewhere) || !strings.Contains(err.Error(), "on host the "+on+" since ") {
		n.c.t.Fatalf("%s on %s: got %v, want that it runs on %s", name, n.id, err, on)
	}
}

func (n *node) vni() uint32 {
	p, _ := n.reg.Pool(n.pool.ID)
	return p.VNI
}

func (n *node) reaches(addr, host string) {
	n.c.t.Helper()
	n.c.eventually(fmt.Sprintf("%s sends to %s on %q", n.id, addr, host), func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.moves[n.vni()][netip.MustParseAddr(addr)] == host
	})
}
