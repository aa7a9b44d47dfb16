package dnsd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/miekg/dns"
)

var (
	errSilent = errors.New("no answer: timeout")
	theFirst  = netip.MustParseAddrPort("192.0.2.53:53")
	theCorp   = netip.MustParseAddrPort("10.1.1.1:53")
)

// world is a forwarder whose resolvers are functions, so that time can be the
// test's own.
type world struct {
	*Server
	t *testing.T
	// reply is what resolvers say; it may wait.
	reply func(server netip.AddrPort, q *dns.Msg) (*dns.Msg, error)
	asked atomic.Int64
	last  atomic.Pointer[dns.Msg]

	mu      sync.Mutex
	servers []netip.AddrPort
	routes  []Route
}

// inWorld runs test in a bubble with its own time.
func inWorld(t *testing.T, cfg Config, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, servers: []netip.AddrPort{theFirst}}
		w.reply = func(_ netip.AddrPort, q *dns.Msg) (*dns.Msg, error) { return withA(q, 1), nil }
		cfg.Forwarders = func() []netip.AddrPort { w.mu.Lock(); defer w.mu.Unlock(); return w.servers }
		cfg.Routes = func() []Route { w.mu.Lock(); defer w.mu.Unlock(); return w.routes }
		names := theNames()
		s, err := New(cfg, func() Names { return names }, discard())
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		w.Server = s
		s.forwards.ask = func(ctx context.Context, server netip.AddrPort, m *dns.Msg) (*dns.Msg, error) {
			w.asked.Add(1)
			w.last.Store(m.Copy())
			ctx, cancel := context.WithTimeout(ctx, s.cfg.UpstreamTimeout)
			defer cancel()
			answer, err := w.reply(server, m.Copy())
			if errors.Is(err, errSilent) {
				<-ctx.Done()
			}
			return answer, err
		}
		test(w)
	})
}

// ask asks m as client and returns the packet that comes, nil for silence.
func (w *world) ask(client string, m *dns.Msg) *dns.Msg {
	w.t.Helper()
	f := newForward(m, &query{client: netip.AddrPortFrom(netip.MustParseAddr(client), 4242)})
	buf := make([]byte, maxUDP)
	came := make(chan []byte, 1)
	n, pending := w.forwards.start(f, buf, forwardReply{
		deliver: func(b []byte) { came <- b },
		done:    func() { close(came) },
	})
	packet := buf[:n]
	if pending {
		packet = <-came
	}
	if len(packet) == 0 {
		return nil
	}
	return unpack(w.t, packet)
}

// say asks "www.example.com A" and gives the answer in one line.
func (w *world) say(question string) string {
	w.t.Helper()
	m := w.ask(local, query1(w.t, question))
	if m == nil {
		return "silence"
	}
	return brief(m)
}

// is fails unless the answer is want, and resolvers were asked so many times
// since the start.
func (w *world) is(question, want string, asked int64) {
	w.t.Helper()
	if got := w.say(question); got != want {
		w.t.Errorf("%s: got %s, want %s", question, got, want)
	}
	if got := w.asked.Load(); got != asked {
		w.t.Errorf("%s: resolvers were asked %d times, want %d", question, got, asked)
	}
}

func (w *world) set(servers []netip.AddrPort, routes ...Route) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.servers, w.routes = servers, routes
}

const www = "www.example.com A"

func wwwFor(ttl int) string { return fmt.Sprintf("NOERROR ra | www.example.com. %d A 192.0.2.1", ttl) }

// empty fails unless nobody waits any more.
func (w *world) empty() {
	w.t.Helper()
	synctest.Wait()
	u := w.forwards
	u.mu.Lock()
	defer u.mu.Unlock()
	if p := &u.passage; len(u.flights) > 0 || p.flying != 0 || p.flyingHost != 0 || p.waits != 0 || p.waitsHost != 0 || len(p.byClient) > 0 {
		w.t.Errorf("left over: %d flights, %+v", len(u.flights), p)
	}
}
