package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/test/stall"
)

// switched is what the switch has, to be compared.
type switched struct {
	ports []string // by name
	flows int
	links []string // the host's ends, and both ends of gateways
}

// switched asks the switch and the kernel; err is a switch that does not
// answer.
func (h *host) switched() (s switched, err error) {
	h.t.Helper()
	out, err := h.vswitch("ovs-vsctl", "list-ports", "dockstack0")
	if err != nil {
		return s, err
	}
	s.ports = strings.Fields(out)
	slices.Sort(s.ports)
	flows, err := h.vswitch("ovs-ofctl", "-O", "OpenFlow15", "dump-flows", "dockstack0")
	if err != nil {
		return s, err
	}
	s.flows = strings.Count(flows, "cookie=")
	for line := range strings.Lines(h.onHost("ip", "-br", "link", "show", "type", "veth")) {
		name, _, _ := strings.Cut(strings.Fields(line)[0], "@")
		if strings.HasPrefix(name, "ds") || strings.HasPrefix(name, "o-ds") {
			s.links = append(s.links, name)
		}
	}
	slices.Sort(s.links)
	return s, nil
}

// differs says how b is not as a.
func (a switched) differs(b switched) string {
	switch {
	case !slices.Equal(a.ports, b.ports):
		return fmt.Sprintf("ports %v, were %v", b.ports, a.ports)
	case a.flows != b.flows:
		return fmt.Sprintf("%d flows, were %d", b.flows, a.flows)
	case !slices.Equal(a.links, b.links):
		return fmt.Sprintf("links %v, were %v", b.links, a.links)
	}
	return ""
}

// now is switched where no answer ends the test.
func (h *host) now() switched {
	h.t.Helper()
	s, err := h.switched()
	h.check(err)
	return s
}

// TestRecovery kills one daemon after the other under containers that talk.
// Ports and flows are there again within 2 s of the switch's return, those and
// no others.
func TestRecovery(t *testing.T) {
	h := newHost(t)
	h.eventually(10*time.Second, h.emptied)
	h.networks()
	for _, c := range []string{"one", "two"} {
		h.serve(c, "ext")
		h.serve(c+"-inner", "internal")
	}
	before := h.now()
	addrs := h.picture("ext", "internal")
	for _, c := range []struct {
		what string
		kill func() error
	}{
		{"ovs-vswitchd", func() error { return h.Kill9(h.ctx(), "ovs-vswitchd") }},
		{"ovsdb-server", func() error { return h.Kill9(h.ctx(), "ovsdb-server") }},
		{"both", func() error {
			if err := h.Kill9(h.ctx(), "ovsdb-server"); err != nil {
				return err
			}
			return h.Kill9(h.ctx(), "ovs-vswitchd")
		}},
		{"the plugin's daemon, and they with it", func() error { return h.KillPlugin(h.ctx()) }},
	} {
		t.Run(strings.ReplaceAll(c.what, " ", "-"), func(t *testing.T) {
			h := h.in(t)
			// A machine that is busy just then gets another try: dockstack's part is
			// to be over within 2 s once.
			for tries := 3; h.recovers(before, c.kill) > 2*time.Second; {
				if tries--; tries == 0 {
					t.Error("in none of three times all was back within 2 s of the switch")
					break
				}
			}
			h.meets("one", "two", h.ipv4("two", "ext"))
			h.meets("two", "one", h.ipv6("one", "ext"))
			h.meets("one-inner", "two-inner", h.ipv4("two-inner", "internal"))
			h.reachable(addrs)
			h.answers(addrs)
		})
	}
	// A container that ended while the daemon was dead leaves nothing either.
	h.check(h.KillPlugin(h.ctx()))
	h.remove("one", "two-inner")
	h.clean()
	h.eventually(10*time.Second, h.emptied)
}

// recovers kills something, and returns how long after the switch's return all was on
// it again.
func (h *host) recovers(before switched, kill func() error) time.Duration {
	h.t.Helper()
	h.check(kill())
	killed := time.Now()
	h.eventually(20*time.Second, func() string {
		for _, args := range [][]string{{"ovs-ofctl", "-O", "OpenFlow15", "show", "dockstack0"}, {"ovs-vsctl", "list-ports", "dockstack0"}} {
			if _, err := h.vswitch(args[0], args[1:]...); err != nil {
				return err.Error()
			}
		}
		return ""
	})
	back := time.Now()
	h.eventually(20*time.Second, func() string {
		s, err := h.switched()
		if err != nil {
			return err.Error()
		}
		return before.differs(s)
	})
	took := stall.Took(back)
	h.t.Logf("the switch is back after %.1f s, and all on it after %.1f s more", back.Sub(killed).Seconds(), took.Seconds())
	return took
}

// emptied says what a host without containers and networks still has.
func (h *host) emptied() string {
	h.t.Helper()
	s, err := h.switched()
	if err != nil {
		return err.Error()
	}
	// Five flows are there for no network at all (docs/pipeline.md).
	if len(s.ports) > 0 || len(s.links) > 0 || s.flows > 5 {
		return fmt.Sprintf("ports %v, links %v, %d flows", s.ports, s.links, s.flows)
	}
	return ""
}

// TestLiveRestore: with the engine's live-restore, containers run on while it
// restarts, and so do their ports and flows.
func TestLiveRestore(t *testing.T) {
	h := newHost(t)
	h.networks()
	for _, c := range []string{"one", "two"} {
		h.serve(c, "ext", "--restart", "always")
	}
	const config = "/etc/docker/daemon.json"
	h.check(h.WriteFile(config, `{"live-restore": true}`))
	t.Cleanup(func() {
		h.check(h.WriteFile(config, "{}"))
		h.check(h.EngineRestart(h.ctx()))
	})
	h.check(h.EngineRestart(h.ctx()))
	h.answers(h.picture("ext"))
	var was switched
	h.eventually(10*time.Second, func() string {
		// Two gateways and two containers: what was before the restart is gone.
		if was = h.now(); len(was.ports) != 4 || len(was.links) != 6 {
			return fmt.Sprintf("ports %v, links %v", was.ports, was.links)
		}
		return ""
	})
	before, pids := h.picture("ext"), h.pids()
	for _, c := range []struct {
		what string
		do   func() error
	}{
		{"restart", func() error { return h.EngineRestart(h.ctx()) }},
		{"kill -9", func() error {
			if err := h.EngineKill9(h.ctx()); err != nil {
				return err
			}
			return h.EngineStart(h.ctx())
		}},
	} {
		h.check(c.do())
		if now := h.pids(); !maps.Equal(now, pids) {
			t.Errorf("%s: processes %v, were %v", c.what, now, pids)
		}
		if why := was.differs(h.now()); why != "" {
			t.Errorf("%s: %s", c.what, why)
		}
		for _, line := range before.Changed(h.picture("ext")) {
			t.Errorf("%s: %s", c.what, line)
		}
		h.meets("one", "two", h.ipv6("two", "ext"))
		h.answers(before)
	}
	h.docker("restart", "-t", "1", "one", "two")
	for _, line := range before.Changed(h.picture("ext")) {
		t.Error(line)
	}
	h.meets("two", "one", h.ipv4("one", "ext"))
}

// pids are the containers' processes.
func (h *host) pids() map[string]string {
	h.t.Helper()
	out := map[string]string{}
	for id := range strings.FieldsSeq(h.docker("ps", "-q")) {
		out[id] = h.docker("inspect", "-f", "{{.State.Pid}}", id)
	}
	return out
}

// TestNetworkRemovedMeanwhile: one that is removed while the plugin is off is
// forgotten when it is back, and its subnet and names' addresses can be had
// again.
func TestNetworkRemovedMeanwhile(t *testing.T) {
	h := newHost(t)
	h.create("net", "--subnet", "172.30.0.0/24")
	h.run("filler", "net")
	h.run("web", "net")
	before := h.picture("net")
	h.remove("web", "filler")
	began, m := time.Now(), h.logged()
	h.away(func() { h.docker("network", "rm", "net") })
	t.Logf("removed without the plugin in %.0f s", time.Since(began).Seconds())
	h.eventually(2*time.Minute, func() string {
		if _, err := h.try(ofOurs("--subnet", "172.30.0.0/24", "net")...); err != nil {
			return err.Error()
		}
		return ""
	})
	t.Logf("made again after %.0f s", time.Since(began).Seconds())
	h.warned(m, "level=WARN", "removed while dockstack was away")
	h.run("web", "net")
	h.run("filler", "net")
	for _, c := range before.Changed(h.picture("net")) {
		t.Error(c)
	}
}
