package datapath

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/dockstack/dockstack/internal/fabric"
	"github.com/dockstack/dockstack/internal/ovs/ovstest"
	"github.com/dockstack/dockstack/test/stall"
)

// restored is how soon all must be back after the switch is.
var restored = ovstest.Scale(2 * time.Second)

// daemon finds a process of the test's switch. The test has a process namespace
// of its own, so no other switch is in sight.
func (w *world) daemon(name string) int {
	w.tb.Helper()
	entries, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		w.tb.Fatal(err)
	}
	for _, e := range entries {
		line, err := os.ReadFile(e)
		if err != nil || !bytes.Contains(line, []byte(w.cfg.RunDir)) {
			continue
		}
		if runs(line, name) {
			pid, _ := strconv.Atoi(strings.Split(e, "/")[2])
			return pid
		}
	}
	return 0
}

// runs is whether a command line is that of a program, maybe with its loader before it.
func runs(cmdline []byte, name string) bool {
	for arg := range bytes.SplitSeq(cmdline, []byte{0}) {
		if filepath.Base(string(arg)) == name {
			return true
		}
	}
	return false
}

// watch says how long something takes. The time in which the test stood still, or
// a thread of a switch had work and no processor for it, is not dockstack's own.
type watch struct {
	began  time.Time
	waited map[string]time.Duration
}

func startWatch() watch { return watch{time.Now(), waits()} }

func (w watch) took() time.Duration {
	took := time.Since(w.began)
	// The larger of them: they may well be the same time.
	lost := stall.Since(w.began)
	for thread, waited := range waits() {
		lost = max(lost, waited-w.waited[thread])
	}
	return took - lost
}

// waits is how long each thread of the test's switches has waited for a processor.
func waits() map[string]time.Duration {
	all := map[string]time.Duration{}
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range processes {
		line, _ := os.ReadFile(filepath.Join(p, "cmdline"))
		if !runs(line, "ovs-vswitchd") && !runs(line, "ovsdb-server") {
			continue
		}
		threads, _ := filepath.Glob(filepath.Join(p, "task/*/schedstat"))
		for _, t := range threads {
			var ran, waited time.Duration
			text, _ := os.ReadFile(t)
			_, _ = fmt.Sscan(string(text), &ran, &waited) // both in nanoseconds
			all[t] = waited
		}
	}
	return all
}

// kill ends a daemon as a crash would, and waits until its successor runs.
func (w *world) kill(name string) {
	w.tb.Helper()
	pid := w.daemon(name)
	if pid == 0 {
		w.tb.Fatalf("%s doesn't run", name)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		w.tb.Fatal(err)
	}
	w.await(name+" to be started again", func() bool { next := w.daemon(name); return next != 0 && next != pid })
}

// picture is what the switch has, as it says itself.
type picture struct {
	ports map[string]int
	flows int
}

func (w *world) picture() picture {
	w.tb.Helper()
	ports, err := w.sw.Ports(w.tb.Context())
	if err != nil {
		return picture{}
	}
	p := picture{ports: map[string]int{}}
	for _, port := range ports {
		if port.Error == "" {
			p.ports[port.Name] = port.Number
		}
	}
	if p.flows, err = w.sw.FlowCount(w.tb.Context(), fabric.AllFlows); err != nil {
		return picture{}
	}
	return p
}

func (p picture) equal(o picture) bool {
	if p.flows != o.flows || len(p.ports) != len(o.ports) {
		return false
	}
	for name := range p.ports {
		if _, there := o.ports[name]; !there {
			return false
		}
	}
	return true
}

// sameAgain checks that the switch comes to look as before, in time.
func (w *world) sameAgain(before picture, back watch) {
	w.tb.Helper()
	w.await("the same ports and flows", func() bool { return before.equal(w.picture()) })
	if took := back.took(); took > restored {
		w.tb.Errorf("ports and flows were back %s after the switch, want at most %s", took, restored)
	} else {
		w.tb.Logf("ports and flows were back %s after the process", took.Round(time.Millisecond))
	}
}

func TestDaemonsAreKilled(t *testing.T) {
	w := newWorld(t)
	n := w.network(7, withGateways("10.0.0.1/16"))
	a, b := w.container(n, "10.0.0.2", "fd00::2"), w.container(n, "10.0.0.3", "fd00::3")
	w.await("the gateway's port", func() bool { return len(w.picture().ports) == 3 })
	before := w.picture()
	for _, name := range []string{"ovs-vswitchd", "ovsdb-server", "ovs-vswitchd"} {
		began := time.Now()
		w.kill(name)
		back := startWatch()
		t.Logf("%s ran again after %s", name, back.began.Sub(began).Round(time.Millisecond))
		w.sameAgain(before, back)
		for _, to := range b.ep.Addrs {
			if err := exchange(a, b, to, 1<<20); err != nil {
				t.Errorf("after %s was killed, to %s: %v", name, to, err)
			}
		}
		// A switch that lived for a while is restarted without delay.
		time.Sleep(3 * time.Second)
	}
}

func TestDatabaseIsBackAtOnce(t *testing.T) {
	w := newWorld(t)
	time.Sleep(3 * time.Second)
	pid := w.daemon("ovsdb-server")
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	w.await("the next ovsdb-server", func() bool { next := w.daemon("ovsdb-server"); return next != 0 && next != pid })
	t.Logf("after %s", time.Since(began).Round(time.Millisecond))
}

// The plugin's process dies and another takes over: same switch, same links.
func TestFabricIsReplaced(t *testing.T) {
	w := newWorld(t)
	n := w.network(7, withGateways("10.0.0.1/16"))
	a, b, c := w.container(n, "10.0.0.2"), w.container(n, "10.0.0.3"), w.container(n, "10.0.0.4")
	unclaimed := w.endpoint(n, "10.0.0.5")
	if _, err := w.fab.Attach(t.Context(), unclaimed); err != nil {
		t.Fatal(err)
	}
	if err := w.fab.Settle(t.Context(), unclaimed.ID); err != nil {
		t.Fatal(err)
	}
	w.await("the gateway's port", func() bool { return len(w.picture().ports) == 5 })
	before := w.picture()

	w.stopFa()
	// While nobody looks, one container dies with its interface.
	c.close()
	w.await("the interface to go with its container", func() bool { return len(w.hostLinks()) == 4 })
	w.startFabric()
	n = w.network(7, withGateways("10.0.0.1/16"))
	<-w.fab.Recalled()

	alive := map[string]bool{}
	for _, ep := range w.fab.Endpoints() {
		alive[ep.ID] = w.fab.Alive(ep.ID)
	}
	if len(alive) != 3 || !alive[a.ep.ID] || !alive[b.ep.ID] || alive[unclaimed.ID] {
		t.Errorf("recalled endpoints and whether they live: %v", alive)
	}
	w.await("the dead container's port to go", func() bool { return len(w.picture().ports) == 4 })
	for name, number := range w.picture().ports {
		if before.ports[name] != number {
			t.Errorf("port %s changed its number from %d to %d", name, before.ports[name], number)
		}
	}
	if err := exchange(a, b, b.ep.Addrs[0], 1<<20); err != nil {
		t.Error(err)
	}
	// The engine goes on where it was: a Join that was under way, and the end of
	// an endpoint that it knows of.
	if _, err := w.fab.Attach(t.Context(), unclaimed); err != nil {
		t.Error(err)
	}
	if err := w.fab.Settle(t.Context(), unclaimed.ID); err != nil {
		t.Error(err)
	}
	for _, id := range []string{a.ep.ID, b.ep.ID, c.ep.ID, unclaimed.ID, unclaimed.ID} {
		if err := w.fab.Detach(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	w.await("all but the gateway to go", func() bool { return len(w.picture().ports) == 1 && len(w.hostLinks()) == 1 })
	if err := w.fab.RemoveNetwork(t.Context(), n.ID); err != nil {
		t.Error(err)
	}
	w.await("everything to go", func() bool { return len(w.picture().ports) == 0 && len(w.hostLinks()) == 0 })
}

func (w *world) hostLinks() []fabric.Link {
	w.tb.Helper()
	links, err := w.links.List(w.tb.Context(), "ds")
	if err != nil {
		w.tb.Fatal(err)
	}
	return links
}

func TestFlowsThatSomebodyRemoves(t *testing.T) {
	w := newWorld(t)
	n := w.network(7)
	a, b := w.container(n, "10.0.0.2"), w.container(n, "10.0.0.3")
	before := w.picture()
	if err := w.sw.ChangeFlows(t.Context(), fabric.FlowChange{Reset: true}); err != nil {
		t.Fatal(err)
	}
	if got := w.picture().flows; got >= before.flows {
		t.Fatalf("%d flows are left of %d", got, before.flows)
	}
	w.await("the flows to be put back", func() bool { return before.equal(w.picture()) })
	if err := exchange(a, b, b.ep.Addrs[0], 1<<16); err != nil {
		t.Error(err)
	}
}

func TestDatabaseIsDamaged(t *testing.T) {
	w := newWorld(t)
	n := w.network(7)
	a, b := w.container(n, "10.0.0.2"), w.container(n, "10.0.0.3")
	before := w.picture()
	w.stopSw()
	if err := os.WriteFile(filepath.Join(w.cfg.RunDir, "conf.db"), []byte("OVSDB JSON 20 garbage\n{"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.stopFa()
	w.startSwitch()
	w.startFabric()
	w.network(7)
	w.await("the same ports and flows", func() bool { return before.equal(w.picture()) })
	if err := exchange(a, b, b.ep.Addrs[0], 1<<16); err != nil {
		t.Error(err)
	}
}

// Links that somebody sets down are put up again, and frames pass as before.
func TestLinksThatSomebodySetsDown(t *testing.T) {
	w := newWorld(t)
	n := w.network(7)
	a, b := w.container(n, "10.0.0.2"), w.container(n, "10.0.0.3")
	for _, l := range w.hostLinks() {
		link, err := netlink.LinkByName(l.Name)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkSetDown(link); err != nil {
			t.Fatal(err)
		}
	}
	w.await("all links to be up", func() bool {
		return !slices.ContainsFunc(w.hostLinks(), func(l fabric.Link) bool { return l.Down })
	})
	if err := exchange(a, b, b.ep.Addrs[0], 1<<16); err != nil {
		t.Error(err)
	}
}
