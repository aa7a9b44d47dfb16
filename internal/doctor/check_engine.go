package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dockstack/dockstack/internal/engine"
)

var engineChecks = []check{
	{ids: []string{"engine-away"}, twice: true, run: (*exam).engineAnswers},
	{ids: []string{"engine-old", "engine-rootless", "plugin-twice"}, run: (*exam).engineIs},
	{ids: []string{"engine-settings"}, run: (*exam).engineSettings},
}

const (
	// askEngine is how long the engine may take: while it starts or stops it
	// takes connections and doesn't answer.
	askEngine = 5 * time.Second
	// defaultPlugin is what the plugin is called where nobody says otherwise.
	defaultPlugin = "dockstack-plugin"
	// pluginSocket is the name of the socket that our plugin serves.
	pluginSocket = "dockstack.sock"
	daemonJSON   = "/etc/docker/daemon.json"
)

// engineSeen is what the engine said in this look.
type engineSeen struct {
	view engine.View
	err  error
	// frozen: it took the question, and gave no answer.
	frozen bool
}

// ask returns what the engine says; it's asked once a look.
func (x *exam) ask(ctx context.Context) (engine.View, error) {
	if x.eng == nil {
		ctx, cancel := context.WithTimeout(ctx, askEngine)
		defer cancel()
		x.eng = &engineSeen{}
		x.eng.view, x.eng.err = x.Engine.Look(ctx)
		x.eng.frozen = errors.Is(x.eng.err, context.DeadlineExceeded)
	}
	return x.eng.view, x.eng.err
}

// plugin is what our plugin is called.
func (x *exam) plugin() string {
	if x.eng == nil {
		return defaultPlugin
	}
	return pluginName(x.eng.view.Plugins)
}

func pluginName(all []engine.ViewPlugin) string {
	ours := ourPlugins(all)
	i := max(slices.IndexFunc(ours, func(p engine.ViewPlugin) bool { return p.Enabled }), 0)
	if len(ours) == 0 {
		return defaultPlugin
	}
	return quote(strings.TrimSuffix(ours[i].Name, ":latest"))
}

func ourPlugins(all []engine.ViewPlugin) []engine.ViewPlugin {
	return slices.DeleteFunc(slices.Clone(all), func(p engine.ViewPlugin) bool { return p.Socket != pluginSocket })
}

// network is what people call a network.
func (x *exam) network(id string) string {
	if x.eng != nil {
		for _, n := range x.eng.view.Networks {
			if n.ID == id {
				return n.Name
			}
		}
	}
	return fmt.Sprintf("%.12s", id)
}

func (x *exam) engineAnswers(ctx context.Context) error {
	if _, err := x.ask(ctx); err != nil {
		f := Finding{ID: "engine-away", What: fmt.Sprintf("the engine does not answer: %v", err), Command: "systemctl start docker"}
		if x.eng.frozen {
			f.Severity, f.Command = Error, "journalctl -u docker -n 50"
			f.Why = "it takes connections and says nothing: no container can be started or stopped, and containers could not be compared"
		}
		x.add(f)
	}
	return nil
}

func (x *exam) engineIs(ctx context.Context) error {
	v, err := x.ask(ctx)
	if err != nil {
		return err
	}
	for _, f := range engineFindings(v, readOS(x.path("/etc/os-release"))) {
		x.add(f)
	}
	return nil
}

// engineFindings are what is wrong with the engine itself.
func engineFindings(v engine.View, os string) []Finding {
	var out []Finding
	switch {
	case !atLeast(v.Version, 29, 0, 3):
		out = append(out, Finding{ID: "engine-old", What: fmt.Sprintf("the engine is %s; dockstack needs 29.0.3 or newer", v.Version), Command: upgradeEngine(os)})
	case !atLeast(v.Version, 29, 0, 4):
		out = append(out, Finding{
			ID: "engine-old", Severity: Warning, What: fmt.Sprintf("the engine is %s; 29.0.4 or newer is better", v.Version),
			Why: "`--ip` and `ipv4_address` need a network that was made with `--subnet` in this version", Command: upgradeEngine(os),
		})
	}
	if v.Rootless {
		out = append(out, Finding{ID: "engine-rootless", What: "the engine is rootless", Command: "systemctl enable --now docker && docker context use default"})
	}
	if ours := ourPlugins(v.Plugins); len(ours) > 1 {
		keep, _ := strings.CutPrefix(pluginName(v.Plugins), "'")
		for _, p := range ours {
			name := strings.TrimSuffix(p.Name, ":latest")
			if name == keep {
				continue
			}
			out = append(out, Finding{
				ID: "plugin-twice", Subject: name, What: fmt.Sprintf("the plugin is installed twice, as %s and %s", keep, name),
				Command: fmt.Sprintf("docker plugin disable -f %[1]s; docker plugin rm %[1]s", quote(name)),
			})
		}
	}
	return out
}

// atLeast compares an engine's version. One that can't be read, as of a build
// from source, is new enough.
func atLeast(version string, want ...int) bool {
	version, _, _ = strings.Cut(version, "-")
	version, _, _ = strings.Cut(version, "+")
	for i, part := range strings.Split(version, ".") {
		n, err := strconv.Atoi(part)
		if err != nil || i >= len(want) || n > want[i] {
			return true
		}
		if n < want[i] {
			return false
		}
	}
	return true
}

// readOS is the ID of the host's distribution, and those that it's like.
func readOS(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	var out []string
	for line := range strings.Lines(string(text)) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		if k == "ID" || k == "ID_LIKE" {
			out = append(out, strings.Trim(v, `"'`))
		}
	}
	return strings.Join(out, " ")
}

func upgradeEngine(os string) string {
	for _, known := range []struct{ like, command string }{
		{"debian", "apt-get update && apt-get install --only-upgrade docker-ce docker-ce-cli containerd.io"},
		{"fedora", "dnf upgrade docker-ce docker-ce-cli containerd.io"},
		{"rhel", "dnf upgrade docker-ce docker-ce-cli containerd.io"},
		{"suse", "zypper update docker"},
		{"alpine", "apk upgrade docker"},
		{"arch", "pacman -Syu docker"},
	} {
		if strings.Contains(os, known.like) {
			return known.command
		}
	}
	return "apt-get update && apt-get install --only-upgrade docker-ce docker-ce-cli containerd.io"
}

// engineFile is what of daemon.json matters here.
type engineFile struct {
	DNS       []string `json:"dns"`
	IPTables  *bool    `json:"iptables"`
	IPForward *bool    `json:"ip-forward"`
}

// readEngineFile reads the engine's settings; without a file there are none.
func readEngineFile(path string) (engineFile, error) {
	var f engineFile
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return f, err
	}
	if err := json.Unmarshal(text, &f); err != nil {
		return f, fmt.Errorf("%s is not what the engine could read: %w", daemonJSON, err)
	}
	return f, nil
}

func (x *exam) engineSettings(context.Context) error {
	f, err := readEngineFile(x.path(daemonJSON))
	if err != nil {
		return err
	}
	for _, text := range f.DNS {
		if a, err := netip.ParseAddr(text); err == nil && a.IsLoopback() {
			x.add(Finding{
				ID: "engine-settings", Subject: "dns", Severity: Error, What: fmt.Sprintf("%s names the resolver %s, which is each container's own", daemonJSON, a),
				Why:     "containers ask it from inside, where nobody answers: no name outside their network resolves",
				Command: removeFromEngineFile("dns"),
			})
		}
	}
	off := func(key, what string, v *bool) {
		if v != nil && !*v {
			x.add(Finding{
				ID: "engine-settings", Subject: key, What: fmt.Sprintf("%s has %q off", daemonJSON, key), Why: what, Command: removeFromEngineFile(key),
			})
		}
	}
	off("iptables", "containers don't reach the outside, and published ports don't work without the engine's own rules", f.IPTables)
	off("ip-forward", "containers don't reach the outside unless something else turns forwarding on", f.IPForward)
	return nil
}

// removeFromEngineFile takes a setting away. The engine has to be restarted,
// which stops containers.
func removeFromEngineFile(key string) string {
	return fmt.Sprintf(`cp %[1]s %[1]s.before && jq 'del(.["%[2]s"])' %[1]s.before > %[1]s && systemctl restart docker`, daemonJSON, key)
}
