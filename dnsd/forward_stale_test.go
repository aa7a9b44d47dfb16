package dnsd

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestExpiredAnswersAreGivenWhileNobodyHasAnother(t *testing.T) {
	silentAll := func(netip.AddrPort, *dns.Msg) (*dns.Msg, error) { return nil, errSilent }
	inWorld(t, Config{}, func(w *world) {
		t := w.t
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
	inWorld(t, Config{UpstreamTimeout: 3 * time.Second}, func(w *world) {
		t := w.t
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
	inWorld(t, Config{}, func(w *world) {
		w.reply = denial(dns.RcodeNameError, 60, 60)
		w.say(www)
		time.Sleep(time.Minute)
		w.reply = func(netip.AddrPort, *dns.Msg) (*dns.Msg, error) { return nil, errSilent }
		w.is(www, "SERVFAIL ra", 2)
	})
}
