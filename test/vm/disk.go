package vm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
)

// sector is what a disk writes whole or not at all.
const sector = 512

// Disk is a disk with a volatile cache, as every real one has. One machine at a
// time uses it.
type Disk struct {
	mu sync.Mutex
	// now is what a read finds, safe what a power cut can't take away.
	now, safe []byte
	// unsafe are the sectors written since the last flush, in order.
	unsafe []int64
	// left is how many writes there are until the power goes, 0 for never;
	// dark is closed at that moment.
	left int
	dark chan struct{}
	// flushes counts what the guest asked for.
	flushes int
	// Lies makes it report a flush that it didn't do, as bad disks do.
	Lies bool
}

// NewDisk returns a disk with that content, whose length is whole sectors.
func NewDisk(content []byte) *Disk {
	return &Disk{now: content, safe: append([]byte(nil), content...)}
}

// Darken makes the power go in the middle of the n-th write from now: it is
// the last one that the disk sees, and from then on it answers nothing. The
// channel is closed at that moment.
func (d *Disk) Darken(n int) <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left, d.dark = n, make(chan struct{})
	return d.dark
}

// Cut is what a power cut does: of the sectors written since the last flush,
// some are on the disk and others aren't. It returns how many were kept and
// how many lost.
func (d *Disk) Cut(rnd *rand.Rand) (kept, lost int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	// Anything between nothing and nearly everything may have been written.
	chance := rnd.Float64()
	seen := map[int64]bool{}
	for _, s := range d.unsafe {
		if seen[s] {
			continue
		}
		seen[s] = true
		if rnd.Float64() < chance {
			copy(d.safe[s*sector:][:sector], d.now[s*sector:])
			kept++
		} else {
			lost++
		}
	}
	copy(d.now, d.safe)
	d.unsafe = d.unsafe[:0]
	d.left, d.dark = 0, nil
	return kept, lost
}

// Flushes returns how often the guest asked for a flush.
func (d *Disk) Flushes() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.flushes
}

func (d *Disk) flushLocked() {
	d.flushes++
	if d.Lies {
		return
	}
	for _, s := range d.unsafe {
		copy(d.safe[s*sector:][:sector], d.now[s*sector:])
	}
	d.unsafe = d.unsafe[:0]
}

// The network block device's protocol, from its doc/proto.md.
const (
	nbdMagic       = 0x4e42444d41474943 // NBDMAGIC
	nbdOption      = 0x49484156454f5054 // IHAVEOPT
	nbdReplyMagic  = 0x3e889045565a9
	nbdRequest     = 0x25609513
	nbdReply       = 0x67446698
	nbdFixed       = 1
	nbdNoZeroes    = 2
	nbdHasFlags    = 1
	nbdSendFlush   = 4
	nbdSendFUA     = 8
	nbdOptExport   = 1
	nbdOptAbort    = 2
	nbdOptInfo     = 6
	nbdOptGo       = 7
	nbdAck         = 1
	nbdInfo        = 3
	nbdUnsupported = 1<<31 | 1
	nbdRead        = 0
	nbdWrite       = 1
	nbdDisconnect  = 2
	nbdFlush       = 3
	nbdFUA         = 1
	nbdEINVAL      = 22
	nbdMost        = 32 << 20 // the longest request qemu makes
)

// Serve serves the disk on a listener until that is closed, one client after
// the other.
func (d *Disk) Serve(ln net.Listener) error {
	for {
		c, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		err = d.client(c)
		_ = c.Close()
		// A machine that is killed just hangs up.
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !isHangup(err) {
			return err
		}
	}
}

func isHangup(err error) bool {
	var op *net.OpError
	return errors.As(err, &op)
}

func (d *Disk) client(c io.ReadWriter) error {
	if err := d.greet(c); err != nil {
		return err
	}
	var head [28]byte
	for {
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return err
		}
		if binary.BigEndian.Uint32(head[:]) != nbdRequest {
			return errors.New("nbd: not a request")
		}
		r := request{
			flags: binary.BigEndian.Uint16(head[4:]), kind: binary.BigEndian.Uint16(head[6:]),
			offset: binary.BigEndian.Uint64(head[16:]), length: binary.BigEndian.Uint32(head[24:]),
		}
		if r.kind == nbdDisconnect {
			return nil
		}
		if r.length > nbdMost {
			return fmt.Errorf("nbd: request of %d bytes", r.length)
		}
		data, code, err := d.serve(c, r)
		if errors.Is(err, errDark) {
			_, err = io.Copy(io.Discard, c) // until the machine is gone
			return err
		}
		if err != nil {
			return err
		}
		reply := binary.BigEndian.AppendUint32(nil, nbdReply)
		reply = binary.BigEndian.AppendUint32(reply, code)
		reply = append(append(reply, head[8:16]...), data...)
		if _, err := c.Write(reply); err != nil {
			return err
		}
	}
}

// errDark says that the power is gone.
var errDark = errors.New("nbd: no power")

type request struct {
	flags, kind uint16
	offset      uint64
	length      uint32
}

func (d *Disk) serve(c io.Reader, r request) (data []byte, code uint32, err error) {
	var in []byte
	if r.kind == nbdWrite {
		in = make([]byte, r.length)
		if _, err := io.ReadFull(c, in); err != nil {
			return nil, 0, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	end := r.offset + uint64(r.length)
	if end > uint64(len(d.now)) || end < r.offset || end%sector != 0 || r.offset%sector != 0 {
		return nil, nbdEINVAL, nil
	}
	switch r.kind {
	case nbdRead:
		return append([]byte(nil), d.now[r.offset:end]...), 0, nil
	case nbdWrite:
		copy(d.now[r.offset:], in)
		last := d.left == 1
		if d.left > 0 {
			d.left--
		}
		if r.flags&nbdFUA != 0 && !d.Lies && !last {
			copy(d.safe[r.offset:], in)
			return nil, 0, nil
		}
		for at := r.offset; at < end; at += sector {
			d.unsafe = append(d.unsafe, int64(at/sector))
		}
		if last {
			close(d.dark)
			return nil, 0, errDark
		}
		return nil, 0, nil
	case nbdFlush:
		d.flushLocked()
		return nil, 0, nil
	default:
		return nil, nbdEINVAL, nil
	}
}

// greet agrees with the client on the only disk there is.
func (d *Disk) greet(c io.ReadWriter) error {
	hello := binary.BigEndian.AppendUint64(nil, nbdMagic)
	hello = binary.BigEndian.AppendUint64(hello, nbdOption)
	hello = binary.BigEndian.AppendUint16(hello, nbdFixed|nbdNoZeroes)
	if _, err := c.Write(hello); err != nil {
		return err
	}
	var flags [4]byte
	if _, err := io.ReadFull(c, flags[:]); err != nil {
		return err
	}
	size := binary.BigEndian.AppendUint64(nil, uint64(len(d.now)))
	size = binary.BigEndian.AppendUint16(size, nbdHasFlags|nbdSendFlush|nbdSendFUA)
	var head [16]byte
	for {
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return err
		}
		option, length := binary.BigEndian.Uint32(head[8:]), binary.BigEndian.Uint32(head[12:])
		if binary.BigEndian.Uint64(head[:]) != nbdOption || length > 1<<16 {
			return errors.New("nbd: not an option")
		}
		if _, err := io.CopyN(io.Discard, c, int64(length)); err != nil {
			return err
		}
		var err error
		switch option {
		case nbdOptExport:
			_, err = c.Write(size)
			return err
		case nbdOptGo, nbdOptInfo:
			err = errors.Join(answer(c, option, nbdInfo, append([]byte{0, 0}, size...)), answer(c, option, nbdAck, nil))
			if option == nbdOptGo {
				return err
			}
		case nbdOptAbort:
			return errors.Join(answer(c, option, nbdAck, nil), io.EOF)
		default:
			err = answer(c, option, nbdUnsupported, nil)
		}
		if err != nil {
			return err
		}
	}
}

func answer(c io.Writer, option, kind uint32, data []byte) error {
	b := binary.BigEndian.AppendUint64(nil, nbdReplyMagic)
	b = binary.BigEndian.AppendUint32(b, option)
	b = binary.BigEndian.AppendUint32(b, kind)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	_, err := c.Write(append(b, data...))
	return err
}
