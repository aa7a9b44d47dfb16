package datapath

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// EtherTypes, and what frames of the tests bear so that they are known again.
const (
	typeIPv4 = 0x0800
	typeARP  = 0x0806
	typeIPv6 = 0x86dd
	// typeOther is for frames without addresses (IEEE 802 local experimental).
	typeOther = 0x88b5
)

// silence is how long a test listens before it believes that nothing came.
const silence = 300 * time.Millisecond

var broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// wire is a raw socket on an interface of a box: it sends any frame and sees each
// that comes in.
type wire struct {
	tb testing.TB
	fd int
}

func (b *box) wire() *wire {
	b.tb.Helper()
	return b.wireOn("eth0")
}

func (b *box) wireOn(dev string) *wire {
	b.tb.Helper()
	w := &wire{tb: b.tb}
	l, err := b.nl.LinkByName(dev)
	if err != nil {
		b.tb.Fatal(err)
	}
	b.must(func() (err error) {
		all := int(swap16(unix.ETH_P_ALL))
		if w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all); err != nil {
			return err
		}
		return unix.Bind(w.fd, &unix.SockaddrLinklayer{Protocol: swap16(unix.ETH_P_ALL), Ifindex: l.Attrs().Index})
	})
	b.tb.Cleanup(func() { _ = unix.Close(w.fd) })
	return w
}

func swap16(v uint16) uint16 { return v<<8 | v>>8 }

func (w *wire) send(frame []byte) {
	w.tb.Helper()
	if _, err := unix.Write(w.fd, frame); err != nil {
		w.tb.Fatalf("send a frame: %v", err)
	}
}

// sees returns the first incoming frame for which is holds, nil when none comes
// within the time.
func (w *wire) sees(d time.Duration, is func(frame []byte) bool) []byte {
	w.tb.Helper()
	deadline := time.Now().Add(d)
	buf := make([]byte, 65536)
	for {
		left, flags := time.Until(deadline), 0
		late := left <= 0
		if late {
			flags = unix.MSG_DONTWAIT // what came while the test had no time to look
		}
		tv := unix.NsecToTimeval(max(left, time.Millisecond).Nanoseconds())
		if err := unix.SetsockoptTimeval(w.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
			w.tb.Fatal(err)
		}
		n, from, err := unix.Recvfrom(w.fd, buf, flags)
		if err != nil {
			if late {
				return nil
			}
			continue
		}
		if ll, ok := from.(*unix.SockaddrLinklayer); ok && ll.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		if is(buf[:n]) {
			return slices.Clone(buf[:n])
		}
	}
}

// count is how many incoming frames there are within a time for which is holds.
func (w *wire) count(d time.Duration, is func(frame []byte) bool) (n int) {
	w.tb.Helper()
	for deadline := time.Now().Add(d); ; n++ {
		if w.sees(time.Until(deadline), is) == nil {
			return n
		}
	}
}

// bears is whether a frame has a mark in it.
func bears(mark string) func([]byte) bool {
	return func(frame []byte) bool { return bytes.Contains(frame, []byte(mark)) }
}

func eth(dst, src net.HardwareAddr, kind uint16, payload []byte) []byte {
	return slices.Concat(dst, src, binary.BigEndian.AppendUint16(nil, kind), payload)
}

// arp is what an ARP packet says.
type arp struct {
	op       uint16
	sha, tha net.HardwareAddr
	spa, tpa string
	// mark lies in the frame's padding.
	mark string
}

func (a arp) bytes() []byte {
	tha := a.tha
	if tha == nil {
		tha = make(net.HardwareAddr, 6)
	}
	b := []byte{0, 1, 8, 0, 6, 4}
	b = binary.BigEndian.AppendUint16(b, a.op)
	b = slices.Concat(b, a.sha, netip.MustParseAddr(a.spa).AsSlice(), tha, netip.MustParseAddr(a.tpa).AsSlice(), []byte(a.mark))
	return b
}

func sum16(parts ...[]byte) uint16 {
	b := slices.Concat(parts...)
	if len(b)%2 == 1 {
		b = append(b, 0)
	}
	var s uint32
	for i := 0; i < len(b); i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}

// ip4 is a UDP datagram over IPv4.
func ip4(src, dst, mark string) []byte {
	udp := slices.Concat([]byte{0x10, 0, 0x10, 0}, binary.BigEndian.AppendUint16(nil, uint16(8+len(mark))), []byte{0, 0}, []byte(mark))
	b := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, unix.IPPROTO_UDP, 0, 0}
	b = slices.Concat(b, netip.MustParseAddr(src).AsSlice(), netip.MustParseAddr(dst).AsSlice())
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(udp)))
	binary.BigEndian.PutUint16(b[10:], sum16(b))
	return append(b, udp...)
}

func ip6(src, dst string, next byte, payload []byte) []byte {
	b := []byte{0x60, 0, 0, 0, 0, 0, next, 255}
	binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
	return slices.Concat(b, netip.MustParseAddr(src).AsSlice(), netip.MustParseAddr(dst).AsSlice(), payload)
}

// icmp6 is an ICMPv6 message with its checksum.
func icmp6(src, dst string, kind byte, body []byte) []byte {
	msg := slices.Concat([]byte{kind, 0, 0, 0}, body)
	pseudo := slices.Concat(netip.MustParseAddr(src).AsSlice(), netip.MustParseAddr(dst).AsSlice(),
		binary.BigEndian.AppendUint32(nil, uint32(len(msg))), []byte{0, 0, 0, unix.IPPROTO_ICMPV6})
	binary.BigEndian.PutUint16(msg[2:], sum16(pseudo, msg))
	return ip6(src, dst, unix.IPPROTO_ICMPV6, msg)
}

// neighbourMsg is the body of a solicitation or advertisement: flags, target, one
// option with a MAC, and a mark as an option that nobody knows.
func neighbourMsg(flags uint32, target string, option byte, mac net.HardwareAddr, mark string) []byte {
	b := binary.BigEndian.AppendUint32(nil, flags)
	b = append(b, netip.MustParseAddr(target).AsSlice()...)
	if mac != nil {
		b = slices.Concat(b, []byte{option, 1}, mac)
	}
	if mark != "" {
		opt := append([]byte{253, 0}, mark...)
		for len(opt)%8 != 0 {
			opt = append(opt, 0)
		}
		opt[1] = byte(len(opt) / 8)
		b = append(b, opt...)
	}
	return b
}
