package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// holder is an init process that keeps namespaces alive. Everything in its PID namespace dies with it.
//
// It dies when its lifeline closes, so a lab whose owner is killed vanishes; one byte on the lifeline detaches it.
// It also holds the lab's lock, which is how Sweep tells a live lab from a dead one.
type holder struct {
	pid      int
	pidfd    int
	lifeline *os.File // nil when another process started it
	closed   sync.Once
}

// spec is what a new init is told, once it is in its cgroups.
type spec struct {
	Name      string  `json:"name"` // "h1"; empty for the underlay
	Dir       string  `json:"dir"`
	RunDir    string  `json:"run_dir"`
	Network   Network `json:"network"`
	CgroupDir string  `json:"cgroup_dir"` // our cgroup's name in each hierarchy
}

const (
	stageEnv   = "DOCKSTACK_LAB_INIT"
	fdLifeline = 3
	fdLock     = 4
	fdSpec     = 5
	fdReady    = 6
)

// spawn starts an init with the given namespaces. place runs before the init does anything.
func spawn(ctx context.Context, lock *os.File, flags uintptr, title string, s spec, place func(pid int) error) (*holder, error) {
	lifeR, lifeW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	specR, specW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	readyR, readyW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	// The init outlives ctx: only its lifeline or kill ends it.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "/proc/self/exe")
	cmd.Args = []string{title}
	cmd.Env = []string{stageEnv + "=1", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{lifeR, lock, specR, readyW}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Setsid: true}
	err = cmd.Start()
	for _, f := range []*os.File{lifeR, specR, readyW} {
		_ = f.Close() // the child has its copy
	}
	if err != nil {
		_ = lifeW.Close()
		return nil, fmt.Errorf("start %s (needs root): %w", title, err)
	}
	h := &holder{pid: cmd.Process.Pid, lifeline: lifeW}
	go func() { _ = cmd.Wait() }()
	if h.pidfd, err = unix.PidfdOpen(h.pid, 0); err != nil {
		_ = lifeW.Close()
		return nil, fmt.Errorf("watch %s: %w", title, err)
	}
	if err := h.handshake(place, s, specW, readyR); err != nil {
		return nil, errors.Join(fmt.Errorf("set up %s: %w", title, err), h.kill(context.WithoutCancel(ctx)))
	}
	return h, nil
}

// handshake places the init, tells it what to be, and waits for its word.
func (h *holder) handshake(place func(pid int) error, s spec, specW, readyR *os.File) error {
	defer func() { _ = readyR.Close() }()
	err := place(h.pid)
	if err == nil {
		err = json.NewEncoder(specW).Encode(s)
	}
	if err = errors.Join(err, specW.Close()); err != nil {
		return err
	}
	word, err := io.ReadAll(readyR)
	if err != nil {
		return err
	}
	if string(word) != "ok" {
		return errors.New(string(bytes.TrimSpace(word)))
	}
	return nil
}

// adopt finds an init that another process started, and makes sure that the pid is still its own.
func adopt(pid int, title string) (*holder, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("%s (pid %d) is gone: %w", title, pid, err)
	}
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || strings.TrimRight(string(cmdline), "\x00") != title {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("%s is gone: pid %d is another process now", title, pid)
	}
	return &holder{pid: pid, pidfd: fd}, nil
}

// poweredOff stands for the init of a host that is off.
func poweredOff() *holder {
	h := &holder{pidfd: -1}
	h.closed.Do(func() {})
	return h
}

func (h *holder) pidOrZero() int {
	if h == nil {
		return 0
	}
	return h.pid
}

func (h *holder) detach() error {
	if h.lifeline == nil {
		return nil
	}
	_, err := h.lifeline.WriteString("d")
	if errors.Is(err, os.ErrClosed) {
		return nil // it was killed
	}
	return err
}

// kill ends the init and waits until the kernel has ended every process of its PID namespace.
func (h *holder) kill(ctx context.Context) error {
	var err error
	h.closed.Do(func() {
		defer func() { _ = unix.Close(h.pidfd) }()
		if e := unix.PidfdSendSignal(h.pidfd, unix.SIGKILL, nil, 0); e != nil && !errors.Is(e, unix.ESRCH) {
			err = fmt.Errorf("kill init %d: %w", h.pid, e)
			return
		}
		if h.lifeline != nil {
			_ = h.lifeline.Close()
		}
		if err = waitPidfd(ctx, h.pidfd); err == nil {
			waitReaped(ctx, h.pidfd)
		}
	})
	return err
}

// waitReaped waits until the parent has taken note of a dead process, for until then it is in every list. The parent
// may be the machine's init, which is not ours to blame: after a while it is left to it.
func waitReaped(ctx context.Context, fd int) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for unix.PidfdSendSignal(fd, 0, nil, 0) == nil {
		if wait(ctx, 5*time.Millisecond) != nil {
			return
		}
	}
}

// waitPidfd waits until the process has ended.
func waitPidfd(ctx context.Context, fd int) error {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 50)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if n > 0 {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}
