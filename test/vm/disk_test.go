package vm

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// initiator is the least that a client of the protocol must do.
type initiator struct {
	t *testing.T
	net.Conn
}

func dial(t *testing.T, d *Disk) initiator {
	t.Helper()
	path := filepath.Join(t.TempDir(), "nbd")
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
	must(t, err)
	done := make(chan error, 1)
	go func() { done <- d.Serve(ln) }()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "unix", path)
	must(t, err)
	t.Cleanup(func() {
		_ = c.Close()
		_ = ln.Close()
		must(t, <-done)
	})
	hello := make([]byte, 18)
	_, err = io.ReadFull(c, hello)
	must(t, err)
	b := binary.BigEndian.AppendUint32(nil, nbdFixed|nbdNoZeroes)
	b = binary.BigEndian.AppendUint64(b, nbdOption)
	b = binary.BigEndian.AppendUint32(b, nbdOptExport)
	b = binary.BigEndian.AppendUint32(b, 0)
	_, err = c.Write(b)
	must(t, err)
	size := make([]byte, 10)
	_, err = io.ReadFull(c, size)
	must(t, err)
	if got := binary.BigEndian.Uint64(size); got != uint64(len(d.now)) {
		t.Fatalf("size %d, want %d", got, len(d.now))
	}
	return initiator{t, c}
}

func (i initiator) do(kind, flags uint16, at uint64, n uint32, data []byte) (code uint32) {
	i.t.Helper()
	b := binary.BigEndian.AppendUint32(nil, nbdRequest)
	b = binary.BigEndian.AppendUint16(b, flags)
	b = binary.BigEndian.AppendUint16(b, kind)
	b = binary.BigEndian.AppendUint64(b, 7)
	b = binary.BigEndian.AppendUint64(b, at)
	b = binary.BigEndian.AppendUint32(b, n)
	_, err := i.Write(append(b, data...))
	must(i.t, err)
	reply := make([]byte, 16)
	_, err = io.ReadFull(i, reply)
	must(i.t, err)
	return binary.BigEndian.Uint32(reply[4:])
}

func (i initiator) write(flags uint16, at uint64, with byte) {
	i.t.Helper()
	if code := i.do(nbdWrite, flags, at, sector, bytes.Repeat([]byte{with}, sector)); code != 0 {
		i.t.Fatalf("write: %d", code)
	}
}

func TestPowerCutLosesOnlyWhatWasNotFlushed(t *testing.T) {
	for name, lies := range map[string]bool{"an honest disk": false, "one that lies about flushes": true} {
		t.Run(name, func(t *testing.T) {
			d := NewDisk(make([]byte, 1024*sector))
			d.Lies = lies
			c := dial(t, d)
			for s := range uint64(100) {
				c.write(0, s*sector, 1)
			}
			if code := c.do(nbdFlush, 0, 0, 0, nil); code != 0 {
				t.Fatal("flush refused")
			}
			for s := range uint64(200) {
				c.write(0, s*sector, 2)
			}
			c.write(nbdFUA, 300*sector, 3)
			want := 200
			if lies { // then nothing is ever safe
				want++
			}
			kept, lost := d.Cut(rand.New(rand.NewPCG(1, 2)))
			if kept == 0 || lost == 0 || kept+lost != want {
				t.Errorf("kept %d, lost %d of %d sectors", kept, lost, want)
			}
			old, empty := 0, 0
			for s := range 100 {
				switch d.now[s*sector] {
				case 1:
					old++
				case 0:
					empty++
				}
			}
			if old > 0 == lies || empty > 0 != lies {
				t.Errorf("of the flushed sectors %d are as flushed and %d empty", old, empty)
			}
			if d.now[300*sector] != 3 != lies {
				t.Errorf("a write that was to be safe at once: %d", d.now[300*sector])
			}
			if !bytes.Equal(d.now, d.safe) {
				t.Error("after the cut there is something unsafe")
			}
		})
	}
}

func TestDiskRefuses(t *testing.T) {
	c := dial(t, NewDisk(make([]byte, 8*sector)))
	for name, tc := range map[string]struct {
		kind   uint16
		at     uint64
		length uint32
	}{
		"reading past the end": {nbdRead, 8 * sector, sector},
		"half a sector":        {nbdRead, 0, 100},
		"a number that wraps":  {nbdRead, 1<<64 - sector, sector},
		"what it can't":        {99, 0, 0},
	} {
		if code := c.do(tc.kind, 0, tc.at, tc.length, nil); code != nbdEINVAL {
			t.Errorf("%s: answered %d", name, code)
		}
	}
}

func TestDiskInTheDark(t *testing.T) {
	d := NewDisk(make([]byte, 8*sector))
	c := dial(t, d)
	c.write(nbdFUA, 0, 1)
	dark := d.Darken(2)
	c.write(nbdFUA, sector, 2)
	b := binary.BigEndian.AppendUint32(nil, nbdRequest)
	b = append(b, 0, nbdFUA, 0, nbdWrite)
	b = binary.BigEndian.AppendUint64(b, 7)
	b = binary.BigEndian.AppendUint64(b, 2*sector)
	b = binary.BigEndian.AppendUint32(b, sector)
	_, err := c.Write(append(b, bytes.Repeat([]byte{3}, sector)...))
	must(t, err)
	select {
	case <-dark:
	case <-time.After(5 * time.Second):
		t.Fatal("the power doesn't go")
	}
	must(t, c.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	if n, err := c.Read(make([]byte, 16)); err == nil {
		t.Errorf("the disk answered %d bytes in the dark", n)
	}
	if kept, lost := d.Cut(rand.New(rand.NewPCG(1, 2))); kept+lost != 1 {
		t.Errorf("%d sectors were in the air, want the last one", kept+lost)
	}
	if d.now[0] != 1 || d.now[sector] != 2 {
		t.Error("what was safe is gone")
	}
}
