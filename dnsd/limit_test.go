package dnsd

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/miekg/dns"
)

func TestOneClientHasItsShare(t *testing.T) {
	inWorld(t, Config{MaxInFlight: 16, MaxForwardPerClient: 4}, func(w *world) {
		t := w.t
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
