package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/peers"
)

// floods are the tunnel entries of the host that lead to an address.
func (h *host) floods(vtep string) string {
	h.t.Helper()
	var out []string
	for line := range strings.Lines(h.onHost("bridge", "fdb", "show")) {
		if strings.Contains(line, " dst "+vtep+" ") {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return strings.Join(out, "; ")
}

// forgets waits until the host has no tunnel to an address, and returns how
// long that took.
func (h *host) forgets(vtep string, limit time.Duration) time.Duration {
	h.t.Helper()
	began := time.Now()
	h.eventually(limit, func() string {
		if f := h.floods(vtep); f != "" {
			return h.Name + " still sends to " + vtep + ": " + f
		}
		return ""
	})
	return time.Since(began)
}

// startsElsewhere waits until the host may start a container whose name
// another one had, and returns how long that took.
func (h *host) startsElsewhere(limit time.Duration, name, network string) time.Duration {
	h.t.Helper()
	began := time.Now()
	h.eventually(limit, func() string {
		if _, err := h.try(h.ofName(name, network)...); err != nil {
			_, _ = h.try("rm", "-f", name)
			return err.Error()
		}
		return ""
	})
	return time.Since(began)
}

// TestHostDiesHard: within 15 s nobody sends to it any more and its names may
// run elsewhere, as they were; when it comes back it agrees.
func TestHostDiesHard(t *testing.T) {
	c := newCluster(t)
	c.create("ext", "--ipv6", "--subnet", "172.29.0.0/24", "--subnet", "fd00:29::/64")
	c.h1.docker(c.h1.ofName("web", "ext", "--restart", "always")...)
	c.h1.docker(c.h1.ofName("db", "ext", "--restart", "always")...)
	c.h2.serve("other", "ext")
	c.h3.run("client", "ext")
	before := c.picture("ext")
	web := c.h1.ipv4("web", "ext")
	c.h3.reaches("client", "web-h1", web, 5*time.Second)
	if c.h3.floods(c.h1.Addr) == "" || c.h2.floods(c.h1.Addr) == "" {
		t.Error("nobody floods to h1 while it lives")
	}

	c.h2.docker(append([]string{"create"}, c.h2.ofName("web", "ext")[2:]...)...)
	asked := time.Now()
	c.check(c.h1.PowerOff(c.h1.ctx()))
	died := time.Now()
	switch _, err := c.h2.try("start", "web"); {
	case err == nil && time.Since(asked) < peers.TTL/2:
		t.Errorf("web is started on h2 %s after h1 began to die", time.Since(asked))
	case err == nil:
		t.Logf("h1 took %s to die, so web could be started on h2 at once", died.Sub(asked))
	case !regexp.MustCompile(`"web".*h1.*` + stamp).MatchString(err.Error()):
		t.Errorf("the error does not say that web runs on h1, and since when: %v", err)
	}
	c.h2.remove("web")
	c.h2.startsElsewhere(20*time.Second, "web", "ext")
	moved := time.Since(died)
	c.h3.reaches("client", "web-h2", web, 5*time.Second)
	reached := time.Since(died)
	c.h2.forgets(c.h1.Addr, 20*time.Second-min(time.Since(died), 19*time.Second))
	c.h3.forgets(c.h1.Addr, 20*time.Second-min(time.Since(died), 19*time.Second))
	t.Logf("after h1 died web ran on h2 after %.1f s, h3 reached it after %.1f s, and no tunnel leads to h1 after %.1f s",
		moved.Seconds(), reached.Seconds(), time.Since(died).Seconds())
	for _, h := range []*host{c.h2, c.h3} {
		h.follows("db", 5*time.Second) // it died with h1
	}
	now := c.h2.picture("ext")
	if now["web ext"] != before["web ext"] {
		t.Errorf("web was %v on h1, is %v on h2", before["web ext"], now["web ext"])
	}

	// h1 comes back: db starts by itself, web does not.
	c.check(c.h1.PowerOn(c.h1.ctx()))
	c.h1.eventually(time.Minute, func() string {
		if c.h1.docker("inspect", "-f", "{{.State.Running}}", "db") != "true" {
			return "db does not run"
		}
		return ""
	})
	c.h3.reaches("client", "db-h1", c.h1.ipv4("db", "ext"), 20*time.Second)
	c.h3.meets("client", "web-h2", web)
	c.same("after h1 came back", before, "ext")
	c.answers(before)
	c.reachable(before, "ext")
	c.h1.refusedSince([]string{"start", "web"}, `"web"`, "h2")
	c.h2.remove("web")
	c.h1.docker("start", "web")
	c.h3.reaches("client", "web-h1", web, 5*time.Second)
	c.same("after web went back", before, "ext")
}

// TestEngineStopsCleanly: a host that is shut down lets go of its names at
// once, and agrees when it is back.
func TestEngineStopsCleanly(t *testing.T) {
	c := newCluster(t)
	c.create("ext", "--ipv6", "--subnet", "172.29.0.0/24", "--subnet", "fd00:29::/64")
	c.h1.docker(c.h1.ofName("web", "ext", "--restart", "always")...)
	c.h1.docker(c.h1.ofName("db", "ext", "--restart", "always")...)
	c.h3.run("client", "ext")
	before := c.picture("ext")
	web := c.h1.ipv4("web", "ext")
	c.check(c.h1.EngineStop(c.h1.ctx()))
	stopped := time.Now()
	c.h2.docker(c.h2.ofName("web", "ext")...)
	c.h3.reaches("client", "web-h2", web, 5*time.Second)
	t.Logf("web is reached on h2 %.1f s after h1's engine stopped", time.Since(stopped).Seconds())
	c.check(c.h1.EngineStart(c.h1.ctx()))
	c.h1.eventually(time.Minute, func() string {
		if c.h1.docker("inspect", "-f", "{{.State.Running}}", "db") != "true" {
			return "db does not run"
		}
		return ""
	})
	c.same("after h1's engine was back", before, "ext")
	c.answers(before)
	c.reachable(before, "ext")
	c.h3.meets("client", "web-h2", web)
}

// TestCutOffHost: a host that is cut off for longer than its mark lives goes
// on serving its own containers, and does not fight for the names that moved
// meanwhile.
func TestCutOffHost(t *testing.T) {
	c := newCluster(t)
	c.create("ext", "--ipv6", "--subnet", "172.29.0.0/24", "--subnet", "fd00:29::/64")
	c.h1.docker(c.h1.ofName("web", "ext")...)
	c.h1.docker(c.h1.ofName("stays", "ext")...)
	c.h1.run("asker", "ext")
	c.h3.run("client", "ext")
	before := c.picture("ext")
	web := c.h1.ipv4("web", "ext")
	m := c.h1.logged()

	c.check(c.h1.Cut(c.h1.ctx()))
	cut := time.Now()
	c.h2.startsElsewhere(30*time.Second, "web", "ext")
	t.Logf("web ran on h2 %.1f s after h1 was cut off", time.Since(cut).Seconds())
	c.h3.reaches("client", "web-h2", web, 5*time.Second)
	// What h1 knows goes on there.
	c.h1.meets("asker", "stays-h1", c.h1.ipv4("stays", "ext"))
	c.h1.docker("restart", "-t", "1", "stays")
	c.h1.answers(picture{"stays ext": before["stays ext"]})
	c.h1.refused(c.h1.ofName("new", "ext"), "new", "etcd")
	c.h1.remove("new")

	c.check(c.h1.Mend(c.h1.ctx()))
	c.h1.warned(m, "level=WARN", "moved away", "web")
	c.h1.says(20*time.Second, "web", "h2")
	c.h3.reaches("client", "stays-h1", c.h1.ipv4("stays", "ext"), 10*time.Second)
	for range 20 {
		c.h3.meets("client", "web-h2", web)
	}
	// On h1 too the name leads to h2, and its own container is out of the way.
	c.h1.reaches("asker", "web-h2", web, 10*time.Second)
	if now := c.h2.picture("ext")["web ext"]; now != before["web ext"] {
		t.Errorf("web was %v, is %v on h2", before["web ext"], now)
	}
	c.h1.docker("stop", "-t", "1", "web")
	c.h3.meets("client", "web-h2", web)
	c.h1.refusedSince([]string{"start", "web"}, `"web"`, "h2")
	c.h2.remove("web")
	c.h1.docker("start", "web")
	c.h3.reaches("client", "web-h1", web, 5*time.Second)
	now := c.same("after all", before, "ext")
	c.answers(now)
	c.h1.eventually(20*time.Second, func() string {
		if s := c.h1.status(); strings.Contains(s, `"web"`) {
			return fmt.Sprintf("h1 still complains of web: %s", s)
		}
		return ""
	})
}
