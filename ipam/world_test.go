package ipam_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dockstack/dockstack/internal/kv/kvtest"
	"github.com/dockstack/dockstack/ipam"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a registry with what it needs to know of its surroundings in a
// test's hands.
type world struct {
	t     failer
	ctx   context.Context
	reg   *ipam.Registry
	store *kvtest.Memory
	cfg   ipam.Config
	now   time.Time
	// alive are the endpoints whose links sit in containers.
	alive  map[string]bool
	routes []netip.Prefix
	log    bytes.Buffer
	// pool is the one that the short methods work on.
	pool ipam.Pool
}

type failer interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Context() context.Context
}

func newWorld(t failer) *world {
	t.Helper()
	w := &world{
		t: t, ctx: t.Context(), store: kvtest.NewMemory(),
		now:   time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		alive: map[string]bool{},
	}
	w.cfg = ipam.Config{
		FlushAfter: time.Hour, // tests say when
		Supernet4:  netip.MustParsePrefix("10.128.0.0/22"), Supernet6: netip.MustParsePrefix("fd00:77::/62"),
		HostRoutes: func() []netip.Prefix { return w.routes },
		Alive:      func(id string) bool { return w.alive[id] },
		Now:        func() time.Time { return w.now },
		Log:        slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{ReplaceAttr: noTime})),
	}
	w.open()
	return w
}

// inNetwork is a world whose pool belongs to network "net" called internal,
// with a gateway.
func inNetwork(t failer, subnet string) *world {
	t.Helper()
	w := newWorld(t)
	w.network("net", "internal", ipam.PoolRequest{Subnet: netip.MustParsePrefix(subnet)})
	return w
}

func noTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

func (w *world) open() {
	w.t.Helper()
	reg, err := ipam.Open(w.ctx, w.store.Reopen(), w.cfg)
	w.ok(err)
	w.reg = reg
}

func (w *world) bind(network string, pools []string, vips []netip.Addr) error {
	_, err := w.reg.Bind(w.ctx, ipam.Binding{Network: network, Pools: pools, VIPs: vips, DefaultMTU: 1450})
	return err
}

func (w *world) later(d time.Duration) { w.now = w.now.Add(d) }

// network makes a network as the engine does.
func (w *world) network(id, name string, req ipam.PoolRequest, exclude ...netip.Addr) {
	w.t.Helper()
	p, err := w.reg.RequestPool(w.ctx, req)
	w.ok(err)
	_, err = w.reg.RequestGateway(w.ctx, p.ID, netip.Addr{})
	w.ok(err)
	w.ok(w.bind(id, []string{p.ID}, exclude))
	w.ok(w.reg.SetNetworkName(w.ctx, id, name))
	w.pool, _ = w.reg.Pool(p.ID)
}

// removeNetwork removes it as the engine does.
func (w *world) removeNetwork(id string, pools ...ipam.Pool) {
	w.t.Helper()
	for _, p := range pools {
		p, _ = w.reg.Pool(p.ID)
		if p.Gateway.IsValid() {
			w.ok(w.reg.ReleaseAddress(w.ctx, p.ID, p.Gateway))
		}
		w.ok(w.reg.ReleasePool(w.ctx, p.ID))
	}
	w.ok(w.reg.Unbind(w.ctx, id))
}

func (w *world) ask(name string) (string, error) {
	p, err := w.reg.RequestAddress(w.ctx, ipam.AddressRequest{Pool: w.pool.ID, Name: name})
	return text(p), err
}

func (w *world) fix(name, addr string) (string, error) {
	p, err := w.reg.RequestAddress(w.ctx, ipam.AddressRequest{Pool: w.pool.ID, Name: name, Addr: netip.MustParseAddr(addr)})
	return text(p), err
}

func text(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.Addr().String()
}

// gets says which address a dynamic request must give.
func (w *world) gets(name, want string) {
	w.t.Helper()
	if got, err := w.ask(name); err != nil || got != want {
		w.t.Fatalf("%s gets %q (%v), want %s", name, got, err, want)
	}
}

func (w *world) fixes(name, addr string) {
	w.t.Helper()
	if got, err := w.fix(name, addr); err != nil || got != addr {
		w.t.Fatalf("%s gets %q (%v), want %s", name, got, err, addr)
	}
}

func (w *world) release(addr string) {
	w.t.Helper()
	w.ok(w.reg.ReleaseAddress(w.ctx, w.pool.ID, netip.MustParseAddr(addr)))
}

// attach starts the endpoint's container.
func (w *world) attach(endpoint string, addrs ...string) string {
	w.t.Helper()
	m, err := w.reg.Attach(w.ctx, ipam.Endpoint{ID: endpoint, Network: w.pool.Network, Addrs: addresses(addrs)})
	w.ok(err)
	w.alive[endpoint] = true
	return m
}

func addresses(in []string) []netip.Addr {
	var out []netip.Addr
	for _, a := range in {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

// lease is how the lease of an address reads: name, state, marks.
func (w *world) lease(addr string) string {
	w.t.Helper()
	l, err := w.reg.Lookup(w.ctx, w.pool.ID, netip.MustParseAddr(addr))
	if errors.Is(err, ipam.ErrNoLease) {
		return "nobody"
	}
	w.ok(err)
	s := l.Name + " " + string(l.State)
	if l.Fixed {
		s += " fixed"
	}
	if l.Reserved {
		s += " reserved"
	}
	return s
}

func (w *world) holds(addr, want string) {
	w.t.Helper()
	if got := w.lease(addr); got != want {
		w.t.Errorf("%s: %s, want %s", addr, got, want)
	}
}

// warned tells that the log has a line with all parts, and empties it.
func (w *world) warned(parts ...string) {
	w.t.Helper()
	lines := w.log.String()
	w.log.Reset()
	for line := range strings.Lines(lines) {
		all := strings.Contains(line, "level=WARN")
		for _, p := range parts {
			all = all && strings.Contains(line, p)
		}
		if all {
			return
		}
	}
	w.t.Errorf("no warning has %q in\n%s", parts, lines)
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%v", err)
	}
}

// fails says what an error must be and read like.
func (w *world) fails(err, kind error, text string) {
	w.t.Helper()
	if !errors.Is(err, kind) {
		w.t.Fatalf("got %v, want %v", err, kind)
	}
	if err.Error() != text {
		w.t.Errorf("it says\n\t%s\nwant\n\t%s", err, text)
	}
}
