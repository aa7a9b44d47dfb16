package link

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// What is sent to port 53 of the redirected addresses arrives at the other
// port, the answer comes from port 53, and port 53 itself stays free to bind.
func TestRedirect(t *testing.T) {
	s := newSpace(t)
	addrs := []netip.Addr{netip.MustParseAddr("127.0.0.153"), netip.MustParseAddr("::1")}
	s.in(t, func() error {
		for range 2 { // a repetition changes nothing
			if err := PutRedirect(Redirect{Addrs: addrs, From: 53, To: 15053}); err != nil {
				return err
			}
		}
		for _, a := range addrs {
			echoBehind(t, a)
		}
		any4, err := net.ListenPacket("udp4", "0.0.0.0:53")
		if err != nil {
			t.Errorf("port 53 can't be published: %v", err)
		} else {
			_ = any4.Close()
		}
		if err := PutRedirect(Redirect{}); err != nil {
			return err
		}
		if err := exchange("udp", netip.AddrPortFrom(addrs[0], 53)); err == nil {
			t.Error("the redirection is still there")
		}
		return nil
	})
}

// echoBehind serves UDP and TCP at the port behind, and asks in front.
func echoBehind(t *testing.T, a netip.Addr) {
	t.Helper()
	behind := netip.AddrPortFrom(a, 15053).String()
	udp, err := net.ListenPacket("udp", behind)
	must(t, err)
	t.Cleanup(func() { _ = udp.Close() })
	tcp, err := net.Listen("tcp", behind)
	must(t, err)
	t.Cleanup(func() { _ = tcp.Close() })
	go func() {
		buf := make([]byte, 64)
		if n, from, err := udp.ReadFrom(buf); err == nil {
			_, _ = udp.WriteTo(buf[:n], from)
		}
	}()
	go func() {
		if c, err := tcp.Accept(); err == nil {
			buf := make([]byte, 64)
			n, _ := c.Read(buf)
			_, _ = c.Write(buf[:n])
			_ = c.Close()
		}
	}()
	for _, network := range []string{"udp", "tcp"} {
		if err := exchange(network, netip.AddrPortFrom(a, 53)); err != nil {
			t.Errorf("%s to %s: %v", network, a, err)
		}
	}
}

// exchange says something and waits for its echo, from a connected socket: an
// answer from another port would not be taken.
func exchange(network string, to netip.AddrPort) error {
	c, err := net.DialTimeout(network, to.String(), time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("hello")); err != nil {
		return err
	}
	_, err = c.Read(make([]byte, 5))
	return err
}
