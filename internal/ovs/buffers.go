package ovs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// receiveBuffer is what a port's socket may hold. In userspace the switch reads
// frames from packet sockets, whose size is the host's net.core.rmem_default
// (208 KiB): under load most of a burst is lost and TCP sends it again, 60,000
// times in 3 s as measured, 0 to 500 with 8 MiB.
//
// Open vSwitch has no setting for it, and the sysctl is the whole host's. So the
// sockets are taken from our own child by pidfd_getfd and set one by one; the
// host's own switch is left as it is.
const receiveBuffer = 8 << 20

// growBuffers sets the sockets that ovs-vswitchd has opened since the last time.
// Nothing but speed depends on it, so a failure is told once and forgotten.
func (s *session) growBuffers(ctx context.Context) {
	if s.own == nil || s.datapath != DatapathUserspace {
		return
	}
	s.buffers.Lock()
	defer s.buffers.Unlock()
	if err := s.grow(s.own.pid()); err != nil && !s.slow {
		s.slow = true
		s.log.WarnContext(ctx, "can't enlarge the switch's receive buffers: forwarding is right, but slower", "error", err)
	}
}

func (s *session) grow(pid int) error {
	if pid == 0 {
		return nil
	}
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list the sockets of ovs-vswitchd: %w", err)
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("open ovs-vswitchd's process: %w", err)
	}
	defer unix.Close(pidfd) //nolint:errcheck // nothing was written
	var failed error
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil || !strings.HasPrefix(target, "socket:") || s.grown[target] {
			continue
		}
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if err := growOne(pidfd, fd); err != nil {
			failed = err
			continue
		}
		s.grown[target] = true
	}
	return failed
}

// growOne sets one socket's buffer, if it is a packet socket.
func growOne(pidfd, fd int) error {
	sock, err := unix.PidfdGetfd(pidfd, fd, 0)
	if errors.Is(err, unix.EBADF) {
		return nil // closed since it was listed
	}
	if err != nil {
		return fmt.Errorf("take a socket of ovs-vswitchd: %w", err)
	}
	defer unix.Close(sock) //nolint:errcheck // a second reference
	domain, err := unix.GetsockoptInt(sock, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil || domain != unix.AF_PACKET {
		return nil // not a port's
	}
	if err := unix.SetsockoptInt(sock, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer); err != nil {
		return fmt.Errorf("enlarge a receive buffer: %w", err)
	}
	return nil
}
