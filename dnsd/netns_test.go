package dnsd

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// inNamespace tells the test's second process that it has a network of its own.
const inNamespace = "DNSD_TEST_IN_NAMESPACE"

// TestWhoIsServedForReal asks from addresses that packets truly come from: of
// this host, of an overlay, and of neither. It needs a network namespace, so
// that it can have such addresses: 203.0.113.0/24 and 172.16.0.0/16 are routed
// to the namespace itself there, without being on an interface.
func TestWhoIsServedForReal(t *testing.T) {
	if os.Getenv(inNamespace) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), inNamespace+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
			t.Fatalf("in a network namespace (as root): %v\n%s", err, out)
		}
		return
	}
	for _, command := range []string{
		"link set lo up", "route add local 203.0.113.0/24 dev lo", "route add local 172.16.0.0/16 dev lo",
		"address add 192.0.2.1/32 dev lo",
	} {
		if out, err := exec.CommandContext(t.Context(), need(t, "ip"), strings.Fields(command)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v\n%s", command, err, out)
		}
	}
	s := newServer(t, Config{}, theNames())
	// The gateway is listened on before the interface has it, as at boot.
	if err := s.SetListeners(addrs("127.0.0.153:53", "172.16.0.1:53", "192.0.2.1:53")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ client, server, want string }{
		{"127.0.0.1", "127.0.0.153", "NOERROR aa ra | db. 5 A 172.16.0.10"},
		{"172.16.9.9", "172.16.0.1", "NOERROR aa ra | db. 5 A 172.16.0.10"},
		{"192.0.2.1", "192.0.2.1", "NOERROR aa ra | db. 5 A 172.16.0.10"},
		{"203.0.113.9", "192.0.2.1", "REFUSED"},
		{"203.0.113.9", "172.16.0.1", "REFUSED"},
		{"203.0.113.9", "127.0.0.153", "REFUSED"},
	} {
		for _, network := range []string{"udp", "tcp"} {
			if got := askFrom(t, network, tt.client, tt.server+":53"); got != tt.want {
				t.Errorf("from %s to %s over %s: got %s, want %s", tt.client, tt.server, network, got, tt.want)
			}
		}
	}
}

// askFrom asks for db from an address, on a socket that takes answers from
// nobody but the server's very address.
func askFrom(t *testing.T, network, client, server string) string {
	t.Helper()
	d := net.Dialer{Timeout: 5 * time.Second}
	from := netip.AddrPortFrom(netip.MustParseAddr(client), 0)
	d.LocalAddr = net.UDPAddrFromAddrPort(from)
	if network == "tcp" {
		d.LocalAddr = net.TCPAddrFromAddrPort(from)
	}
	c, err := d.DialContext(t.Context(), network, server)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	packet, err := query1(t, "db A").Pack()
	if err != nil {
		t.Fatal(err)
	}
	if network == "tcp" {
		if err = (&stream{conn: c}).write(packet); err != nil {
			t.Fatal(err)
		}
		var answer []byte
		if answer, err = readFramed(c, nil); err != nil {
			t.Fatal(err)
		}
		return brief(unpack(t, answer))
	}
	if _, err = c.Write(packet); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, maxUDP)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return brief(unpack(t, buf[:n]))
}
