package dnsd

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

func isLocal(a netip.Addr) bool { return a.IsLoopback() }

func TestAClientHasSoManyQueriesASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRateLimiter(50, isLocal)
		burst := func(client string, n int) (got int) {
			for range n {
				if r.take(netip.MustParseAddr(client), time.Now()) == 0 {
					got++
				}
			}
			return got
		}
		for _, tt := range []struct {
			client     string
			after      time.Duration
			asks, want int
		}{
			{inside, 0, 100, 50},
			{inside, 100 * time.Millisecond, 100, 5},
			{inside, time.Hour, 100, 50},
			{inside, -1, 100, 0},
			{"fd00:16::1", 0, 30, 30},
			{"fd00:16::2", 0, 30, 20}, // the same /64, one client
			{"fd00:17::2", 0, 30, 30},
			{"::ffff:172.16.99.1", 0, 30, 30},
			{"172.16.99.1", 0, 30, 20},
			{local, 0, 1000, 1000}, // whole containers' worth of clients
		} {
			time.Sleep(max(tt.after, 0))
			if got := burst(tt.client, tt.asks); got != tt.want {
				t.Errorf("%s after %s: %d of %d queries pass, want %d", tt.client, tt.after, got, tt.asks, tt.want)
			}
		}
		if got := newRateLimiter(0, isLocal).take(netip.MustParseAddr(inside), time.Now()); got != 0 {
			t.Errorf("without a limit one waits %s", got)
		}
	})
}

// Strangers in any number take no more memory, and do not free a client that
// asks too much of its limit at once.
func TestTheTableOfClientsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRateLimiter(100, isLocal)
		greedy, passed := netip.MustParseAddr("10.255.255.255"), 0
		addr := netip.MustParseAddr("10.0.0.0")
		for i := range 100_000 {
			addr = addr.Next()
			if r.take(addr, time.Now()) != 0 {
				t.Fatalf("%s must wait for its first query", addr)
			}
			if i%10 == 0 && r.take(greedy, time.Now()) == 0 {
				passed++
			}
		}
		clients := 0
		for i := range r.shards {
			clients += len(r.shards[i].by)
		}
		if clients > rateShards*rateClients {
			t.Errorf("%d clients are known", clients)
		}
		if passed > 500 {
			t.Errorf("%d of 10,000 queries passed at once for who may ask 100 a second", passed)
		}
	})
}

func TestOverTCPAClientWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRateLimiter(10, isLocal)
		client, began, limited := netip.MustParseAddr(inside), time.Now(), 0
		for range minBurst + 10 {
			if !r.wait(t.Context(), client, func() { limited++ }) {
				t.Fatal("the test ended")
			}
		}
		if took := time.Since(began).Round(time.Millisecond); took != time.Second || limited != 10 {
			t.Errorf("10 queries more than the burst took %s, %d waited", took, limited)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if r.wait(ctx, client, func() {}) {
			t.Error("it waited longer than it may")
		}
	})
}

func TestBeyondItsRateAClientIsToldToUseTCP(t *testing.T) {
	s := newServer(t, Config{ClientRate: 1}, theNames())
	// The host is free of limits; nobody is the host here.
	s.rate.host = func(netip.Addr) bool { return false }
	if err := s.SetListeners([]netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}); err != nil {
		t.Fatal(err)
	}
	addr := s.Listeners()[0].Addr
	c, err := net.Dial("udp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	const asks = 3 * minBurst
	m := query1(t, "DB.dockstack A")
	m.SetEdns0(1232, false)
	for i := range asks {
		m.Id = uint16(i)
		packet, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(packet); err != nil {
			t.Fatal(err)
		}
	}
	// However slow this machine is, no more than 10 become free meanwhile.
	whole, cut := 0, 0
	buf := make([]byte, maxUDP)
	for whole < minBurst || cut < (asks-minBurst-10)/slipEvery {
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		n, err := c.Read(buf)
		if err != nil {
			t.Fatalf("after %d whole answers and %d cut ones: %v", whole, cut, err)
		}
		a := unpack(t, buf[:n])
		switch {
		case a.Truncated && len(a.Answer) == 0 && a.Question[0] == m.Question[0] && a.Rcode == dns.RcodeSuccess:
			cut++
		case len(a.Answer) == 1:
			whole++
		default:
			t.Errorf("came %v", a)
		}
	}
	if st := s.Stats(); st.Limited < asks-minBurst-10 || st.Queries != asks {
		t.Errorf("counted %+v", st)
	}
	// Over TCP it is answered, in its time.
	limited := s.Stats().Limited
	for range 2 {
		if got := ask(t, "tcp", addr, query1(t, "db.dockstack A")); len(got.Answer) != 1 {
			t.Errorf("over TCP: %v", got)
		}
	}
	if got := s.Stats().Limited - limited; got == 0 {
		t.Error("over TCP it had not to wait")
	}
}
