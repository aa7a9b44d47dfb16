package dnsd

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

func TestAnAnswerIsKeptForItsTTL(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
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
			inWorld(t, Config{}, func(w *world) {
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
			inWorld(t, Config{}, func(w *world) {
				t := w.t
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
	inWorld(t, Config{}, func(w *world) {
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
	inWorld(t, Config{}, func(w *world) {
		t := w.t
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
	inWorld(t, Config{}, func(w *world) {
		t := w.t
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
		// What is kept by now is not the answer to its own question.
		if a := w.ask(local, own); len(a.IsEdns0().Option) != 1 || w.asked.Load() != 4 {
			t.Errorf("its own answer has %v, resolvers were asked %d times", a.IsEdns0(), w.asked.Load())
		}
	})
}

func TestSameQuestionsGoTogether(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		t := w.t
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
