package ovs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// stopGrace is how long a daemon may take to end by itself.
const stopGrace = 2 * time.Second

// logBurst lines of a daemon's log per logWindow are passed on, the rest counted.
const (
	logBurst  = 20
	logWindow = 10 * time.Second
)

// daemon is one of our own switch's two processes, in the foreground as our
// child.
type daemon struct {
	name string
	args []string
	log  *slog.Logger
}

// run starts the daemon and returns when it ended: nil when ctx asked for it,
// else how it died.
func (d daemon) run(ctx context.Context, t tools, started func(pid int)) error {
	argv, err := t.argv(d.name, d.args...)
	if err != nil {
		return err
	}
	// The kernel kills the child when the thread that started it ends, not the
	// process: hold the thread for as long as the child lives.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = t.env()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	// SIGTERM ends ovs-vswitchd without removing its ports.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopGrace
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return fmt.Errorf("start %s: %w", d.name, err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", d.name, err)
	}
	if started != nil {
		started(cmd.Process.Pid)
	}
	last := make(chan string, 1)
	go func() { last <- d.relay(ctx, stderr) }()
	said := <-last
	err = cmd.Wait()
	if ctx.Err() != nil {
		return nil
	}
	if err == nil {
		err = errors.New("ended by itself")
	}
	return fmt.Errorf("%s: %w: %s", d.name, err, said)
}

// relay passes a daemon's log on, not more than logBurst lines per logWindow,
// and returns the last line.
func (d daemon) relay(ctx context.Context, r io.Reader) (last string) {
	var window time.Time
	var n, dropped int
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		last = lines.Text()
		if time.Since(window) > logWindow {
			if dropped > 0 {
				d.log.WarnContext(ctx, "lines of the switch's log were dropped", "name", d.name, "count", dropped)
			}
			window, n, dropped = time.Now(), 0, 0
		}
		if expected(last) {
			d.log.DebugContext(ctx, "the switch says", "name", d.name, "text", stripStamp(last))
			continue
		}
		if n++; n > logBurst {
			dropped++
			continue
		}
		d.log.WarnContext(ctx, "the switch says", "name", d.name, "text", stripStamp(last))
	}
	// A line longer than the buffer ends the scan; the daemon must not block.
	_, _ = io.Copy(io.Discard, r)
	return last
}

// expected tells the switch's remarks on what happens at every container's
// end: its link goes down and away before its port does.
func expected(line string) bool {
	return strings.Contains(line, "Network is down") || strings.Contains(line, "No such device")
}

// stripStamp removes time and number from a line of Open vSwitch's log.
func stripStamp(line string) string {
	if parts := strings.SplitN(line, "|", 3); len(parts) == 3 {
		return parts[2]
	}
	return line
}
