package consistency

import (
	"context"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/etcdkv"
	"github.com/dockstack/dockstack/internal/kv/etcdtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const prefix = "/dockstack/"

// etcd is a real one, with a way from each host to each member.
type etcd struct {
	t       *testing.T
	cluster *etcdtest.Cluster
	client  *clientv3.Client
	ways    [][]*way
	// paused and killed are members.
	paused, killed map[int]bool
}

func newEtcd(t *testing.T, hosts int) *etcd {
	t.Helper()
	e := &etcd{t: t, cluster: etcdtest.Start(t, etcdtest.Config{Members: 3}), paused: map[int]bool{}, killed: map[int]bool{}}
	e.client = e.cluster.Client()
	t.Cleanup(func() { _ = e.client.Close() })
	for range hosts {
		var ways []*way
		for _, member := range e.cluster.Endpoints() {
			ways = append(ways, newWay(t, member))
		}
		e.ways = append(e.ways, ways)
	}
	return e
}

func (e *etcd) open(n int) (kv.Shared, error) {
	a := etcdkv.Address{Prefix: etcdkv.DefaultPrefix}
	for _, w := range e.ways[n] {
		a.Endpoints = append(a.Endpoints, w.l.Addr().String())
	}
	return etcdkv.Open(etcdkv.Settings{Address: a})
}

func (e *etcd) follow(ctx context.Context, fn func([]kv.Op)) {
	for resp := range e.client.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(1)) {
		var ops []kv.Op
		var rev int64
		for _, ev := range resp.Events {
			if ev.Kv.ModRevision != rev && len(ops) > 0 {
				fn(ops)
				ops = nil
			}
			rev = ev.Kv.ModRevision
			ops = append(ops, kv.Op{Key: string(ev.Kv.Key)[len(prefix):], Value: ev.Kv.Value, Delete: ev.Type == mvccpb.Event_DELETE})
		}
		if len(ops) > 0 {
			fn(ops)
		}
		if err := resp.Err(); err != nil && ctx.Err() == nil {
			e.t.Errorf("the monitor's watch: %v", err)
		}
	}
}

func (e *etcd) look(ctx context.Context) (map[string][]byte, error) {
	resp, err := e.client.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	for _, p := range resp.Kvs {
		out[string(p.Key)[len(prefix):]] = p.Value
	}
	return out, nil
}

func (e *etcd) put(ctx context.Context, key string) error {
	_, err := e.client.Put(ctx, prefix+key, "")
	return err
}

// fault does one of the things that happen to members and networks.
func (e *etcd) fault(rng *rand.Rand) string {
	m := rng.IntN(3)
	way := e.ways[rng.IntN(len(e.ways))]
	switch n := rng.IntN(20); {
	case n < 5:
		for _, w := range way {
			w.cut()
		}
		return "host cut off"
	case n < 9:
		for _, w := range way {
			w.mend()
		}
		return "host's ways mended"
	case n < 10:
		way[m].cut()
		return "host cut off from a member"
	case n < 12:
		e.cluster.Cut(m)
		return "member cut off"
	case n < 14:
		e.cluster.Delay(m, time.Duration(rng.IntN(150))*time.Millisecond)
		return "member's answers late"
	case n < 15:
		e.cluster.Mend(m)
		return "member mended"
	case n < 17:
		return e.pauseOrResume(m)
	default:
		return e.killOrRestart(m)
	}
}

func (e *etcd) pauseOrResume(m int) string {
	if e.killed[m] {
		return e.killOrRestart(m)
	}
	if e.paused[m] {
		e.cluster.Resume(m)
		delete(e.paused, m)
		return "member goes on"
	}
	// Else the monitor would not see much of what happens.
	for o := range e.paused {
		e.cluster.Resume(o)
	}
	clear(e.paused)
	e.cluster.Pause(m)
	e.paused[m] = true
	return "member paused"
}

func (e *etcd) killOrRestart(m int) string {
	if e.killed[m] {
		e.cluster.Restart(m)
		delete(e.killed, m)
		return "member started"
	}
	for o := range e.killed {
		e.cluster.Restart(o)
	}
	clear(e.killed)
	e.cluster.Kill(m)
	e.killed[m] = true
	delete(e.paused, m)
	return "member killed"
}

func (e *etcd) heal() {
	for m := range e.paused {
		e.cluster.Resume(m)
	}
	clear(e.paused)
	for m := range e.killed {
		e.cluster.Restart(m)
	}
	clear(e.killed)
	for m := range 3 {
		e.cluster.Mend(m)
	}
	for _, ways := range e.ways {
		for _, w := range ways {
			w.mend()
		}
	}
	e.cluster.Ready()
}

// way is one host's way to one member. Cut, it loses all that is sent, and
// tells nobody.
type way struct {
	l      net.Listener
	member string
	all    sync.WaitGroup

	mu    sync.Mutex
	isCut bool
	// mended is closed when the cut ends.
	mended chan struct{}
	conns  map[net.Conn]struct{}
	closed bool
}

func newWay(t *testing.T, member string) *way {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &way{l: l, member: member, mended: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	w.all.Go(w.accept)
	t.Cleanup(w.close)
	return w
}

func (w *way) accept() {
	for {
		from, err := w.l.Accept()
		if err != nil {
			return
		}
		w.all.Go(func() {
			defer func() { _ = from.Close() }()
			if !w.keep(from) || !w.pass() {
				return
			}
			to, err := net.Dial("tcp4", w.member)
			if err != nil {
				return
			}
			defer func() { _ = to.Close() }()
			if !w.keep(to) {
				return
			}
			var both sync.WaitGroup
			both.Go(func() { w.pump(to, from) })
			both.Go(func() { w.pump(from, to) })
			both.Wait()
		})
	}
}

func (w *way) keep(c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns[c] = struct{}{}
	return !w.closed
}

func (w *way) pump(to, from net.Conn) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil || !w.pass() {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// pass waits while the way is cut, after which nothing of then passes.
func (w *way) pass() bool {
	w.mu.Lock()
	cut, mended := w.isCut, w.mended
	w.mu.Unlock()
	if cut {
		<-mended
	}
	return !cut
}

func (w *way) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = true
}

func (w *way) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.isCut {
		return
	}
	w.isCut = false
	close(w.mended)
	w.mended = make(chan struct{})
	for c := range w.conns {
		_ = c.Close()
	}
	clear(w.conns)
}

func (w *way) close() {
	w.mend()
	w.mu.Lock()
	w.closed = true
	for c := range w.conns {
		_ = c.Close()
	}
	w.mu.Unlock()
	_ = w.l.Close()
	w.all.Wait()
}

// setting is a number from the environment.
func setting(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}
