package dnsd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/dockstack/dockstack/test/stall"
)

// impatience is how long a resolver is waited for where one is silent.
const impatience = 300 * time.Millisecond

// undisturbed calls fn again where the process stood still meanwhile: to somebody
// impatient, a resolver of this process was silent then.
func undisturbed(fn func()) {
	for range 10 {
		began := time.Now()
		if fn(); stall.Since(began) < impatience/2 {
			return
		}
	}
}

func forwarding(to ...netip.AddrPort) Config {
	return Config{
		Forwarders:      func() []netip.AddrPort { return to },
		CacheSize:       -1, // each query is to be seen; cache_test.go has the cache
		UpstreamTimeout: 20 * time.Second, ForwardBudget: 40 * time.Second,
	}
}

func TestForwards(t *testing.T) {
	good := func(_ string, q *dns.Msg) *dns.Msg { return withA(q, 1) }
	const answer = "NOERROR ra | www.example.com. 300 A 192.0.2.1"
	type script = func(string, *dns.Msg) *dns.Msg
	for name, tt := range map[string]struct {
		scripts []script
		want    string
		silence bool // of one of them
	}{
		"an answer, no longer authoritative": {[]script{good}, answer, false},
		"the first is silent":                {[]script{silent, good}, answer, true},
		"the first fails":                    {[]script{rcode(dns.RcodeServerFailure), good}, answer, false},
		"the first refuses":                  {[]script{rcode(dns.RcodeRefused), good}, answer, false},
		"no such name is final":              {[]script{rcode(dns.RcodeNameError), good}, "NXDOMAIN ra", false},
		"all are silent":                     {[]script{silent, silent}, "SERVFAIL ra", true},
		"all fail":                           {[]script{rcode(dns.RcodeServerFailure), silent}, "SERVFAIL ra", true},
		"there is none":                      {nil, "SERVFAIL ra", false},
		"somebody answers another question":  {[]script{func(_ string, q *dns.Msg) *dns.Msg { q.Question[0].Name = "evil.example."; return withA(q, 1) }, good}, answer, true},
		"somebody answers with another ID":   {[]script{func(_ string, q *dns.Msg) *dns.Msg { q.Id++; return withA(q, 2) }, good}, answer, true},
		"somebody answers in other letters":  {[]script{func(_ string, q *dns.Msg) *dns.Msg { q.Question[0].Name = "WWW.example.com."; return withA(q, 2) }, good}, answer, true},
		"a long one comes over TCP":          {[]script{func(n string, q *dns.Msg) *dns.Msg { a := withA(q, 1); a.Truncated = n == "udp"; return a }}, answer, false},
		"an extended code without EDNS to say": {[]script{func(_ string, q *dns.Msg) *dns.Msg {
			return new(dns.Msg).SetRcode(q, dns.RcodeBadCookie).SetEdns0(1232, false)
		}}, "SERVFAIL ra", false},
	} {
		t.Run(name, func(t *testing.T) {
			var to []netip.AddrPort
			for _, script := range tt.scripts {
				to = append(to, startUpstream(t, script).addr)
			}
			cfg := forwarding(to...)
			if tt.silence {
				cfg.UpstreamTimeout = impatience
			}
			_, addr := serve(t, cfg, theNames())
			for _, network := range []string{"udp", "tcp"} {
				var got string
				undisturbed(func() { got = brief(ask(t, network, addr, query1(t, "www.example.com A"))) })
				if got != tt.want {
					t.Errorf("%s: got %s, want %s", network, got, tt.want)
				}
			}
		})
	}
}

func TestForwardedEDNS(t *testing.T) {
	up := startUpstream(t, func(_ string, q *dns.Msg) *dns.Msg {
		a := withA(q, 1)
		if q.IsEdns0() != nil {
			a.SetEdns0(4096, true)
			a.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "00112233445566770011223344556677"}, &dns.EDNS0_EDE{InfoCode: 4}}
		}
		return a
	})
	_, addr := serve(t, forwarding(up.addr), theNames())
	plain := ask(t, "udp", addr, query1(t, "www.example.com A"))
	if plain.IsEdns0() != nil {
		t.Errorf("EDNS for who did not ask: %v", plain)
	}
	m := query1(t, "www.example.com A")
	m.SetEdns0(4096, true)
	m.IsEdns0().Option = []dns.EDNS0{
		&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0011223344556677"},
		&dns.EDNS0_NSID{Code: dns.EDNS0NSID},
	}
	r := ask(t, "udp", addr, m)
	opt := r.IsEdns0()
	if opt == nil || !opt.Do() || opt.UDPSize() != maxUDP || len(opt.Option) != 1 || opt.Option[0].Option() != dns.EDNS0EDE {
		t.Errorf("EDNS in the answer: %v", opt)
	}
	if got := strings.TrimSpace(strings.Join(up.asked(), ", ")); got != "udp www.example.com. A, udp www.example.com. A edns do" {
		t.Errorf("the resolver was asked %q", got)
	}
}

func TestForwardedAnswersAreCutForUDP(t *testing.T) {
	up := startUpstream(t, func(network string, q *dns.Msg) *dns.Msg {
		a := withA(q, 200)
		if network == "udp" {
			a.Answer, a.Truncated = nil, true
		}
		return a
	})
	_, addr := serve(t, forwarding(up.addr), theNames())
	small := ask(t, "udp", addr, query1(t, "www.example.com A"))
	if !small.Truncated || len(small.Answer) < 20 {
		t.Errorf("over UDP: truncated %v, %d addresses", small.Truncated, len(small.Answer))
	}
	if whole := ask(t, "tcp", addr, query1(t, "www.example.com A")); whole.Truncated || len(whole.Answer) != 200 {
		t.Errorf("over TCP: truncated %v, %d addresses", whole.Truncated, len(whole.Answer))
	}
}

func TestASilentResolverIsAskedLast(t *testing.T) {
	var n int
	undisturbed(func() {
		dead := startUpstream(t, silent)
		good := startUpstream(t, func(_ string, q *dns.Msg) *dns.Msg { return withA(q, 1) })
		cfg := forwarding(dead.addr, good.addr)
		cfg.UpstreamTimeout = impatience
		_, addr := serve(t, cfg, theNames())
		for range 5 {
			ask(t, "udp", addr, query1(t, "www.example.com A"))
		}
		n = len(dead.asked())
	})
	if n != 1 {
		t.Errorf("the dead resolver was asked %d times", n)
	}
}

func TestNeverAsksItself(t *testing.T) {
	var self atomic.Pointer[netip.AddrPort]
	up := startUpstream(t, func(_ string, q *dns.Msg) *dns.Msg { return withA(q, 1) })
	cfg := forwarding()
	cfg.Forwarders = func() []netip.AddrPort { return []netip.AddrPort{*self.Load(), up.addr} }
	s, addr := serve(t, cfg, theNames())
	self.Store(&addr)
	ask(t, "udp", addr, query1(t, "www.example.com A"))
	if st := s.Stats(); st.Queries != 1 || st.Forwarded != 1 || len(up.asked()) != 1 {
		t.Errorf("counted %+v, the resolver was asked %q", st, up.asked())
	}
}

func TestNeverAsksWhatLeadsToItself(t *testing.T) {
	up := startUpstream(t, func(_ string, q *dns.Msg) *dns.Msg { return withA(q, 1) })
	cfg := forwarding(up.addr)
	cfg.Self = func(a netip.AddrPort) bool { return a == up.addr }
	cfg.Routes = func() []Route { return []Route{{Domain: "corp.example", Resolvers: []netip.AddrPort{up.addr}}} }
	_, addr := serve(t, cfg, theNames())
	for _, name := range []string{"www.example.com A", "www.corp.example A"} {
		m := query1(t, name)
		m.SetEdns0(1232, false)
		if a := ask(t, "udp", addr, m); a.Rcode != dns.RcodeServerFailure || !strings.Contains(a.String(), "apart from this server itself") {
			t.Errorf("%s: %v", name, a)
		}
	}
	if len(up.asked()) > 0 {
		t.Errorf("it was asked %q", up.asked())
	}
}

func TestWhatIsOursDoesNotLeaveTheHost(t *testing.T) {
	up := startUpstream(t, func(_ string, q *dns.Msg) *dns.Msg { return withA(q, 1) })
	_, addr := serve(t, forwarding(up.addr), theNames())
	for _, q := range []string{"db A", "nobody A", "nobody AAAA", "nobody.dockstack A", "db.dockstack MX", "99.0.16.172.in-addr.arpa PTR", "localhost A"} {
		ask(t, "udp", addr, query1(t, q))
	}
	if got := up.asked(); len(got) > 0 {
		t.Errorf("the resolver was asked %q", got)
	}
}

func TestTooManyInFlight(t *testing.T) {
	release := make(chan struct{})
	up := startUpstream(t, func(_ string, q *dns.Msg) *dns.Msg {
		<-release
		return withA(q, 1)
	})
	cfg := forwarding(up.addr)
	cfg.MaxInFlight = 3
	s, addr := serve(t, cfg, theNames())
	var waiting sync.WaitGroup
	for i := range cfg.MaxInFlight {
		waiting.Go(func() {
			m := new(dns.Msg).SetQuestion(fmt.Sprintf("slow%d.example.com.", i), dns.TypeA)
			c := dns.Client{Timeout: 20 * time.Second}
			r, _, err := c.ExchangeContext(context.Background(), m, addr.String())
			if err != nil || len(r.Answer) != 1 {
				t.Errorf("slow query: %v, %v", r, err)
			}
		})
	}
	for s.Stats().Forwarded < uint64(cfg.MaxInFlight) {
		time.Sleep(time.Millisecond)
	}
	for _, network := range []string{"udp", "tcp"} {
		m := query1(t, "one-more.example.com A")
		m.SetEdns0(1232, false)
		r := ask(t, network, addr, m)
		if brief(r) != "SERVFAIL ra" || !strings.Contains(r.String(), errTooMany.Error()) {
			t.Errorf("%s: one more was answered %v", network, r)
		}
		// Our own names are answered all the same.
		if got := brief(ask(t, network, addr, query1(t, "db A"))); !strings.HasPrefix(got, "NOERROR aa") {
			t.Errorf("%s: %s", network, got)
		}
	}
	if st := s.Stats(); st.Overloaded != 2 {
		t.Errorf("counted %+v", st)
	}
	close(release)
	waiting.Wait()
}

func TestCloseDoesNotWaitForResolvers(t *testing.T) {
	up := startUpstream(t, silent)
	cfg := forwarding(up.addr)
	cfg.UpstreamTimeout, cfg.ForwardBudget = time.Hour, time.Hour
	s, addr := serve(t, cfg, theNames())
	c, err := net.Dial("udp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	packet, err := query1(t, "www.example.com A").Pack()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(packet); err != nil {
		t.Fatal(err)
	}
	for len(up.asked()) == 0 {
		time.Sleep(time.Millisecond)
	}
	s.Close() // the test's own time limit is what fails here
}

func TestCheckAnswer(t *testing.T) {
	q := new(dns.Msg).SetQuestion("www.Example.com.", dns.TypeA)
	asked, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		change func(*dns.Msg)
		good   bool
	}{
		"the answer":        {func(*dns.Msg) {}, true},
		"no such name":      {func(m *dns.Msg) { m.Rcode = dns.RcodeNameError }, true},
		"another ID":        {func(m *dns.Msg) { m.Id++ }, false},
		"half another ID":   {func(m *dns.Msg) { m.Id += 1 << 8 }, false},
		"a query":           {func(m *dns.Msg) { m.Response = false }, false},
		"another opcode":    {func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }, false},
		"another type":      {func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA }, false},
		"another class":     {func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }, false},
		"another case":      {func(m *dns.Msg) { m.Question[0].Name = "www.example.com." }, false},
		"no question":       {func(m *dns.Msg) { m.Question = nil }, false},
		"a second question": {func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }, false},
	} {
		a := withA(q, 1)
		tt.change(a)
		packet, err := a.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := checkAnswer(asked, packet); (err == nil) != tt.good || err != nil && !errors.Is(err, errBadAnswer) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Cut in a record: nothing, unless it says so itself.
	a := withA(q, 1)
	for _, truncated := range []bool{false, true} {
		a.Truncated = truncated
		packet, err := a.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if m, err := checkAnswer(asked, packet[:len(packet)-2]); (err == nil) != truncated || truncated && len(m.Answer) > 0 {
			t.Errorf("cut, TC %v: %v, %v", truncated, m, err)
		}
	}
}
