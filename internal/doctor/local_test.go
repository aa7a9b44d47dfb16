package doctor

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// desk is a host as the command finds it, in a folder.
type desk struct {
	*testing.T
	root    string
	plugins string
	version string
	held    []process
	runs    map[string][]process
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	root, err := os.MkdirTemp("", "dsdr") //nolint:usetesting // a socket's path has 107 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	d := &desk{T: t, root: root, version: "29.0.4", plugins: `[{"Name":"dockstack-plugin:latest","Enabled":true,"Config":{"Interface":{"Socket":"dockstack.sock"}},"Settings":{"Mounts":[{"Source":"/run"},{"Source":"/var/lib"}]}}]`}
	d.file(stateFile, "x")
	d.file(statusFile, "dockstack 1.0\n\nstore      /var/lib/dockstack/dockstack.db, this host alone\n")
	return d
}

func (d *desk) file(path, text string) {
	d.Helper()
	path = filepath.Join(d.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		d.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		d.Fatal(err)
	}
}

// listen serves a socket; nil: it takes connections and answers nothing.
func (d *desk) listen(path string, h http.Handler) {
	d.Helper()
	d.file(path, "")
	_ = os.Remove(filepath.Join(d.root, path))
	l, err := (&net.ListenConfig{}).Listen(d.Context(), "unix", filepath.Join(d.root, path))
	if err != nil {
		d.Fatal(err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	if h != nil {
		go func() { _ = srv.Serve(l) }()
	}
	d.Cleanup(func() { _ = srv.Close(); _ = l.Close() })
}

// engine answers what is asked of it here.
func (d *desk) engine() {
	d.listen(engineSocket, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.52")
		w.Header().Set("Content-Type", "application/json")
		switch path := r.URL.Path; {
		case strings.HasSuffix(path, "/info"):
			_, _ = fmt.Fprintf(w, `{"ServerVersion":%q}`, d.version)
		case strings.HasSuffix(path, "/plugins"):
			_, _ = fmt.Fprint(w, d.plugins)
		default:
			_, _ = fmt.Fprint(w, "[]")
		}
	}))
}

func (d *desk) look() []Finding {
	d.Helper()
	l := localHost{
		root: d.root, patience: time.Second, held: func(string) ([]process, error) { return d.held, nil },
		processes: func(name string) ([]process, error) { return d.runs[name], nil },
	}
	return l.look(d.Context())
}

func TestLocal(t *testing.T) {
	off := strings.Replace(newDesk(t).plugins, "true", "false", 1)
	for name, c := range map[string]struct {
		spoil             func(*desk)
		id, says, command string
	}{
		"all is well": {spoil: func(*desk) {}},
		"no engine":   {func(d *desk) { _ = os.Remove(filepath.Join(d.root, engineSocket)) }, "engine-socket", "does not run", "systemctl start docker"},
		"a dead engine": {func(d *desk) {
			_ = os.Remove(filepath.Join(d.root, engineSocket))
			d.deadSocket(engineSocket)
		}, "engine-socket", "connection refused", "systemctl restart docker"},
		// What has the store then may be the plugin, at work: no word of killing it.
		"a dead engine, a live plugin": {func(d *desk) {
			_ = os.Remove(filepath.Join(d.root, engineSocket))
			d.held = []process{{pid: 77, name: "dockstack"}}
		}, "engine-socket", "does not run", "systemctl start docker"},
		"a silent engine": {func(d *desk) {
			_ = os.Remove(filepath.Join(d.root, engineSocket))
			d.listen(engineSocket, nil)
		}, "engine-socket", "does not answer", "journalctl -u docker"},
		"an old engine": {func(d *desk) { d.version = "28.1.0" }, "engine-old", "28.1.0", "docker-ce"},
		"no plugin":     {func(d *desk) { d.plugins = "[]" }, "plugin-missing", "not installed", "docker plugin install --alias dockstack-plugin"},
		"plugin off":    {func(d *desk) { d.plugins = off }, "plugin-off", "dockstack-plugin is installed", "docker plugin enable dockstack-plugin"},
		"plugin twice": {func(d *desk) {
			d.plugins = d.plugins[:len(d.plugins)-1] + `,{"Name":"x/ds:1","Config":{"Interface":{"Socket":"dockstack.sock"}}}]`
		}, "plugin-twice", "x/ds:1", "docker plugin rm x/ds:1"},
		"a mount gone":  {func(d *desk) { d.plugins = strings.Replace(d.plugins, `"/run"`, `"/srv/gone"`, 1) }, "plugin-mount", "/srv/gone", "mkdir -p /srv/gone"},
		"no daemon":     {func(d *desk) { _ = os.Remove(filepath.Join(d.root, adminSocket)) }, "daemon-socket", "is not there", "docker plugin disable -f dockstack-plugin && docker plugin enable dockstack-plugin"},
		"a dead daemon": {func(d *desk) { _ = os.Remove(filepath.Join(d.root, adminSocket)); d.deadSocket(adminSocket) }, "daemon-socket", "refused", "docker plugin disable"},
		"a stopped one": {func(d *desk) { _ = os.Remove(filepath.Join(d.root, adminSocket)); d.listen(adminSocket, nil) }, "daemon-silent", "does not answer", "docker plugin disable -f"},
		"a silent one": {func(d *desk) {
			past := time.Now().Add(-time.Hour)
			_ = os.Chtimes(filepath.Join(d.root, statusFile), past, past)
		}, "daemon-silent", "1h0m0s", "journalctl"},
		"its store":       {func(d *desk) { d.file(statusFile, "store      x\n           NOT USED: store is damaged\n") }, "daemon-problem", "store is damaged", "cat /run/dockstack/status"},
		"its switch":      {func(d *desk) { d.file(statusFile, "switch     NOT UP: no Open vSwitch\n") }, "daemon-problem", "no Open vSwitch", "cat /run/dockstack/status"},
		"store elsewhere": {func(d *desk) { _ = os.RemoveAll(filepath.Join(d.root, filepath.Dir(stateFile))) }, "state-missing", "/var/lib/dockstack is not there", "docker plugin inspect"},
		"store readable":  {func(d *desk) { _ = os.Chmod(filepath.Join(d.root, stateFile), 0o666) }, "store-mode", "0666", "chmod 600 /var/lib/dockstack/dockstack.db"},
		"a setting": {func(d *desk) {
			d.file(statusFile, "store      x\n           NOT USED: setting DOCKSTACK_ETCD=\"x y\": want URLs\n")
		}, "daemon-problem", "want URLs", "docker plugin set dockstack-plugin DOCKSTACK_ETCD=VALUE && docker plugin enable"},
		"its folder open": {func(d *desk) { _ = os.Chmod(filepath.Join(d.root, filepath.Dir(stateFile)), 0o777) }, "store-mode", "0777", "chmod go-w /var/lib/dockstack"},
		"store held":      {func(d *desk) { d.plugins = off; d.held = []process{{pid: 77, name: "dockstack"}} }, "store-locked", "process 77 (dockstack)", "kill 77"},
		"a switch left": {func(d *desk) {
			d.plugins = off
			d.runs = map[string][]process{"ovs-vswitchd": {{pid: 78, name: "ovs-vswitchd", command: "ovs-vswitchd unix:/host/run/dockstack/ovs/db.sock"}, {pid: 79, name: "ovs-vswitchd", command: "ovs-vswitchd unix:/run/openvswitch/db.sock"}}}
		}, "switch-left", "process 78", "kill 78"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.engine()
			d.listen(adminSocket, http.NotFoundHandler())
			c.spoil(d)
			found := d.look()
			f := bad(found)
			for _, o := range found {
				shell(t, o.Command)
				if o.Fix {
					t.Errorf("nobody can fix this without the daemon: %+v", o)
				}
			}
			if c.id == "" {
				if len(f) > 0 || len(found) < 8 {
					t.Errorf("found %+v", found)
				}
				return
			}
			i := slices.IndexFunc(f, func(f Finding) bool { return f.ID == c.id })
			if i < 0 || !strings.Contains(f[i].What, c.says) || !strings.Contains(f[i].Command, c.command) || f[i].Why == "" {
				t.Errorf("found %+v", f)
			}
			for _, o := range f {
				if o.ID != c.id && o.Severity == Error && o.ID != "plugin-off" && o.ID != "plugin-missing" {
					t.Errorf("also found %+v", o)
				}
			}
		})
	}
}

// deadSocket is what a killed process leaves.
func (d *desk) deadSocket(path string) {
	d.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		d.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: filepath.Join(d.root, path)}); err != nil {
		d.Fatal(err)
	}
	_ = unix.Close(fd)
}

// Somebody who is neither root nor in the group is told so.
func TestLocalAsNobody(t *testing.T) {
	if os.Getenv("DOCKSTACK_TEST_ROOT") != "" {
		for _, f := range (localHost{root: os.Getenv("DOCKSTACK_TEST_ROOT"), patience: time.Second}).look(t.Context()) {
			fmt.Println("FOUND", f.ID, f.What, "|", f.Command)
		}
		return
	}
	d := newDesk(t)
	d.engine()
	if err := errors.Join(os.Chmod(d.root, 0o755), os.Chmod(filepath.Join(d.root, engineSocket), 0o600)); err != nil {
		t.Fatal(err)
	}
	// A copy: nobody may not enter the folder that go test has its own in.
	self := filepath.Join(d.root, "self")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	body, err := os.ReadFile(exe)
	if err == nil {
		err = os.WriteFile(self, body, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestLocalAsNobody$", "-test.v")
	cmd.Env, cmd.Dir = append(os.Environ(), "DOCKSTACK_TEST_ROOT="+d.root), d.root
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "FOUND engine-socket you may not ask the engine | sudo dockstack doctor") {
		t.Errorf("%v: %s", err, out)
	}
}

// The kernel's own list tells who has a file locked, without a try.
func TestHolders(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if who, err := holders(path); err != nil || len(who) > 0 {
		t.Errorf("nobody holds it, but: %v, %v", who, err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	who, err := holders(path)
	if err != nil || len(who) != 1 || who[0].pid != os.Getpid() || who[0].name == "" {
		t.Errorf("got %+v, %v; this is process %d", who, err, os.Getpid())
	}
	if who, err := holders(path + ".not"); err != nil || len(who) > 0 {
		t.Errorf("of no file: %v, %v", who, err)
	}
	if pid, ok := parseLock("2: -> FLOCK  ADVISORY  WRITE 7 fd:01:5 0 EOF", 5); ok {
		t.Errorf("one who waits counts as holder: %d", pid)
	}
	mine, err := running(who0(t))
	if err != nil || !slices.ContainsFunc(mine, func(p process) bool { return p.pid == os.Getpid() }) {
		t.Errorf("this process is not among %+v, %v", mine, err)
	}
}

func who0(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(procDir, strconv.Itoa(os.Getpid()), "comm"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}
