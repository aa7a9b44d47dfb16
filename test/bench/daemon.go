package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// inNamespaces gives the daemon what the engine gives the plugin: the plugin's
// root file system with its own Open vSwitch, the host's directories, and as
// its network one without anything else. All of it goes with the process. It
// waits for a line before it becomes the daemon, so that none of this counts.
const inNamespaces = `
mount --make-rprivate /
mount --bind "$ROOTFS" "$DIR/root"
cd "$DIR/root"
mount -t proc proc proc
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs dev
for n in "null 1 3" "zero 1 5" "random 1 8" "urandom 1 9"; do mknod -m 666 "dev/${n%% *}" c ${n#* }; done
mount -t tmpfs tmpfs host/run
mount --bind "$DIR/varlib" host/var/lib
mount --bind "$DIR/etc" host/etc
ip link set lo up
if [ -n "${DOCKSTACK_STORE-}" ]; then # the underlay
	ip link add under0 type veth peer name under1
	ip addr add "$UNDERLAY/24" dev under0
	ip link set under0 up
	ip link set under1 up
fi
echo ready
read -r go
exec chroot . /bin/dockstack daemon
`

// startWait bounds how long a daemon may take to answer.
const startWait = 30 * time.Second

// daemonProcess is a daemon in namespaces of its own.
type daemonProcess struct {
	cmd   *exec.Cmd
	in    io.Writer
	log   *bytes.Buffer
	began time.Time // when it was let go
	http  http.Client
	ended chan struct{} // closed when it has
	end   error         // how; not before ended is closed
}

// underlay is the address of a daemon that shares a store.
const underlay = "192.0.2.1"

// startDaemon starts the daemon of build/plugin on the state under dir.
func startDaemon(ctx context.Context, root, dir string) (*daemonProcess, error) {
	d, err := prepareDaemon(ctx, root, dir)
	if err != nil {
		return nil, err
	}
	return d, d.start()
}

// prepareDaemon makes what the daemon needs; start then lets it go.
func prepareDaemon(ctx context.Context, root, dir string, settings ...string) (*daemonProcess, error) {
	for _, d := range []string{"root", "varlib", "etc"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	d := &daemonProcess{log: new(bytes.Buffer), ended: make(chan struct{})}
	d.cmd = exec.CommandContext(ctx, "sh", "-euc", inNamespaces)
	d.cmd.Env = []string{
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DIR=" + dir, "ROOTFS=" + filepath.Join(root, "build", "plugin", "rootfs"),
		"UNDERLAY=" + underlay,
	}
	d.cmd.Env = append(d.cmd.Env, settings...)
	// The daemon is the first process of its namespace, as in a plugin: whatever it starts ends with it.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL,
	}
	d.cmd.Stderr = d.log
	var err error
	if d.in, err = d.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("make namespaces for the daemon (this needs root): %w", err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	go func() {
		d.end = d.cmd.Wait()
		close(d.ended)
	}()
	if err != nil || line != "ready\n" {
		return nil, errors.Join(fmt.Errorf("prepare the daemon's namespaces: %w", err), d.kill(), errors.New(d.log.String()))
	}
	// Through the process' own root: its mounts are nobody else's.
	socket := fmt.Sprintf("/proc/%d/root/run/docker/plugins/dockstack.sock", d.cmd.Process.Pid)
	d.http.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	return d, nil
}

// start lets it go.
func (d *daemonProcess) start() error {
	d.began = time.Now()
	_, err := io.WriteString(d.in, "go\n")
	return err
}

// kill ends it as a crash would.
func (d *daemonProcess) kill() error {
	d.http.CloseIdleConnections()
	_ = d.cmd.Process.Kill() // it may have ended
	<-d.ended
	return nil
}

// stop ends it as the engine does.
func (d *daemonProcess) stop() error {
	d.http.CloseIdleConnections()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-d.ended:
		if d.end != nil {
			return fmt.Errorf("daemon: %w\n%s", d.end, d.log)
		}
		return nil
	case <-time.After(startWait):
		return errors.Join(errors.New("the daemon does not end"), d.kill())
	}
}

// ready asks for a name's address until it gets one.
func (d *daemonProcess) ready(ctx context.Context, pool, name string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	var res struct{ Address string }
	err := d.await(ctx, "/IpamDriver.RequestAddress",
		object{"PoolID": pool, "Address": "", "Options": object{"com.docker.network.endpoint.name": name}}, &res)
	return res.Address, err
}

// memory is what it has resident, in MB.
func (d *daemonProcess) memory() (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
			return float64(kb) * 1024 / 1e6, err
		}
	}
	return 0, errors.New("no VmRSS: the daemon has ended")
}

type object = map[string]any

// await calls until somebody listens.
func (d *daemonProcess) await(ctx context.Context, path string, req, res any) error {
	for {
		err := d.call(ctx, path, req, res)
		if err == nil || !errors.Is(err, errNotUp) {
			return err
		}
		select {
		case <-d.ended:
			return fmt.Errorf("the daemon ended: %w\n%s", d.end, d.log)
		case <-ctx.Done():
			return fmt.Errorf("the daemon does not answer: %w", err)
		case <-time.After(time.Millisecond):
		}
	}
}

var errNotUp = errors.New("nobody listens yet")

func (d *daemonProcess) call(ctx context.Context, path string, req, res any) error {
	body, err := json.Marshal(req)
	if err != nil {
		return err
	}
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://plugin"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	answer, err := d.http.Do(post)
	if err != nil {
		return fmt.Errorf("%w: %w", errNotUp, err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	var failed struct{ Err, Error string }
	if err := json.Unmarshal(text, &failed); err != nil {
		return fmt.Errorf("%s: %w in %s", path, err, text)
	}
	if failed.Err+failed.Error != "" {
		return fmt.Errorf("%s: %s%s", path, failed.Err, failed.Error)
	}
	return json.Unmarshal(text, res)
}

// createNetwork does what the engine does for `docker network create`.
func (d *daemonProcess) createNetwork(ctx context.Context, id, subnet string) (pool string, err error) {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	var made struct{ PoolID, Pool string }
	if err := d.await(ctx, "/IpamDriver.RequestPool", object{"AddressSpace": "dockstack", "Pool": subnet}, &made); err != nil {
		return "", err
	}
	var gateway struct{ Address string }
	if err := d.call(ctx, "/IpamDriver.RequestAddress",
		object{"PoolID": made.PoolID, "Options": object{"RequestAddressType": "com.docker.network.gateway"}}, &gateway); err != nil {
		return "", err
	}
	return made.PoolID, d.call(ctx, "/NetworkDriver.CreateNetwork", object{
		"NetworkID": id,
		"Options":   object{"com.docker.network.enable_ipv4": true, "com.docker.network.generic": object{}},
		"IPv4Data":  []object{{"AddressSpace": "dockstack", "Pool": made.Pool, "Gateway": gateway.Address}},
	}, &struct{}{})
}
