package services

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/engine"
	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/kvtest"
)

func TestServicesAndAliasesOfAHost(t *testing.T) {
	h := newHost(t, "a", nil).start()
	two := up("shop-web-2", "web", "web", "www")
	two.On = append(two.On, engine.Attachment{Network: "n2", Endpoint: "e", Aliases: []string{"web", "back_end"}})
	plain := up("db", "", "database")
	other := up("else", "web")
	other.On = []engine.Attachment{{Network: "bridge", Endpoint: "x"}}
	h.sees(up("shop-web-1", "web", "web", "shop-web-1", "www"), two, plain, other)
	h.answers(`
back_end: a/shop-web-2[p2]
back-end by label: a/shop-web-2[p2]
database: a/db[p1]
web: a/shop-web-1[p1], a/shop-web-2[p1 p2]
www: a/shop-web-1[p1], a/shop-web-2[p1]
`)
	if f, ok := h.Now().Facts("a", "db"); !ok || !slices.Equal(f.Ports, []Port{{80, "tcp"}}) || f.Project != "shop" {
		t.Errorf("facts of db are %+v, %v", f, ok)
	}
	if got := h.Now().Members("web").At(0).Via; got != "compose service web" {
		t.Errorf("found by %q", got)
	}
	if got := h.Now().Members("www").At(0).Via; got != "network alias www" {
		t.Errorf("found by %q", got)
	}
	// Nothing changes, so nothing is made or written.
	before := h.Now()
	h.writes()
	commits := h.local.Commits()
	h.sees(up("shop-web-1", "web", "web", "shop-web-1", "www"), two, plain, other)
	h.writes()
	if h.Now() != before || h.local.Commits() != commits {
		t.Error("the same picture again makes a difference")
	}
	// Renamed, detached, removed.
	two.Name, two.On = "shop-web-9", two.On[1:]
	h.sees(two, plain)
	h.answers(`
back_end: a/shop-web-9[p2]
back-end by label: a/shop-web-9[p2]
database: a/db[p1]
web: a/shop-web-9[p2]
`)
	h.writes()
	if keys := slices.Sorted(mapKeys(h.local.Data())); !slices.Equal(keys, []string{"about/a/db", "about/a/shop-web-9"}) {
		t.Errorf("the store has %v", keys)
	}
}

func mapKeys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// What is known answers right after a restart, before the engine does, and
// stopped containers keep what they are.
func TestRestartOfTheDaemon(t *testing.T) {
	h := newHost(t, "a", nil).start()
	web, db := up("web-1", "web", "www"), up("db", "db")
	h.sees(web, db)
	h.writes()
	h.local = h.local.Reopen()
	h.start()
	want := "db: a/db[p1]\nweb: a/web-1[p1]\nwww: a/web-1[p1]\n"
	h.answers(want)
	// The engine comes up: nothing runs yet, then one does, not looked at closely.
	web.Running, db.Running = false, false
	h.sees(web, db)
	h.answers(want)
	crashing := web
	crashing.Running, crashing.On = true, nil
	h.sees(crashing, db)
	h.answers(want)
	again := engine.Container{ID: "id-web-1", Name: "web-1", Running: true, Project: "shop", Service: "web", On: []engine.Attachment{{Network: "n1", Endpoint: "new"}}}
	h.sees(again, db)
	h.answers(want)
	if f, _ := h.Now().Facts("a", "web-1"); len(f.Ports) != 1 {
		t.Errorf("ports are %v before it was looked at closely", f.Ports)
	}
	// What came under its name is another service: nothing is taken over.
	again.Service = "proxy"
	h.sees(again, db)
	h.answers("db: a/db[p1]\nproxy: a/web-1[p1]\n")
	h.sees()
	h.answers("")
	h.writes()
	if left := h.local.Data(); len(left) != 0 {
		t.Errorf("the store still has %v", left)
	}
}

func TestHealth(t *testing.T) {
	tests := []struct {
		health string
		label  string
		option bool
		out    bool
	}{
		{"", "", true, false},
		{engine.Healthy, "", true, false},
		{engine.Unhealthy, "", true, true},
		{engine.Starting, "", true, true},
		{engine.Unhealthy, "", false, false},
		{engine.Unhealthy, "on", false, true},
		{engine.Unhealthy, "off", true, false},
		{engine.Unhealthy, "maybe", true, true},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s label %s option %v", tt.health, tt.label, tt.option), func(t *testing.T) {
			h := newHost(t, "a", nil)
			h.health = tt.option
			h.start()
			c := up("web-1", "web")
			c.Health, c.Labels = tt.health, map[string]string{"dockstack.health": tt.label}
			h.sees(c)
			if got := h.Now().Members("web").At(0).Out; got != tt.out {
				t.Errorf("out is %v", got)
			}
			if f, err := decode(h.want["web-1"]); err != nil || f.Out != tt.out {
				t.Errorf("others are told %+v, %v", f, err)
			}
		})
	}
}

func TestHostsShareFacts(t *testing.T) {
	m := kvtest.NewMemory()
	a, b := newHost(t, "a", m).start().follow(), newHost(t, "b", m).start().follow()
	defer a.stop()
	defer b.stop()
	run, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); a.Run(run) }()
	a.sees(up("web-1", "web"))
	b.sees(up("web-2", "web", "www"))
	b.writes()
	want := "web: a/web-1[p1], b/web-2[p1]\nwww: b/web-2[p1]\n"
	until(t, func() bool { return answers(a.Now()) == want && answers(b.Now()) == want })
	// Away, what changes here shows here at once, and elsewhere when it is back.
	a.shared.Cut()
	a.sees(up("web-1", "web"), up("web-3", "web"))
	a.answers("web: a/web-1[p1], a/web-3[p1], b/web-2[p1]\nwww: b/web-2[p1]\n")
	b.answers(want)
	time.Sleep(20 * time.Millisecond) // the write fails
	a.shared.Mend()
	until(t, func() bool { return strings.Contains(answers(b.Now()), "a/web-3") })
	// What somebody else does to its keys is mended.
	err := b.shared.Commit(t.Context(), []kv.Op{{Key: Key("a", "web-1"), Delete: true}, {Key: Key("a", "web-3"), Value: []byte(`{}`)}, {Key: Key("a", "gone"), Value: []byte(`{}`)}})
	if err != nil {
		t.Fatal(err)
	}
	until(t, func() bool {
		data := m.Data()
		return string(data[Key("a", "web-1")]) == string(a.want["web-1"]) && string(data[Key("a", "web-3")]) == string(a.want["web-3"]) && data[Key("a", "gone")] == nil
	})
	cancel()
	<-done
}

func until(t *testing.T, is func() bool) {
	t.Helper()
	for limit := time.Now().Add(time.Minute); !is(); {
		if time.Now().After(limit) {
			t.Fatal("it never came about")
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// Two machines with one id would write against each other for ever.
func TestClonedHostDoesNotWrite(t *testing.T) {
	m := kvtest.NewMemory()
	a := newHost(t, "a", m).start()
	clone := newHost(t, "a", m)
	clone.mark.Value = []byte("run 2")
	clone.start()
	a.sees(up("web-1", "web"))
	a.writes()
	clone.sees(up("web-9", "web"))
	if err := clone.Flush(t.Context()); err == nil {
		t.Error("the clone writes")
	}
	if len(clone.told) != 1 || string(clone.told[0].Value) != "run 1" {
		t.Errorf("the marks were told %v", clone.told)
	}
	if data := m.Data(); data[Key("a", "web-1")] == nil || data[Key("a", "web-9")] != nil {
		t.Errorf("the store has %v", data)
	}
}

// Nobody knows what a write did whose answer was lost.
func TestAnswerOfAWriteIsLost(t *testing.T) {
	m := kvtest.NewMemory()
	a := newHost(t, "a", m).start()
	a.sees(up("web-1", "web"))
	a.writes()
	first := m.Data()[Key("a", "web-1")]
	a.sees(up("web-1", "proxy"), up("web-2", "web"))
	a.shared.LoseNext(kv.ErrAway)
	if err := a.Flush(t.Context()); !errors.Is(err, kv.ErrAway) {
		t.Fatal(err)
	}
	// Back to what it was, as far as was known.
	a.sees(up("web-1", "web"))
	a.writes()
	if data := m.Data(); string(data[Key("a", "web-1")]) != string(first) || data[Key("a", "web-2")] != nil {
		t.Errorf("the store has %v", data)
	}
}

func TestManyContainersAtOnce(t *testing.T) {
	m := kvtest.NewMemory()
	a := newHost(t, "a", m).start()
	var all []engine.Container
	for i := range 450 {
		all = append(all, up(fmt.Sprintf("web-%d", i), "web"))
	}
	a.sees(all...)
	before := a.shared.Commits()
	a.writes()
	if n := a.shared.Commits() - before; n != 5 {
		t.Errorf("%d commits", n)
	}
	if len(a.Now().Members("web")) != 450 {
		t.Errorf("%d members", len(a.Now().Members("web")))
	}
}

func TestForgetHost(t *testing.T) {
	m := kvtest.NewMemory()
	a, b := newHost(t, "a", m).start().follow(), newHost(t, "b", m).start().follow()
	defer a.stop()
	for i := range 250 {
		b.sees(up(fmt.Sprintf("web-%d", i), "web"))
		b.want[fmt.Sprintf("web-%d", i)] = []byte(`{}`)
	}
	var all []engine.Container
	for i := range 250 {
		all = append(all, up(fmt.Sprintf("web-%d", i), "web"))
	}
	b.sees(all...)
	b.writes()
	b.stop()
	a.sees(up("web-a", "web"))
	a.writes()
	until(t, func() bool { return len(a.Now().Members("web")) == 251 })
	if _, err := a.ForgetHost(t.Context(), "a"); err == nil {
		t.Error("it forgets itself")
	}
	if n, err := a.ForgetHost(t.Context(), "b"); err != nil || n != 250 {
		t.Errorf("%d, %v", n, err)
	}
	a.answers("web: a/web-a[p1]\n")
	if n, err := a.ForgetHost(t.Context(), "b"); err != nil || n != 0 {
		t.Errorf("again: %d, %v", n, err)
	}
}

// A host that left the others has no use for what they wrote.
func TestAloneAgain(t *testing.T) {
	h := newHost(t, "a", nil)
	err := h.local.Commit(t.Context(), []kv.Op{
		{Key: Key("a", "web-1"), Value: []byte(`{"service":"web","on":[{"pools":["p1"]}]}`)},
		{Key: Key("b", "web-2"), Value: []byte(`{"service":"web","on":[{"pools":["p1"]}]}`)},
	})
	if err != nil {
		t.Fatal(err)
	}
	h.start()
	h.answers("web: a/web-1[p1]\n")
	h.writes()
	if keys := slices.Sorted(mapKeys(h.local.Data())); !slices.Equal(keys, []string{"about/a/web-1"}) {
		t.Errorf("the store has %v", keys)
	}
}

// What a later version adds is passed over; what can't be read is left alone,
// once it was said.
func TestOtherVersions(t *testing.T) {
	h := newHost(t, "a", kvtest.NewMemory()).start()
	h.Learn(kv.Change{Whole: true, Ops: []kv.Op{
		{Key: Key("b", "new"), Value: []byte(`{"service":"web","on":[{"pools":["p1"],"later":7}],"ports":["80/tcp","9/quic"],"since":1}`)},
		{Key: Key("b", "bad"), Value: []byte(`{"service":7}`)},
		{Key: "about/b", Value: []byte(`{}`)},
		{Key: "about/b/c/d", Value: []byte(`{}`)},
	}})
	h.answers("web: b/new[p1]\n")
	if f, _ := h.Now().Facts("b", "new"); !slices.Equal(f.Ports, []Port{{80, "tcp"}}) {
		t.Errorf("ports are %v", f.Ports)
	}
	h.Learn(kv.Change{Ops: []kv.Op{{Key: Key("b", "new"), Value: []byte(`[]`)}}})
	h.answers("")
	h.Learn(kv.Change{Ops: []kv.Op{{Key: Key("b", "new"), Value: []byte(`{"service":"web","on":[{"pools":["p1"]}]}`)}}})
	h.answers("web: b/new[p1]\n")
	h.Learn(kv.Change{Ops: []kv.Op{{Key: Key("b", "new"), Delete: true}}})
	h.answers("")
}
