package etcdtest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec" //nolint:depguard // tests start etcd itself
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	pause  = syscall.SIGSTOP
	resume = syscall.SIGCONT
)

// member is one etcd.
type member struct {
	c      *Cluster
	name   string
	dir    string
	client int
	peer   int
	proxy  *proxy
	log    logTail
	// users: root has a password.
	users bool

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
}

func (m *member) url() string     { return fmt.Sprintf("%s://127.0.0.1:%d", m.c.scheme(), m.client) }
func (m *member) peerURL() string { return fmt.Sprintf("http://127.0.0.1:%d", m.peer) }

func (c *Cluster) scheme() string {
	if c.cfg.TLS {
		return "https"
	}
	return "http"
}

func (c *Cluster) launch(i int) {
	c.tb.Helper()
	m := c.members[i]
	var all []string
	for _, o := range c.members {
		all = append(all, o.name+"="+o.peerURL())
	}
	args := []string{
		"--name", m.name, "--data-dir", m.dir,
		"--listen-client-urls", m.url(), "--advertise-client-urls", m.url(),
		"--listen-peer-urls", m.peerURL(), "--initial-advertise-peer-urls", m.peerURL(),
		"--initial-cluster", strings.Join(all, ","), "--initial-cluster-state", "new",
		// Loopback is quick: half of etcd's own times have tests wait less.
		"--heartbeat-interval", "50", "--election-timeout", "500",
		// Tests kill processes, not machines, so nothing that was written is lost
		// with them, and a disk that is busy for seconds keeps nobody from agreeing.
		"--unsafe-no-fsync",
		"--logger", "zap", "--log-level", "warn",
	}
	if c.certs != nil {
		args = append(args, "--cert-file", c.certs.ServerCert, "--key-file", c.certs.ServerKey)
		if c.cfg.ClientCert {
			args = append(args, "--client-cert-auth", "--trusted-ca-file", c.certs.CA)
		}
	}
	if err := m.start(append(args, c.cfg.Args...)); err != nil {
		c.tb.Fatalf("start etcd: %v", err)
	}
}

// start starts etcd on a thread that lives as long: the kernel understands
// Pdeathsig as the death of that thread.
func (m *member) start(args []string) error {
	cmd := exec.CommandContext(context.Background(), "etcd", args...)
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	cmd.Stdout, cmd.Stderr = &m.log, &m.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, done := make(chan error, 1), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(done)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cmd, m.done = cmd, done
	return nil
}

func (m *member) process() (*exec.Cmd, chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cmd, m.done
}

func (m *member) running() bool {
	cmd, done := m.process()
	if cmd == nil {
		return false
	}
	select {
	case <-done:
		return false
	default:
		return true
	}
}

func (m *member) kill() {
	cmd, done := m.process()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Kill() // it may have ended
	<-done
}

func (m *member) signal(tb testing.TB, s syscall.Signal) {
	tb.Helper()
	if cmd, _ := m.process(); cmd == nil || cmd.Process.Signal(s) != nil {
		tb.Fatalf("etcd %s does not run\n%s", m.name, m.log.tail())
	}
}

// stopped waits until all threads stand still: the signal is only on its way when
// it was sent, and on a busy machine a thread may answer a question meanwhile.
func (m *member) stopped(tb testing.TB) {
	tb.Helper()
	cmd, _ := m.process()
	for range 500 {
		moving := false
		stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", cmd.Process.Pid))
		for _, path := range stats {
			text, err := os.ReadFile(path)
			// The state follows the program's name, which is in parentheses.
			at := bytes.LastIndexByte(text, ')')
			moving = moving || err != nil || at < 0 || !bytes.HasPrefix(text[at:], []byte(") T"))
		}
		if !moving {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	tb.Fatalf("etcd %s goes on though it was stopped", m.name)
}

// logTail keeps the end of what etcd says.
type logTail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (l *logTail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.buf.Len() > 1<<20 {
		l.buf.Reset()
	}
	return l.buf.Write(p)
}

func (l *logTail) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buf.Bytes()
	return string(b[max(0, len(b)-4000):])
}
