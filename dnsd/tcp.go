package dnsd

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// tcpWrite is how long a client may take to take an answer.
	tcpWrite = 5 * time.Second
	// maxPipelined is how many queries of one connection may be with a
	// resolver at once; the next one waits unread (RFC 7766, 6.2.1.1).
	maxPipelined = 16
)

// conns counts the TCP connections and closes them at the end.
type conns struct {
	max, maxPerAddr int

	mu     sync.Mutex
	open   map[net.Conn]netip.Addr // guarded by mu
	perIP  map[netip.Addr]int      // guarded by mu
	closed bool                    // guarded by mu
}

func newConns(limit, perAddr int) *conns {
	return &conns{max: limit, maxPerAddr: perAddr, open: map[net.Conn]netip.Addr{}, perIP: map[netip.Addr]int{}}
}

// add takes c up, unless that would be too many.
func (t *conns) add(c net.Conn, client netip.Addr) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || len(t.open) >= t.max || t.perIP[client] >= t.maxPerAddr {
		return false
	}
	t.open[c] = client
	t.perIP[client]++
	return true
}

func (t *conns) remove(c net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	client, ok := t.open[c]
	if !ok {
		return
	}
	delete(t.open, c)
	if t.perIP[client]--; t.perIP[client] == 0 {
		delete(t.perIP, client)
	}
}

// closeAll ends every connection and lets no other begin.
func (t *conns) closeAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for c := range t.open {
		_ = c.Close()
	}
}

// serveTCP accepts l's connections until it is closed.
func (s *Server) serveTCP(l *listener) {
	for {
		c, err := l.tcp.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.log.Warn("DNS cannot accept a connection", "addr", l.addr, "err", err)
			if !s.pause(errorPause) {
				return
			}
			continue
		}
		client, _ := netip.ParseAddrPort(c.RemoteAddr().String())
		client = netip.AddrPortFrom(client.Addr().Unmap(), client.Port())
		if !s.conns.add(c, client.Addr()) {
			s.count.connsRefused.Add(1)
			_ = c.Close()
			continue
		}
		s.wg.Go(func() {
			defer s.conns.remove(c)
			s.serveConn(c, &query{client: client, local: l.addr.Addr(), stream: true})
		})
	}
}

// stream is one connection with the queries of it that are being forwarded.
type stream struct {
	conn  net.Conn
	slots chan struct{}
	wg    sync.WaitGroup

	mu sync.Mutex // guards writing to conn
}

// write sends one answer with its length before it.
func (t *stream) write(answer []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.conn.SetWriteDeadline(time.Now().Add(tcpWrite)); err != nil {
		return err
	}
	size := binary.BigEndian.AppendUint16(nil, uint16(len(answer)))
	_, err := (&net.Buffers{size, answer}).WriteTo(t.conn)
	return err
}

// serveConn answers the queries of one connection until it is silent for too
// long, fails, or the server closes.
func (s *Server) serveConn(c net.Conn, q *query) {
	t := &stream{conn: c, slots: make(chan struct{}, maxPipelined)}
	defer func() {
		// Answers that are still to come keep the connection open until then.
		t.wg.Wait()
		_ = c.Close()
	}()
	in := make([]byte, 0, minUDP)
	out := make([]byte, dns.MaxMsgSize)
	for {
		// One deadline for a whole query: dribbling it does not help.
		if err := c.SetReadDeadline(time.Now().Add(s.cfg.TCPIdle)); err != nil {
			return
		}
		msg, err := readFramed(c, in)
		if err != nil {
			return
		}
		s.count.queries.Add(1)
		if !s.rate.wait(s.ctx, q.client.Addr(), func() { s.count.limited.Add(1) }) {
			return
		}
		if handled, err := s.transfer(t, msg, q); handled && err == nil {
			continue
		} else if err != nil {
			return
		}
		size, fwd := s.generic(out, msg, q)
		if fwd != nil {
			size = s.forwardTCP(t, fwd, out)
		}
		if size > 0 {
			err = t.write(out[:size])
		} else if fwd == nil {
			// Not even a header: nothing sensible will follow.
			return
		}
		if err != nil || s.ctx.Err() != nil {
			return
		}
	}
}

// forwardTCP has fwd forwarded, or writes its failure into out.
func (s *Server) forwardTCP(t *stream, fwd *forward, out []byte) int {
	select {
	case t.slots <- struct{}{}:
	case <-s.ctx.Done():
		return 0
	}
	t.wg.Add(1)
	size, pending := s.start(fwd, out, forwardReply{
		deliver: func(answer []byte) { _ = t.write(answer) },
		done: func() {
			<-t.slots
			t.wg.Done()
		},
	})
	if !pending {
		<-t.slots
		t.wg.Done()
	}
	return size
}

// readFramed reads one message with its length before it into buf, or into a
// new one if it is longer.
func readFramed(c io.Reader, buf []byte) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(size[:]))
	if n > cap(buf) {
		buf = make([]byte, n)
	}
	_, err := io.ReadFull(c, buf[:n])
	return buf[:n], err
}

// pause waits for d; false when the server closes meanwhile.
func (s *Server) pause(d time.Duration) bool {
	ctx, cancel := context.WithTimeout(s.ctx, d)
	defer cancel()
	<-ctx.Done()
	return s.ctx.Err() == nil
}
