package datapath

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

// listen opens a TCP server inside a box.
func (b *box) listen(a netip.Addr) net.Listener {
	b.tb.Helper()
	var l net.Listener
	b.must(func() (err error) {
		l, err = (&net.ListenConfig{}).Listen(b.tb.Context(), "tcp", netip.AddrPortFrom(a, 0).String())
		return err
	})
	b.tb.Cleanup(func() { _ = l.Close() })
	return l
}

// dialLimit is how long a connection may take to come about; a lost SYN is
// repeated after a second.
const dialLimit = 3 * time.Second

// dial connects from inside a box.
func (b *box) dial(to string) (net.Conn, error) {
	began := startWatch()
	var c net.Conn
	err := b.do(func() (err error) {
		c, err = (&net.Dialer{Timeout: patience}).DialContext(b.tb.Context(), "tcp", to)
		return err
	})
	if took := began.took(); err == nil && took > dialLimit {
		_ = c.Close()
		return nil, fmt.Errorf("%s took %s to connect", to, took)
	}
	return c, err
}

// exchange sends size bytes each way between two boxes and compares them.
func exchange(from, to *box, a netip.Addr, size int) error {
	l := to.listen(a)
	defer func() { _ = l.Close() }()
	up, down := make([]byte, size), make([]byte, size)
	_, _ = rand.Read(up)
	_, _ = rand.Read(down)
	served := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			served <- err
			return
		}
		defer func() { _ = c.Close() }()
		served <- swap(c, down, up)
	}()
	c, err := from.dial(l.Addr().String())
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := swap(c, up, down); err != nil {
		return err
	}
	return <-served
}

// swap sends one thing and receives another at the same time.
func swap(c net.Conn, send, want []byte) error {
	_ = c.SetDeadline(time.Now().Add(patience))
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(c, bytes.NewReader(send))
		sent <- err
	}()
	got := sha256.New()
	n, err := io.CopyN(got, c, int64(len(want)))
	if err := errors.Join(err, <-sent); err != nil {
		return fmt.Errorf("after %d of %d bytes: %w", n, len(want), err)
	}
	if sum := sha256.Sum256(want); !bytes.Equal(got.Sum(nil), sum[:]) {
		return errors.New("the bytes changed on the way")
	}
	return nil
}

func TestTwoContainersExchangeTCP(t *testing.T) {
	w := newWorld(t)
	n := w.network(7)
	a := w.container(n, "10.0.0.2", "fd00::2")
	b := w.container(n, "10.0.0.3", "fd00::3")
	for _, to := range b.ep.Addrs {
		if err := exchange(a, b, to, 8<<20); err != nil {
			t.Errorf("to %s: %v", to, err)
		}
	}
}
