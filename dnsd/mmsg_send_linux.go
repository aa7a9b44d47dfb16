package dnsd

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Sending takes three quarters of the time that an answer takes, nearly all of
// it in the kernel, which carries each datagram through its layers. Answers of
// one length to one client can go through them as one, which the kernel takes
// apart at the end (UDP_SEGMENT, also called GSO). That helps with clients
// that ask much through one socket: other resolvers, and whoever measures.

// joining tells whether a socket's answers are joined. They are on loopback
// only: elsewhere the joined ones would go through the overlays' switch and
// tunnels, for clients that ask through a new socket each time.
type joining bool

const (
	neverJoin joining = false
	mayJoin   joining = true
)

// joinedBytes is the most that is joined: a datagram has 64 KB at most, though
// this one is never seen.
const joinedBytes = 48 << 10

// outbox is the answers of a batch.
type outbox struct {
	// iov are the answers, those of one length to one client together; the
	// query of iov[i] was in the batch's in[to[i]].
	iov    [batchSize]unix.Iovec
	to     [batchSize]uint8
	filled int
	// out are the messages that they make, in number messages.
	out      [batchSize]mmsghdr
	segments [batchSize]segment
	messages int
	joins    joining
	// lost counts answers that the kernel did not take.
	lost int
}

// segment is the control message that says how long each answer is.
type segment struct {
	hdr  unix.Cmsghdr
	size uint16
	_    [6]byte
}

func (o *outbox) init() {
	for i := range o.segments {
		c := &o.segments[i].hdr
		c.Level, c.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
		c.SetLen(unix.SizeofCmsghdr + 2)
	}
}

// reply sets the first size bytes of the i-th buffer to be sent back to where
// it came from.
func (b *batch) reply(i, size int) {
	at := b.filled
	for bool(b.joins) && at > 0 && b.behind(at-1, i, size) {
		b.iov[at], b.to[at] = b.iov[at-1], b.to[at-1]
		at--
	}
	b.iov[at].Base = &b.bufs[i][0]
	b.iov[at].SetLen(size)
	b.to[at] = uint8(i)
	b.filled++
}

// behind tells whether the answer at stands behind one of size to the i-th
// query's client.
func (b *batch) behind(at, i, size int) bool {
	if this, that := b.clientKey(int(b.to[at])), b.clientKey(i); this != that {
		return this > that
	}
	return int(b.iov[at].Len) > size
}

// clientKey is the port of the i-th query's client, and of IPv4 the address.
func (b *batch) clientKey(i int) uint64 {
	return *(*uint64)(unsafe.Pointer(&b.addrs[i])) //nolint:gosec // no pointers in it
}

// form makes messages of the answers.
func (b *batch) form() {
	b.messages = 0
	for at := 0; at < b.filled; {
		i, size := int(b.to[at]), b.iov[at].Len
		end := at + b.run(at)
		h := &b.out[b.messages].hdr
		h.Name, h.Namelen = b.in[i].hdr.Name, b.in[i].hdr.Namelen
		h.Iov = &b.iov[at]
		h.SetIovlen(end - at)
		h.Control = nil
		h.SetControllen(0)
		if end-at > 1 {
			c := &b.segments[b.messages]
			c.size = uint16(size)
			h.Control = (*byte)(unsafe.Pointer(c)) //nolint:gosec // the kernel's interface
			h.SetControllen(int(unsafe.Sizeof(*c)))
		}
		b.messages++
		at = end
	}
}

// run is how many answers, from at on, go as one message.
func (b *batch) run(at int) int {
	if !b.joins {
		return 1
	}
	size, client := b.iov[at].Len, &b.addrs[b.to[at]]
	n := 1
	for at+n < b.filled && b.iov[at+n].Len == size && b.addrs[b.to[at+n]] == *client && (n+1)*int(size) <= joinedBytes {
		n++
	}
	return n
}

// send sends what reply collected.
func (b *batch) send() error {
	if b.filled == 0 {
		return nil
	}
	b.form()
	return b.conn.Write(b.sendFunc)
}

// sendReady sends until all is gone; what the kernel refuses (a client that
// has no route any more, a full queue) is left out, as the network would.
func (b *batch) sendReady(fd uintptr) bool {
	for sent := 0; sent < b.messages; {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&b.out[sent])), uintptr(b.messages-sent), unix.MSG_DONTWAIT, 0, 0) //nolint:gosec // the kernel's interface
		h := &b.out[sent].hdr
		switch {
		case errno == 0:
			sent += int(n)
		case errors.Is(errno, unix.EINTR):
		case h.Iovlen > 1:
			// Not joined then, by this kernel or to this client.
			if !errors.Is(errno, unix.EAGAIN) {
				b.joins = neverJoin
			}
			b.sendApart(fd, h)
			sent++
		default:
			sent++
			b.lost++
		}
	}
	return true
}

// sendApart sends the answers of a message one by one.
func (b *batch) sendApart(fd uintptr, h *unix.Msghdr) {
	one := *h
	one.Control = nil
	one.SetControllen(0)
	one.SetIovlen(1)
	for _, iov := range unsafe.Slice(h.Iov, int(h.Iovlen)) { //nolint:gosec // form made it
		one.Iov = &iov
		if _, _, errno := unix.Syscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&one)), unix.MSG_DONTWAIT); errno != 0 { //nolint:gosec // the kernel's interface
			b.lost++
		}
	}
}
