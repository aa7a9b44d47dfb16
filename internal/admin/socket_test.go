package admin_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/admin/admintest"
)

func TestDockerGroup(t *testing.T) {
	tests := []struct {
		name, file string
		want       int
		fails      bool
	}{
		{"there", "root:x:0:\ndocker:x:998:me,you\n", 998, false},
		{"none", "root:x:0:\ndockerroot:x:3:\n", admin.RootOnly, false},
		{"empty", "", admin.RootOnly, false},
		{"no number", "docker:x:abc:\n", admin.RootOnly, true},
		{"negative", "docker:x:-1:\n", admin.RootOnly, true},
		{"too large", "docker:x:4294967295:\n", admin.RootOnly, true},
		{"short line", "docker:x\n", admin.RootOnly, false},
		{"many members", "x:x:1:" + strings.Repeat("member,", 50_000) + "\ndocker:x:7:\n", 7, false},
		{"endless line", strings.Repeat("x", 2<<20), admin.RootOnly, true},
	}
	for _, tt := range tests {
		path := filepath.Join(t.TempDir(), "group")
		if err := os.WriteFile(path, []byte(tt.file), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := admin.DockerGroup(path); got != tt.want || (err != nil) != tt.fails {
			t.Errorf("%s: %d, %v; want %d", tt.name, got, err, tt.want)
		}
	}
	if got, err := admin.DockerGroup(filepath.Join(t.TempDir(), "none")); got != admin.RootOnly || err != nil {
		t.Errorf("without a file: %d, %v", got, err)
	}
}

// connects is whether a user of that group may open the socket. Only this thread
// becomes that user.
func connects(t *testing.T, path string, uid, gid int) error {
	t.Helper()
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with it
		for _, set := range []struct{ call, to uintptr }{{unix.SYS_SETGROUPS, 0}, {unix.SYS_SETFSGID, uintptr(gid)}, {unix.SYS_SETFSUID, uintptr(uid)}} {
			if _, _, errno := unix.RawSyscall(set.call, set.to, 0, 0); errno != 0 {
				result <- errno
				return
			}
		}
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
			_ = unix.Close(fd)
		}
		result <- err
	}()
	return <-result
}

// The socket is root's and the group's, and nobody else's; what a killed process
// left is replaced, and nothing else is.
func TestSocketIsForTheGroup(t *testing.T) {
	const group = 4242
	base, err := os.MkdirTemp("/tmp", "ds") //nolint:usetesting // others can enter it, unlike t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(base, "admin.sock")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	_ = stale.Close()
	if err := os.Mkdir(filepath.Join(base, ".admin-123"), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := admin.Listen(t.Context(), path, group)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		uid, gid int
		want     error
	}{{0, 0, nil}, {65534, group, nil}, {65534, 65534, unix.EACCES}, {1000, 1000, unix.EACCES}} {
		if err := connects(t, path, tt.uid, tt.gid); !errors.Is(err, tt.want) {
			t.Errorf("user %d of group %d: %v, want %v", tt.uid, tt.gid, err, tt.want)
		}
	}
	left, err := os.ReadDir(base)
	if err != nil || len(left) != 1 {
		t.Errorf("beside the socket there is %v, %v", left, err)
	}
	// A second daemon takes over, and the first one's end leaves its socket alone.
	second, err := admin.Listen(t.Context(), path, admin.RootOnly)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Error(err)
	}
	if err := connects(t, path, 0, 0); err != nil {
		t.Errorf("the second daemon: %v", err)
	}
	if err := connects(t, path, 65534, group); !errors.Is(err, unix.EACCES) {
		t.Errorf("a socket for root alone: %v", err)
	}
	_ = second.Close()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

// Whoever looks at any time sees no socket, or one with its final mode.
func TestSocketIsNeverOpenToOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	stop, wrong := make(chan struct{}), make(chan string, 1)
	go func() {
		defer close(wrong)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if info, err := os.Lstat(path); err == nil && info.Mode().Perm() != 0o660 {
				wrong <- info.Mode().String()
				return
			}
		}
	}()
	for range 50 {
		l, err := admin.Listen(t.Context(), path, 4242)
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
	}
	close(stop)
	if mode, is := <-wrong; is {
		t.Errorf("the socket was seen with mode %s", mode)
	}
}

func TestSocketThatCantBe(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "admin.sock")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Listen(t.Context(), path, admin.RootOnly); err == nil || !strings.Contains(err.Error(), "is a directory; remove it") {
		t.Errorf("with a directory in its place: %v", err)
	}
	if _, err := admin.Listen(t.Context(), filepath.Join(dir, strings.Repeat("x", 200), "s"), admin.RootOnly); err == nil {
		t.Error("a path that is too long is taken")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*", ".admin-*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// Why a daemon can't be reached, and the way out.
func TestUnreachable(t *testing.T) {
	dir := t.TempDir()
	refused := filepath.Join(dir, "refused")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: refused})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	hangsUp, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(dir, "hangs"))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := hangsUp.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = hangsUp.Close() })
	for _, tt := range []struct {
		socket string
		want   []string
	}{
		{filepath.Join(dir, "none"), []string{"no socket " + filepath.Join(dir, "none"), "docker plugin ls", "docker plugin enable dockstack-plugin"}},
		{filepath.Join(file, "x"), []string{"no socket", "docker plugin ls"}},
		{refused, []string{"nobody listens on " + refused, "docker plugin enable"}},
		{file, []string{"nobody listens on " + file}},
		{hangsUp.Addr().String(), []string{"hung up", "docker plugin ls"}},
	} {
		c := admin.NewClient(tt.socket)
		_, err := c.Status(t.Context())
		c.Close()
		if _, ok := errors.AsType[*admin.Unreachable](err); !ok {
			t.Errorf("%s: %v is another error", tt.socket, err)
			continue
		}
		for _, word := range tt.want {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %q lacks %q", tt.socket, err, word)
			}
		}
	}
	denied := &admin.Unreachable{Socket: "/run/x\x1b", Cause: fmt.Errorf("dial: %w", syscall.EACCES)}
	for _, word := range []string{`/run/x\x1b is not yours`, "be root", "group docker", "usermod -aG docker"} {
		if !strings.Contains(denied.Error(), word) {
			t.Errorf("%q lacks %q", denied, word)
		}
	}
}

// Something else on the socket is no daemon.
func TestNotADaemon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	status := http.StatusOK
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte("hello"))
	})}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	c := admin.NewClient(path)
	defer c.Close()
	if _, err := c.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "can't be read") {
		t.Errorf("an answer that is none: %v", err)
	}
	status = http.StatusTeapot
	if _, err := c.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "is it dockstack's socket?") {
		t.Errorf("an error that is none: %v", err)
	}
}

func TestWatchOverTheSocket(t *testing.T) {
	d := admintest.New()
	c, _ := serve(t, d)
	d.Ring.Add(admin.Event{Text: "before"})
	ctx, cancel := context.WithCancel(t.Context())
	begun := make(chan struct{})
	got := make(chan string, 10)
	ended := make(chan error, 1)
	go func() {
		ended <- c.Watch(ctx, admin.LatestEvent, func() { close(begun) }, func(e admin.Event) error { got <- e.Text; return nil })
	}()
	<-begun
	d.Ring.Add(admin.Event{Text: "one"}, admin.Event{Text: "two"})
	for _, want := range []string{"one", "two"} {
		if is := <-got; is != want {
			t.Errorf("the event is %q, want %q", is, want)
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("its end is %v", err)
	}
	stop := errors.New("enough")
	err := c.Watch(t.Context(), 0, nil, func(e admin.Event) error {
		if e.Text != "before" {
			t.Errorf("the first event is %q", e.Text)
		}
		return stop
	})
	if !errors.Is(err, stop) {
		t.Errorf("its end is %v", err)
	}
}

// A watch that does not read is dropped with a message; others and the daemon go
// on meanwhile.
func TestSlowWatchIsDropped(t *testing.T) {
	d := admintest.New()
	c, _ := serve(t, d)
	begun, slow, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- c.Watch(t.Context(), admin.LatestEvent, func() { close(begun); <-slow }, func(admin.Event) error { return nil })
	}()
	<-begun
	// More than socket and ring hold: the handler is stuck writing, and overtaken.
	text := strings.Repeat("x", 8<<10)
	for range 500 {
		d.Ring.Add(admin.Event{Text: text})
		time.Sleep(time.Millisecond)
	}
	if _, err := c.Status(t.Context()); err != nil {
		t.Errorf("others: %v", err)
	}
	close(slow)
	if err := <-ended; admin.CodeOf(err) != admin.CodeBusy || !strings.Contains(err.Error(), "does not keep up") {
		t.Errorf("its end is %v", err)
	}
}

func TestTooManyWatches(t *testing.T) {
	c, path := serve(t, admintest.New())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{}, 32)
	for range 32 {
		begun := make(chan struct{})
		go func() {
			own := admin.NewClient(path)
			defer own.Close()
			_ = own.Watch(ctx, admin.LatestEvent, func() { close(begun) }, func(admin.Event) error { return nil })
			done <- struct{}{}
		}()
		<-begun
	}
	if err := c.Watch(t.Context(), admin.LatestEvent, nil, func(admin.Event) error { return nil }); admin.CodeOf(err) != admin.CodeBusy {
		t.Errorf("one more: %v", err)
	}
	if _, err := c.Version(t.Context()); err != nil {
		t.Errorf("other calls: %v", err)
	}
	cancel()
	for range 32 {
		<-done
	}
}

// The end of the daemon is told to those who watch.
func TestDaemonEndsWhileWatched(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ctx, cancel := context.WithCancel(t.Context())
	l, err := admin.Listen(ctx, path, admin.RootOnly)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		served <- admin.NewServer(admintest.New(), "1.0", slog.New(slog.DiscardHandler)).Serve(ctx, l)
	}()
	c := admin.NewClient(path)
	defer c.Close()
	err = c.Watch(t.Context(), admin.LatestEvent, cancel, func(admin.Event) error { return nil })
	if _, ok := errors.AsType[*admin.Unreachable](err); !ok {
		t.Errorf("its end is %v", err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
