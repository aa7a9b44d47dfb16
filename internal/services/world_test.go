package services

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/dockstack/dockstack/internal/engine"
	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/kvtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// label is what package dnsd makes of names, near enough.
func label(name string) string { return strings.ReplaceAll(name, "_", "-") }

// fails is what tests and rapid's have in common.
type fails interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// host is one of those that share a store, with its engine.
type host struct {
	t      fails
	id     string
	health bool
	local  *kvtest.Memory
	shared *kvtest.Host // nil: it is alone
	// mark is what it has in the shared store.
	mark kv.Op

	*Services
	stop func()

	mu   sync.Mutex
	told []kv.Op // what conflicts told of marks; guarded by mu
}

func newHost(t fails, id string, m *kvtest.Memory) *host {
	h := &host{t: t, id: id, local: kvtest.NewMemory()}
	if m != nil {
		h.shared = m.Join()
		h.mark = kv.Op{Key: "host/" + id, Value: []byte("run 1")}
		if err := h.shared.Commit(context.Background(), []kv.Op{h.mark}); err != nil {
			t.Fatalf("%v", err)
		}
	}
	return h
}

func (h *host) Mark() (string, []byte) { return h.mark.Key, h.mark.Value }

// start opens what it has; follow begins to follow the shared store.
func (h *host) start() *host {
	h.t.Helper()
	cfg := Config{Host: h.id, Store: h.local, Label: label, Health: h.health, Log: slog.New(slog.DiscardHandler)}
	if h.shared != nil {
		cfg.Store, cfg.Hosts = h.shared, marks{h}
	}
	var err error
	if h.Services, err = Open(context.Background(), h.local, cfg); err != nil {
		h.t.Fatalf("%v", err)
	}
	h.stop = func() {}
	return h
}

// marks is the host as package services sees it.
type marks struct{ h *host }

func (m marks) Mark() (string, []byte) { return m.h.Mark() }

func (m marks) Learn(c kv.Change) {
	m.h.mu.Lock()
	defer m.h.mu.Unlock()
	m.h.told = append(m.h.told, c.Ops...)
}

// follow follows the shared store until stop; the first news were learned when
// it returns.
func (h *host) follow() *host {
	ctx, cancel := context.WithCancel(context.Background())
	first := make(chan struct{})
	var once sync.Once
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = h.shared.Follow(ctx, "", func(c kv.Change) {
			h.Learn(c)
			once.Do(func() { close(first) })
		})
	})
	h.stop = func() { cancel(); wg.Wait() }
	<-first
	return h
}

// runs are containers of a picture.
func runs(all ...engine.Container) engine.Picture { return engine.Picture{Containers: all} }

// up is a running container on the network of pool p1, unless named.
func up(name, service string, aliases ...string) engine.Container {
	return engine.Container{
		ID: "id-" + name, Name: name, Running: true, Project: "shop", Service: service, Known: true,
		On:    []engine.Attachment{{Network: "n1", Endpoint: "e-" + name, Aliases: aliases}},
		Ports: []engine.Port{{Number: 80, Proto: "tcp"}},
	}
}

func poolsOf(network string) []string {
	if p, ok := strings.CutPrefix(network, "n"); ok {
		return []string{"p" + p}
	}
	return nil
}

func (h *host) sees(all ...engine.Container) {
	h.t.Helper()
	h.Observe(runs(all...), poolsOf)
}

func (h *host) writes() {
	h.t.Helper()
	if err := h.Flush(context.Background()); err != nil {
		h.t.Errorf("%s: %v", h.id, err)
	}
}

// answers is everything that a snapshot says, as text in order.
func answers(s *Snapshot) string {
	var b bytes.Buffer
	var names []string
	s.Names(func(name string) bool { names = append(names, name); return true })
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "%s: %s\n", name, membersText(s.Members(name)))
		if l := label(name); l != name {
			fmt.Fprintf(&b, "%s by label: %s\n", l, membersText(s.Labelled(l)))
		}
	}
	return b.String()
}

func membersText(m Members) string {
	var all []string
	for i := range m {
		at := m.At(i)
		text := fmt.Sprintf("%s/%s%v", at.Host, at.Container, at.Pools)
		if at.Out {
			text += " out"
		}
		all = append(all, text)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func (h *host) answers(want string) {
	h.t.Helper()
	if got, want := answers(h.Now()), strings.TrimLeft(want, "\n"); got != want {
		h.t.Errorf("%s answers\n%s, want\n%s", h.id, got, want)
	}
}
