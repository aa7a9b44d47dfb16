package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dockstack/dockstack/internal/engine"
)

// Paths on the host.
const (
	engineSocket = "/run/docker.sock"
	adminSocket  = "/run/dockstack/admin.sock"
	statusFile   = "/run/dockstack/status"
	stateFile    = "/var/lib/dockstack/dockstack.db"
)

// silent is how old the daemon's status may be: it writes one every 10 s.
const silent = 40 * time.Second

// Local looks at the host it runs on, without a daemon's help: why is there none
// to ask? It wants root, or the docker group for the most of it.
func Local(ctx context.Context) []Finding { return localHost{patience: askEngine}.look(ctx) }

// localHost is a host as the command sees it.
type localHost struct {
	// root is "" but in tests.
	root string
	// patience is how long the engine may take.
	patience time.Duration
	// held tells who holds a file's lock, and processes which run; nil asks /proc.
	held      func(path string) ([]process, error)
	processes func(name string) ([]process, error)
}

// process is one of the host's.
type process struct {
	pid           int
	name, command string
}

func (p process) String() string { return fmt.Sprintf("process %d (%s)", p.pid, p.name) }

func (l localHost) path(p string) string { return filepath.Join(l.root, p) }

func (l localHost) look(ctx context.Context) []Finding {
	if l.held == nil {
		l.held, l.processes = holders, running
	}
	var out []Finding
	add := func(all ...Finding) {
		for _, f := range all {
			f = complete(f)
			f.Fix = false // there is nobody to do it
			if slices.ContainsFunc(out, func(o Finding) bool { return o.ID == f.ID && o.Subject == f.Subject }) {
				continue
			}
			out = append(out, f)
		}
	}
	v, found := l.engine(ctx)
	add(found...)
	ours := ourPlugins(v.Plugins)
	enabled := slices.ContainsFunc(ours, func(p engine.ViewPlugin) bool { return p.Enabled })
	if len(found) == 0 {
		add(engineFindings(v, readOS(l.path("/etc/os-release")))...)
		add(l.plugins(ours)...)
	}
	if enabled || len(found) > 0 {
		add(l.daemon(ctx, pluginName(v.Plugins))...)
	}
	add(l.status(enabled, pluginName(v.Plugins))...)
	add(l.state(ours, enabled, len(found) == 0)...)
	if !enabled && len(found) == 0 {
		add(l.leftovers()...)
	}
	for _, k := range Kinds {
		if k.Local && k.Fine != "" && !slices.ContainsFunc(out, func(f Finding) bool { return f.ID == k.ID || f.ID == Blind && f.Subject == k.ID }) {
			out = append(out, Finding{ID: k.ID, Severity: OK, What: k.Fine})
		}
	}
	return inOrder(out)
}

// engine asks the engine; what keeps it from answering is a finding.
func (l localHost) engine(ctx context.Context) (engine.View, []Finding) {
	path := l.path(engineSocket)
	switch _, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return engine.View{}, []Finding{{ID: "engine-socket", What: engineSocket + " is not there: the engine does not run", Command: "systemctl start docker"}}
	case err != nil:
		return engine.View{}, []Finding{{ID: Blind, Subject: "engine-socket", What: err.Error()}}
	}
	ctx, cancel := context.WithTimeout(ctx, l.patience)
	defer cancel()
	if err := dial(ctx, path); err != nil {
		f := Finding{ID: "engine-socket", What: fmt.Sprintf("%s does not take connections: %v", engineSocket, err), Command: "systemctl restart docker"}
		if errors.Is(err, fs.ErrPermission) {
			f.What, f.Command = "you may not ask the engine", "sudo dockstack doctor   # or join the group docker: sudo usermod -aG docker $USER, and log in anew"
		}
		return engine.View{}, []Finding{f}
	}
	v, err := engine.Look(ctx, path)
	if err != nil {
		return v, []Finding{{
			ID: "engine-socket", What: fmt.Sprintf("the engine does not answer: %v", err),
			Why: "while it starts it takes connections and answers only when all is up; a plugin that hangs holds that up", Command: "journalctl -u docker -n 50",
		}}
	}
	return v, nil
}

func dial(ctx context.Context, path string) error {
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return err
	}
	return c.Close()
}

// answers is whether somebody answers on a socket, whatever it says.
func (l localHost) answers(ctx context.Context, socket string) bool {
	ctx, cancel := context.WithTimeout(ctx, l.patience)
	defer cancel()
	t := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", l.path(socket))
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://dockstack/v1/version", nil)
	if err != nil {
		return false
	}
	resp, err := t.RoundTrip(req)
	if err != nil {
		return ctx.Err() == nil // it hung up, as one that has too much to do
	}
	return resp.Body.Close() == nil
}

// plugins looks whether ours is there and on.
func (l localHost) plugins(ours []engine.ViewPlugin) []Finding {
	if len(ours) == 0 {
		return []Finding{{
			ID: "plugin-missing", What: "the plugin is not installed",
			Command: "docker plugin install --alias " + defaultPlugin + " REGISTRY/" + defaultPlugin + ":VERSION",
		}}
	}
	var out []Finding
	if !slices.ContainsFunc(ours, func(p engine.ViewPlugin) bool { return p.Enabled }) {
		name := pluginName(ours)
		out = append(out, Finding{ID: "plugin-off", Subject: name, What: fmt.Sprintf("the plugin %s is installed, and not enabled", name), Command: "docker plugin enable " + name})
	}
	for _, p := range ours {
		for _, m := range p.Mounts {
			if _, err := os.Stat(l.path(m)); !errors.Is(err, fs.ErrNotExist) {
				continue
			}
			out = append(out, Finding{
				ID: "plugin-mount", Subject: m, What: fmt.Sprintf("the plugin %s mounts %s, which is not there", p.Name, m),
				Command: "mkdir -p " + quote(m) + "   # or mount what belongs there",
			})
		}
	}
	return out
}

// daemon looks whether the daemon listens for operators.
func (l localHost) daemon(ctx context.Context, plugin string) []Finding {
	again := "docker plugin disable -f " + plugin + " && docker plugin enable " + plugin
	err := dial(ctx, l.path(adminSocket))
	f := Finding{ID: "daemon-socket", Command: again}
	switch {
	case err == nil && l.answers(ctx, adminSocket):
		return nil
	case err == nil:
		f.ID, f.What = "daemon-silent", "the daemon takes connections on "+adminSocket+" and does not answer: it hangs, or was stopped"
	case errors.Is(err, fs.ErrPermission):
		f.What = "you may not ask the daemon: " + adminSocket + " is for root and the group docker"
		f.Command = "sudo dockstack doctor   # or join the group docker: sudo usermod -aG docker $USER, and log in anew"
	case errors.Is(err, fs.ErrNotExist):
		f.What = adminSocket + " is not there: the daemon does not run, or could not make it"
	default:
		f.What = fmt.Sprintf("the daemon does not take connections on %s: %v", adminSocket, err)
	}
	return []Finding{f}
}

// status reads what the daemon wrote last.
func (l localHost) status(enabled bool, plugin string) []Finding {
	text, err := os.ReadFile(l.path(statusFile))
	if err != nil {
		return nil // whether it runs, others say
	}
	info, err := os.Stat(l.path(statusFile))
	if err != nil || !enabled {
		return nil
	}
	var out []Finding
	if age := time.Since(info.ModTime()); age > silent {
		out = append(out, Finding{
			ID: "daemon-silent", What: fmt.Sprintf("the daemon has not written its status for %s", age.Round(time.Second)), Command: "journalctl -u docker -n 50 | grep plugin=",
		})
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if _, why, ok := strings.Cut(line, "NOT USED: "); ok {
			out = append(out, Finding{ID: "daemon-problem", Subject: why, What: "the store is not used: " + why, Command: cmp.Or(mendSetting(why, plugin), "cat "+statusFile)})
		}
		if _, why, ok := strings.Cut(line, "NOT UP: "); ok {
			out = append(out, Finding{ID: "daemon-problem", Subject: why, What: "the switch is not up: " + why, Command: "cat " + statusFile})
		}
	}
	return out
}

// state looks at the store's file and its disk. Where the engine was not asked,
// the process that has the store may well be the plugin, at work.
func (l localHost) state(ours []engine.ViewPlugin, enabled, asked bool) []Finding {
	var out []Finding
	dir := filepath.Dir(stateFile)
	if _, err := os.Stat(l.path(dir)); errors.Is(err, fs.ErrNotExist) {
		if len(ours) > 0 && enabled {
			out = append(out, Finding{ID: "state-missing", What: dir + " is not there, though the plugin is on: its store is elsewhere", Command: "docker plugin inspect -f '{{json .Settings.Mounts}}' " + pluginName(ours)})
		}
		return out
	}
	if f, err := room(l.path(dir), dir); err != nil {
		out = append(out, Finding{ID: Blind, Subject: "disk-full", What: err.Error()})
	} else if f != nil {
		out = append(out, *f)
	}
	if text, err := tooOpen(l.path(stateFile), stateFile); err == nil && text != "" {
		out = append(out, Finding{ID: "store-mode", Subject: stateFile, What: text, Command: "chmod 600 " + stateFile})
	}
	if text, err := writable(l.path(dir), dir); err == nil && text != "" {
		out = append(out, Finding{ID: "store-mode", Subject: dir, What: text, Command: "chmod go-w " + dir})
	}
	who, err := l.held(l.path(stateFile))
	if err != nil {
		return append(out, Finding{ID: Blind, Subject: "store-locked", What: err.Error()})
	}
	if len(who) > 0 && asked && !enabled {
		out = append(out, Finding{
			ID: "store-locked", Subject: fmt.Sprint(who[0].pid), What: fmt.Sprintf("%s has the store open, though the plugin is off", who[0]), Command: fmt.Sprintf("kill %d", who[0].pid),
		})
	}
	return out
}

// leftovers looks for our own switch, which ends with the plugin.
func (l localHost) leftovers() []Finding {
	var out []Finding
	for _, name := range []string{"ovs-vswitchd", "ovsdb-server"} {
		all, err := l.processes(name)
		if err != nil {
			return append(out, Finding{ID: Blind, Subject: "switch-left", What: err.Error()})
		}
		for _, p := range all {
			if strings.Contains(p.command, "/dockstack/ovs/") {
				out = append(out, Finding{ID: "switch-left", Subject: fmt.Sprint(p.pid), What: fmt.Sprintf("%s is dockstack's, and goes on without the plugin", p), Command: fmt.Sprintf("kill %d", p.pid)})
			}
		}
	}
	return out
}

var localKinds = []Kind{
	{ID: "engine-socket", Severity: Error, Local: true, Fine: "the engine answers", Means: "without the engine nothing runs, dockstack neither", Mend: "start the engine"},
	{ID: "plugin-missing", Severity: Error, Local: true, Fine: "the plugin is installed", Means: "networks of dockstack don't work", Mend: "install it"},
	{ID: "plugin-off", Severity: Error, Local: true, Fine: "the plugin is enabled", Means: "no container can start on networks of dockstack; those that run go on, in userspace without a network", Mend: "enable it"},
	{
		ID: "plugin-mount", Severity: Error, Local: true, Fine: "what the plugin mounts is there",
		Means: "after a reboot the engine can't make the plugin, and an engine that can't make an enabled network plugin does not start at all", Mend: "make the directory, or set the mount's source to where it is",
	},
	{ID: "daemon-socket", Severity: Error, Local: true, Fine: "the daemon listens for operators", Means: "the command can't ask the daemon", Mend: "restart the plugin; its log says more"},
	{ID: "daemon-silent", Severity: Error, Local: true, Fine: "the daemon is alive", Means: "the plugin is on, but its daemon hangs or is stopped again and again", Mend: "look at its log, restart the plugin"},
	{ID: "daemon-problem", Severity: Error, Local: true, Means: "the daemon runs, and this keeps it from serving", Mend: "as the finding says"},
	{ID: "state-missing", Severity: Warning, Local: true, Means: "a backup of this directory would have no leases", Mend: "look where the plugin's mount `state` is from"},
	{ID: "store-locked", Severity: Error, Local: true, Fine: "nobody else has the store", Means: "the plugin can't open its store as long as another process has it", Mend: "end that process"},
	{ID: "switch-left", Severity: Warning, Local: true, Fine: "nothing is left of an earlier run", Means: "it was to end with the plugin; the next start begins its own", Mend: "end that process"},
}
