package dnsd

import (
	"errors"
	"net"
	"net/netip"
	"time"
)

// recvBuffer is what the kernel may queue while we are busy: some thousands
// of queries. Where the host's limit is lower, that holds.
const recvBuffer = 1 << 20

// errorPause is how long a reader rests after an error of the socket, so that
// a lasting one does not take a whole core.
const errorPause = 100 * time.Millisecond

// lookup is decide's view of this moment.
func (s *Server) lookup() *lookup {
	l := newLookup(&s.zone)
	s.look(l)
	return l
}

// look makes l the view of this moment.
func (s *Server) look(l *lookup) {
	l.names, l.served = s.names(), *s.access.served.Load()
	l.routes = s.forwards.routeTable()
}

// serveUDP answers what comes to conn, one of l's sockets, until it is closed.
func (s *Server) serveUDP(l *listener, conn *net.UDPConn) {
	joins := neverJoin
	if l.addr.Addr().IsLoopback() {
		joins = mayJoin
	}
	b, err := newBatch(conn, joins)
	if err != nil {
		s.log.Error("DNS cannot read its socket", "addr", l.addr, "err", err)
		return
	}
	look := newLookup(&s.zone)
	for {
		n, err := b.recv()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.log.Warn("DNS socket failed", "addr", l.addr, "err", err)
			if !s.pause(errorPause) {
				return
			}
			continue
		}
		s.count.queries.Add(uint64(n))
		s.look(look)
		s.answerBatch(l, b, n, look)
		if err := b.send(); err != nil {
			return
		}
		if b.lost > 0 {
			s.count.dropped.Add(uint64(b.lost))
		}
	}
}

// answerBatch writes the answers to the first n datagrams of b, all from one
// picture of the names.
func (s *Server) answerBatch(l *listener, b *batch, n int, look *lookup) {
	quick := uint64(0)
	now := time.Now()
	for i := range n {
		msg, whole := b.packet(i)
		if !whole {
			s.count.dropped.Add(1)
			continue
		}
		client := b.client(i)
		if size := s.answerUDP(l, look, msg, client, now); size > 0 {
			b.reply(i, size)
		}
		if look.quick {
			quick++
		}
	}
	s.count.answered.Add(quick)
}

// answerUDP answers msg in its own buffer, or has it answered later.
func (s *Server) answerUDP(l *listener, look *lookup, msg []byte, client netip.AddrPort, now time.Time) int {
	look.quick, look.beyond = false, false
	if s.rate.take(client.Addr(), now) > 0 {
		s.count.limited.Add(1)
		return s.rate.slip(msg, &look.plain)
	}
	size := s.quick(look, msg, client.Addr(), l.addr.Addr())
	if look.quick = size > 0; look.quick {
		return size
	}
	if look.beyond {
		if size = s.forwards.quick(msg, &look.plain, now); size > 0 {
			return size
		}
	}
	return s.slowUDP(l, msg, client)
}

// quick answers msg in its own buffer if it is plain and from somebody who is
// served; 0 if not.
func (s *Server) quick(look *lookup, msg []byte, client, local netip.Addr) int {
	p := &look.plain
	if !s.access.allowed(client) || !parsePlain(msg, p) {
		return 0
	}
	p.client, p.local = client, local
	v := look.decide(&p.question)
	look.beyond = v.kind == kindForward
	return s.zone.writePlain(msg, p, &v)
}

// slowUDP answers msg the long way, in its own buffer, or has it forwarded.
func (s *Server) slowUDP(l *listener, msg []byte, client netip.AddrPort) int {
	q := query{client: client, local: l.addr.Addr()}
	size, fwd := s.generic(msg[:0], msg, &q)
	if fwd == nil {
		return size
	}
	size, _ = s.start(fwd, msg[:0], forwardReply{
		deliver: func(answer []byte) {
			if _, err := l.udp.WriteToUDPAddrPort(answer, client); err != nil {
				s.count.dropped.Add(1)
			}
		},
		done: func() {},
	})
	return size
}
