package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// engineWait bounds how long an engine may take to answer: it starts its plugins and containers first.
const engineWait = 3 * time.Minute

// EngineStart starts dockerd and waits until it answers.
func (h *Host) EngineStart(ctx context.Context) error {
	if err := h.EngineLaunch(ctx); err != nil {
		return err
	}
	return h.EngineReady(ctx)
}

// EngineLaunch starts dockerd and does not wait for it.
func (h *Host) EngineLaunch(ctx context.Context) error {
	log, err := os.OpenFile(h.EngineLog(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	args := []string{"setsid", "-f", "dockerd", "-H", "unix:///run/docker.sock", "-H", "unix://" + h.Socket}
	if h.lab.opts.Network == Machine {
		args = append(args, "--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false")
	}
	cmd := h.Command(ctx, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("start dockerd: %w%s", err, h.logTail())
	}
	return nil
}

// EngineReady waits until the engine answers.
func (h *Host) EngineReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, engineWait)
	defer cancel()
	seen := false
	for {
		if h.Ping(ctx) == nil {
			return nil
		}
		alive := len(h.processes("dockerd")) > 0
		if seen && !alive {
			return fmt.Errorf("dockerd on %s ended while starting%s", h.Name, h.logTail())
		}
		seen = seen || alive
		if wait(ctx, 50*time.Millisecond) != nil {
			return fmt.Errorf("dockerd on %s does not answer after %s%s", h.Name, engineWait, h.logTail())
		}
	}
}

// Ping asks the engine for a sign of life.
func (h *Host) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/_ping", http.NoBody)
	if err != nil {
		return err
	}
	t := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", h.Socket)
		},
	}
	resp, err := t.RoundTrip(req)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return errors.Join(err, resp.Body.Close())
}

// EngineStop stops dockerd as an init system would, and waits until it has ended.
func (h *Host) EngineStop(ctx context.Context) error { return h.signalEngine(ctx, unix.SIGTERM) }

// EngineKill9 kills dockerd in mid-flight. The containers' processes go on.
func (h *Host) EngineKill9(ctx context.Context) error { return h.signalEngine(ctx, unix.SIGKILL) }

// EngineRestart stops dockerd and starts it again.
func (h *Host) EngineRestart(ctx context.Context) error {
	if err := h.EngineStop(ctx); err != nil {
		return err
	}
	return h.EngineStart(ctx)
}

func (h *Host) signalEngine(ctx context.Context, sig unix.Signal) error {
	pids := h.processes("dockerd")
	if len(pids) == 0 {
		return fmt.Errorf("no dockerd runs on %s", h.Name)
	}
	for _, pid := range pids {
		if err := signalAndWait(ctx, pid, sig); err != nil {
			return fmt.Errorf("stop dockerd on %s: %w%s", h.Name, err, h.logTail())
		}
	}
	return nil
}

// signalAndWait ends a process of a host. It has to have ended when this returns without an error.
func signalAndWait(ctx context.Context, pid int, sig unix.Signal) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	return waitPidfd(ctx, fd)
}

// EnginePID returns dockerd's process id as this process sees it; 0 if there is none.
func (h *Host) EnginePID() int {
	if pids := h.processes("dockerd"); len(pids) > 0 {
		return pids[0]
	}
	return 0
}

// EngineLog is the file that holds what dockerd and the plugins wrote, over all starts.
func (h *Host) EngineLog() string { return filepath.Join(h.Dir, "dockerd.log") }

func (h *Host) logTail() string { return tail(h.EngineLog()) }

// tail is the end of a log, to be added to an error.
func tail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	lines = lines[max(0, len(lines)-15):]
	return "\nthe end of " + path + ":\n  " + strings.Join(lines, "\n  ")
}

// SetResolvers replaces the name servers in the host's /etc/resolv.conf. Containers see them from their next start on.
func (h *Host) SetResolvers(addrs ...string) error {
	var text strings.Builder
	for _, a := range addrs {
		fmt.Fprintf(&text, "nameserver %s\n", a)
	}
	return h.WriteFile("/etc/resolv.conf", text.String())
}

// WriteFile writes a file inside the host, and the directories above it.
func (h *Host) WriteFile(path, text string) error {
	// Through the init's root, because /etc is an overlay that must not be changed from behind.
	inside := fmt.Sprintf("/proc/%d/root%s", h.init.pid, path)
	if err := os.MkdirAll(filepath.Dir(inside), 0o755); err != nil {
		return err
	}
	return os.WriteFile(inside, []byte(text), 0o644)
}

// Path returns where this process finds a file of the host. Valid until the host reboots.
func (h *Host) Path(path string) string { return fmt.Sprintf("/proc/%d/root%s", h.init.pid, path) }
