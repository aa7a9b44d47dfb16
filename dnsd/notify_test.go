package dnsd

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// hearer is a secondary that says what it heard. While deaf is above 0 it passes
// over what it is told, and counts that there.
func hearer(t *testing.T) (addr netip.AddrPort, heard func() map[string]uint32, deaf *atomic.Int32) {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	var last atomic.Pointer[map[string]uint32]
	last.Store(&map[string]uint32{})
	deaf = new(atomic.Int32)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			var m dns.Msg
			if err := m.Unpack(buf[:n]); err != nil || m.Opcode != dns.OpcodeNotify {
				continue
			}
			if n := deaf.Load(); n > 0 {
				deaf.CompareAndSwap(n, n+1)
				continue
			}
			all := maps.Clone(*last.Load())
			soa, _ := m.Answer[0].(*dns.SOA)
			all[m.Question[0].Name] = soa.Serial
			last.Store(&all)
			reply, _ := new(dns.Msg).SetReply(&m).Pack()
			_, _ = conn.WriteToUDPAddrPort(reply, from)
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return conn.LocalAddr().(*net.UDPAddr).AddrPort(), func() map[string]uint32 { return *last.Load() }, deaf //nolint:forcetypeassert // ListenUDP's
}

func TestSecondariesAreTold(t *testing.T) {
	every, pause, wait, retry := notifyEvery, notifyPause, notifyWait, notifyRetry
	notifyEvery, notifyPause, notifyWait, notifyRetry = 5*time.Millisecond, 10*time.Millisecond, 30*time.Millisecond, 10*time.Millisecond
	t.Cleanup(func() { notifyEvery, notifyPause, notifyWait, notifyRetry = every, pause, wait, retry })
	at, heard, deaf := hearer(t)
	var names atomic.Pointer[table]
	names.Store(hosts("db internal 172.16.0.10/16"))
	s, err := New(Config{Secondaries: []netip.AddrPort{at}}, func() Names { return names.Load() }, discard())
	if err != nil {
		t.Fatal(err)
	}
	s.SetServed([]netip.Prefix{netip.MustParsePrefix("10.8.0.0/23")})
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(t.Context())
	}()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	wants := func(serial uint32) string {
		return fmt.Sprint(map[string]uint32{"dockstack.": serial, "0.8.10.in-addr.arpa.": serial, "1.8.10.in-addr.arpa.": serial})
	}
	await := func(what, want string) {
		t.Helper()
		deadline := time.Now().Add(time.Minute)
		for fmt.Sprint(heard()) != want {
			if time.Now().After(deadline) {
				t.Fatalf("%s: heard %v, want %s", what, heard(), want)
			}
			time.Sleep(time.Millisecond)
		}
	}
	await("at the start", wants(7))
	change := func(serial uint32) {
		n := hosts("db internal 172.16.0.10/16")
		n.serial = serial
		names.Store(n)
	}
	change(8)
	await("a change", wants(8))
	deaf.Store(1)
	change(9)
	for deadline := time.Now().Add(time.Minute); deaf.Load() == 1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it was not told while it was away")
		}
	}
	deaf.Store(0)
	await("a change while it was away", wants(9))
}
