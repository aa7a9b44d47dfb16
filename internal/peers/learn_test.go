package peers

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func addr(text string) netip.Addr { return netip.MustParseAddr(text) }

// h returns a host as others are in these tests.
func h(id, name, vtep string) Host {
	return Host{ID: id, Name: name, VTEP: addr(vtep), Port: 14789, Boot: "boot-" + id, Run: "run-" + id, Since: noon, Clock: noon, Version: "1.0"}
}

func mark(t *testing.T, host Host) kv.Op {
	t.Helper()
	value, err := host.encode()
	if err != nil {
		t.Fatal(err)
	}
	return kv.Op{Key: Prefix + host.ID, Value: value}
}

func gone(id string) kv.Op { return kv.Op{Key: Prefix + id, Delete: true} }

// watcher is Peers of host "me" with what was told about them.
type watcher struct {
	*Peers
	t     *testing.T
	log   bytes.Buffer
	news  int
	clock time.Time
}

func watch(t *testing.T) *watcher {
	t.Helper()
	w := &watcher{t: t, clock: noon}
	w.Peers = New(Config{
		Self: h("aaaa", "me", "10.0.0.1"), Log: slog.New(slog.NewTextHandler(&w.log, nil)),
		Changed: func() { w.news++ }, Now: func() time.Time { return w.clock },
	})
	return w
}

// others lists the other hosts, as name@vtep.
func (w *watcher) others() []string {
	var out []string
	for _, h := range w.All() {
		if h.ID != "aaaa" {
			out = append(out, h.Name+"@"+h.VTEP.String())
		}
	}
	return out
}

func (w *watcher) want(news int, others ...string) {
	w.t.Helper()
	if got := w.others(); !slices.Equal(got, others) {
		w.t.Errorf("hosts are %q, want %q", got, others)
	}
	if w.news != news {
		w.t.Errorf("told of %d changes, want %d", w.news, news)
	}
}

func TestHostsComeAndGo(t *testing.T) {
	w := watch(t)
	b, c := h("bbbb", "b", "10.0.0.2"), h("cccc", "c", "10.0.0.3")
	w.Learn(kv.Change{Whole: true, Ops: []kv.Op{mark(t, b), {Key: "lease/x/y", Value: []byte("z")}, mark(t, h("aaaa", "me", "10.0.0.1"))}})
	w.want(1, "b@10.0.0.2")
	w.Learn(kv.Change{Ops: []kv.Op{mark(t, c)}})
	w.want(2, "b@10.0.0.2", "c@10.0.0.3")
	c.Clock = c.Clock.Add(RewriteEvery)
	w.clock = w.clock.Add(RewriteEvery)
	w.Learn(kv.Change{Ops: []kv.Op{mark(t, c)}})
	w.want(2, "b@10.0.0.2", "c@10.0.0.3") // the clock alone is no news
	c.VTEP = addr("10.0.0.33")
	w.Learn(kv.Change{Ops: []kv.Op{mark(t, c)}})
	w.want(3, "b@10.0.0.2", "c@10.0.0.33")
	w.Learn(kv.Change{Ops: []kv.Op{gone("bbbb")}})
	w.want(4, "c@10.0.0.33")
	if w.Alive("bbbb") || !w.Alive("cccc") || !w.Alive("aaaa") {
		t.Error("b is alive, or c or this host is not")
	}
	w.Learn(kv.Change{Whole: true})
	w.want(5)
	w.Learn(kv.Change{Ops: []kv.Op{{Key: "lease/x/y", Delete: true}}})
	w.want(5)
}

func TestNames(t *testing.T) {
	w := watch(t)
	w.Learn(kv.Change{Ops: []kv.Op{mark(t, h("bbbb", "b", "10.0.0.2"))}})
	for id, want := range map[string]string{"aaaa": "me", "bbbb": "b", "0123456789abcdef": "01234567", "ff": "ff"} {
		if got := w.Name(id); got != want {
			t.Errorf("host %s is called %q, want %q", id, got, want)
		}
	}
}

// A mark of a newer version is read as far as it is known; one that makes no
// sense is passed over, and its host still counts as alive: names must not be
// taken from it.
func TestMarksOfOtherVersions(t *testing.T) {
	good := string(mark(t, h("bbbb", "b", "10.0.0.2")).Value)
	tests := []struct {
		what, value, problem string
	}{
		{"newer fields", strings.Replace(good, "{", `{"shoe_size":44,"roles":["a"],`, 1), ""},
		{"an IPv4 address in IPv6", strings.Replace(good, "10.0.0.2", "::ffff:10.0.0.2", 1), ""},
		{"no JSON", "rubbish", "can't be read"},
		{"another host's", strings.Replace(good, "bbbb", "cccc", 1), `names host "cccc"`},
		{"no name", strings.Replace(good, `"b"`, `""`, 1), "the name is"},
		{"a name of two lines", strings.Replace(good, `"b"`, `"b\nproblems none"`, 1), "the name is"},
		{"a tunnel to oneself", strings.Replace(good, "10.0.0.2", "127.0.0.1", 1), "no tunnel can end"},
		{"far too long", good + strings.Repeat(" ", maxRecord), "is the most"},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			w := watch(t)
			w.Learn(kv.Change{Ops: []kv.Op{{Key: Prefix + "bbbb", Value: []byte(tt.value)}}})
			if !w.Alive("bbbb") {
				t.Error("it does not count as alive")
			}
			if tt.problem == "" {
				w.want(1, "b@10.0.0.2")
				return
			}
			w.want(1)
			w.hasProblem(tt.problem)
			if w.Name("bbbb") != "bbbb" {
				t.Errorf("it is called %q", w.Name("bbbb"))
			}
		})
	}
}

func TestKeysThatAreNoHosts(t *testing.T) {
	w := watch(t)
	for _, key := range []string{Prefix, Prefix + "UPPER", Prefix + "a/b", Prefix + strings.Repeat("a", 65)} {
		w.Learn(kv.Change{Ops: []kv.Op{{Key: key, Value: []byte("{}")}}})
	}
	w.want(0)
}

func TestHostsAreBounded(t *testing.T) {
	w := watch(t)
	ops := make([]kv.Op, 0, maxHosts+100)
	for i := range maxHosts + 100 {
		ops = append(ops, kv.Op{Key: fmt.Sprintf("%s%08x", Prefix, i+1), Value: []byte("rubbish")})
	}
	w.Learn(kv.Change{Whole: true, Ops: ops})
	if n := len(w.seen); n != maxHosts {
		t.Errorf("%d hosts are kept, want %d", n, maxHosts)
	}
	if n := len(w.Problems()); n > 2*named {
		t.Errorf("%d problems are told of them", n)
	}
}

func (w *watcher) hasProblem(words ...string) {
	w.t.Helper()
	for _, p := range w.Problems() {
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(p, word) }) {
			return
		}
	}
	w.t.Errorf("problems are %q, want one with %q", w.Problems(), words)
}

func TestProblems(t *testing.T) {
	slow := h("dddd", "d", "10.0.0.4")
	slow.Clock = noon.Add(95 * time.Second)
	odd := h("eeee", "e", "10.0.0.5")
	odd.Port = 4789
	tests := []struct {
		what string
		host Host
		want []string
	}{
		{"nothing", h("bbbb", "b", "10.0.0.2"), nil},
		{"our tunnel address", h("bbbb", "b", "10.0.0.1"), []string{"b (bbbb) and me (aaaa)", "10.0.0.1", "DOCKSTACK_VTEP"}},
		{"another's tunnel address", h("bbbb", "b", "10.0.0.9"), []string{"b (bbbb) and z (ffff)", "10.0.0.9", "DOCKSTACK_VTEP"}},
		{"our name", h("bbbb", "me", "10.0.0.2"), []string{"me (aaaa) and me (bbbb)", "one name", "DOCKSTACK_HOST"}},
		{"the other family", h("bbbb", "b", "fd00::2"), []string{"10.0.0.1 is IPv4", "fd00::2 of b (bbbb) is IPv6", "DOCKSTACK_VTEP"}},
		{"another port", odd, []string{"is 14789", "e (eeee) is 4789", "DOCKSTACK_VXLAN_PORT"}},
		{"a clock that is ahead", slow, []string{"host d is 1m35s ahead of this host's", "NTP"}},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			w := watch(t)
			ops := []kv.Op{mark(t, h("ffff", "z", "10.0.0.9"))}
			if tt.host.VTEP != addr("10.0.0.9") {
				ops = nil
			}
			w.Learn(kv.Change{Whole: true, Ops: append(ops, mark(t, tt.host))})
			if tt.want == nil {
				if got := w.Problems(); len(got) > 0 {
					t.Fatalf("problems are %q", got)
				}
				return
			}
			w.hasProblem(tt.want...)
			if n := strings.Count(w.log.String(), "problem among the hosts"); n != len(w.Problems()) {
				t.Errorf("%d problems are in the log, want %d:\n%s", n, len(w.Problems()), &w.log)
			}
			w.Learn(kv.Change{Whole: true, Ops: append(ops, mark(t, tt.host))})
			if n := strings.Count(w.log.String(), "problem among the hosts"); n != len(w.Problems()) {
				t.Errorf("problems are in the log again:\n%s", &w.log)
			}
			news := w.news
			w.Learn(kv.Change{Ops: []kv.Op{gone(tt.host.ID)}})
			if got := w.Problems(); len(got) > 0 || w.news == news {
				t.Errorf("problems are still %q, or nobody was told", got)
			}
		})
	}
}

func TestManyClocksNameAFew(t *testing.T) {
	w := watch(t)
	var ops []kv.Op
	for i := range 20 {
		host := h(fmt.Sprintf("b%03d", i), fmt.Sprintf("b%d", i), fmt.Sprintf("10.0.1.%d", i+1))
		host.Clock = noon.Add(time.Hour)
		ops = append(ops, mark(t, host))
	}
	w.Learn(kv.Change{Whole: true, Ops: ops})
	if got := w.Problems(); len(got) != named+1 {
		t.Fatalf("%d problems: %q", len(got), got)
	}
	w.hasProblem("15 more hosts", "may be this host's")
}

// A mark that lies in the store for minutes says nothing about a clock that is
// behind; one that has just been written does.
func TestClocksBehind(t *testing.T) {
	slow := h("bbbb", "b", "10.0.0.2")
	slow.Clock = noon.Add(-50 * time.Second)
	tests := []struct {
		what   string
		before func(*watcher)
		change kv.Change
		want   bool
	}{
		{"written just now", func(w *watcher) { w.hold(); w.clock = w.clock.Add(settled) }, kv.Change{Ops: []kv.Op{mark(t, slow)}}, true},
		{"written some time ago", func(w *watcher) { w.hold(); w.clock = w.clock.Add(settled) }, kv.Change{Whole: true, Ops: []kv.Op{mark(t, slow)}}, false},
		{"while we were away", func(*watcher) {}, kv.Change{Ops: []kv.Op{mark(t, slow)}}, false},
		{"while we have just come back", (*watcher).hold, kv.Change{Ops: []kv.Op{mark(t, slow)}}, false},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			w := watch(t)
			tt.before(w)
			w.Learn(tt.change)
			if got := len(w.Problems()) > 0; got != tt.want {
				t.Fatalf("problems are %q", w.Problems())
			}
			if tt.want {
				w.hasProblem("host b is 1m5s behind")
				// The next mark is right.
				w.clock = w.clock.Add(RewriteEvery)
				slow.Clock = w.clock
				w.Learn(kv.Change{Ops: []kv.Op{mark(t, slow)}})
				if got := w.Problems(); len(got) > 0 {
					t.Errorf("problems are still %q", got)
				}
			}
		})
	}
}

// hold has this host's mark in the store from now on.
func (w *watcher) hold() { w.update(func(o *ownMark) { o.held = true }) }

func FuzzDecodeHost(f *testing.F) {
	value, err := h("bbbb", "b", "10.0.0.2").encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(value)
	f.Add([]byte(`{"id":"bbbb","name":"b","vtep":"fe80::1%eth0","port":70000}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		host, err := decodeHost("bbbb", value)
		if err != nil {
			return
		}
		again, err := host.encode()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decodeHost("bbbb", again); err != nil || !same(back, host) || !back.Clock.Equal(host.Clock) {
			t.Errorf("%+v came back as %+v, %v", host, back, err)
		}
	})
}
