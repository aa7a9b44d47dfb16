package ovs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Back-off of daemons that die at once. The first restart is immediate: while
// the database is away a userspace switch forwards nothing.
const (
	restartMin = 10 * time.Millisecond
	restartMax = 2 * time.Second
	// healthyAfter is how long a daemon must live for its next death to be
	// treated as its first.
	healthyAfter = 3 * time.Second
)

// own is our own Open vSwitch.
type own struct {
	cfg      Config
	tools    tools
	datapath string
	log      *slog.Logger

	mu sync.Mutex // guards below
	// pids of the daemons, for the receive buffers and for tests.
	dbPID, switchPID int
	// dbUp is closed when the database's server listens, and made anew when it
	// died.
	dbUp chan struct{}
	// checked is whether the database was found usable and nothing has happened
	// since that makes it doubtful. A check takes longer than a restart may.
	checked bool
	// err is why the daemons don't stay up.
	err error
}

func newOwn(cfg Config, datapath string, log *slog.Logger) *own {
	return &own{
		cfg: cfg, datapath: datapath, log: log, dbUp: make(chan struct{}),
		tools: tools{root: cfg.Root, rundir: cfg.RunDir},
	}
}

// run keeps both daemons alive until ctx ends. ovs-vswitchd stops first, so that
// it doesn't see its database go; ports stay as they are.
func (o *own) run(ctx context.Context) error {
	if err := os.MkdirAll(o.cfg.RunDir, 0o700); err != nil {
		return fmt.Errorf("our Open vSwitch's directory: %w", err)
	}
	if o.datapath == DatapathUserspace {
		if err := ensureTun("/dev/net/tun"); err != nil {
			return err
		}
	}
	dbCtx, stopDB := context.WithCancel(context.WithoutCancel(ctx))
	defer stopDB()
	var db sync.WaitGroup
	db.Go(func() { o.keep(dbCtx, "ovsdb-server", o.runDatabase) })
	o.keep(ctx, "ovs-vswitchd", o.runSwitch)
	stopDB()
	db.Wait()
	return ctx.Err()
}

// keep runs a daemon again and again.
func (o *own) keep(ctx context.Context, name string, run func(context.Context) error) {
	var backoff time.Duration
	said := "" // each cause is said once in a row
	for ctx.Err() == nil {
		began := time.Now()
		err := run(ctx)
		if ctx.Err() != nil {
			return
		}
		o.mu.Lock()
		o.err = err
		o.mu.Unlock()
		if cause := fmt.Sprint(err); cause != said {
			said = cause
			o.log.WarnContext(ctx, "a daemon of our Open vSwitch ended and is started again", "name", name, "error", err)
		}
		if time.Since(began) > healthyAfter {
			backoff, said = 0, ""
			continue
		}
		backoff = min(max(2*backoff, restartMin), restartMax)
		t := time.NewTimer(backoff)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
}

// cause is why the daemons don't stay up.
func (o *own) cause() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// up forgets earlier failures: the switch is reachable.
func (o *own) up() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = nil
}

// pid of ovs-vswitchd, 0 when it doesn't run.
func (o *own) pid() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.switchPID
}

func (o *own) runDatabase(ctx context.Context) error {
	if !o.isChecked() {
		if err := o.ensureDatabase(ctx); err != nil {
			return err
		}
	}
	began := time.Now()
	d := daemon{name: "ovsdb-server", log: o.log, args: []string{
		o.cfg.database(), "--remote=punix:" + o.cfg.ownSocket(),
		"--unixctl=" + filepath.Join(o.cfg.RunDir, "ovsdb-server.ctl"),
		"-vconsole:warn", "-vsyslog:off", "-vfile:off",
	}}
	up := o.dbChannel()
	watch, stop := context.WithCancel(ctx)
	defer stop()
	var listening sync.WaitGroup
	defer listening.Wait()
	defer stop()
	err := d.run(ctx, o.tools, func(pid int) {
		o.mu.Lock()
		o.dbPID = pid
		o.mu.Unlock()
		listening.Go(func() {
			if awaitSocket(watch, o.cfg.ownSocket()) == nil {
				close(up)
			}
		})
	})
	stop()
	listening.Wait()
	o.mu.Lock()
	o.dbPID, o.dbUp = 0, make(chan struct{})
	o.checked = time.Since(began) > time.Second
	o.mu.Unlock()
	return err
}

func (o *own) isChecked() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.checked
}

func (o *own) dbChannel() chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.dbUp
}

func (o *own) runSwitch(ctx context.Context) error {
	select {
	case <-o.dbChannel():
	case <-ctx.Done():
		return nil
	}
	version, err := o.tools.version(ctx)
	if err != nil {
		return err
	}
	args := []string{
		commandSeconds, "--db=unix:" + o.cfg.ownSocket(), "--no-wait", "--", "init", "--",
		"set", "Open_vSwitch", ".", "external_ids:" + ownerKey + "=" + ownerName, "ovs_version=" + version,
	}
	if o.datapath == DatapathUserspace {
		// Takes effect only when set before ovs-vswitchd starts.
		args = append(args, "other_config:userspace-tso-enable=true")
	}
	if _, err := o.tools.run(ctx, nil, "ovs-vsctl", args...); err != nil {
		return err
	}
	d := daemon{name: "ovs-vswitchd", log: o.log, args: []string{
		"unix:" + o.cfg.ownSocket(), "--unixctl=" + filepath.Join(o.cfg.RunDir, "ovs-vswitchd.ctl"),
		"-vconsole:warn", "-vsyslog:off", "-vfile:off",
	}}
	err = d.run(ctx, o.tools, func(pid int) {
		o.mu.Lock()
		o.switchPID = pid
		o.mu.Unlock()
	})
	o.mu.Lock()
	o.switchPID = 0
	o.mu.Unlock()
	return err
}

// ensureDatabase makes the database, or makes it anew when it is damaged or of
// another version. Nothing that matters is lost with it: ports and bridge are
// put back from what is wanted, endpoints are known by their links.
func (o *own) ensureDatabase(ctx context.Context) error {
	path := o.cfg.database()
	if _, err := os.Stat(path); err == nil {
		cause := o.checkDatabase(ctx)
		if cause == nil {
			return nil
		}
		aside := path + ".unusable"
		o.log.WarnContext(ctx, "our Open vSwitch's database can't be used and is made anew; ports and flows are put back, only their statistics are lost",
			"name", path, "kept_as", aside, "error", cause)
		if err := os.Rename(path, aside); err != nil {
			return fmt.Errorf("set the unusable database aside: %w", err)
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("our Open vSwitch's database: %w", err)
	}
	if _, err := o.tools.run(ctx, nil, "ovsdb-tool", "create", path, o.tools.schema()); err != nil {
		return fmt.Errorf("make our Open vSwitch's database: %w", err)
	}
	return nil
}

// checkDatabase is whether the database can be read and has our schema.
func (o *own) checkDatabase(ctx context.Context) error {
	out, err := o.tools.run(ctx, nil, "ovsdb-tool", "needs-conversion", o.cfg.database(), o.tools.schema())
	if err != nil {
		return err
	}
	if answer := strings.TrimSpace(string(out)); answer != "no" {
		return fmt.Errorf("it is of another version of Open vSwitch (needs conversion: %s)", answer)
	}
	_, err = o.tools.run(ctx, nil, "ovsdb-tool", "query", o.cfg.database(), `["Open_vSwitch",{"op":"select","table":"Open_vSwitch","where":[]}]`)
	return err
}

// awaitSocket waits until a socket takes connections.
func awaitSocket(ctx context.Context, path string) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if answers(ctx, path) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// answers is whether somebody listens on a socket.
func answers(ctx context.Context, path string) bool {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// ensureTun makes the node of the tun device: a plugin's /dev lacks it, and a
// device in its configuration that the host lacks would keep the engine from
// starting.
func ensureTun(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	if err := unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(10, 200))); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make %s, which Open vSwitch needs without the kernel's datapath: %w", path, err)
	}
	return nil
}
