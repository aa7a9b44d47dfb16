package dnsd

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestServesUDPAndTCP(t *testing.T) {
	_, addr := serve(t, Config{}, theNames())
	for _, network := range []string{"udp", "tcp"} {
		for ask1, want := range map[string]string{
			"db A":                         "NOERROR aa ra | db. 5 A 172.16.0.10",
			"db.dockstack AAAA":            noData,
			"nobody.dockstack A":           noName,
			"10.0.16.172.in-addr.arpa PTR": "NOERROR aa ra | 10.0.16.172.in-addr.arpa. 5 PTR db.dockstack.",
			"www.example.com A":            "SERVFAIL ra",
		} {
			if got := brief(ask(t, network, addr, query1(t, ask1))); got != want {
				t.Errorf("%s %s: got %s, want %s", network, ask1, got, want)
			}
		}
	}
}

func TestServesIPv6(t *testing.T) {
	s := newServer(t, Config{}, theNames())
	if err := s.SetListeners([]netip.AddrPort{netip.MustParseAddrPort("[::1]:0")}); err != nil {
		t.Fatal(err)
	}
	addr := s.Listeners()[0].Addr
	for _, network := range []string{"udp", "tcp"} {
		if got := brief(ask(t, network, addr, query1(t, "six AAAA"))); got != "NOERROR aa ra | six. 5 AAAA fd00:16::6" {
			t.Errorf("%s: %s", network, got)
		}
		if got := brief(ask(t, network, addr, query1(t, "dockstack AAAA"))); got != "NOERROR aa ra | dockstack. 5 AAAA ::1" {
			t.Errorf("the zone's own address over %s: %s", network, got)
		}
	}
}

// TestChangesShowAtOnce holds the server to the picture of the moment.
func TestChangesShowAtOnce(t *testing.T) {
	var names atomic.Pointer[table]
	names.Store(hosts("db internal 172.16.0.10/16"))
	s, err := New(Config{}, func() Names { return names.Load() }, discard())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.SetListeners([]netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}); err != nil {
		t.Fatal(err)
	}
	addr := s.Listeners()[0].Addr
	if got := brief(ask(t, "udp", addr, query1(t, "new.dockstack A"))); got != noName {
		t.Errorf("before: %s", got)
	}
	names.Store(hosts("db internal 172.16.0.10/16", "new internal 172.16.0.11/16"))
	if got := brief(ask(t, "udp", addr, query1(t, "new.dockstack A"))); got != "NOERROR aa ra | new.dockstack. 5 A 172.16.0.11" {
		t.Errorf("after: %s", got)
	}
}

// crowd is a name with more addresses than fit a datagram.
func crowd() *table {
	var lines []string
	for i := range 250 {
		lines = append(lines, "crowd internal 172.16.7."+strconv.Itoa(i+1)+"/16")
	}
	return hosts(lines...)
}

func TestLongAnswersAreCutOverUDPAndWholeOverTCP(t *testing.T) {
	_, addr := serve(t, Config{}, crowd())
	for name, tt := range map[string]struct {
		network string
		edns    uint16
		longest int
		whole   bool
	}{
		"no EDNS":          {"udp", 0, 512, false},
		"EDNS of 100":      {"udp", 100, 512, false},
		"EDNS of 900":      {"udp", 900, 900, false},
		"EDNS of 4096":     {"udp", 4096, maxUDP, false},
		"TCP":              {"tcp", 0, dns.MaxMsgSize, true},
		"TCP, EDNS of 512": {"tcp", 512, dns.MaxMsgSize, true},
	} {
		t.Run(name, func(t *testing.T) {
			m := query1(t, "crowd A")
			if tt.edns > 0 {
				m.SetEdns0(tt.edns, true)
			}
			r := ask(t, tt.network, addr, m)
			r.Compress = true
			if r.Truncated == tt.whole || tt.whole != (len(r.Answer) == 250) || len(r.Answer) == 0 {
				t.Errorf("truncated %v with %d addresses", r.Truncated, len(r.Answer))
			}
			if n := r.Len(); n > tt.longest || !tt.whole && n < tt.longest-32 {
				t.Errorf("%d bytes, want up to %d", n, tt.longest)
			}
			if opt := r.IsEdns0(); (opt != nil) != (tt.edns > 0) || opt != nil && (!opt.Do() || opt.UDPSize() != maxUDP) {
				t.Errorf("EDNS in the answer: %v", opt)
			}
		})
	}
}

func TestBrokenPacketsOverUDP(t *testing.T) {
	s, addr := serve(t, Config{}, theNames())
	c, err := net.Dial("udp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for name, tt := range map[string]struct{ packet, want string }{
		"header and rubbish": {"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xff\xff\xff", "\x12\x34\x81\x01\x00\x00\x00\x00\x00\x00\x00\x00"},
		"pointer to itself":  {"\x12\x35\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01", "\x12\x35\x81\x01\x00\x00\x00\x00\x00\x00\x00\x00"},
		"records missing":    {"\x12\x36\x01\x00\x00\x01\x00\x05\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01\x07", "\x12\x36\x81\x01\x00\x00\x00\x00\x00\x00\x00\x00"},
	} {
		if _, err := c.Write([]byte(tt.packet)); err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		buf := make([]byte, 512)
		n, err := c.Read(buf)
		if err != nil || string(buf[:n]) != tt.want {
			t.Errorf("%s: got %x (%v), want %x", name, buf[:n], err, tt.want)
		}
	}
	// These get no answer; the one to the query behind them is the next.
	for _, silent := range []string{"", "x", "\x12\x34\x81\x80\x00\x00\x00\x00\x00\x00\x00\x00", strings.Repeat("y", maxUDP+1)} {
		if _, err := c.Write([]byte(silent)); err != nil {
			t.Fatal(err)
		}
	}
	if got := brief(ask(t, "udp", addr, query1(t, "db A"))); !strings.HasPrefix(got, "NOERROR aa") {
		t.Error(got)
	}
	_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := c.Read(make([]byte, 512)); err == nil {
		t.Errorf("%d bytes in answer to nothing", n)
	}
	if st := s.Stats(); st.Malformed != 3 || st.Dropped != 4 || st.Queries != 8 {
		t.Errorf("counted %+v", st)
	}
}

func TestSeveralQueriesOnOneConnection(t *testing.T) {
	_, addr := serve(t, Config{}, theNames())
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	var out []byte
	for id := range uint16(50) {
		m := query1(t, "db A")
		m.Id = id
		p, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(p))), p...)
	}
	if _, err := c.Write(out); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	for id := range uint16(50) {
		p, err := readFramed(c, nil)
		if err != nil {
			t.Fatal(err)
		}
		if m := unpack(t, p); m.Id != id || len(m.Answer) != 1 {
			t.Fatalf("answer %d: %v", id, m)
		}
	}
}

func TestIdleAndSurplusConnectionsAreClosed(t *testing.T) {
	dial := func(addr netip.AddrPort) net.Conn {
		c, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		return c
	}
	closed := func(what string, c net.Conn) {
		t.Helper()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !isReset(err) {
			t.Errorf("%s connection: %v", what, err)
		}
	}
	// Here none is idle for long enough, so that there is one too many.
	s, addr := serve(t, Config{TCPIdle: time.Hour, MaxConnsPerAddr: 2}, theNames())
	dial(addr)
	dial(addr)
	until(t, "two connections", func() bool { return s.conns.count() == 2 })
	closed("third", dial(addr))
	if s.Stats().ConnsRefused != 1 {
		t.Errorf("counted %+v", s.Stats())
	}

	s, addr = serve(t, Config{TCPIdle: 300 * time.Millisecond, MaxConnsPerAddr: 2}, theNames())
	idle, half := dial(addr), dial(addr)
	// A length, and then nothing: that must not last longer.
	if _, err := half.Write([]byte{0, 40, 1}); err != nil {
		t.Fatal(err)
	}
	closed("silent", idle)
	closed("half", half)
	until(t, "no connection", func() bool { return s.conns.count() == 0 })
	// There is room again. Who is slow to ask is idle too, and asks again.
	q := comparedQuery{"db", "A", "tcp", "plain"}
	until(t, "an answer afterwards", func() bool {
		m := try(t, addr, q, time.Minute)
		return m != nil && strings.HasPrefix(brief(m), "NOERROR aa")
	})
}

// until waits for what the server does by itself.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for limit := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("never came: %s", what)
		}
	}
}

func isReset(err error) bool { return err != nil && strings.Contains(err.Error(), "reset") }

func (t *conns) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.open)
}

func TestCloseEndsEverything(t *testing.T) {
	s, addr := serve(t, Config{}, theNames())
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		s.Run(ctx)
		close(ended)
	}()
	cancel()
	<-ended
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !isReset(err) {
		t.Errorf("connection after Close: %v", err)
	}
	if err := s.SetListeners(nil); !errors.Is(err, ErrClosed) {
		t.Errorf("SetListeners after Close: %v", err)
	}
	s.Close()
}
