package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestFullSize: TCP and UDP at the size that programs really send, in both
// families. A ping gets through switches that corrupt these.
func TestFullSize(t *testing.T) {
	h := newHost(t)
	h.networks()
	h.run("server", "ext")
	h.run("client", "ext")
	h.docker("exec", "-d", "server", "/standin", "tcp-serve", "5001")
	h.docker("exec", "-d", "server", "/standin", "udp-serve", "5002")
	for _, addr := range []netip.Addr{h.ipv4("server", "ext"), h.ipv6("server", "ext")} {
		h.listens("client", netip.AddrPortFrom(addr, 5001))
		t.Logf("TCP: %s", h.exec("client", "tcp-send", netip.AddrPortFrom(addr, 5001).String(), "67108864"))
		for _, how := range []string{"", "gso"} {
			// 1,400 bytes fit the MTU of 1450 in either family.
			const count = 400
			out := h.exec("client", append([]string{"udp-send", netip.AddrPortFrom(addr, 5002).String(), fmt.Sprint(count), "1400"}, strings.Fields(how)...)...)
			if got := arrived(t, out); got != count {
				t.Errorf("to %s %s: %d of %d datagrams arrived", addr, how, got, count)
			}
		}
	}
}

// arrived is how many datagrams udp-send says came.
func arrived(t *testing.T, out string) int {
	t.Helper()
	var counts struct{ Arrived int }
	if err := json.Unmarshal([]byte(out), &counts); err != nil {
		t.Fatalf("udp-send said %q: %v", out, err)
	}
	return counts.Arrived
}

// listens waits until something in reach of a container accepts TCP.
func (h *host) listens(from string, where netip.AddrPort) {
	h.t.Helper()
	h.eventually(10*time.Second, func() string {
		if _, err := h.try("exec", from, "/standin", "tcp-send", where.String(), "1"); err != nil {
			return err.Error()
		}
		return ""
	})
}

// TestIsolation: nothing gets from one network to another's containers,
// neither directly nor by way of docker_gwbridge and the host.
func TestIsolation(t *testing.T) {
	h := newHost(t)
	h.create("red", "--ipv6", "--subnet", "172.30.1.0/24", "--subnet", "fd00:30:1::/64")
	h.create("blue", "--ipv6", "--subnet", "172.30.2.0/24", "--subnet", "fd00:30:2::/64")
	h.serve("red1", "red")
	h.serve("blue1", "blue")
	h.serve("blue2", "blue")
	h.docker("exec", "-d", "blue1", "/standin", "udp-serve", "5002")
	for _, target := range []netip.Addr{h.ipv4("blue1", "blue"), h.ipv6("blue1", "blue")} {
		udp := []string{"exec", "", "/standin", "udp-send", netip.AddrPortFrom(target, 5002).String(), "3", "100"}
		send := func(from string) int {
			udp[1] = from
			out, err := h.try(udp...)
			if err != nil {
				return 0 // no route, or an error that came back: not delivered
			}
			return arrived(t, out)
		}
		h.meets("blue2", "blue1", target)
		if got := send("blue2"); got != 3 {
			t.Errorf("within blue %d of 3 datagrams to %s arrived", got, target)
		}
		if got, err := h.get("red1", at(target)); err == nil {
			t.Errorf("red1 got to %s at %s", got, target)
		}
		if got := send("red1"); got != 0 {
			t.Errorf("%d datagrams from red1 arrived at %s", got, target)
		}
		// A route straight into red makes no difference.
		dev := h.device("red1", h.ipv4("red1", "red")).Name
		h.does("red1", "ip", "route", "add", netip.PrefixFrom(target, target.BitLen()).String(), "dev", dev)
		if got, err := h.get("red1", at(target)); err == nil {
			t.Errorf("with a route on %s red1 got to %s at %s", dev, got, target)
		}
	}
}

// TestPublishedPorts: `docker run -p` on our networks, asked from another
// machine, and the containers' way out.
func TestPublishedPorts(t *testing.T) {
	h := newHost(t)
	h.networks()
	h.create("inner", "--internal", "--subnet", "172.30.9.0/24")
	h.serve("web", "internal", "-p", "8080:80")
	h.serve("hidden", "inner", "-p", "8081:80")
	if got, err := h.call("8080"); got != "web" {
		t.Errorf("port 8080 of the host says %q, %v; want web", got, err)
	}
	if got, err := h.call("8081"); err == nil {
		t.Errorf("a port of a container on an internal network is published: %q", got)
	}

	out := h.elsewhere()
	got, err := h.get("web", out)
	if err != nil || got != h.Addr {
		t.Errorf("from web outside is seen %q, %v; want the host's address %s", got, err, h.Addr)
	}
	if got, err := h.get("hidden", out); err == nil {
		t.Errorf("a container on an internal network got outside as %q", got)
	}
	if routes := h.does("hidden", "ip", "-4", "route"); strings.Contains(routes, "default") || len(strings.Split(routes, "\n")) != 1 {
		t.Errorf("a container on an internal network has the routes %s", routes)
	}
	if n := len(h.ifaces("hidden")); n != 2 {
		t.Errorf("a container on an internal network has %d interfaces, want lo and one: %v", n, h.ifaces("hidden"))
	}
}

// call asks a port of the host for a container's name, from outside.
func (h *host) call(port string) (string, error) {
	h.t.Helper()
	var got string
	var err error
	h.outside(func() { got, err = name(net.JoinHostPort(h.Addr, port)) })
	return got, err
}

// name is what a stand-in answers.
func name(where string) (string, error) { return greeting(where, 3*time.Second) }

// greeting is name with less patience.
func greeting(where string, limit time.Duration) (string, error) {
	c, err := net.DialTimeout("tcp", where, limit)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(line), err
}

// elsewhere starts a server outside of the host that tells each client the
// address that it comes from.
func (h *host) elsewhere() string {
	h.t.Helper()
	var l net.Listener
	var err error
	h.outside(func() { l, err = net.Listen("tcp", net.JoinHostPort(h.Lab().UnderlayAddr(), "0")) })
	h.check(err)
	h.t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			from, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			_, _ = io.WriteString(c, from+"\n")
			_ = c.Close()
		}
	}()
	return l.Addr().String()
}

// TestGatewayAddress: the host is in each network under the gateway's address.
func TestGatewayAddress(t *testing.T) {
	h := newHost(t)
	h.networks()
	h.run("cc", "ext")
	for _, gw := range h.gateways("ext") {
		h.does("cc", "ping", "-c", "2", "-i", "0.2", "-W", "2", gw.String())
		h.does("cc", "ping", "-c", "2", "-i", "0.2", "-W", "2", "-M", "do", "-s", "1400", gw.String())
	}
}

// TestBesideABridge: a container that is on a Docker bridge network as well
// has both, whichever came first.
func TestBesideABridge(t *testing.T) {
	h := newHost(t)
	h.networks()
	h.docker("network", "create", "plain")
	h.serve("ours", "internal")
	h.serve("theirs", "plain")
	h.serve("first", "plain", "--network", "internal", "-p", "8080:80")
	h.serve("later", "internal")
	addr := h.ipv4("later", "internal")
	h.docker("network", "connect", "plain", "later")
	for _, c := range []string{"first", "later"} {
		h.meets(c, "ours", h.ipv4("ours", "internal"))
		h.meets(c, "theirs", h.ipv4("theirs", "plain"))
		h.meets("ours", c, h.ipv4(c, "internal"))
		h.meets("theirs", c, h.ipv4(c, "plain"))
	}
	if got, err := h.call("8080"); got != "first" {
		t.Errorf("the published port says %q, %v; want first", got, err)
	}
	h.docker("network", "disconnect", "plain", "later")
	h.meets("later", "ours", h.ipv4("ours", "internal"))
	if got, err := h.get("later", h.elsewhere()); got != h.Addr {
		t.Errorf("after it left the bridge network, later is seen outside as %q, %v", got, err)
	}
	h.docker("restart", "-t", "1", "later")
	if got := h.ipv4("later", "internal"); got != addr {
		t.Errorf("later was %s, is %s", addr, got)
	}
}
