package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

type received struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// tcpServe answers each connection, once its sender has finished, with how much came and its hash.
func tcpServe(ctx context.Context, args []string) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", ":"+args[0])
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer func() { _ = c.Close() }()
			h := sha256.New()
			n, err := io.Copy(h, c)
			if err != nil {
				fmt.Fprintln(os.Stderr, "tcp-serve:", err)
				return
			}
			_, _ = fmt.Fprintf(c, "%d %x\n", n, h.Sum(nil))
		}()
	}
}

func tcpSend(ctx context.Context, args []string) error {
	size, err := number(args[1])
	if err != nil {
		return err
	}
	c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", args[0])
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	began := time.Now()
	h := sha256.New()
	source := io.LimitReader(rand.NewChaCha8([32]byte{1}), int64(size))
	if _, err := io.Copy(io.MultiWriter(c, h), source); err != nil {
		return err
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	var r received
	if _, err := fmt.Fscanf(c, "%d %s\n", &r.Bytes, &r.SHA256); err != nil {
		return fmt.Errorf("no answer to %d bytes: %w", size, err)
	}
	if sent := hex.EncodeToString(h.Sum(nil)); r.Bytes != int64(size) || r.SHA256 != sent {
		return fmt.Errorf("sent %d bytes %s, arrived %d bytes %s", size, sent, r.Bytes, r.SHA256)
	}
	return say(struct {
		received
		Seconds float64 `json:"seconds"`
	}{r, time.Since(began).Seconds()})
}

// A datagram starts with its flow's number and its own; a datagram of 8 bytes asks how many of the flow came.
const askSize = 8

func udpServe(ctx context.Context, args []string) error {
	l, err := new(net.ListenConfig).ListenPacket(ctx, "udp", ":"+args[0])
	if err != nil {
		return err
	}
	seen := map[uint64]map[uint64]bool{}
	buf := make([]byte, 65536)
	for {
		n, from, err := l.ReadFrom(buf)
		if err != nil {
			return err
		}
		if n < askSize {
			continue
		}
		flow := binary.BigEndian.Uint64(buf)
		if n == askSize {
			if _, err := l.WriteTo(binary.BigEndian.AppendUint64(nil, uint64(len(seen[flow]))), from); err != nil {
				return err
			}
			continue
		}
		if n < 16 {
			continue
		}
		if seen[flow] == nil {
			seen[flow] = map[uint64]bool{}
		}
		seen[flow][binary.BigEndian.Uint64(buf[8:])] = true
	}
}

// udpSend sends count datagrams of the given size. With "gso" the kernel, or the network card's stand-in, cuts each
// call's buffer into datagrams: a switch that can't do that loses them all without a word.
func udpSend(ctx context.Context, args []string) error {
	count, err := number(args[1])
	if err != nil {
		return err
	}
	size, err := number(args[2])
	if err != nil || size < 16 {
		return fmt.Errorf("a datagram of %q bytes: 16 at least", args[2])
	}
	c, err := new(net.Dialer).DialContext(ctx, "udp", args[0])
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	batch := 1
	if len(args) > 3 && args[3] == "gso" {
		if batch = min(count, 60000/size, 64); batch < 2 {
			return fmt.Errorf("%d datagrams of %d bytes leave nothing to segment", count, size)
		}
		if err := segment(c.(*net.UDPConn), size); err != nil {
			return err
		}
	}
	flow := rand.Uint64()
	var arrived uint64
	for sent := 0; sent < count; {
		n := min(batch, count-sent)
		if _, err := c.Write(datagrams(flow, sent, n, size)); err != nil {
			return fmt.Errorf("send: %w", err)
		}
		sent += n
		// The other side's buffer has room for about ninety: what it had no time to read
		// would be lost there, and not on the way.
		if sent%window < batch || sent == count {
			if arrived, err = ask(c, flow, sent); err != nil {
				return err
			}
		}
	}
	return say(map[string]uint64{"sent": uint64(count), "arrived": arrived})
}

// window is how many datagrams are sent before their arrival is asked for.
const window = 40

// datagrams are n of a flow, one behind the other; the first has the given number.
func datagrams(flow uint64, first, n, size int) []byte {
	buf := make([]byte, n*size)
	for i := range n {
		binary.BigEndian.PutUint64(buf[i*size:], flow)
		binary.BigEndian.PutUint64(buf[i*size+8:], uint64(first+i))
	}
	return buf
}

func segment(c *net.UDPConn, size int) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	if err := raw.Control(func(fd uintptr) {
		set = syscall.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT, size)
	}); err != nil {
		return err
	}
	return set
}

// ask asks how many have come until all have, for three seconds at most.
func ask(c net.Conn, flow uint64, count int) (arrived uint64, err error) {
	for range 10 {
		if _, err := c.Write(binary.BigEndian.AppendUint64(nil, flow)); err != nil {
			return 0, err
		}
		if err := c.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
			return 0, err
		}
		buf := make([]byte, 8)
		if n, err := c.Read(buf); err != nil || n != 8 {
			continue
		}
		if arrived = binary.BigEndian.Uint64(buf); arrived >= uint64(count) {
			break
		}
	}
	return arrived, nil
}
