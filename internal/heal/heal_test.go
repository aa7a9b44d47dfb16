package heal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/dockstack/dockstack/internal/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const nonRunning = "cannot join network namespace of a non running container: container nova is exited"

// fake is an engine in memory, as far as groups are concerned: namespaces end
// with their owners' runs, and nobody else restarts a container.
type fake struct {
	mu sync.Mutex
	// all are the containers by id; guarded by mu, as is everything.
	all map[string]*box
	// networks are their names by ids.
	networks map[string]string
	// runs counts starts, of which each makes a namespace.
	runs int
	// did are the healer's deeds, said its cases' texts in the log.
	did []string
	// refuse is why the engine starts nothing now, unconnected why it connects
	// nothing, hung why it inspects nothing.
	refuse, unconnected, hung error
	// taking: it fails at Join.
	taking bool
}

// box is a container. ns is the run whose namespace it is in.
type box struct {
	engine.Container
	engine.Life
	ns int
}

func newFake() *fake {
	return &fake{all: map[string]*box{}, networks: map[string]string{"internal": "internal", "bridge": "bridge"}}
}

func (f *fake) add(name, shares string, kept bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := &box{Container: engine.Container{ID: "id-" + name, Name: name, Labels: map[string]string{}}, Life: engine.Life{Kept: kept, Grace: 10 * time.Second}}
	if shares != "" {
		b.Shares = "id-" + shares
	}
	f.all[b.ID] = b
}

// change changes it while the healer looks.
func (f *fake) change(how func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	how()
}

// nova is a group as compose makes it, up and well.
func (f *fake) nova(kept bool) {
	f.add("nova", "", true)
	f.start("nova")
	for _, m := range []string{"api", "conductor", "scheduler"} {
		f.add(m, "nova", kept)
		time.Sleep(time.Millisecond)
		f.start(m)
	}
}

// start starts a container as the engine would, and says why not.
func (f *fake) start(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.startLocked(f.all["id-"+name])
}

func (f *fake) startLocked(b *box) {
	f.runs++
	ns := f.runs
	if b.Shares != "" {
		owner := f.all[b.Shares]
		if owner == nil || !owner.Life.Running {
			b.Error = nonRunning
			return
		}
		ns = owner.ns
	}
	b.Life.Running, b.Restarting, b.Error, b.ns, b.Started = true, false, "", ns, time.Now()
	if b.Shares == "" {
		b.On = []engine.Attachment{{Network: "internal", Endpoint: fmt.Sprint("e", ns)}}
	}
}

func (f *fake) stop(names ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range names {
		b := f.all["id-"+name]
		b.Life.Running, b.On, b.Finished = false, nil, time.Now()
	}
}

func (f *fake) restart(name string) {
	f.stop(name)
	time.Sleep(100 * time.Millisecond)
	f.start(name)
}

func (f *fake) Inspect(_ context.Context, id string) (engine.Life, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.hung != nil || f.all[id] == nil {
		return engine.Life{}, errors.Join(f.hung, errors.New("no such container"))
	}
	life := f.all[id].Life
	life.Networks = f.all[id].Container.Networks
	return life, nil
}

func (f *fake) List(context.Context) (engine.Picture, error) { return f.picture(), nil }

func (f *fake) Connect(_ context.Context, id, network string, aliases []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.all[id]
	f.did = append(f.did, fmt.Sprintf("connect %s to %s as %v", b.Name, network, aliases))
	if f.unconnected != nil {
		return f.unconnected
	}
	b.Container.Networks = append(slices.Clone(b.Container.Networks), network)
	return nil
}

func (f *fake) Restart(_ context.Context, id string, grace time.Duration) error {
	time.Sleep(grace / 10) // it stops
	return f.act("restart", id)
}

func (f *fake) Start(_ context.Context, id string) error { return f.act("start", id) }

func (f *fake) act(what, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.all[id]
	f.did = append(f.did, what+" "+b.Name)
	b.Life.Running = false
	if f.refuse != nil {
		if f.taking {
			b.Container.Networks, b.Error = nil, f.refuse.Error()
		}
		return f.refuse
	}
	f.startLocked(b)
	if b.Error != "" {
		return errors.New(b.Error)
	}
	return nil
}

func (f *fake) picture() engine.Picture {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := engine.Picture{Networks: maps.Clone(f.networks)}
	for _, b := range f.all {
		c := b.Container
		c.Running = b.Life.Running
		p.Containers = append(p.Containers, c)
	}
	return p
}

// deeds are what the healer did since the last time, sorted.
func (f *fake) deeds() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	slices.Sort(f.did)
	out := strings.Join(f.did, ", ")
	f.did = nil
	return out
}

// cut are the running members that nobody reaches.
func (f *fake) cut() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, b := range f.all {
		if o := f.all[b.Shares]; b.Life.Running && b.Shares != "" && (o == nil || !o.Life.Running || o.ns != b.ns) {
			out = append(out, b.Name)
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// begin runs a healer, which gets a picture every 200 ms, as with events.
func (f *fake) begin(t *testing.T, change ...func(*Config)) *Healer {
	t.Helper()
	cfg := Config{
		Engine: f, Ours: func(n string) bool { return n == "internal" },
		Done: func(Case, error) {}, Log: slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(&cfg)
	}
	h := New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { h.Run(ctx) })
	wg.Go(func() {
		for ctx.Err() == nil {
			h.Observe(f.picture())
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return h
}

func texts(h *Healer) string {
	var out []string
	for _, c := range h.Cases() {
		out = append(out, c.Member+" "+string(c.Kind))
	}
	return strings.Join(out, ", ")
}

// all is what is done for a group of three.
func all(what string) string {
	return fmt.Sprintf("%[1]s api, %[1]s conductor, %[1]s scheduler", what)
}

func TestHeals(t *testing.T) {
	off := func(c *Config) { c.Off = true }
	tests := []struct {
		what   string
		before func(f *fake) // that the group is as it is, before the healer begins
		then   func(f *fake) // what happens
		config func(*Config)
		did    string
		cases  string
		cut    string
	}{
		{what: "nothing happens"},
		{what: "the owner restarts", then: func(f *fake) { f.restart("nova") }, did: all("restart")},
		{what: "it did while nobody looked", before: func(f *fake) { f.restart("nova") }, did: all("restart")},
		{what: "members were to start before their owner", before: func(f *fake) {
			f.stop("api", "conductor", "scheduler", "nova")
			for _, n := range []string{"api", "conductor", "scheduler", "nova"} {
				f.start(n)
			}
		}, did: all("start")},
		{what: "the owner stays down", then: func(f *fake) { f.stop("nova", "api"); f.start("api") }, cut: "conductor, scheduler"},
		{what: "a person stopped a member", then: func(f *fake) { f.stop("api"); f.restart("nova") }, did: "restart conductor, restart scheduler"},
		{what: "a person restarted a member too", then: func(f *fake) { f.restart("nova"); f.restart("api") }, did: "restart conductor, restart scheduler"},
		{what: "a member is paused", then: func(f *fake) { f.change(func() { f.all["id-api"].Paused = true }); f.restart("nova") }, did: "restart conductor, restart scheduler", cut: "api"},
		{what: "members without a policy", before: func(f *fake) { keep(f, false); f.restart("nova") }, cases: "api no restart policy, conductor no restart policy, scheduler no restart policy", cut: "api, conductor, scheduler"},
		{what: "one of them wants it", before: func(f *fake) { keep(f, false); f.all["id-api"].Labels[Label] = "on"; f.restart("nova") }, did: "restart api", cases: "conductor no restart policy, scheduler no restart policy", cut: "conductor, scheduler"},
		{what: "one without a policy was started too early", before: func(f *fake) { keep(f, false); f.stop("api", "nova"); f.start("api"); f.start("nova") }, cases: "conductor no restart policy, scheduler no restart policy", cut: "conductor, scheduler"},
		{what: "a member declines", before: func(f *fake) { f.all["id-api"].Labels[Label] = "off" }, then: func(f *fake) { f.restart("nova") }, did: "restart conductor, restart scheduler", cases: "api label", cut: "api"},
		{what: "the owner declines", before: func(f *fake) { f.all["id-nova"].Labels[Label] = "off" }, then: func(f *fake) { f.restart("nova") }, cases: "api label, conductor label, scheduler label", cut: "api, conductor, scheduler"},
		{what: "healing is off", config: off, then: func(f *fake) { f.restart("nova") }, cases: "api setting, conductor setting, scheduler setting", cut: "api, conductor, scheduler"},
		{what: "another driver's network", config: func(c *Config) { c.Ours = func(string) bool { return false } }, then: func(f *fake) { f.restart("nova") }, cut: "api, conductor, scheduler"},
		{what: "the owner is removed", then: func(f *fake) { f.stop("nova"); f.change(func() { delete(f.all, "id-nova") }); time.Sleep(orphaned) }, cases: "api orphan, conductor orphan, scheduler orphan", cut: "api, conductor, scheduler"},
		{what: "compose makes all anew", then: func(f *fake) {
			f.stop("nova", "api", "conductor", "scheduler")
			f.change(func() { clear(f.all) })
			f.nova(true)
		}},
		{what: "a member's member", then: func(f *fake) {
			f.add("debug", "api", true)
			f.start("debug")
			time.Sleep(time.Second)
			f.restart("nova")
		}, did: "restart api, restart conductor, restart debug, restart scheduler"},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.nova(true)
				if tt.before != nil {
					tt.before(f)
				}
				if tt.config == nil {
					tt.config = func(*Config) {}
				}
				h := f.begin(t, tt.config)
				time.Sleep(2 * time.Second)
				if tt.then != nil {
					tt.then(f)
				}
				time.Sleep(10 * time.Second)
				if got := f.deeds(); got != tt.did {
					t.Errorf("it did %q, want %q", got, tt.did)
				}
				if got := texts(h); got != tt.cases {
					t.Errorf("cases are %q, want %q", got, tt.cases)
				}
				if got := f.cut(); got != tt.cut {
					t.Errorf("cut off are %q, want %q", got, tt.cut)
				}
				time.Sleep(10 * time.Minute)
				if got := f.deeds(); got != "" {
					t.Errorf("later it did %q", got)
				}
			})
		})
	}
}

func keep(f *fake, kept bool) {
	time.Sleep(time.Millisecond)
	for _, b := range f.all {
		if b.Shares != "" {
			b.Kept = kept
		}
	}
}

// An owner that crashes again and again does not take its members along.
func TestCrashLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.nova(true)
		f.begin(t)
		time.Sleep(time.Minute)
		rounds := 0
		for range 120 { // half an hour
			f.restart("nova")
			time.Sleep(15 * time.Second)
			if f.deeds() != "" {
				rounds++
			}
		}
		if rounds < 5 || rounds > 14 {
			t.Errorf("%d treatments in half an hour of crashes", rounds)
		}
		time.Sleep(lastGap)
		if f.cut() != "" {
			t.Errorf("in the end %s are cut off", f.cut())
		}
		f.deeds()
		time.Sleep(time.Minute)
		f.restart("nova")
		time.Sleep(5 * time.Second)
		if got := f.deeds(); got != all("restart") {
			t.Errorf("after a calm time it did %q", got)
		}
	})
}

// What fails is tried again, ever more rarely, and told.
func TestFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.nova(true)
		failed := 0
		var mu sync.Mutex
		h := f.begin(t, func(c *Config) {
			c.Done = func(_ Case, err error) {
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					failed++
				}
			}
		})
		time.Sleep(time.Minute)
		f.change(func() { f.refuse = errors.New("no space left on device") })
		f.restart("nova")
		time.Sleep(10 * time.Minute)
		if texts(h) != "api failed, conductor failed, scheduler failed" || !strings.Contains(h.Cases()[0].What(), "no space left") {
			t.Errorf("cases are %+v", h.Cases())
		}
		mu.Lock()
		if failed < 15 || failed > 30 {
			t.Errorf("%d attempts in ten minutes", failed)
		}
		mu.Unlock()
		f.deeds()
		f.change(func() { f.refuse = nil })
		time.Sleep(lastGap + time.Second)
		if got := f.deeds(); got != all("start") || f.cut() != "" || texts(h) != "" {
			t.Errorf("it did %q, cut off are %q, cases %q", got, f.cut(), texts(h))
		}
	})
}

// An engine that does not answer is asked again, and not much.
func TestHungEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.nova(true)
		f.hung = errors.New("timeout")
		f.begin(t)
		f.restart("nova")
		time.Sleep(time.Minute)
		f.change(func() { f.hung = nil })
		time.Sleep(lastRetry)
		if got := f.deeds(); got != all("restart") {
			t.Errorf("it did %q", got)
		}
	})
}

// The clock goes back: what was together is dead when it is so no more, and
// once is enough.
func TestClockGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.nova(true)
		f.begin(t)
		time.Sleep(5 * time.Second)
		f.restart("nova")
		f.change(func() { f.all["id-nova"].Started = f.all["id-nova"].Started.Add(-time.Hour) })
		time.Sleep(10 * time.Second)
		if got := f.deeds(); got != all("restart") {
			t.Errorf("back: it did %q", got)
		}
		time.Sleep(time.Minute)
		f.restart("nova")
		f.change(func() { f.all["id-nova"].Started = f.all["id-nova"].Started.Add(time.Hour) })
		time.Sleep(2 * time.Hour)
		if got := f.deeds(); got != all("restart") {
			t.Errorf("ahead: it did %q", got)
		}
	})
}

func TestTexts(t *testing.T) {
	tests := []struct {
		c          Case
		what, mend string
	}{
		{Case{Member: "api", Owner: "nova", Kind: Restarted}, "container api restarted: the network namespace of nova, which it shares, ended when that restarted", "docker restart api"},
		{Case{Member: "api", Owner: "nova", Kind: Started, Down: true}, "container api started: before, nova, whose network namespace it shares, did not run", "docker restart api"},
		{Case{Member: "api", Owner: "nova", Kind: Orphan}, "it shares the namespace of nova, which was removed", "docker rm -f api"},
		{Case{Member: "api", Owner: "nova", Kind: Off, Down: true}, "api is down: it shares the network namespace of nova, which did not run when it was to start; DOCKSTACK_HEAL is off", "docker restart api"},
	}
	for _, tt := range tests {
		if got := tt.c.What(); !strings.Contains(got, tt.what) {
			t.Errorf("%q, want %q", got, tt.what)
		}
		if got := tt.c.Command(); got != tt.mend {
			t.Errorf("%q, want %q", got, tt.mend)
		}
	}
}
