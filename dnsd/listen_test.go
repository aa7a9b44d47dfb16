package dnsd

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

func addrs(texts ...string) []netip.AddrPort {
	list := make([]netip.AddrPort, len(texts))
	for i, text := range texts {
		list[i] = netip.MustParseAddrPort(text)
	}
	return list
}

func TestSetListenersIsTheWholeSet(t *testing.T) {
	s := newServer(t, Config{}, theNames())
	if err := s.SetListeners(addrs("127.0.0.1:0", "127.0.0.2:0")); err != nil {
		t.Fatal(err)
	}
	before := s.Listeners()
	if err := s.SetListeners(addrs("127.0.0.2:0", "127.0.0.3:0")); err != nil {
		t.Fatal(err)
	}
	after := s.Listeners()
	if len(before) != 2 || len(after) != 2 || before[1] != after[0] || after[1].Addr.Addr().String() != "127.0.0.3" {
		t.Fatalf("before %v, after %v", before, after)
	}
	for _, l := range after {
		if got := brief(ask(t, "udp", l.Addr, query1(t, "db A"))); !strings.HasPrefix(got, "NOERROR aa") {
			t.Errorf("%s: %s", l.Addr, got)
		}
	}
	if _, err := net.DialTimeout("tcp", before[0].Addr.String(), time.Second); err == nil {
		t.Errorf("%s is still open", before[0].Addr)
	}
	if err := s.SetListeners(nil); err != nil || len(s.Listeners()) != 0 {
		t.Errorf("no listeners: %v, %v", err, s.Listeners())
	}
}

// TestAnAddressThatIsYetToCome is the overlay's gateway before its bridge:
// 192.0.2.200 is nobody's.
func TestAnAddressThatIsYetToCome(t *testing.T) {
	s := newServer(t, Config{}, theNames())
	if err := s.SetListeners(addrs("192.0.2.200:0", "[2001:db8::200]:0")); err != nil {
		t.Error(err)
	}
}

func TestAnAddressThatIsTaken(t *testing.T) {
	// Once it is let go, nobody else's port may be in the way: they are on
	// 127.0.0.1.
	held, err := net.ListenPacket("udp4", "127.0.77.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddrPort(held.LocalAddr().String())
	s := newServer(t, Config{}, theNames())
	err = s.SetListeners([]netip.AddrPort{addr, netip.MustParseAddrPort("127.0.0.2:0"), netip.MustParseAddrPort("0.0.0.0:53")})
	if !errors.Is(err, ErrListen) || !strings.Contains(err.Error(), addr.String()) ||
		!strings.Contains(err.Error(), "address already in use") || !strings.Contains(err.Error(), "ss -lnptu") ||
		!strings.Contains(err.Error(), "0.0.0.0:53: name one address") {
		t.Errorf("error %q", err)
	}
	list := s.Listeners()
	if list[0].Err == nil || list[0].Addr.IsValid() || list[1].Err != nil {
		t.Fatalf("state %v", list)
	}
	if got := brief(ask(t, "udp", list[1].Addr, query1(t, "db A"))); !strings.HasPrefix(got, "NOERROR aa") {
		t.Errorf("the other address: %s", got)
	}
	// Whoever held it lets go, and Run takes it.
	_ = held.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		s.Run(ctx)
		close(ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	for deadline := time.Now().Add(time.Minute); !s.Listeners()[0].Addr.IsValid(); {
		if time.Now().After(deadline) {
			t.Fatalf("never opened: %v", s.Listeners()[0].Err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if got := brief(ask(t, "tcp", addr, query1(t, "db A"))); !strings.HasPrefix(got, "NOERROR aa") {
		t.Errorf("afterwards: %s", got)
	}
}

func TestWhoIsServed(t *testing.T) {
	a := newAccess(&Config{})
	own := []netip.Addr{netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("fe80::1")}
	a.list = func() ([]netip.Addr, error) { return own, nil }
	a.served.Store(&thePools)
	for addr, want := range map[string]bool{
		"127.0.0.1": true, "127.8.8.8": true, "::1": true,
		"172.16.255.1": true, "fd00:16::77": true, "10.8.15.1": true,
		"192.0.2.2": true, "fe80::1%eth0": true,
		"192.0.2.3": false, "172.17.0.1": false, "10.8.16.1": false, "fd00:17::1": false, "fe80::2%eth0": false, "8.8.8.8": false,
	} {
		if got := a.allowedNow(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s served: %v", addr, got)
		}
	}
	// A new address is found, but not by looking for it with each packet.
	own = append(own, netip.MustParseAddr("192.0.2.3"))
	if a.allowedNow(netip.MustParseAddr("192.0.2.3")) {
		t.Error("the host's addresses were read again at once")
	}
	a.refresh(time.Now().Add(2 * ownEvery))
	if !a.allowed(netip.MustParseAddr("192.0.2.3")) {
		t.Error("a new address of the host is not served")
	}
	// The host's own failure to list them takes nothing away.
	a.list = func() ([]netip.Addr, error) { return nil, errors.New("no netlink today") }
	a.refresh(time.Now().Add(4 * ownEvery))
	if !a.allowed(netip.MustParseAddr("192.0.2.3")) {
		t.Error("an address was lost to an error")
	}
}

func TestHostAddrs(t *testing.T) {
	list, err := hostAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		if a == netip.MustParseAddr("127.0.0.1") {
			return
		}
	}
	t.Errorf("127.0.0.1 is not among %v", list)
}

// With several cores an address has several sockets, and each gets its share.
func TestSeveralReaders(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2 * maxReaders))
	l, err := openListener(t.Context(), netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	const clients = 400
	for range clients {
		c, err := net.Dial("udp", l.addr.String())
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Write([]byte{1})
		_ = c.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
	got := []int{}
	total := 0
	for _, c := range append([]*net.UDPConn{l.udp}, l.more...) {
		n := 0
		_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		for buf := make([]byte, 9); ; n++ {
			if _, err := c.Read(buf); err != nil {
				break
			}
		}
		got, total = append(got, n), total+n
	}
	if len(got) != maxReaders || slices.Contains(got, 0) || total != clients {
		t.Errorf("of %d packets the sockets have %v", clients, got)
	}
	if l, err := openListener(t.Context(), l.addr); err == nil {
		l.close()
		t.Error("the address is opened twice")
	}
}

func TestServesWithSeveralReaders(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2 * maxReaders))
	_, addr := serve(t, Config{}, theNames())
	for range 50 { // each from a port of its own
		if got := brief(ask(t, "udp", addr, query1(t, "db A"))); got != "NOERROR aa ra | db. 5 A 172.16.0.10" {
			t.Fatal(got)
		}
	}
}
