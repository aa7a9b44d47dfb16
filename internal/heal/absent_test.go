package heal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dockstack/dockstack/internal/engine"
)

const cutText = "failed to set up container networking: remote: dockstack: the engine repeated a call without its content, because the plugin stopped in the middle of it; start the container again"

// Sleeps here are in a bubble's time (testing/synctest), and last no time.

// unseen makes a healer that is told of no picture.
func (f *fake) unseen(t *testing.T) *Healer {
	t.Helper()
	h := New(Config{Engine: f, Ours: func(string) bool { return true }, Done: func(Case, error) {}, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); h.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return h
}

// fall is a start that failed with text.
func (f *fake) fall(name string, kept bool, text string) {
	f.add(name, "", kept)
	f.change(func() {
		b := f.all["id-"+name]
		b.Error, b.Container.Networks = text, []string{"internal"}
	})
}

func TestFailedStartsAreMadeUpFor(t *testing.T) {
	label := func(f *fake, value string) { f.all["id-web"].Labels[Label] = value }
	tests := []struct {
		what   string
		before func(f *fake)
		then   func(f *fake, h *Healer) // two seconds after the occasion
		config func(*Config)
		did    string
		cases  string
	}{
		{what: "one", before: func(f *fake) { f.fall("web", true, cutText) }, did: "start web"},
		{what: "many, and others that are well, ended, or were refused", before: func(f *fake) {
			for i := range 20 {
				f.fall(fmt.Sprint("c", 10+i), true, cutText)
			}
			f.fall("full", true, "failed to set up container networking: remote: dockstack: pool is full")
			f.fall("ended", true, "")
			f.nova(true)
		}, did: "start c10, start c11, start c12, start c13, start c14, start c15, start c16, start c17, start c18, start c19, start c20, start c21, start c22, start c23, start c24, start c25, start c26, start c27, start c28, start c29"},
		{what: "the engine says it later", before: func(f *fake) { f.fall("web", true, "") }, then: func(f *fake, _ *Healer) {
			time.Sleep(25 * time.Second)
			f.change(func() { f.all["id-web"].Error = cutText })
		}, did: "start web"},
		{what: "too late to be of that", before: func(f *fake) { f.fall("web", true, "") }, then: func(f *fake, _ *Healer) {
			time.Sleep(3 * time.Minute)
			f.change(func() { f.all["id-web"].Error = cutText })
		}},
		{what: "another occasion", before: func(f *fake) { f.fall("web", true, "") }, then: func(f *fake, h *Healer) {
			time.Sleep(3 * time.Minute)
			f.change(func() { f.all["id-web"].Error = cutText })
			h.Missed()
		}, did: "start web"},
		{what: "the engine is about to start it", before: func(f *fake) {
			f.fall("web", true, cutText)
			f.all["id-web"].Restarting = true
		}},
		{what: "no restart policy", before: func(f *fake) { f.fall("web", false, cutText) }},
		{what: "no restart policy, but the label", before: func(f *fake) { f.fall("web", false, cutText); label(f, "on") }, did: "start web"},
		{what: "it declines", before: func(f *fake) { f.fall("web", true, cutText); label(f, "off") }, cases: "web label"},
		{what: "it declined, and is started", before: func(f *fake) { f.fall("web", true, cutText); label(f, "off") }, then: func(f *fake, _ *Healer) { f.start("web") }},
		{what: "it declined, and then there was a reason", before: func(f *fake) { f.fall("web", true, cutText); label(f, "off") }, then: func(f *fake, _ *Healer) {
			f.change(func() { f.all["id-web"].Error = "pool is full" })
			time.Sleep(2 * lastRetry)
		}},
		{what: "healing is off", before: func(f *fake) { f.fall("web", true, cutText) }, config: func(c *Config) { c.Off = true }, cases: "web setting"},
		{what: "another driver's network", before: func(f *fake) { f.fall("web", true, cutText) }, config: func(c *Config) { c.Ours = func(string) bool { return false } }},
		{what: "its members follow", before: func(f *fake) {
			f.nova(true)
			f.stop("nova", "api", "conductor", "scheduler")
			f.all["id-nova"].Error, f.all["id-nova"].Container.Networks = cutText, []string{"internal"}
			for _, m := range []string{"api", "conductor", "scheduler"} {
				f.start(m)
			}
		}, did: "start api, start conductor, start nova, start scheduler"},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				tt.before(f)
				if tt.config == nil {
					tt.config = func(*Config) {}
				}
				h := f.begin(t, tt.config)
				h.Missed()
				time.Sleep(2 * time.Second)
				if tt.then != nil {
					tt.then(f, h)
				}
				time.Sleep(40 * time.Second)
				if got := f.deeds(); got != tt.did {
					t.Errorf("it did %q, want %q", got, tt.did)
				}
				if got := texts(h); got != tt.cases {
					t.Errorf("cases are %q, want %q", got, tt.cases)
				}
				time.Sleep(10 * time.Minute)
				if got := f.deeds(); got != "" {
					t.Errorf("later it did %q", got)
				}
			})
		})
	}
}

// counted counts what the healer looks at.
type counted struct {
	*fake
	inspects int
}

func (c *counted) Inspect(ctx context.Context, id string) (engine.Life, error) {
	c.change(func() { c.inspects++ })
	return c.fake.Inspect(ctx, id)
}

// It costs a few looks after an occasion, and none otherwise.
func TestLooksAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counted{fake: newFake()}
		c.fall("web", true, "")
		c.fall("elsewhere", true, "")
		c.change(func() { c.all["id-elsewhere"].Container.Networks = []string{"bridge"} })
		h := c.begin(t, func(cfg *Config) { cfg.Engine = c })
		time.Sleep(10 * time.Minute)
		if c.inspects != 0 {
			t.Errorf("%d looks for no reason", c.inspects)
		}
		h.Missed()
		time.Sleep(20 * time.Minute)
		if c.inspects < 4 || c.inspects > 6 {
			t.Errorf("%d looks at one container", c.inspects)
		}
	})
}

// taken is what the engine keeps of a start that failed at Join, where the plugin
// was killed, or refused it.
const (
	takenCut     = cutText + "; the engine takes the network from a container whose Join fails: before the next start, connect it again (docker network connect NETWORK CONTAINER)"
	takenRefused = "failed to set up container networking: remote: dockstack: switch is away; the engine takes the network from a container whose Join fails: before the next start, connect it again (docker network connect NETWORK CONTAINER)"
)

// The engine takes a network from a container whose start failed at Join.
func TestNetworksThatTheEngineTook(t *testing.T) {
	const web = "id-web"
	// loses has the engine take a network from web, and keep why.
	loses := func(network, why string) func(f *fake, _ *Healer) {
		return func(f *fake, _ *Healer) {
			f.change(func() {
				b := f.all[web]
				b.Container.Networks = slices.DeleteFunc(slices.Clone(b.Container.Networks), func(n string) bool { return n == network })
				b.Error = why
			})
		}
	}
	on := func(networks ...string) func(f *fake) {
		return func(f *fake) {
			b := f.all[web]
			b.Home, b.Container.Networks, b.Service = "internal", networks, "shop"
		}
	}
	tests := []struct {
		what   string
		before func(f *fake)
		then   func(f *fake, h *Healer)
		loose  bool // no restart policy
		off    bool
		did    string
		cases  string
	}{
		{what: "one of one", before: on("internal"), then: loses("internal", takenCut), did: "connect web to internal as [shop], start web"},
		{what: "nobody calls it by a service", before: func(f *fake) { on("internal")(f); f.all[web].Service = "" }, then: loses("internal", takenCut), did: "connect web to internal as [], start web"},
		{what: "its second one", before: func(f *fake) { on("internal", "ours2")(f); f.networks["ours2"] = "ours2" }, then: loses("ours2", takenCut), did: "connect web to ours2 as [shop], start web"},
		{what: "before anybody looked", before: func(f *fake) { on()(f); f.all[web].Error = takenCut }, did: "connect web to internal as [shop], start web"},
		{what: "it can't be known which", before: func(f *fake) { on("internal")(f); f.all[web].Error = takenCut }, cases: "web lost"},
		{what: "another driver's", before: on("internal", "bridge"), then: loses("bridge", "failed to set up container networking: driver x failed during join: no"), did: ""},
		{what: "one that was removed since", before: func(f *fake) { on("internal", "gone")(f) }, then: loses("gone", takenCut), cases: "web lost"},
		{what: "refused, with a reason", before: on("internal"), then: loses("internal", takenRefused), did: "connect web to internal as [shop]"},
		{what: "no restart policy", before: on("internal"), then: loses("internal", takenCut), loose: true, did: "connect web to internal as [shop]"},
		{what: "no restart policy, nor known which", before: func(f *fake) { on("internal")(f); f.all[web].Error = takenCut }, loose: true},
		{what: "a person disconnected it, and then there was a reason", before: on("internal"), then: loses("internal", "failed to set up container networking: remote: dockstack: pool is full")},
		{what: "healing is off", before: on("internal"), then: loses("internal", takenCut), off: true, cases: "web setting"},
		{what: "healing is off, and it can't be known which", before: func(f *fake) { on("internal")(f); f.all[web].Error = takenCut }, off: true, cases: "web lost"},
		{what: "one after the other", before: func(f *fake) { on("internal", "ours2")(f); f.networks["ours2"] = "ours2" }, then: func(f *fake, h *Healer) {
			h.Missed()
			loses("ours2", takenCut)(f, h)
			time.Sleep(time.Second)
			loses("internal", takenCut)(f, h)
		}, did: "connect web to internal as [shop], connect web to ours2 as [shop], start web"},
		{what: "what it was made on a person had removed", before: func(f *fake) { on("ours2")(f); f.networks["ours2"] = "ours2" }, then: loses("ours2", takenRefused), did: "connect web to ours2 as [shop]"},
		{what: "given back, and then a person removed it", before: on("internal"), loose: true, then: func(f *fake, h *Healer) {
			h.Missed()
			loses("internal", takenCut)(f, h)
			time.Sleep(5 * time.Minute)
			loses("internal", takenCut)(f, h)
			time.Sleep(time.Second)
		}, did: "connect web to internal as [shop]"},
		{what: "a person did it", before: on("internal"), then: func(f *fake, h *Healer) {
			loses("internal", takenCut)(f, h)
			f.change(func() { on("internal")(f) })
			f.start("web")
		}},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.add("web", "", !tt.loose)
				tt.before(f)
				h := f.begin(t, func(c *Config) {
					c.Off, c.Ours = tt.off, func(n string) bool { return n == "internal" || n == "ours2" || n == "gone" }
				})
				time.Sleep(time.Second)
				if tt.then != nil {
					tt.then(f, h)
				}
				h.Missed()
				time.Sleep(40 * time.Second)
				if got := f.deeds(); got != tt.did {
					t.Errorf("it did %q, want %q", got, tt.did)
				}
				if got := texts(h); got != tt.cases {
					t.Errorf("cases are %q, want %q", got, tt.cases)
				}
				time.Sleep(10 * time.Minute)
				if got := f.deeds(); got != "" {
					t.Errorf("later it did %q", got)
				}
			})
		})
	}
}

// Told right before, it knows which network is taken from a container that it never
// saw with it.
func TestLosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.fall("web", true, "")
		f.change(func() {
			f.networks["ours2"] = "ours2"
			f.all["id-web"].Home, f.all["id-web"].Container.Networks = "internal", []string{"internal", "ours2"}
		})
		h := f.unseen(t)
		h.Losing(t.Context())
		f.change(func() { f.all["id-web"].Container.Networks, f.all["id-web"].Error = []string{"internal"}, takenCut })
		h.Observe(f.picture())
		time.Sleep(5 * time.Second)
		if got := f.deeds(); got != "connect web to ours2 as [], start web" {
			t.Errorf("it did %q", got)
		}
	})
}

// What fails again after a network was given back: at something else, at Join
// again, or the giving back itself.
func TestTakenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.fall("web", true, takenCut)
		f.change(func() { f.all["id-web"].Home, f.all["id-web"].Container.Networks = "internal", nil })
		f.unconnected = errors.New("engine is busy")
		h := f.begin(t)
		h.Missed()
		time.Sleep(time.Minute)
		if got := f.deeds(); !strings.HasPrefix(got, "connect web to internal") || strings.Contains(got, "start") {
			t.Errorf("it did %q", got)
		}
		if texts(h) != "web failed" || h.Cases()[0].Network != "internal" || !strings.Contains(h.Cases()[0].What(), "busy") {
			t.Errorf("cases are %+v", h.Cases())
		}
		f.change(func() { f.unconnected, f.refuse = nil, errors.New("no answer in two minutes") })
		time.Sleep(2 * lastGap)
		if got := f.deeds(); strings.Count(got, "connect") != 1 || strings.Count(got, "start") < 2 {
			t.Errorf("connected, it did %q", got)
		}
		if texts(h) != "web failed" || h.Cases()[0].Network != "" {
			t.Errorf("cases are %+v", h.Cases())
		}
		f.change(func() { f.refuse = errors.New(takenCut); f.taking = true })
		time.Sleep(2 * lastGap)
		if got := f.deeds(); strings.Count(got, "connect") < 1 {
			t.Errorf("taken again, it did %q", got)
		}
		f.change(func() { f.refuse, f.taking = nil, false })
		time.Sleep(2 * lastGap)
		if got := f.deeds(); got != "connect web to internal as [], start web" || texts(h) != "" {
			t.Errorf("at last it did %q, cases %q", got, texts(h))
		}
	})
}

// A container that can't be started is tried ever more rarely, and told; an engine
// that does not answer is asked again.
func TestStartsThatFailAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.fall("web", true, cutText)
		f.refuse, f.hung = errors.New("no answer in two minutes"), errors.New("timeout")
		h := f.begin(t)
		h.Missed()
		time.Sleep(5 * time.Minute)
		if got := f.deeds(); got != "" {
			t.Errorf("unseen, it did %q", got)
		}
		f.change(func() { f.hung = nil })
		time.Sleep(10 * time.Minute)
		if n := strings.Count(f.deeds(), "start web"); n < 6 || n > 10 {
			t.Errorf("%d attempts in ten minutes", n)
		}
		if texts(h) != "web failed" || !strings.Contains(h.Cases()[0].What(), "two minutes") {
			t.Errorf("cases are %+v", h.Cases())
		}
		f.change(func() { f.refuse = nil })
		time.Sleep(lastGap + time.Second)
		if got := f.deeds(); got != "start web" || texts(h) != "" {
			t.Errorf("it did %q, cases %q", got, texts(h))
		}
		f.stop("web")
		time.Sleep(10 * time.Minute)
		if got := f.deeds(); got != "" {
			t.Errorf("a person stopped it, and it did %q", got)
		}
	})
}

// The engine has the API served long after the plugin serves it.
func TestLooksWaitForTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.fall("web", true, cutText)
		h := f.unseen(t)
		h.Missed()
		time.Sleep(10 * time.Minute)
		h.Observe(f.picture())
		time.Sleep(time.Second)
		if got := f.deeds(); got != "start web" {
			t.Errorf("it did %q", got)
		}
	})
}

func TestUnanswered(t *testing.T) {
	const begin = "failed to set up container networking: "
	for text, want := range map[string]bool{
		cutText:      true,
		takenCut:     true,
		takenRefused: false,
		begin + "failed to create endpoint web on network internal: remote: dockstack: the engine repeated a call without its content, because the plugin stopped in the middle of it; start the container again": true,
		begin + `Post "http://plugin.moby.localhost/IpamDriver.RequestAddress": dial unix /run/docker/plugins/dockstack.sock: connect: connection refused`:                                                        true,
		begin + `Post "http://plugin.moby.localhost/IpamDriver.RequestAddress": dial unix /run/docker/plugins/dockstack.sock: connect: no such file or directory`:                                                 true,
		begin + `failed to create endpoint web on network internal: Post "http://plugin.moby.localhost/NetworkDriver.CreateEndpoint": EOF`:                                                                        true,
		begin + `Post "http://plugin.moby.localhost/NetworkDriver.Join": read unix @->/run/docker/plugins/dockstack.sock: read: connection reset by peer`:                                                         true,
		begin + `Post "http://plugin.moby.localhost/NetworkDriver.Join": context deadline exceeded (Client.Timeout exceeded while awaiting headers)`:                                                              true,
		begin + `legacy plugin: Post "http://plugin.moby.localhost/Plugin.Activate": dial unix /run/docker/plugins/dockstack.sock: connect: connection refused`:                                                   true,
		begin + `plugin "dockstack" not found`:                                                     true,
		begin + `plugin dockstack-plugin:latest found but disabled`:                                true,
		begin + `could not resolve driver dockstack in registry`:                                   true,
		begin + `failed to get driver during join: could not resolve driver dockstack in registry`: true,
		begin + `invalid ipam driver: "dockstack"`:                                                 true,

		"": false,
		begin + "remote: dockstack: pool is full: network internal has no address left":                             false,
		begin + "remote: dockstack: address is taken: 172.16.0.5 is db's":                                           false,
		begin + "remote: dockstack: the store is away: Post \"http://10.0.0.1:2379/v3/kv/txn\": connection refused": false,
		begin + "Bind for 0.0.0.0:80 failed: port is already allocated":                                             false,
		begin + `Post "http://plugin.moby.localhost/IpamDriver.RequestAddress": context canceled`:                   false,
		`error looking up volume plugin x: plugin "x" not found`:                                                    false,
		nonRunning: false,
	} {
		if got := Unanswered(text); got != want {
			t.Errorf("%q: %t", text, got)
		}
		if got, want := AtJoin(text), strings.Contains(text, "Join") || strings.Contains(text, "join:"); got != want {
			t.Errorf("%q: at Join %t", text, got)
		}
	}
}

func TestTextsOfFailedStarts(t *testing.T) {
	const connect = "docker network connect internal web && docker start web"
	tests := []struct {
		c          Case
		what, mend string
	}{
		{Case{Member: "web", Kind: Started, Down: true}, "container web started: before, it could not, because dockstack did not answer the engine", "docker start web"},
		{Case{Member: "web", Kind: Off, Down: true}, "container web is down: it could not start, because dockstack did not answer the engine; DOCKSTACK_HEAL is off", "docker start web"},
		{Case{Member: "web", Kind: Failed, Error: "disk full"}, "container web is down: it could not start, because dockstack did not answer the engine; that could not be mended yet: disk full", "docker start web"},
		{Case{Member: "web", Kind: Started, Network: "internal"}, "container web started, on network internal again, which the engine had taken from it when its start failed", connect},
		{Case{Member: "web", Kind: Connected, Network: "internal"}, "container web is on network internal again, which the engine had taken from it when its start failed", connect},
		{Case{Member: "web", Kind: Off, Network: "internal"}, "container web is down: its start failed, and the engine took network internal from it; DOCKSTACK_HEAL is off", connect},
		{Case{Member: "web", Kind: Failed, Network: "internal ext", Error: "busy"}, "container web is down: its start failed, and the engine took network internal and ext from it; that could not be mended yet: busy", "docker network connect internal web && docker network connect ext web && docker start web"},
		{Case{Member: "web", Kind: Lost}, "container web is down: its start failed, and the engine took one of its networks from it; which one is not known, or whether it was connected again", "docker network connect NETWORK web && docker start web"},
	}
	for _, tt := range tests {
		if what, mend := tt.c.What(), tt.c.Command(); what != tt.what || mend != tt.mend {
			t.Errorf("%q, %q, want %q, %q", what, mend, tt.what, tt.mend)
		}
	}
}
