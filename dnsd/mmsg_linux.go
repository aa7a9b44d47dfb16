package dnsd

import (
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Reading and writing datagrams one system call at a time costs more than
// answering them, so a socket is read and written in batches (recvmmsg and
// sendmmsg). golang.org/x/net offers the same, but allocates an address per
// packet and fills its headers anew for each batch; here everything is laid
// out once, and an answer goes to the raw address that its query came from.

// batchSize is how many datagrams one system call moves: the calls' share is
// small with 32 already, but more answers can be joined among 64; a listener
// takes 80 KB, of which an idle one touches little.
const batchSize = 64

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// batch is the buffers of one reader of a UDP socket. Its parts point at each
// other: never copy one.
type batch struct {
	conn syscall.RawConn

	bufs  [batchSize][maxUDP]byte
	addrs [batchSize]unix.RawSockaddrInet6
	inIOV [batchSize]unix.Iovec
	in    [batchSize]mmsghdr

	outbox
	received int
	err      error
	// recvFunc and sendFunc are kept, because a closure made per call would
	// be garbage.
	recvFunc, sendFunc func(fd uintptr) bool
}

func newBatch(conn *net.UDPConn, joins joining) (*batch, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	b := &batch{conn: raw}
	for i := range b.in {
		b.inIOV[i].Base = &b.bufs[i][0]
		b.inIOV[i].SetLen(maxUDP)
		b.in[i].hdr.Iov = &b.inIOV[i]
		b.in[i].hdr.SetIovlen(1)
		b.in[i].hdr.Name = (*byte)(unsafe.Pointer(&b.addrs[i])) //nolint:gosec // the kernel's interface
	}
	b.joins = joins
	b.init()
	b.recvFunc, b.sendFunc = b.recvReady, b.sendReady
	return b, nil
}

// recv waits for datagrams and returns how many came.
func (b *batch) recv() (int, error) {
	for i := range b.in {
		b.in[i].hdr.Namelen = unix.SizeofSockaddrInet6
	}
	b.filled, b.lost = 0, 0
	if err := b.conn.Read(b.recvFunc); err != nil {
		return 0, err
	}
	return b.received, b.err
}

func (b *batch) recvReady(fd uintptr) bool {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.in[0])), batchSize, unix.MSG_DONTWAIT, 0, 0) //nolint:gosec // the kernel's interface
		switch errno {
		case 0:
			b.received, b.err = int(n), nil
			return true
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default:
			b.received, b.err = 0, errno
			return true
		}
	}
}

// packet is the i-th datagram; false when it was longer than a query may be.
func (b *batch) packet(i int) ([]byte, bool) {
	if b.in[i].hdr.Flags&unix.MSG_TRUNC != 0 {
		return nil, false
	}
	return b.bufs[i][:b.in[i].n], true
}

// client is where the i-th datagram came from.
func (b *batch) client(i int) netip.AddrPort {
	sa := &b.addrs[i]
	port := sa.Port>>8 | sa.Port<<8
	if hostLittleEndian {
		return netip.AddrPortFrom(sockaddr(sa), port)
	}
	return netip.AddrPortFrom(sockaddr(sa), sa.Port)
}

// hostLittleEndian tells whether the kernel's network-order port reads turned.
var hostLittleEndian = *(*byte)(unsafe.Pointer(&[]uint16{1}[0])) == 1 //nolint:gosec // looks at the byte order

func sockaddr(sa *unix.RawSockaddrInet6) netip.Addr {
	if sa.Family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa)) //nolint:gosec // the family says which it is
		return netip.AddrFrom4(v4.Addr)
	}
	addr := netip.AddrFrom16(sa.Addr)
	if sa.Scope_id != 0 {
		addr = addr.WithZone(strconv.FormatUint(uint64(sa.Scope_id), 10))
	}
	return addr
}
