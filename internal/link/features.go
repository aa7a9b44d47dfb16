package link

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/dockstack/dockstack/internal/fabric"
)

// The ethtool commands and sizes used, from linux/ethtool.h.
const (
	ethtoolGStrings  = 0x1b
	ethtoolGSSetInfo = 0x37
	ethtoolGFeatures = 0x3a
	ethtoolSFeatures = 0x3b
	setFeatures      = 4 // ETH_SS_FEATURES
	nameLen          = 32
	maxFeatures      = 1024 // Linux 6.18 has 69
)

// features turns a device's offloads on and off by name. Which names there are
// and in which order differs from kernel to kernel, so they are asked for each
// time: 30 µs.
//
// The libraries for this hand the kernel addresses of Go stack variables as
// plain numbers across function calls; a stack that grows in between moves,
// and the kernel then writes elsewhere. Here every buffer is on the heap and
// held by a pointer.
type features struct{ fd int }

func openFeatures() (*features, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open ethtool socket: %w", err)
	}
	return &features{fd: fd}, nil
}

func (f *features) close() { _ = unix.Close(f.fd) }

// limit turns off what the peer of a port must not leave to the switch, and
// checks that it is off.
func (f *features) limit(dev string, o fabric.Offloads) error {
	if o == fabric.OffloadAll {
		return nil
	}
	names, err := f.names(dev)
	if err != nil {
		return fmt.Errorf("ask for the offloads of %s: %w", dev, err)
	}
	off, err := toTurnOff(names, o)
	if err != nil {
		return err
	}
	if err := f.turnOff(dev, len(names), off); err != nil {
		return fmt.Errorf("turn off offloads of %s: %w", dev, err)
	}
	active, err := f.active(dev, len(names))
	if err != nil {
		return fmt.Errorf("ask for the offloads of %s: %w", dev, err)
	}
	for _, i := range off {
		if active(i) {
			return fmt.Errorf("%w: %s on %s", ErrOffload, names[i], dev)
		}
	}
	return nil
}

// toTurnOff returns the places of the offloads that o forbids.
func toTurnOff(names []string, o fabric.Offloads) ([]int, error) {
	var forbidden func(string) bool
	switch o {
	case fabric.OffloadAll:
		return nil, nil
	case fabric.OffloadTCP:
		forbidden = beyondTCP
	case fabric.OffloadNone:
		forbidden = func(n string) bool {
			return beyondTCP(n) || strings.HasPrefix(n, "tx-checksum-") || strings.HasPrefix(n, "tx-tcp")
		}
	default:
		return nil, fmt.Errorf("%w: unknown offloads %q", ErrBadSpec, o)
	}
	var off []int
	for i, n := range names {
		if forbidden(n) {
			off = append(off, i)
		}
	}
	return off, nil
}

// beyondTCP is whether a feature leaves something else than IP checksums and
// TCP's segmentation to the receiver. The kinds are told by their names'
// pattern, so that one which a later kernel adds is off as well.
func beyondTCP(name string) bool {
	switch name {
	case "tx-checksum-sctp", "tx-checksum-fcoe-crc", "tx-gso-list", "tx-gso-partial", "tx-udp-fragmentation":
		return true
	}
	return strings.HasPrefix(name, "tx-") && strings.HasSuffix(name, "-segmentation") && !strings.HasPrefix(name, "tx-tcp")
}

// names returns the kernel's names of the features; place is bit number. Some
// may be empty.
func (f *features) names(dev string) ([]string, error) {
	info := make([]byte, 20) // cmd, reserved, mask (64 bit), then the count
	binary.NativeEndian.PutUint32(info, ethtoolGSSetInfo)
	binary.NativeEndian.PutUint64(info[8:], 1<<setFeatures)
	if err := f.ioctl(dev, info); err != nil {
		return nil, err
	}
	n := binary.NativeEndian.Uint32(info[16:])
	if n > maxFeatures {
		return nil, fmt.Errorf("%d features, more than a kernel can have", n)
	}
	buf := make([]byte, 12+nameLen*int(n)) // cmd, set, count, then the names
	binary.NativeEndian.PutUint32(buf, ethtoolGStrings)
	binary.NativeEndian.PutUint32(buf[4:], setFeatures)
	binary.NativeEndian.PutUint32(buf[8:], n)
	if err := f.ioctl(dev, buf); err != nil {
		return nil, err
	}
	out := make([]string, n)
	for i := range out {
		name := buf[12+nameLen*i:][:nameLen]
		out[i], _, _ = strings.Cut(string(name), "\x00")
	}
	return out, nil
}

func (f *features) turnOff(dev string, n int, off []int) error {
	words := (n + 31) / 32
	buf := make([]byte, 8+8*words) // cmd, size, then valid and wanted bits by 32
	binary.NativeEndian.PutUint32(buf, ethtoolSFeatures)
	binary.NativeEndian.PutUint32(buf[4:], uint32(words))
	for _, i := range off {
		valid := buf[8+8*(i/32):]
		binary.NativeEndian.PutUint32(valid, binary.NativeEndian.Uint32(valid)|1<<(i%32))
	}
	return f.ioctl(dev, buf)
}

// active returns which features are in force.
func (f *features) active(dev string, n int) (func(int) bool, error) {
	words := (n + 31) / 32
	buf := make([]byte, 8+16*words) // cmd, size, then available, requested, active, never changed by 32
	binary.NativeEndian.PutUint32(buf, ethtoolGFeatures)
	binary.NativeEndian.PutUint32(buf[4:], uint32(words))
	if err := f.ioctl(dev, buf); err != nil {
		return nil, err
	}
	return func(i int) bool {
		return binary.NativeEndian.Uint32(buf[8+16*(i/32)+8:])&(1<<(i%32)) != 0
	}, nil
}

// ifreq is the kernel's struct ifreq with its data pointer.
type ifreq struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte
}

func (f *features) ioctl(dev string, buf []byte) error {
	if len(dev) >= unix.IFNAMSIZ {
		return fmt.Errorf("%w: name %q is longer than %d bytes", ErrBadSpec, dev, unix.IFNAMSIZ-1)
	}
	req := &ifreq{data: unsafe.Pointer(unsafe.SliceData(buf))} //nolint:gosec // the call's interface
	copy(req.name[:], dev)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(f.fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(req))) //nolint:gosec // same
	runtime.KeepAlive(req)
	runtime.KeepAlive(buf)
	if errno != 0 {
		return error(errno)
	}
	return nil
}
