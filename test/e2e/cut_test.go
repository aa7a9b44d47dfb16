package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// cutText is why a container does not start whose call was cut off together with
// another, or before the plugin had noted it.
const cutText = "failed to set up container networking: remote: dockstack: the engine repeated a call without its content"

// startThrough starts containers while the plugin is killed again and again. The
// command may then tell of calls that were cut off, and of nothing else; those that
// restart always are to be up all the same.
func (h *host) startThrough(names []string) {
	h.t.Helper()
	_, err := h.try(append([]string{"start"}, names...)...)
	if err == nil {
		return
	}
	_, said, _ := strings.Cut(err.Error(), "exit status 1: ")
	for line := range strings.Lines(said) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "failed to start containers: ") && !strings.Contains(line, cutText) {
			h.t.Errorf("docker start says %q: %v", line, err)
		}
	}
	if !strings.Contains(said, cutText) {
		h.t.Error(err)
	}
	h.t.Log(said)
}

// away are containers whose starts are to fail for want of the plugin.
type away struct {
	*host
	// kept are to come back; loose has no restart policy, and shy declines.
	kept       []string
	loose, shy string
	before     picture
}

// newAway makes each on a network of its own, since the engine asks for one address
// of a network at a time. All run.
func newAway(h *host) *away {
	h.t.Helper()
	a := &away{host: h, loose: "loose", shy: "shy"}
	for i := range 4 {
		a.kept = append(a.kept, fmt.Sprint("kept-", i))
	}
	for i, name := range a.all() {
		network := fmt.Sprint("away-", i)
		h.create(network, "--subnet", fmt.Sprintf("172.30.%d.0/24", 100+i))
		args := []string{"--restart", "always"}
		switch name {
		case a.loose:
			args = nil
		case a.shy:
			args = append(args, "--label", "dockstack.heal=off")
		}
		h.run(name, network, args...)
	}
	a.before = a.addresses()
	return a
}

func (a *away) in(t *testing.T) *away {
	t.Helper()
	other := *a
	other.host = a.host.in(t)
	return &other
}

func (a *away) all() []string { return append(slices.Clone(a.kept), a.loose, a.shy) }

// addresses are those of all.
func (a *away) addresses() picture {
	a.t.Helper()
	var networks []string
	for i := range a.all() {
		networks = append(networks, fmt.Sprint("away-", i))
	}
	return a.picture(networks...)
}

// failing starts all at once, has do happen, and returns why each did not start.
func (a *away) failing(do func()) map[string]string {
	a.t.Helper()
	out := map[string]string{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, name := range a.all() {
		wg.Go(func() {
			_, err := a.try("start", name)
			mu.Lock()
			defer mu.Unlock()
			out[name] = fmt.Sprint(err)
		})
	}
	do()
	wg.Wait()
	return out
}

// back waits until those that are to come back did, with what they had, and then
// until all is told of those that did not.
func (a *away) back() {
	a.t.Helper()
	began := time.Now()
	a.eventually(time.Minute, func() string {
		left := a.down()
		left = slices.DeleteFunc(left, func(c string) bool { return !strings.HasPrefix(c, "kept-") })
		return strings.Join(left, ", ")
	})
	a.t.Logf("up after %.1f s", time.Since(began).Seconds())
	want := maps.Clone(a.before)
	maps.DeleteFunc(want, func(key string, _ attachment) bool { return !strings.HasPrefix(key, "kept-") })
	for _, c := range want.Changed(a.addresses()) {
		a.t.Error(c)
	}
	a.eventually(time.Minute, func() string {
		var found []string
		for _, f := range a.doctor() {
			if f.ID == "start-failed" {
				found = append(found, f.Subject)
			}
		}
		if !slices.Equal(found, []string{a.shy}) {
			return fmt.Sprintf("the doctor finds %v down, want %s", found, a.shy)
		}
		return ""
	})
	for _, c := range []string{a.loose, a.shy} {
		if a.docker("inspect", "-f", "{{.State.Running}}", c) == "true" {
			a.t.Errorf("%s was started", c)
		}
	}
}

// TestStartsCutOff has starts fail because the plugin was killed in the middle of
// them, or away. No restart policy makes up for that, and nobody here does: dockstack
// is to.
func TestStartsCutOff(t *testing.T) {
	h := newHost(t)
	a := newAway(h)
	steps := []struct {
		what string
		do   func(a *away)
	}{
		{"plugin killed with calls in it", func(a *away) {
			a.docker(append([]string{"stop", "-t", "1"}, a.all()...)...)
			// One that was stopped does not take calls down, and each then looks to its
			// successor as if there were several.
			pid := a.PluginPID()
			a.check(unix.Kill(pid, unix.SIGSTOP))
			a.t.Cleanup(func() { _ = unix.Kill(pid, unix.SIGCONT) }) // where nobody kills it
			for name, said := range a.failing(func() {
				a.eventually(time.Minute, a.wait)
				a.killPlugin()
			}) {
				if !strings.Contains(said, cutText) {
					a.t.Errorf("the start of %s was not cut off: %s", name, said)
				}
			}
		}},
		{"plugin off", func(a *away) {
			a.docker(append([]string{"stop", "-t", "1"}, a.all()...)...)
			a.docker("plugin", "disable", "-f", pluginName)
			for name, said := range a.failing(func() {}) {
				if !strings.Contains(said, "dockstack.sock") {
					a.t.Errorf("the start of %s did not fail for want of the plugin: %s", name, said)
				}
			}
			a.t.Log(a.down())
			a.docker("plugin", "enable", pluginName)
		}},
	}
	for _, step := range steps {
		t.Run(strings.ReplaceAll(step.what, " ", "-"), func(t *testing.T) {
			a := a.in(t)
			step.do(a)
			a.back()
			// What a person stopped is stopped, also if its start had failed before.
			a.docker("stop", "-t", "1", a.kept[0], a.shy)
			a.docker("start", a.shy, a.loose)
			time.Sleep(5 * time.Second) // two looks of the healer's, which are to start nothing
			if state := a.docker("inspect", "-f", "{{.State.Running}} {{.State.Error}}", a.kept[0]); state != "false" {
				t.Errorf("%s was stopped by hand, and is %s", a.kept[0], state)
			}
			a.docker("start", a.kept[0])
			for _, c := range a.before.Changed(a.addresses()) {
				t.Error(c)
			}
		})
	}
	h.clean()
}

// TestBootWithoutPlugin has the engine boot while the plugin is off, which is put on
// later. One network and one container will do: for each the engine looks for the
// plugin in vain, 15 s long.
func TestBootWithoutPlugin(t *testing.T) {
	h := newHost(t)
	h.create("internal", "--subnet", "172.16.0.0/16")
	h.run("web", "internal", "--restart", "always")
	before := h.picture("internal")
	// What restarts always is started at boot also if it was stopped; of what runs
	// the engine would first look for the plugin to end it.
	h.docker("stop", "-t", "1", "web")
	h.docker("plugin", "disable", "-f", pluginName)
	h.check(h.EngineKill9(h.ctx()))
	h.check(h.EngineStart(h.ctx()))
	if down := h.down(); len(down) != 1 || !strings.Contains(down[0], `plugin "dockstack" not found`) {
		t.Errorf("without the plugin are down: %v", down)
	}
	h.docker("plugin", "enable", pluginName)
	began := time.Now()
	h.eventually(time.Minute, func() string { return strings.Join(h.down(), ", ") })
	t.Logf("up after %.1f s", time.Since(began).Seconds())
	for _, c := range before.Changed(h.picture("internal")) {
		t.Error(c)
	}
	h.clean()
}

// wait is "" once the calls of all starts lie unread in the plugin's socket: before
// that, what the engine says of a start is another text.
func (a *away) wait() string {
	a.t.Helper()
	out, err := a.Exec(a.ctx(), "ss", "-xHn")
	n := 0
	for line := range strings.Lines(out) {
		f := strings.Fields(line) // kind, state, bytes to be read here, and there, this end's name and inode, the other's
		if len(f) != 8 || f[1] != "ESTAB" {
			continue
		}
		// A connection that was not accepted yet shows at the engine's end alone, the
		// other one's inode being 0.
		if f[2] != "0" && strings.HasSuffix(f[4], "/run/docker/plugins/dockstack.sock") || f[3] != "0" && f[7] == "0" {
			n++
		}
	}
	if n < len(a.all()) {
		return fmt.Sprintf("%d calls lie in the plugin's socket: %v\n%s", n, err, out)
	}
	return ""
}
