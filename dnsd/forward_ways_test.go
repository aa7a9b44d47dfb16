package dnsd

import (
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

func TestOtherResolversMayMeanOtherNames(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
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
	inWorld(t, Config{}, func(w *world) {
		t := w.t
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

// So is one whose resolvers were picked before the change, and asked after it.
func TestResolversThatWerePickedBeforeAChangeAreOld(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		u, now := w.forwards, time.Now()
		picked := u.ways.look(u, now)
		w.set([]netip.AddrPort{theCorp})
		u.ways.look(u, now)
		f := newForward(query1(w.t, www), &query{client: netip.MustParseAddrPort("127.0.0.1:4242")})
		came := make(chan *answer, 1)
		if _, err := u.joinLocked(f, waiter{f, true, func(a *answer) { came <- a }}, picked, now); err != nil {
			w.t.Fatal(err)
		}
		if a := <-came; a.server != theFirst {
			w.t.Fatalf("%s was asked", a.server)
		}
		if a, _ := u.cache.get(f.key, now); a != nil {
			w.t.Errorf("what %s said is kept for those who ask %s", a.server, theCorp)
		}
		w.is(www, wwwFor(300), 2)
	})
}

func TestADomainsOwnResolversAreAsked(t *testing.T) {
	_, routes, err := ParseForwarders("/corp.example/10.1.1.1,/open.corp.example/#,/local.test/,/10.0.0.0/8/10.1.1.1")
	if err != nil {
		t.Fatal(err)
	}
	inWorld(t, Config{}, func(w *world) {
		t := w.t
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

func TestWhereAForwardedAnswerComesFrom(t *testing.T) {
	_, routes, err := ParseForwarders("/corp.example/10.1.1.1,/local.test/")
	if err != nil {
		t.Fatal(err)
	}
	inWorld(t, Config{}, func(w *world) {
		t := w.t
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
			{Domain: "old.dockstack", Resolvers: to},
			{Domain: "16.172.in-addr.arpa", Resolvers: to},
			{Domain: "corp", Resolvers: to},
			{Domain: "internal", Resolvers: to},
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
