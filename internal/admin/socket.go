package admin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// RootOnly is the group of a socket that only root may open.
const RootOnly = -1

// DockerGroup is the id of the group docker in a file such as /etc/group, and
// RootOnly where there is none.
func DockerGroup(path string) (int, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return RootOnly, nil
	}
	if err != nil {
		return RootOnly, fmt.Errorf("read the host's groups: %w", err)
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20) // a group may have many members
	for lines.Scan() {
		fields := strings.Split(lines.Text(), ":")
		if len(fields) < 3 || fields[0] != "docker" {
			continue
		}
		id, err := strconv.ParseUint(fields[2], 10, 31)
		if err != nil {
			return RootOnly, fmt.Errorf("%s: group docker has the id %q", path, fields[2])
		}
		return int(id), nil
	}
	if err := lines.Err(); err != nil {
		return RootOnly, fmt.Errorf("read the host's groups: %w", err)
	}
	return RootOnly, nil
}

// Listen opens the socket at path for root and a group. It is made in a directory
// that nobody else can enter, and moved in place with its owner and mode: at no
// time can others connect. What a killed process left there is replaced.
func Listen(ctx context.Context, path string, group int) (net.Listener, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the socket's directory: %w", err)
	}
	if info, err := os.Lstat(path); err == nil && info.IsDir() {
		return nil, fmt.Errorf("%s is a directory; remove it", path)
	}
	sweep(dir)
	private, err := os.MkdirTemp(dir, privatePrefix) // of mode 0700
	if err != nil {
		return nil, fmt.Errorf("make the socket's directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(private) }()
	made := filepath.Join(private, "s")
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", made)
	if err != nil {
		return nil, fmt.Errorf("listen for operators: %w", err)
	}
	unixListener, ok := l.(*net.UnixListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("listen for operators: %s is no unix socket", made), l.Close())
	}
	unixListener.SetUnlinkOnClose(false)
	err = os.Chmod(made, 0o600)
	if err == nil && group != RootOnly {
		if err = os.Chown(made, 0, group); err == nil {
			err = os.Chmod(made, 0o660) //nolint:gosec // the group is who may ask
		}
	}
	if err == nil {
		err = os.Rename(made, path)
	}
	var info os.FileInfo
	if err == nil {
		info, err = os.Lstat(path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make %s: %w", path, err), l.Close())
	}
	return &socket{Listener: l, path: path, info: info}, nil
}

const privatePrefix = ".admin-"

// sweep removes the directories that killed processes left.
func sweep(dir string) {
	left, err := filepath.Glob(filepath.Join(dir, privatePrefix+"*"))
	if err != nil {
		return
	}
	for _, path := range left {
		_ = os.RemoveAll(path)
	}
}

// socket removes its file at the end, if it is its own still.
type socket struct {
	net.Listener
	path string
	info os.FileInfo
	once sync.Once
	err  error
}

// Close implements net.Listener.
func (s *socket) Close() error {
	s.once.Do(func() {
		if now, err := os.Lstat(s.path); err == nil && os.SameFile(now, s.info) {
			_ = os.Remove(s.path)
		}
		s.err = s.Listener.Close()
	})
	return s.err
}

// callerKey is where a connection's context has its user.
type callerKey struct{}

// withCaller notes the user at the other end, for the log.
func withCaller(ctx context.Context, c net.Conn) context.Context {
	if limited, ok := c.(*counted); ok {
		c = limited.Conn
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return ctx
	}
	var cred *unix.Ucred
	err = raw.Control(func(fd uintptr) {
		cred, _ = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err != nil || cred == nil {
		return ctx
	}
	return context.WithValue(ctx, callerKey{}, cred.Uid)
}

// callerOf is the user's id, "" where it is not known.
func callerOf(ctx context.Context) string {
	if uid, ok := ctx.Value(callerKey{}).(uint32); ok {
		return strconv.FormatUint(uint64(uid), 10)
	}
	return ""
}
