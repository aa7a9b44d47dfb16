package dnsd

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// upstream is a resolver on loopback that answers as its script says.
type upstream struct {
	addr netip.AddrPort

	mu  sync.Mutex
	got []string // "udp www.example.com. A edns=1232 do", in order
}

// asked returns what came in.
func (u *upstream) asked() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.got)
}

// startUpstream answers each query with what script returns; nil is silence.
func startUpstream(tb testing.TB, script func(network string, q *dns.Msg) *dns.Msg) *upstream {
	tb.Helper()
	pc, l := bothSockets(tb)
	u := &upstream{addr: netip.MustParseAddrPort(pc.LocalAddr().String())}
	serve := func(network string, s *dns.Server) {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		s.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			line := network + " " + q.Question[0].Name + " " + dns.TypeToString[q.Question[0].Qtype]
			if opt := q.IsEdns0(); opt != nil {
				line += " edns"
				if opt.Do() {
					line += " do"
				}
				for _, o := range opt.Option {
					line += " " + o.String()
				}
			}
			u.mu.Lock()
			u.got = append(u.got, line)
			u.mu.Unlock()
			if a := script(network, q); a != nil {
				_ = w.WriteMsg(a)
			}
		})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = s.ActivateAndServe()
		}()
		<-started
		tb.Cleanup(func() {
			_ = s.Shutdown()
			<-ended
		})
	}
	serve("udp", &dns.Server{PacketConn: pc})
	serve("tcp", &dns.Server{Listener: l})
	return u
}

// withA answers q with n addresses.
func withA(q *dns.Msg, n int) *dns.Msg {
	a := new(dns.Msg).SetReply(q)
	a.Authoritative = true
	for i := range n {
		a.Answer = append(a.Answer, &dns.A{
			Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300},
			A:   netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}).AsSlice(),
		})
	}
	return a
}

func rcode(code int) func(string, *dns.Msg) *dns.Msg {
	return func(_ string, q *dns.Msg) *dns.Msg { return new(dns.Msg).SetRcode(q, code) }
}

func silent(string, *dns.Msg) *dns.Msg { return nil }

// bothSockets opens a port that is free for UDP and TCP alike.
func bothSockets(tb testing.TB) (net.PacketConn, net.Listener) {
	tb.Helper()
	var failed error
	for range 20 {
		pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		l, err := net.Listen("tcp4", pc.LocalAddr().String())
		if err == nil {
			return pc, l
		}
		failed = err
		_ = pc.Close()
	}
	tb.Fatal(failed)
	return nil, nil
}
