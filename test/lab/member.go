package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// memberFirst is the underlay address of the first etcd member less one: they are at 192.0.2.201 and so on.
const memberFirst = 200

// etcdWait bounds how long members may take to find each other.
const etcdWait = time.Minute

// Member is one member of a lab's etcd: a machine of its own on the underlay that runs Debian's etcd and nothing else,
// with its defaults, unless the lab does not sync it. Its data stays through all that is done to it.
type Member struct {
	Name string // "e1"
	Addr string // its address on the underlay
	Dir  string // data and etcd.log

	lab    *Lab
	number int
	init   *holder
}

func newMember(l *Lab, n int) *Member {
	m := &Member{Name: "e" + strconv.Itoa(n), lab: l, number: n, Addr: underlayAddr(memberFirst + n)}
	m.Dir = filepath.Join(l.Dir, m.Name)
	return m
}

func memberTitle(id string, n int) string { return prefix + id + "-e" + strconv.Itoa(n) }

// program is argument 0 of the member's etcd, by which it is found.
func (m *Member) program() string { return memberTitle(m.lab.ID, m.number) + "-etcd" }

// boot makes the member's machine and launches its etcd.
func (m *Member) boot(ctx context.Context) error {
	if _, err := exec.LookPath("etcd"); err != nil {
		return errors.New("etcd is missing: run `make deps`")
	}
	if err := os.MkdirAll(m.Dir, 0o700); err != nil {
		return err
	}
	place := func(int) error { return nil }
	var err error
	m.init, err = spawn(ctx, m.lab.lock, syscall.CLONE_NEWNET|syscall.CLONE_NEWPID, memberTitle(m.lab.ID, m.number), spec{}, place)
	if err != nil {
		return err
	}
	if err := m.lab.plug(m.init.pid, m.Name, memberFirst+m.number); err != nil {
		return fmt.Errorf("join the underlay: %w", err)
	}
	return m.Start(ctx)
}

// Start launches the member's etcd and does not wait for it: alone it may have nobody to agree with (Lab.EtcdReady).
func (m *Member) Start(ctx context.Context) error {
	if m.PID() != 0 {
		return nil
	}
	log, err := os.OpenFile(m.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	// It becomes a child of the member's init, and so ends with it.
	args := []string{"-t", strconv.Itoa(m.init.pid), "-n", "-p", "--", "setsid", "-f", "bash", "-c", `exec -a "$0" "$@"`, m.program(), "etcd"}
	cmd := exec.CommandContext(ctx, "nsenter", append(args, m.flags()...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("start etcd %s: %w%s", m.Name, err, tail(m.Log()))
	}
	// It has its name a moment after setsid has let go of it.
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for m.PID() == 0 {
		if wait(ctx, 5*time.Millisecond) != nil {
			return fmt.Errorf("etcd %s does not run%s", m.Name, tail(m.Log()))
		}
	}
	return nil
}

func (m *Member) flags() []string {
	client, peer := m.clientURL(), m.peerURL()
	var all []string
	for _, o := range m.lab.Etcd {
		all = append(all, o.Name+"="+o.peerURL())
	}
	flags := []string{
		"--name", m.Name, "--data-dir", filepath.Join(m.Dir, "data"),
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
		"--initial-cluster", strings.Join(all, ","), "--initial-cluster-token", prefix + m.lab.ID,
		"--logger", "zap", "--log-outputs", "stderr",
	}
	if m.lab.opts.EtcdUnsynced {
		flags = append(flags, "--unsafe-no-fsync")
	}
	if m.lab.opts.EtcdTLS {
		c := m.lab.certs()
		flags = append(flags, "--client-cert-auth", "--trusted-ca-file", c.ca(), "--cert-file", c.cert(serverCert), "--key-file", c.key(serverCert))
	}
	return flags
}

func (m *Member) clientURL() string {
	if m.lab.opts.EtcdTLS {
		return "https://" + m.Addr + ":2379"
	}
	return "http://" + m.Addr + ":2379"
}

func (m *Member) peerURL() string { return "http://" + m.Addr + ":2380" }

// PID returns the process id of the member's etcd as this process sees it; 0 if it does not run.
func (m *Member) PID() int {
	for _, pid := range allPids() {
		if programName(pid) == m.program() {
			return pid
		}
	}
	return 0
}

// Stop ends the member's etcd as an init system would, and waits until it has ended.
func (m *Member) Stop(ctx context.Context) error { return m.signal(ctx, unix.SIGTERM) }

// Kill9 kills the member's etcd in mid-flight.
func (m *Member) Kill9(ctx context.Context) error { return m.signal(ctx, unix.SIGKILL) }

func (m *Member) signal(ctx context.Context, sig unix.Signal) error {
	pid := m.PID()
	if pid == 0 {
		return fmt.Errorf("etcd %s does not run", m.Name)
	}
	return signalAndWait(ctx, pid, sig)
}

// Pause leaves the member's etcd alive and its connections open, but it does nothing until Resume.
func (m *Member) Pause() error { return m.tell(unix.SIGSTOP) }

// Resume ends a Pause.
func (m *Member) Resume() error { return m.tell(unix.SIGCONT) }

func (m *Member) tell(sig unix.Signal) error {
	pid := m.PID()
	if pid == 0 {
		return fmt.Errorf("etcd %s does not run", m.Name)
	}
	return unix.Kill(pid, sig)
}

// Log is the file that holds what the member's etcd wrote, over all starts.
func (m *Member) Log() string { return filepath.Join(m.Dir, "etcd.log") }
