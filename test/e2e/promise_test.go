package e2e

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// storm is something that happens to a host full of containers.
type storm struct {
	what string
	do   func(h *host)
}

// storms in the order in which they come over one and the same population.
var storms = []storm{
	{"restart of all at once", func(h *host) { h.docker(append([]string{"restart", "-t", "1"}, h.owners()...)...) }},
	{"stop all, start in random order", func(h *host) {
		h.stopAll()
		h.startAll(shuffled(h.owners()))
	}},
	{"kill -9 of a container with a restart policy", func(h *host) {
		h.kill9("always-web-1")
		h.kill9("always-db-1")
	}},
	{"rm -f and up in another order", func(h *host) {
		h.removeAll()
		h.up(reversed(stacks))
	}},
	{"down and up", func(h *host) {
		for _, s := range stacks {
			h.compose(s, "down", "-t", "1")
		}
		h.up(shuffled(stacks))
	}},
	{"up --force-recreate", func(h *host) {
		for _, s := range reversed(stacks) {
			h.compose(s, "up", "-d", "-t", "1", "--force-recreate")
		}
	}},
	{"scale 1, 5, 2, 5", func(h *host) {
		for _, n := range []string{"1", "5", "2", "5"} {
			h.compose("always", "up", "-d", "-t", "1", "--scale", "worker="+n)
		}
	}},
	{"engine restart", func(h *host) { h.check(h.EngineRestart(h.ctx())) }},
	{"engine kill -9", func(h *host) { h.check(h.EngineKill9(h.ctx())); h.check(h.EngineStart(h.ctx())) }},
	{"plugin kill -9 between starts", func(h *host) {
		h.stopAll()
		half := len(h.owners()) / 2
		h.startAll(h.owners()[:half])
		h.killPlugin()
		h.startAll(h.owners()[half:])
	}},
	{"plugin kill -9 during starts", func(h *host) {
		h.stopAll()
		done := make(chan struct{})
		go func() {
			defer close(done)
			h.startThrough(shuffled(h.owners()))
		}()
		for killed := 0; killed < 4; {
			select {
			case <-done:
				killed = 4
			case <-time.After(time.Second + time.Duration(rand.Int64N(int64(time.Second)))):
				// Twice within half a second, and the engine gives the plugin up.
				h.killPlugin()
				killed++
			}
		}
		<-done
	}},
	{"plugin disable and enable", func(h *host) {
		h.docker("plugin", "disable", "-f", pluginName)
		h.docker("plugin", "enable", pluginName)
		h.docker(append([]string{"restart", "-t", "1"}, h.owners()...)...)
	}},
	{"plugin upgrade", func(h *host) {
		ref := h.pushed("2")
		h.docker("plugin", "disable", "-f", pluginName)
		h.docker("plugin", "upgrade", "--grant-all-permissions", "--skip-remote-check", pluginName, ref)
		h.docker("plugin", "enable", pluginName)
		h.docker(append([]string{"restart", "-t", "1"}, h.owners()...)...)
	}},
	{"plugin rm and install", func(h *host) {
		h.stopAll()
		ref := h.pushed("3")
		h.docker("plugin", "rm", "-f", pluginName)
		h.docker("plugin", "install", "--grant-all-permissions", "--alias", pluginName, ref)
		h.startAll(shuffled(h.owners()))
	}},
	{"reboot", func(h *host) { h.check(h.Reboot(h.ctx())) }},
}

// TestPromise brings up the upstream compose files as they are, a stack whose
// containers all have `restart: always`, and the real servers, and lets one
// storm after the other come over them.
func TestPromise(t *testing.T) {
	h := newHost(t)
	h.networks()
	h.copyStacks()
	h.up(stacks)
	h.revive()
	before := h.picture("internal", "ext")
	distinct(t, before)
	if want := 14; onlyUpstream(before) < want {
		t.Fatalf("%d attachments of the upstream files, want at least %d: %v", onlyUpstream(before), want, before)
	}
	h.answers(before)
	for _, s := range storms {
		ok := t.Run(strings.ReplaceAll(s.what, " ", "-"), func(t *testing.T) {
			h := h.in(t)
			began := time.Now()
			s.do(h)
			h.alwaysUp()
			h.revive()
			now := h.picture("internal", "ext")
			changed := before.Changed(now)
			t.Logf("%s: %d of %d attachments changed, %.0f s", s.what, len(changed), len(before), time.Since(began).Seconds())
			for _, c := range changed {
				t.Error(c)
			}
			distinct(t, now)
			h.answers(now)
			h.reachable(now)
		})
		if !ok {
			h.logs()
		}
	}
	h.clean()
}

// onlyUpstream counts the attachments of the upstream files to internal.
func onlyUpstream(p picture) int {
	n := 0
	for key := range p {
		if strings.HasSuffix(key, " internal") && !strings.HasPrefix(key, "always-") && !strings.HasPrefix(key, "demo-") {
			n++
		}
	}
	return n
}

// TestHundredAtOnce starts a hundred containers at the same time.
func TestHundredAtOnce(t *testing.T) {
	h := newHost(t)
	h.networks()
	const n = 100
	var names []string
	for i := range n {
		name := fmt.Sprintf("crowd-%d", i)
		h.docker("create", "--name", name, "--network", "internal", standin)
		names = append(names, name)
	}
	h.together(names, func(name string) []string { return []string{"start", name} })
	before := h.picture("internal")
	if len(before) != n || len(h.down()) != 0 {
		t.Fatalf("%d of %d have an address, down: %v", len(before), n, h.down())
	}
	distinct(t, before)
	h.reachable(before)
	h.together(names, func(name string) []string { return []string{"stop", "-t", "1", name} })
	h.together(shuffled(names), func(name string) []string { return []string{"start", name} })
	for _, c := range before.Changed(h.picture("internal")) {
		t.Error(c)
	}
	h.clean()
}

func shuffled[S ~[]E, E any](s S) S {
	s = slices.Clone(s)
	rand.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
	return s
}

func reversed[S ~[]E, E any](s S) S {
	s = slices.Clone(s)
	slices.Reverse(s)
	return s
}
