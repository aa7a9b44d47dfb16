// Package sim makes clusters of many simulated hosts in a real etcd: members,
// their content, and hosts without a switch that run the real code.
package sim

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/dockstack/dockstack/internal/kv/etcdtest"
)

// Prefix is where the simulated cluster's keys are.
const Prefix = "/dockstack"

// startWait bounds how long members take to agree.
const startWait = 60 * time.Second

// Etcd is some members on loopback. It has etcd's own settings, as an operator's
// has, unless StartEtcd is told more, and ends with this process.
type Etcd struct {
	members []*member
}

type member struct {
	client, peer string // host:port
	cmd          *exec.Cmd
	log          tail
	ended        chan struct{}
}

// StartEtcd starts n members that keep their data below dir. more are arguments
// that an operator's has not.
func StartEtcd(ctx context.Context, dir string, n int, more ...string) (*Etcd, error) {
	if _, err := exec.LookPath("etcd"); err != nil {
		return nil, errors.New("etcd is missing: run `make deps`")
	}
	ports, err := etcdtest.FreePorts(ctx, 2*n)
	if err != nil {
		return nil, err
	}
	e := &Etcd{}
	var all []string
	for i := range n {
		m := &member{client: loopback(ports[2*i]), peer: loopback(ports[2*i+1]), ended: make(chan struct{})}
		e.members = append(e.members, m)
		all = append(all, fmt.Sprintf("m%d=http://%s", i, m.peer))
	}
	for i, m := range e.members {
		args := []string{
			"--name", fmt.Sprintf("m%d", i), "--data-dir", filepath.Join(dir, fmt.Sprintf("m%d", i)),
			"--listen-client-urls", "http://" + m.client, "--advertise-client-urls", "http://" + m.client,
			"--listen-peer-urls", "http://" + m.peer, "--initial-advertise-peer-urls", "http://" + m.peer,
			"--initial-cluster", strings.Join(all, ","), "--logger", "zap", "--log-level", "warn",
		}
		if err := m.start(context.WithoutCancel(ctx), append(args, more...)); err != nil {
			e.Stop()
			return nil, fmt.Errorf("start etcd: %w", err)
		}
	}
	if err := e.ready(ctx); err != nil {
		e.Stop()
		return nil, err
	}
	return e, nil
}

// start starts etcd on a thread that lives as long: the kernel understands
// Pdeathsig as the death of that thread.
func (m *member) start(ctx context.Context, args []string) error {
	m.cmd = exec.CommandContext(ctx, "etcd", args...)
	m.cmd.Env = []string{"PATH=/usr/bin:/bin"}
	m.cmd.Stdout, m.cmd.Stderr = &m.log, &m.log
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(m.ended)
		err := m.cmd.Start()
		started <- err
		if err == nil {
			_ = m.cmd.Wait() // Stop kills it
		}
	}()
	return <-started
}

func (e *Etcd) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	for i, m := range e.members {
		c, err := e.client(m.client)
		if err != nil {
			return err
		}
		for {
			ask, done := context.WithTimeout(ctx, time.Second)
			_, err = c.Get(clientv3.WithRequireLeader(ask), "x")
			done()
			if err == nil || ctx.Err() != nil {
				break
			}
		}
		if err = errors.Join(err, c.Close()); err != nil {
			return fmt.Errorf("etcd member %d does not answer: %w\n%s", i, err, m.log.text())
		}
	}
	return nil
}

func (*Etcd) client(endpoints ...string) (*clientv3.Client, error) {
	cfg := clientv3.Config{Logger: zap.NewNop(), DialTimeout: 5 * time.Second}
	for _, addr := range endpoints {
		cfg.Endpoints = append(cfg.Endpoints, "http://"+addr)
	}
	return clientv3.New(cfg)
}

// Client is a client of one member: number i, counted on beyond the last.
func (e *Etcd) Client(i int) (*clientv3.Client, error) {
	return e.client(e.members[i%len(e.members)].client)
}

// Endpoints are the members' addresses, host:port.
func (e *Etcd) Endpoints() []string {
	var all []string
	for _, m := range e.members {
		all = append(all, m.client)
	}
	return all
}

// URL is what DOCKSTACK_STORE takes.
func (e *Etcd) URL() string { return "etcd://" + strings.Join(e.Endpoints(), ",") + Prefix }

// Stop kills the members.
func (e *Etcd) Stop() {
	for _, m := range e.members {
		if m.cmd != nil && m.cmd.Process != nil {
			_ = m.cmd.Process.Kill() // it may have ended
			<-m.ended
		}
	}
}

// Metrics are sums over all members of what they count, by name with labels as
// etcd prints them.
type Metrics map[string]float64

// Metrics asks all members.
func (e *Etcd) Metrics(ctx context.Context) (Metrics, error) {
	all := Metrics{}
	for _, m := range e.members {
		if err := m.metrics(ctx, all); err != nil {
			return nil, fmt.Errorf("etcd's metrics: %w", err)
		}
	}
	return all, nil
}

func (m *member) metrics(ctx context.Context, into Metrics) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.client+"/metrics", http.NoBody)
	if err != nil {
		return err
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, value, ok := cutLast(lines.Text())
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			into[name] += v
		}
	}
	return lines.Err()
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, ' ')
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

// Calls is how many calls a gRPC method has had: "Txn", "Range" and so on.
func (m Metrics) Calls(methods ...string) float64 {
	var sum float64
	for name, v := range m {
		if !strings.HasPrefix(name, "grpc_server_started_total{") {
			continue
		}
		for _, method := range methods {
			if strings.Contains(name, `grpc_method="`+method+`"`) {
				sum += v
			}
		}
	}
	return sum
}

// Sent is how many bytes members sent to clients.
func (m Metrics) Sent() float64 { return m["etcd_network_client_grpc_sent_bytes_total"] }

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// tail keeps the end of what a program says.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.buf.Len() > 1<<16 {
		t.buf.Reset()
	}
	return t.buf.Write(p)
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}

// RSS is what a process has resident, in bytes: VmRSS of /proc/PID/status, or
// VmHWM, the most that it ever had.
func RSS(pid int, field string) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			kb, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
			return float64(kb) * 1024, err
		}
	}
	return 0, fmt.Errorf("process %d has no %s: it has ended", pid, field)
}

// PIDs are the members' processes.
func (e *Etcd) PIDs() []int {
	var out []int
	for _, m := range e.members {
		out = append(out, m.cmd.Process.Pid)
	}
	return out
}
