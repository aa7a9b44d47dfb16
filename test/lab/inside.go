package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// A host's init is this same program, started again with stageEnv set: it works for the lab command and for every
// test binary alike. The main thread stays locked, because a mount or cgroup namespace belongs to a thread.
func init() {
	if os.Getenv(stageEnv) == "" {
		return
	}
	runtime.LockOSThread()
	ready := os.NewFile(fdReady, "ready")
	if err := becomeInit(); err != nil {
		_, _ = ready.WriteString(err.Error())
		os.Exit(1)
	}
	_, _ = ready.WriteString("ok")
	_ = ready.Close()
	go reap()
	watchLifeline()
	os.Exit(0)
}

func becomeInit() error {
	var s spec
	in := os.NewFile(fdSpec, "spec")
	if err := json.NewDecoder(in).Decode(&s); err != nil {
		return fmt.Errorf("read the host's description: %w", err)
	}
	_ = in.Close()
	if s.Name == "" {
		return nil // the underlay: nothing but a network namespace
	}
	if err := unix.Sethostname([]byte(s.Name)); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	return mountAll(s)
}

// watchLifeline returns when the owner has died. A byte means that the owner lets us live on.
func watchLifeline() {
	buf := make([]byte, 1)
	for {
		n, err := os.NewFile(fdLifeline, "lifeline").Read(buf)
		if n > 0 {
			select {} // detached: only a signal ends us
		}
		if err != nil && !errors.Is(err, syscall.EINTR) {
			if !errors.Is(err, io.EOF) {
				fmt.Fprintln(os.Stderr, "lab: lifeline:", err)
			}
			return
		}
	}
}

// reap collects the host's orphans, and ends the host when it is told to.
func reap() {
	children := make(chan os.Signal, 16)
	signal.Notify(children, unix.SIGCHLD)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, unix.SIGTERM)
	signal.Ignore(unix.SIGINT, unix.SIGHUP, unix.SIGPIPE)
	for {
		select {
		case <-stop:
			os.Exit(0)
		case <-children:
			for {
				if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); pid <= 0 && !errors.Is(err, unix.EINTR) {
					break
				}
			}
		}
	}
}
