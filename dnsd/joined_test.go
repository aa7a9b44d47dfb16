package dnsd

import (
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// Answers that were joined on their way come out as they are, each to its
// client, whether the kernel joins them or not.
func TestJoinedAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		listen string
		joins  joining
	}{
		"joined":            {"127.0.0.1:0", mayJoin},
		"joined, IPv6":      {"[::1]:0", mayJoin},
		"one by one":        {"127.0.0.1:0", neverJoin},
		"refused by kernel": {"127.0.0.1:0", mayJoin},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, Config{}, newTable(manyNames(2000)...))
			conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(tt.listen)))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			b, err := newBatch(conn, tt.joins)
			if err != nil {
				t.Fatal(err)
			}
			if name == "refused by kernel" {
				for i := range b.segments {
					b.segments[i].hdr.Type = 0xff // no such thing
				}
			}
			at := conn.LocalAddr().(*net.UDPAddr).AddrPort() //nolint:forcetypeassert // ListenUDP's
			clients := make([]net.Conn, 3)
			asked := make([]map[uint16]string, len(clients))
			const each = batchSize / 3
			for i := range clients {
				if clients[i], err = net.Dial("udp", at.String()); err != nil {
					t.Fatal(err)
				}
				defer func() { _ = clients[i].Close() }()
				asked[i] = map[uint16]string{}
			}
			for n := range each {
				for i, c := range clients {
					// Names of different lengths, and ones that nobody has.
					m := new(dns.Msg).SetQuestion("svc-"+strconv.Itoa(n*170+i)+".dockstack.", dns.TypeA)
					m.Id = uint16(1000*i + n)
					packet, err := m.Pack()
					if err != nil {
						t.Fatal(err)
					}
					if _, err := c.Write(packet); err != nil {
						t.Fatal(err)
					}
					asked[i][m.Id] = m.Question[0].Name
				}
			}
			look := s.lookup()
			l := &listener{addr: at, udp: conn}
			answered, messages := 0, 0
			for answered < each*len(clients) {
				n, err := b.recv()
				if err != nil {
					t.Fatal(err)
				}
				s.answerBatch(l, b, n, look)
				answered += b.filled
				if err := b.send(); err != nil {
					t.Fatal(err)
				}
				messages += b.messages
				if b.lost > 0 {
					t.Fatalf("%d answers are lost", b.lost)
				}
			}
			if joined := messages < answered; joined != (tt.joins == mayJoin) {
				t.Errorf("%d answers in %d messages", answered, messages)
			}
			for i, c := range clients {
				_ = c.SetReadDeadline(time.Now().Add(time.Minute))
				buf := make([]byte, 4096)
				for range each {
					n, err := c.Read(buf)
					if err != nil {
						t.Fatalf("%d answers are missing: %v", len(asked[i]), err)
					}
					m := unpack(t, buf[:n])
					if want := asked[i][m.Id]; want == "" || m.Question[0].Name != want {
						t.Errorf("client %d got an answer to %s, ID %d: asked %q", i, m.Question[0].Name, m.Id, want)
					}
					delete(asked[i], m.Id)
				}
			}
		})
	}
}
