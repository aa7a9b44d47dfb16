package consistency

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/boltkv"
	"github.com/dockstack/dockstack/ipam"
)

// backend is the store and the ways to it.
type backend interface {
	// open is a new process of host n's way to the store.
	open(n int) (kv.Shared, error)
	// follow calls fn with the ops of one revision after the other, from the
	// first, until ctx ends.
	follow(ctx context.Context, fn func([]kv.Op))
	// look reads all, as it is now. It fails where that can't be told.
	look(ctx context.Context) (map[string][]byte, error)
	// put writes a key that is nobody's.
	put(ctx context.Context, key string) error
	// fault does some harm to the store or to the hosts' ways to it, and tells
	// what; heal ends it all.
	fault(rng *rand.Rand) string
	heal()
}

// testPool is a pool of one round.
type testPool struct {
	id     string
	subnet netip.Prefix
	names  []string
}

// plan is what a world is made of.
type plan struct {
	hosts int
	seed  uint64
	net   backend
	// local makes what opens host n's disk.
	local func(n int) func() (kv.Store, error)
	// strip takes conditions from commits, in tests of the tests.
	strip func([]kv.Cond) []kv.Cond
	// ttl is the marks' life; etcd knows seconds. pause is the longest between two
	// requests of a caller, and a fiftieth of that between two faults.
	ttl, pause time.Duration
	// patience is how long after all was mended everybody may take to agree.
	patience time.Duration
}

// onDisk is a bbolt per host.
func onDisk(dir string) func(int) func() (kv.Store, error) {
	return func(n int) func() (kv.Store, error) {
		return func() (kv.Store, error) { return boltkv.Open(filepath.Join(dir, hostID(n)+".db")) }
	}
}

// world is hosts and their store.
type world struct {
	plan

	t     failer
	hist  *history
	hosts []*host
	seen  *monitor
	rng   *rand.Rand

	mu     sync.Mutex
	writes []event
	counts map[string]int
}

func newWorld(t failer, p plan) *world {
	t.Helper()
	w := &world{plan: p, t: t, hist: newHistory(), counts: map[string]int{}, rng: rand.New(rand.NewPCG(p.seed, 1))}
	w.seen = newMonitor(w)
	for n := range p.hosts {
		w.hosts = append(w.hosts, &host{
			w: w, n: n, id: hostID(n), runs: map[string]*container{}, links: map[string]bool{}, local: p.local(n),
		})
	}
	for _, h := range w.hosts {
		h.boot(t.Context())
	}
	for _, h := range w.hosts {
		<-h.proc.reg.Synced()
	}
	return w
}

func (w *world) close() {
	for _, h := range w.hosts {
		h.end(context.Background(), false)
	}
	w.seen.close()
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// tally counts what was asked and answered.
func (w *world) tally(e event, err error) {
	what := e.kind.String() + " " + e.out.String()
	if e.out == refused {
		text := err.Error()
		for _, kind := range []error{ipam.ErrPoolFull, ipam.ErrAddressTaken, ipam.ErrElsewhere, ipam.ErrNoLease, ipam.ErrLive, ipam.ErrClash, ipam.ErrNotUsable, kv.ErrAway, kv.ErrClosed} {
			if strings.Contains(text, kind.Error()) {
				text = kind.Error()
				break
			}
		}
		what += ": " + text
	}
	w.count(what)
}

func (w *world) count(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[what]++
}

// noteWrites notes what a process wrote.
func (w *world) noteWrites(host int, s *spy) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range s.wrote() {
		for _, l := range c.leases {
			e := event{kind: writes, pool: l.pool, name: l.name, host: host, got: l.addr, by: -1, reserved: l.reserved, call: c.call, ret: c.ret}
			if l.live {
				e.by = hostNumber(l.host)
			}
			w.writes = append(w.writes, e)
		}
	}
	s.mu.Lock()
	s.commits = nil
	s.mu.Unlock()
}

// round has hosts ask while harm is done, mends all, and checks what happened.
func (w *world) round(number int, d time.Duration) {
	w.t.Helper()
	pools := []testPool{
		{subnet: netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/29", number))},
		{subnet: netip.MustParsePrefix(fmt.Sprintf("10.%d.1.0/28", number))},
	}
	for i := range pools {
		pools[i].id = pools[i].subnet.String()
		for n := range 8 {
			pools[i].names = append(pools[i].names, fmt.Sprintf("n%d", n))
		}
	}
	for _, h := range w.hosts {
		h.rebooted = false
		for _, p := range pools {
			w.ok(h.makeNetwork(w.t.Context(), p))
		}
	}
	w.hist.take()
	w.writes = nil
	began := w.hist.now()
	dead := w.seen.begin()
	ctx, cancel := context.WithTimeout(w.t.Context(), d)
	defer cancel()
	var all sync.WaitGroup
	for _, h := range w.hosts {
		for range 2 {
			rng := rand.New(rand.NewPCG(w.rng.Uint64(), 2))
			all.Go(func() { h.work(ctx, rng, pools) })
		}
	}
	w.harm(ctx)
	all.Wait()
	w.net.heal()
	w.agree()
	w.check(pools, began, dead)
	for _, h := range w.hosts {
		h.clear(w.t.Context(), pools)
	}
}

// harm does harm until ctx ends.
func (w *world) harm(ctx context.Context) {
	pause := func(most time.Duration) bool { return wait(ctx, time.Duration(w.rng.Int64N(int64(most)))) }
	for pause(40 * w.pause) {
		if w.rng.IntN(3) > 0 {
			what := w.net.fault(w.rng)
			w.count("fault: " + what)
			continue
		}
		h := w.hosts[w.rng.IntN(len(w.hosts))]
		kind := w.rng.IntN(4)
		h.restart(ctx, kind, func() { pause(2 * w.ttl) })
		w.count([]string{"fault: process killed", "fault: process stopped", "fault: machine dies", "fault: process killed"}[kind])
	}
}

// restart ends the host's process and starts another.
func (h *host) restart(ctx context.Context, kind int, pause func()) {
	h.ops.Lock()
	defer h.ops.Unlock()
	h.end(ctx, kind == 1)
	if kind == 2 {
		h.crash()
		pause()
	}
	h.rebooted = true
	h.boot(ctx)
}

// agree waits until everybody has the same in mind.
func (w *world) agree() {
	w.t.Helper()
	deadline := time.Now().Add(w.patience)
	for {
		err := w.disagree()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			w.t.Errorf("it never came that all agree: %v", err)
			return
		}
		wait(w.t.Context(), 5*time.Millisecond)
	}
}

// disagree tells what is otherwise in the store than in a host's mind, or in
// one of the store's two pictures of it.
func (w *world) disagree() error {
	ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Second)
	defer cancel()
	data, err := w.net.look(ctx)
	if err != nil {
		return err
	}
	want := map[string]string{}
	for key, value := range data {
		if l, ok := lease(kv.Op{Key: key, Value: value}); ok {
			want[l.pool+" "+l.name] = fmt.Sprint(l.addr, l.live, l.reserved, l.host)
		}
	}
	for _, h := range w.hosts {
		if _, there := data["host/"+h.id]; !there {
			return fmt.Errorf("%s has no mark", h.id)
		}
		got, err := h.proc.reg.Leases(ctx, ipam.LeaseFilter{})
		if err != nil {
			return err
		}
		var odd []string
		rest := maps.Clone(want)
		for _, l := range got {
			key := l.Pool + " " + l.Name
			if text := fmt.Sprint(l.Addr, l.State == ipam.StateLive, l.Reserved, l.Host); text != want[key] {
				odd = append(odd, fmt.Sprintf("%s has %s with %s, the store %q", h.id, key, text, want[key]))
			}
			delete(rest, key)
		}
		for key, text := range rest {
			odd = append(odd, fmt.Sprintf("%s has no %s, the store has %s", h.id, key, text))
		}
		if len(odd) > 0 {
			return errors.New(strings.Join(odd, "\n"))
		}
		for _, c := range h.lost(data) {
			if told := strings.Join(h.proc.reg.Problems(), "\n"); !h.rebooted && !strings.Contains(told, fmt.Sprintf("container %q runs here with %s", c.name, c.addr)) {
				return fmt.Errorf("%s runs %s with %s, the store has %s, and it says but %q", h.id, c.name, c.addr, want[c.pool.id+" "+c.name], told)
			}
		}
	}
	return nil
}

// lost are the containers that run and don't have their lease.
func (h *host) lost(data map[string][]byte) []*container {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []*container
	for _, c := range h.runs {
		l, there := lease(kv.Op{Key: "lease/" + c.pool.id + "/" + c.name, Value: data["lease/"+c.pool.id+"/"+c.name], Delete: data["lease/"+c.pool.id+"/"+c.name] == nil})
		if !there || !l.live || l.host != h.id || l.addr != c.addr {
			out = append(out, c)
		}
	}
	return out
}

// check checks a round's history.
func (w *world) check(pools []testPool, began int64, dead uint8) {
	w.t.Helper()
	w.seen.sync()
	for _, h := range w.hosts {
		w.noteWrites(h.n, h.proc.spy)
	}
	events := w.hist.take()
	events = append(events, w.late(events)...)
	events = append(events, w.seen.marks(began)...)
	now := w.hist.now()
	data, err := w.net.look(w.t.Context())
	w.ok(err)
	ops := 0
	for _, p := range pools {
		for _, name := range p.names {
			e := event{kind: ends, pool: p.id, name: name, by: -1, call: now + int64(10*time.Second), ret: now + int64(10*time.Second) + 1}
			key := "lease/" + p.id + "/" + name
			if value := data[key]; value != nil {
				l, _ := lease(kv.Op{Key: key, Value: value})
				e.got, e.reserved = l.addr, l.reserved
				if l.live {
					e.by = hostNumber(l.host)
				}
			}
			ops += checkName(w.t, p, name, append(slices.Clip(events), e), dead)
			w.count("histories")
		}
	}
	w.t.Logf("round: %d requests and other events; the names' histories have %d", len(events), ops)
}

// late are the writes that belong to no sure request that says what they write:
// a stop of what was started alone may be the first that the store hears of it.
func (w *world) late(events []event) []event {
	type who struct {
		pool, name string
		host       int
	}
	sure := map[who][]event{}
	for _, e := range events {
		if e.out == done && e.kind < writes && e.kind != stops {
			sure[who{e.pool, e.name, e.host}] = append(sure[who{e.pool, e.name, e.host}], e)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []event
	for _, e := range w.writes {
		own := slices.ContainsFunc(sure[who{e.pool, e.name, e.host}], func(s event) bool { return s.call <= e.ret && e.call <= s.ret })
		if !own {
			out = append(out, e)
			w.counts["writes of what was decided alone"]++
		}
	}
	return out
}
