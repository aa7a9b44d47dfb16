package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/admin"
)

// group is an owner of a network namespace, and those that share it. Each member
// serves a port of the owner's address.
type group struct {
	*host
	owner string
	// kept are healed; loose has no restart policy, and halted was stopped by hand.
	kept          []string
	loose, halted string
	ports         map[string]string
}

func newGroup(h *host) *group {
	h.t.Helper()
	g := &group{host: h, owner: "nova", kept: []string{"nova-api", "nova-conductor", "nova-scheduler"}, loose: "nova-debug", halted: "nova-cert", ports: map[string]string{}}
	h.run(g.owner, "internal", "--restart", "always")
	// Not unless-stopped for those that are to be up again after the engine was
	// killed: it then stops them itself, and takes that for a person's wish.
	policies := map[string]string{g.halted: "unless-stopped", g.loose: "no"}
	for i, m := range append(slices.Clone(g.kept), g.loose, g.halted) {
		g.ports[m] = fmt.Sprint(8000 + i)
		policy := "always"
		if p := policies[m]; p != "" {
			policy = p
		}
		h.docker("run", "-d", "--name", m, "--network", "container:"+g.owner, "--restart", policy, standin, "serve", g.ports[m])
	}
	h.docker("stop", "-t", "1", g.halted)
	return g
}

// in is the same group seen by a subtest.
func (g *group) in(t *testing.T) *group {
	t.Helper()
	other := *g
	other.host = g.host.in(t)
	return &other
}

// served are the members that are reached at the owner's address.
func (g *group) served() []string {
	g.t.Helper()
	addr := g.picture("internal")[g.owner+" internal"].IPv4
	var out []string
	if addr == "" {
		return nil
	}
	g.inNet(func() {
		for m, port := range g.ports {
			// A refusal, which is an answer to knock, is none here.
			if c, err := net.DialTimeout("tcp", net.JoinHostPort(addr, port), time.Second); err == nil {
				_ = c.Close()
				out = append(out, m)
			}
		}
	})
	slices.Sort(out)
	return out
}

// well waits until all that is to be healed is reached, and nothing else was
// touched.
func (g *group) well(began time.Time, also ...string) {
	g.t.Helper()
	want := append(slices.Clone(g.kept), also...)
	slices.Sort(want)
	g.eventually(time.Minute, func() string {
		if got := g.served(); !slices.Equal(got, want) {
			return fmt.Sprintf("%v are reached, want %v; down: %v", got, want, g.down())
		}
		return ""
	})
	g.t.Logf("well after %.1f s", time.Since(began).Seconds())
	if g.docker("inspect", "-f", "{{.State.Running}}", g.halted) == "true" {
		g.t.Errorf("%s was stopped by hand, and runs", g.halted)
	}
}

func (g *group) started(name string) string {
	g.t.Helper()
	return g.docker("inspect", "-f", "{{.State.StartedAt}}", name)
}

// TestGroupHeals lets everything happen to a group's owner by which Docker
// leaves its members without a network, or down.
func TestGroupHeals(t *testing.T) {
	h := newHost(t)
	h.networks()
	g := newGroup(h)
	g.well(time.Now(), g.loose)
	before := g.picture("internal")
	steps := []struct {
		what string
		do   func(g *group)
		// apart: loose runs on, in the dead namespace.
		apart bool
	}{
		{"restart", func(g *group) { g.docker("restart", "-t", "1", g.owner) }, true},
		{"kill -9", func(g *group) { g.kill9(g.owner) }, true},
		{"stop, and later start", func(g *group) {
			g.docker("stop", "-t", "1", g.owner)
			time.Sleep(time.Second)
			g.docker("start", g.owner)
		}, true},
		{"restart while the plugin was killed", func(g *group) {
			g.killPlugin()
			g.docker("restart", "-t", "1", g.owner)
		}, true},
		{"member killed while the owner is down", func(g *group) {
			g.docker("stop", "-t", "1", g.owner)
			_, err := g.Exec(g.ctx(), "kill", "-9", g.docker("inspect", "-f", "{{.State.Pid}}", "nova-api"))
			g.check(err)
			g.eventually(30*time.Second, func() string {
				if !strings.Contains(strings.Join(g.down(), "\n"), "nova-api: cannot join") {
					return fmt.Sprintf("the engine did not fail to start it: %v", g.down())
				}
				return ""
			})
			g.docker("start", g.owner)
		}, true},
		{"engine restart", func(g *group) { g.check(g.EngineRestart(g.ctx())) }, false},
		{"engine kill -9", func(g *group) { g.check(g.EngineKill9(g.ctx())); g.check(g.EngineStart(g.ctx())) }, false},
		{"reboot", func(g *group) { g.check(g.Reboot(g.ctx())) }, false},
	}
	for _, step := range steps {
		t.Run(strings.ReplaceAll(step.what, " ", "-"), func(t *testing.T) {
			g := g.in(t)
			was := g.started(g.loose)
			step.do(g)
			g.well(time.Now())
			if got := g.started(g.loose); got != was {
				t.Errorf("%s has no restart policy, and was started", g.loose)
			}
			for _, c := range before.Changed(g.picture("internal")) {
				t.Error(c)
			}
			g.told(step.apart)
		})
	}
	h.clean()
}

// told fails unless the status names who was left, and nobody else.
func (g *group) told(apart bool) {
	g.t.Helper()
	g.eventually(45*time.Second, func() string {
		out, err := g.Exec(g.ctx(), operatorCommand, "status", "--json")
		var s admin.Status
		if jsonErr := json.Unmarshal([]byte(out), &s); jsonErr != nil {
			return fmt.Sprint(jsonErr, err)
		}
		var found []string
		for _, p := range s.Problems {
			if strings.Contains(p, "has no network") {
				found = append(found, p)
			}
		}
		if apart == (len(found) == 1 && strings.Contains(found[0], g.loose)) && len(found) < 2 {
			return ""
		}
		return fmt.Sprintf("without a network the status finds %q, and that %s is: %t", found, g.loose, apart)
	})
}

// dead are those that the doctor finds in a dead namespace.
func (g *group) dead() []string {
	g.t.Helper()
	var out []string
	for _, f := range g.doctor() {
		if f.ID == "dead-namespace" {
			out = append(out, f.Subject)
		}
	}
	slices.Sort(out)
	return out
}

// TestHealingIsOptional switches it off and on, by the setting and by labels.
func TestHealingIsOptional(t *testing.T) {
	h := newHost(t)
	h.networks()
	g := newGroup(h)
	set := func(value string) {
		h.docker("plugin", "disable", "-f", pluginName)
		h.docker("plugin", "set", pluginName, "DOCKSTACK_HEAL="+value)
		h.docker("plugin", "enable", pluginName)
	}
	set("off")
	t.Cleanup(func() {
		if strings.Contains(h.docker("plugin", "inspect", "-f", "{{.Settings.Env}}", pluginName), "HEAL=off") {
			set("on")
		}
	})
	h.docker("run", "-d", "--name", "shy", "--network", "container:"+g.owner, "--restart", "always", "--label", "dockstack.heal=off", standin)
	h.docker("run", "-d", "--name", "bold", "--network", "container:"+g.owner, "--label", "dockstack.heal=on", standin)
	was := h.docker("inspect", "-f", "{{.State.StartedAt}}", "shy", "bold")
	h.docker("restart", "-t", "1", g.owner)
	h.eventually(30*time.Second, func() string {
		want := append([]string{"bold", "shy", g.loose}, g.kept...)
		slices.Sort(want)
		if got := g.dead(); !slices.Equal(got, want) {
			return fmt.Sprintf("the doctor finds %v without a network, want %v", got, want)
		}
		return ""
	})
	if got := g.served(); len(got) != 0 {
		t.Errorf("healing is off, and %v are reached", got)
	}
	set("on")
	g.well(time.Now())
	h.eventually(time.Minute, func() string { // a restart is counted when it is over
		metrics, err := h.Exec(h.ctx(), "curl", "-s", "--unix-socket", "/run/dockstack/admin.sock", "http://dockstack/metrics")
		if want := `dockstack_heals_total{result="done"} 4`; !strings.Contains(metrics, want) {
			return fmt.Sprintf("the metrics lack %s: %v", want, err)
		}
		return ""
	})
	now := h.docker("inspect", "-f", "{{.State.StartedAt}}", "shy", "bold")
	shy, bold, _ := strings.Cut(was, "\n")
	if shyNow, boldNow, _ := strings.Cut(now, "\n"); shyNow != shy || boldNow == bold {
		t.Errorf("shy and bold started at %q, and now at %q", was, now)
	}
	h.clean()
}
