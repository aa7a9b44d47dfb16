package dnsd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

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
func inWorld(t *testing.T, cfg Config, test func(t *testing.T, w *world)) {
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
		test(t, w)
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

func TestAnAnswerIsKeptForItsTTL(t *testing.T) {
	inWorld(t, Config{}, func(_ *testing.T, w *world) {
		w.is(www, wwwFor(300), 1)
		time.Sleep(1500 * time.Millisecond)
		w.is(www, wwwFor(299), 1)
		time.Sleep(298 * time.Second)
		w.is(www, wwwFor(1), 1)
		time.Sleep(time.Second)
		w.is(www, wwwFor(300), 2)
		st := w.Stats()
		if st.Cached != 2 || st.Forwarded != 2 || st.CacheEntries != 1 || st.CacheBytes < 100 {
			w.t.Errorf("counted %+v", st)
		}
	})
}

// upTo is withA with other TTLs.
func upTo(ttl uint32) func(netip.AddrPort, *dns.Msg) (*dns.Msg, error) {
	return func(_ netip.AddrPort, q *dns.Msg) (*dns.Msg, error) {
		a := withA(q, 1)
		a.Answer[0].Header().Ttl = ttl
		return a, nil
	}
}

func TestHowLongIsBounded(t *testing.T) {
	for name, tt := range map[string]struct {
		ttl  uint32
		kept time.Duration
		told int
	}{
		"a day":                {86400, time.Hour, 3600},
		"nothing":              {0, 0, 0},
		"a TTL that is none":   {1 << 31, 0, 0},
		"one second":           {1, time.Second, 1},
		"as long as it may be": {3600, time.Hour, 3600},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, Config{}, func(_ *testing.T, w *world) {
				w.reply = upTo(tt.ttl)
				w.is(www, wwwFor(tt.told), 1)
				if tt.kept > 0 {
					time.Sleep(tt.kept - time.Millisecond)
					w.is(www, wwwFor(1), 1)
					time.Sleep(time.Millisecond)
				}
				w.is(www, wwwFor(tt.told), 2)
			})
		})
	}
}

// denial answers with no record of that type, or no such name.
func denial(code int, soaTTL, minimum uint32) func(netip.AddrPort, *dns.Msg) (*dns.Msg, error) {
	return func(_ netip.AddrPort, q *dns.Msg) (*dns.Msg, error) {
		m := new(dns.Msg).SetRcode(q, code)
		m.Ns = []dns.RR{&dns.SOA{
			Hdr: dns.RR_Header{Name: "example.com.", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: soaTTL},
			Ns:  "ns.example.com.", Mbox: "h.example.com.", Minttl: minimum,
		}}
		return m, nil
	}
}

func TestDenialsAreKeptAsTheirSOASays(t *testing.T) {
	for name, tt := range map[string]struct {
		reply func(netip.AddrPort, *dns.Msg) (*dns.Msg, error)
		kept  time.Duration
	}{
		"no such name, minimum":   {denial(dns.RcodeNameError, 900, 20), 20 * time.Second},
		"no such name, SOA's TTL": {denial(dns.RcodeNameError, 10, 900), 10 * time.Second},
		"no such name, a day":     {denial(dns.RcodeNameError, 86400, 86400), time.Minute},
		"none of that type":       {denial(dns.RcodeSuccess, 900, 20), 20 * time.Second},
		"without SOA": {func(_ netip.AddrPort, q *dns.Msg) (*dns.Msg, error) {
			return new(dns.Msg).SetRcode(q, dns.RcodeNameError), nil
		}, 0},
		"a referral": {func(_ netip.AddrPort, q *dns.Msg) (*dns.Msg, error) {
			m := new(dns.Msg).SetReply(q)
			m.Ns = []dns.RR{&dns.NS{Hdr: dns.RR_Header{Name: "com.", Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: 900}, Ns: "a.example."}}
			return m, nil
		}, 0},
		"an alias that leads nowhere": {func(s netip.AddrPort, q *dns.Msg) (*dns.Msg, error) {
			m, err := denial(dns.RcodeNameError, 900, 20)(s, q)
			m.Answer = []dns.RR{&dns.CNAME{Hdr: dns.RR_Header{Name: "www.example.com.", Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: 5}, Target: "gone.example.com."}}
			return m, err
		}, 5 * time.Second},
		"cut short": {func(_ netip.AddrPort, q *dns.Msg) (*dns.Msg, error) {
			m := withA(q, 1)
			m.Truncated = true
			return m, nil
		}, 0},
		"SERVFAIL": {func(_ netip.AddrPort, q *dns.Msg) (*dns.Msg, error) {
			return new(dns.Msg).SetRcode(q, dns.RcodeServerFailure), nil
		}, time.Second},
		"silence": {func(netip.AddrPort, *dns.Msg) (*dns.Msg, error) { return nil, errSilent }, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, Config{}, func(t *testing.T, w *world) {
				w.reply = tt.reply
				first := w.say(www)
				if tt.kept > 0 {
					time.Sleep(tt.kept - time.Millisecond)
					if w.say(www); w.asked.Load() != 1 {
						t.Errorf("asked again before %s", tt.kept)
					}
					time.Sleep(time.Millisecond)
				}
				if got := w.say(www); got != first || w.asked.Load() != 2 {
					t.Errorf("after %s: asked %d times: %s, first %s", tt.kept, w.asked.Load(), got, first)
				}
			})
		})
	}
}

func TestTheSOAOfADenialSaysHowLongItIsKept(t *testing.T) {
	inWorld(t, Config{}, func(_ *testing.T, w *world) {
		w.reply = denial(dns.RcodeNameError, 86400, 86400)
		denied := func(ttl int) string {
			return fmt.Sprintf("NXDOMAIN ra / example.com. %d SOA ns.example.com. h.example.com. 0 0 0 0 86400", ttl)
		}
		w.is(www, denied(60), 1)
		time.Sleep(9 * time.Second)
		w.is(www, denied(51), 1)
	})
}

func TestWhatAnAnswerDependsOn(t *testing.T) {
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		w.reply = func(_ netip.AddrPort, q *dns.Msg) (*dns.Msg, error) {
			a := withA(q, 1)
			a.AuthenticatedData = true
			return a, nil
		}
		ask := func(want int64, change func(*dns.Msg)) *dns.Msg {
			t.Helper()
			m := query1(t, www)
			change(m)
			answer := w.ask(local, m)
			if got := w.asked.Load(); got != want {
				t.Errorf("%v: resolvers were asked %d times, want %d", m, got, want)
			}
			if answer.Id != m.Id || answer.Question[0] != m.Question[0] || answer.Answer[0].Header().Name != m.Question[0].Name {
				t.Errorf("%v was answered %v", m, answer)
			}
			if ad := m.AuthenticatedData || m.IsEdns0() != nil && m.IsEdns0().Do(); answer.AuthenticatedData != ad {
				t.Errorf("%v was answered %v", m, answer)
			}
			return answer
		}
		ask(1, func(*dns.Msg) {})
		ask(1, func(m *dns.Msg) { m.Question[0].Name = "WwW.eXample.COM." })
		ask(1, func(m *dns.Msg) { m.AuthenticatedData = true })
		if a := ask(1, func(m *dns.Msg) { m.SetEdns0(1232, false) }); a.IsEdns0() == nil || a.IsEdns0().Do() {
			t.Errorf("EDNS: %v", a)
		}
		if a := ask(2, func(m *dns.Msg) { m.SetEdns0(1232, true) }); a.IsEdns0() == nil || !a.IsEdns0().Do() {
			t.Errorf("DO: %v", a)
		}
		ask(3, func(m *dns.Msg) { m.CheckingDisabled = true })
		ask(3, func(m *dns.Msg) { m.CheckingDisabled = true })
		ask(4, func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeMX; m.Question[0].Name = "WWW.example.com." })
	})
}

// What a client tells the resolver about itself is not for others.
func TestOptionsForTheResolverAreNotShared(t *testing.T) {
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		w.reply = func(_ netip.AddrPort, q *dns.Msg) (*dns.Msg, error) {
			a := withA(q, 1)
			a.SetEdns0(1232, false)
			a.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_NSID{Code: dns.EDNS0NSID, Nsid: "0102"}}
			return a, nil
		}
		own := query1(t, www)
		own.SetEdns0(1232, false)
		own.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_NSID{Code: dns.EDNS0NSID}}
		for range 2 {
			if a := w.ask(local, own); len(a.IsEdns0().Option) != 1 {
				t.Errorf("its own answer has %v", a.IsEdns0())
			}
		}
		if got := w.asked.Load(); got != 2 {
			t.Errorf("resolvers were asked %d times", got)
		}
		plain := query1(t, www)
		plain.SetEdns0(1232, false)
		for range 2 {
			if a := w.ask(local, plain); len(a.IsEdns0().Option) != 0 {
				t.Errorf("another's answer has %v", a.IsEdns0())
			}
		}
		if got := w.asked.Load(); got != 3 {
			t.Errorf("resolvers were asked %d times", got)
		}
	})
}

func TestSameQuestionsGoTogether(t *testing.T) {
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		go1 := make(chan struct{})
		w.reply = func(_ netip.AddrPort, q *dns.Msg) (*dns.Msg, error) {
			<-go1
			return withA(q, 1), nil
		}
		var all sync.WaitGroup
		for i := range 40 {
			all.Go(func() {
				m := query1(t, www)
				if i%2 == 0 {
					m.Question[0].Name = "WWW.Example.com."
				}
				if a := w.ask(fmt.Sprintf("172.16.0.%d", i), m); len(a.Answer) != 1 || a.Id != m.Id || a.Question[0] != m.Question[0] {
					t.Errorf("%v was answered %v", m, a)
				}
			})
		}
		synctest.Wait()
		close(go1)
		all.Wait()
		if st := w.Stats(); w.asked.Load() != 1 || st.Forwarded != 1 || st.Merged != 39 {
			t.Errorf("resolvers were asked %d times; counted %+v", w.asked.Load(), st)
		}
		w.empty()
	})
}

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

func TestExpiredAnswersAreGivenWhileNobodyHasAnother(t *testing.T) {
	silentAll := func(netip.AddrPort, *dns.Msg) (*dns.Msg, error) { return nil, errSilent }
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		good := w.reply
		w.is(www, wwwFor(300), 1)
		time.Sleep(5 * time.Hour)
		w.reply = silentAll
		// One resolver that is silent for 1.5 s.
		began := time.Now()
		w.is(www, wwwFor(30), 2)
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it took %s", took)
		}
		// The resolvers are left alone for 30 s.
		time.Sleep(29 * time.Second)
		w.is(www, wwwFor(1), 2)
		time.Sleep(time.Second)
		m := query1(t, www)
		m.SetEdns0(1232, false)
		if a := w.ask(local, m); !strings.Contains(a.String(), "Stale Answer") || len(a.Answer) != 1 {
			t.Errorf("it does not say that it expired: %v", a)
		}
		w.reply = good
		time.Sleep(staleTTL * time.Second)
		w.is(www, wwwFor(300), 4)
		if st := w.Stats(); st.Stale != 3 || st.Failed != 2 {
			t.Errorf("counted %+v", st)
		}
		// After a day it is not given any more.
		time.Sleep(staleFor + 300*time.Second)
		w.reply = silentAll
		w.is(www, "SERVFAIL ra", 5)
		w.empty()
	})
}

func TestSlowResolversGetTheExpiredAnswerAfterAWhile(t *testing.T) {
	inWorld(t, Config{UpstreamTimeout: 3 * time.Second}, func(t *testing.T, w *world) {
		good := w.reply
		w.is(www, wwwFor(300), 1)
		time.Sleep(time.Hour)
		w.reply = func(s netip.AddrPort, q *dns.Msg) (*dns.Msg, error) {
			time.Sleep(2500 * time.Millisecond)
			return good(s, q)
		}
		began := time.Now()
		w.is(www, wwwFor(30), 2)
		if took := time.Since(began); took != staleAfter {
			t.Errorf("it took %s", took)
		}
		w.is(www, wwwFor(30), 2)
		time.Sleep(time.Second)
		// The slow answer is there now.
		w.is(www, wwwFor(300), 2)
		w.empty()
	})
}

func TestADenialDoesNotOutliveItself(t *testing.T) {
	inWorld(t, Config{}, func(_ *testing.T, w *world) {
		w.reply = denial(dns.RcodeNameError, 60, 60)
		w.say(www)
		time.Sleep(time.Minute)
		w.reply = func(netip.AddrPort, *dns.Msg) (*dns.Msg, error) { return nil, errSilent }
		w.is(www, "SERVFAIL ra", 2)
	})
}

func TestOtherResolversMayMeanOtherNames(t *testing.T) {
	inWorld(t, Config{}, func(_ *testing.T, w *world) {
		w.is(www, wwwFor(300), 1)
		// The network goes away and comes back: that is what answers are kept for.
		w.set(nil)
		time.Sleep(2 * waysEvery)
		w.is(www, wwwFor(298), 1)
		w.set([]netip.AddrPort{theFirst})
		time.Sleep(2 * waysEvery)
		w.is(www, wwwFor(296), 1)
		w.set([]netip.AddrPort{theCorp})
		time.Sleep(2 * waysEvery)
		w.is(www, wwwFor(300), 2)
		w.set([]netip.AddrPort{theCorp}, Route{Domain: "elsewhere.test", Resolvers: []netip.AddrPort{theFirst}})
		time.Sleep(2 * waysEvery)
		w.is(www, wwwFor(300), 3)
	})
}

// An answer that was under way while the resolvers changed is the old ones'.
func TestALateAnswerOfOldResolversIsNotKept(t *testing.T) {
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		good := w.reply
		w.reply = func(s netip.AddrPort, q *dns.Msg) (*dns.Msg, error) {
			time.Sleep(time.Second)
			return good(s, q)
		}
		var wait sync.WaitGroup
		wait.Go(func() { w.say(www) })
		synctest.Wait()
		w.set([]netip.AddrPort{theCorp})
		w.say("other.example.com A")
		wait.Wait()
		w.reply = good
		if w.say(www); w.asked.Load() != 3 {
			t.Errorf("resolvers were asked %d times", w.asked.Load())
		}
	})
}

func TestADomainsOwnResolversAreAsked(t *testing.T) {
	_, routes, err := ParseForwarders("/corp.example/10.1.1.1,/open.corp.example/#,/local.test/,/10.0.0.0/8/10.1.1.1")
	if err != nil {
		t.Fatal(err)
	}
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		w.set([]netip.AddrPort{theFirst}, routes...)
		var by sync.Map
		w.reply = func(s netip.AddrPort, q *dns.Msg) (*dns.Msg, error) {
			by.Store(q.Question[0].Name, s)
			return withA(q, 1), nil
		}
		for name, want := range map[string]any{
			"www.example.com.": theFirst, "corp.example.": theCorp, "a.b.Corp.Example.": theCorp, "x.open.corp.example.": theFirst,
			"local.test.": nil, "a.local.test.": nil, "1.2.3.10.in-addr.arpa.": theCorp, "1.2.3.11.in-addr.arpa.": theFirst,
		} {
			a := w.ask(local, new(dns.Msg).SetQuestion(name, dns.TypeA))
			got, _ := by.Load(name)
			if got != want {
				t.Errorf("%s was asked %v, want %v", name, got, want)
			}
			if want == nil && !strings.HasPrefix(brief(a), "NXDOMAIN ra / local.test. 5 SOA") {
				t.Errorf("%s: %s", name, brief(a))
			}
		}
		// Its own resolvers only: no answer of others' is right for it.
		w.reply = func(s netip.AddrPort, q *dns.Msg) (*dns.Msg, error) {
			if s == theCorp {
				return nil, errSilent
			}
			return withA(q, 1), nil
		}
		if got := w.say("www.corp.example A"); got != "SERVFAIL ra" {
			t.Errorf("without its resolvers: %s", got)
		}
	})
}

func TestOneClientHasItsShare(t *testing.T) {
	inWorld(t, Config{MaxInFlight: 16, MaxForwardPerClient: 4}, func(t *testing.T, w *world) {
		open := make(chan struct{})
		w.reply = func(_ netip.AddrPort, q *dns.Msg) (*dns.Msg, error) {
			<-open
			return withA(q, 1), nil
		}
		var good, bad atomic.Int64
		var all sync.WaitGroup
		flood := func(client string, n int) (answered, refused int64) {
			g, b := good.Load(), bad.Load()
			for i := range n {
				all.Go(func() {
					m := query1(t, fmt.Sprintf("x%d.%s.example A", i, strings.NewReplacer(".", "-", ":", "-").Replace(client)))
					m.SetEdns0(1232, false)
					if w.ask(client, m).Rcode == dns.RcodeSuccess {
						good.Add(1)
					} else {
						bad.Add(1)
					}
				})
			}
			synctest.Wait()
			return int64(n) - (bad.Load() - b), bad.Load() - b + good.Load() - g
		}
		for _, tt := range []struct {
			client   string
			waiting  int64
			question int
		}{
			{"172.16.0.10", 4, 10},
			{"172.16.0.11", 4, 4},
			{"fd00:16::11", 4, 3}, // with the next, one client
			{"fd00:16::12", 1, 3},
			{local, 4, 20}, // what is left of 16, of which it may have 12
		} {
			if waiting, refused := flood(tt.client, tt.question); waiting != min(tt.waiting, int64(tt.question)) || waiting+refused != int64(tt.question) {
				t.Errorf("of %d queries of %s %d wait, want %d", tt.question, tt.client, waiting, tt.waiting)
			}
		}
		if st := w.Stats(); st.Limited != 6+2 || st.Overloaded != 16 {
			t.Errorf("counted %+v", st)
		}
		close(open)
		all.Wait()
		w.empty()
	})
}

func TestTheHostLeavesAQuarterToOthers(t *testing.T) {
	p := newPassage(16, 4)
	for i := range 20 {
		err := p.depart(netip.MustParseAddr(local), true)
		if (err == nil) != (i < 12) {
			t.Errorf("query %d of the host: %v", i, err)
		}
	}
	for i := range 4 {
		if err := p.depart(netip.MustParseAddr(inside), false); err != nil {
			t.Errorf("query %d of a client: %v", i, err)
		}
	}
	// Joining takes no place in flight, but one of those who wait.
	for i := range 200 {
		err := p.enter(netip.MustParseAddr(local), true)
		if (err == nil) != (i < 96-12) {
			t.Fatalf("query %d that joins: %v", i, err)
		}
	}
}

func TestWhereAForwardedAnswerComesFrom(t *testing.T) {
	_, routes, err := ParseForwarders("/corp.example/10.1.1.1,/local.test/")
	if err != nil {
		t.Fatal(err)
	}
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		w.set([]netip.AddrPort{theFirst}, routes...)
		for _, tt := range []struct {
			question, want string
			then           time.Duration
		}{
			{www, "resolver 192.0.2.53:53, asked just now; kept for 300 s", 12 * time.Second},
			{www, "resolver 192.0.2.53:53, 12 s ago; kept for 288 s more", 0},
			{"www.corp.example A", "resolver 10.1.1.1:53, which is asked for corp.example, asked just now; kept for 300 s", 0},
			{"x.local.test A", "nobody is asked about local.test, by its route", 0},
			{"never A", "resolver 192.0.2.53:53, asked just now; not to be kept", time.Hour},
			{"fail " + "A", "no resolver has an answer: ask 192.0.2.53:53: no answer: timeout", 0},
			{www, "resolver 192.0.2.53:53; it has expired and is given because there is no other answer (ask 192.0.2.53:53: no answer: timeout); the resolvers are asked again in 30 s", 0},
		} {
			switch strings.Fields(tt.question)[0] {
			case "never":
				w.reply = upTo(0)
			case "fail":
				w.reply = func(netip.AddrPort, *dns.Msg) (*dns.Msg, error) { return nil, errSilent }
			}
			m, source, err := w.forwards.explain(t.Context(), forwardOf(t, query1(t, tt.question), "tcp"))
			if err != nil || source != tt.want {
				t.Errorf("%s: %q, %v, want %q", tt.question, source, err, tt.want)
			}
			if m != nil && m.Question[0].Name != dns.Fqdn(strings.Fields(tt.question)[0]) {
				t.Errorf("%s: %v", tt.question, m)
			}
			time.Sleep(tt.then)
		}
	})
}

// What nobody bears in our zone is denied, unless the operator named others
// who know more of it.
func TestTheOperatorsWordReachesIntoOurZone(t *testing.T) {
	up := startUpstream(t, func(_ string, q *dns.Msg) *dns.Msg { return withA(q, 1) })
	cfg := forwarding()
	cfg.Routes = func() []Route {
		to := []netip.AddrPort{up.addr}
		return []Route{
			{Domain: "old.dockstack", Resolvers: to}, {Domain: "16.172.in-addr.arpa", Resolvers: to},
			{Domain: "corp", Resolvers: to}, {Domain: "internal", Resolvers: to},
		}
	}
	_, addr := serve(t, cfg, theNames())
	for question, forwarded := range map[string]bool{
		"x.old.dockstack A": true, "old.dockstack A": true, "X.OLD.dockstack AAAA": true,
		"nobody.dockstack A": false, "db.dockstack A": false, "db.dockstack MX": false,
		"10.0.16.172.in-addr.arpa PTR": false, "99.0.16.172.in-addr.arpa PTR": true, "3.1.10.in-addr.arpa PTR": false,
		"corp A": true, "nobody A": false, "db.internal A": false, "nobody.internal A": true,
	} {
		before := len(up.asked())
		ask(t, "udp", addr, query1(t, question))
		if got := len(up.asked()) > before; got != forwarded {
			t.Errorf("%s is forwarded: %v", question, got)
		}
	}
}
