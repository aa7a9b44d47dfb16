package e2e

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dockstack/dockstack/test/lab"
	"github.com/dockstack/dockstack/test/stall"
)

const (
	pluginName = lab.PluginName
	// standin is the image that stands for a server.
	standin = "dockstack-standin"
	// command bounds any one docker command.
	commandLimit = 10 * time.Minute
)

// host is the lab's host as one test sees it.
type host struct {
	*lab.Host
	t *testing.T
	// dir has the compose files.
	dir string
}

// newHost returns the host of the lab that most tests share, emptied before
// and after the test.
func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{Host: alone.up(t).Host(1), t: t, dir: t.TempDir()}
	h.clean()
	t.Cleanup(func() {
		if t.Failed() {
			h.logs()
		}
		h.clean()
	})
	return h
}

// in is the same host seen by a subtest.
func (h *host) in(t *testing.T) *host {
	t.Helper()
	return &host{Host: h.Host, t: t, dir: h.dir}
}

func (h *host) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	h.t.Cleanup(cancel)
	return ctx
}

func (h *host) check(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// try runs a docker command; its error has what it wrote.
func (h *host) try(args ...string) (string, error) {
	out, err := h.Docker(h.ctx(), args...)
	return strings.TrimSpace(out), err
}

// docker is try where an error ends the test.
func (h *host) docker(args ...string) string {
	h.t.Helper()
	out, err := h.try(args...)
	if err != nil {
		h.t.Fatal(err)
	}
	return out
}

// refused is a docker command that must fail with all the words in its error,
// which it returns.
func (h *host) refused(args []string, words ...string) string {
	h.t.Helper()
	out, err := h.try(args...)
	if err == nil {
		h.t.Errorf("docker %s: want an error, got %s", strings.Join(args, " "), out)
		return ""
	}
	h.t.Log(err)
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			h.t.Errorf("docker %s: error lacks %q: %v", strings.Join(args, " "), w, err)
		}
	}
	return err.Error()
}

// refusedSoon is refused where a busy machine may name another cause at first:
// that nobody answered in time.
func (h *host) refusedSoon(args []string, words ...string) {
	h.t.Helper()
	h.eventually(30*time.Second, func() string {
		out, err := h.try(args...)
		if err == nil {
			h.t.Fatalf("docker %s: want an error, got %s", strings.Join(args, " "), out)
		}
		for _, w := range words {
			if !strings.Contains(err.Error(), w) {
				return fmt.Sprintf("docker %s: error lacks %q: %v", strings.Join(args, " "), w, err)
			}
		}
		h.t.Log(err)
		return ""
	})
}

// clean removes every container and network.
func (h *host) clean() {
	h.t.Helper()
	if ids := strings.Fields(h.docker("ps", "-aq")); len(ids) > 0 {
		h.docker(append([]string{"rm", "-fv"}, ids...)...)
	}
	if ids := strings.Fields(h.docker("network", "ls", "-q", "--filter", "type=custom")); len(ids) > 0 {
		for _, id := range ids {
			if name := h.docker("network", "inspect", "-f", "{{.Name}}", id); name != "docker_gwbridge" {
				h.docker("network", "rm", id)
			}
		}
	}
}

// logs shows the end of what engine and plugin wrote.
func (h *host) logs() {
	b, err := os.ReadFile(h.EngineLog())
	if err != nil {
		h.t.Log(err)
		return
	}
	lines := strings.Split(string(b), "\n")
	lines = slices.DeleteFunc(lines, func(l string) bool { return !strings.Contains(l, "plugin=") && !strings.Contains(l, "level=error") })
	h.t.Logf("engine and plugin:\n%s", strings.Join(lines[max(0, len(lines)-60):], "\n"))
}

// networks makes the two that the compose files name: internal, and ext with
// both families.
func (h *host) networks() {
	h.t.Helper()
	h.create("internal", "--subnet", "172.16.0.0/16")
	h.create("ext", "--ipv6", "--subnet", "172.29.0.0/24", "--subnet", "fd00:29::/64")
}

// create makes a network of ours.
func (h *host) create(name string, args ...string) {
	h.t.Helper()
	h.docker(append(append([]string{"network", "create", "-d", "dockstack", "--ipam-driver", "dockstack"}, args...), name)...)
}

// run starts a stand-in.
func (h *host) run(name, network string, args ...string) {
	h.t.Helper()
	h.docker(append(append([]string{"run", "-d", "--name", name, "--network", network}, args...), standin)...)
}

// exec runs the stand-in's program in a container.
func (h *host) exec(container string, args ...string) string {
	h.t.Helper()
	return h.docker(append([]string{"exec", container, "/standin"}, args...)...)
}

// ipv4 is a container's address in a network.
func (h *host) ipv4(container, network string) netip.Addr {
	h.t.Helper()
	a, err := netip.ParseAddr(h.picture(network)[container+" "+network].IPv4)
	if err != nil {
		h.t.Fatalf("%s has no address in %s: %v", container, network, err)
	}
	return a
}

// owners are the containers with a network of their own; the others share one
// and can start only while its owner runs.
func (h *host) owners() []string {
	h.t.Helper()
	return h.byMode(false)
}

func (h *host) byMode(members bool) []string {
	h.t.Helper()
	var out []string
	ids := strings.Fields(h.docker("ps", "-aq"))
	for line := range strings.SplitSeq(h.docker(append([]string{"inspect", "-f", "{{.Name}} {{.HostConfig.NetworkMode}}"}, ids...)...), "\n") {
		name, mode, _ := strings.Cut(strings.TrimPrefix(line, "/"), " ")
		if strings.HasPrefix(mode, "container:") == members {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// together runs a docker command for every name at once.
func (h *host) together(names []string, args func(name string) []string) {
	h.t.Helper()
	var wg sync.WaitGroup
	for _, name := range names {
		wg.Go(func() {
			if _, err := h.try(args(name)...); err != nil {
				h.t.Error(err)
			}
		})
	}
	wg.Wait()
}

func (h *host) startAll(names []string) {
	h.t.Helper()
	h.docker(append([]string{"start"}, names...)...)
}

func (h *host) stopAll() {
	h.t.Helper()
	h.docker(append([]string{"stop", "-t", "1"}, append(h.byMode(true), h.owners()...)...)...)
}

func (h *host) removeAll() {
	h.t.Helper()
	h.docker(append([]string{"rm", "-f"}, append(h.byMode(true), h.owners()...)...)...)
}

// eventually waits until done returns "", and fails with what it said last.
func (h *host) eventually(limit time.Duration, done func() string) {
	h.t.Helper()
	began := time.Now()
	for {
		said := done()
		if said == "" {
			return
		}
		if stall.Took(began) > limit {
			h.t.Fatalf("after %s still: %s", limit, said)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// alwaysUp waits until every container of the stack whose services restart by
// themselves runs, without help.
func (h *host) alwaysUp() {
	h.t.Helper()
	h.eventually(2*time.Minute, func() string {
		return strings.Join(slices.DeleteFunc(h.down(), func(c string) bool { return !strings.HasPrefix(c, "always-") && !strings.HasPrefix(c, "my_app") }), ", ")
	})
}

// revive starts what does not start by itself, owners of networks first, and
// fails for what then is down.
func (h *host) revive() {
	h.t.Helper()
	for _, names := range [][]string{h.owners(), h.byMode(true)} {
		for _, n := range names {
			if h.docker("inspect", "-f", "{{.State.Running}}", n) != "true" {
				h.docker("start", n)
			}
		}
	}
	h.eventually(time.Minute, func() string { // the healer may be restarting one
		if down := h.down(); len(down) > 0 {
			return "down: " + strings.Join(down, ", ")
		}
		return ""
	})
}

// killPlugin kills the plugin's daemon and waits for its successor to take calls.
func (h *host) killPlugin() {
	h.t.Helper()
	h.check(h.KillPlugin(h.ctx()))
	h.eventually(30*time.Second, func() string {
		if h.PluginPID() == 0 {
			return "no plugin process"
		}
		c, err := net.DialTimeout("unix", h.Path("/run/docker/plugins/dockstack.sock"), time.Second)
		if err != nil {
			return err.Error()
		}
		h.check(c.Close())
		return ""
	})
}

// kill9 kills a container's process and waits for its next start.
func (h *host) kill9(container string) {
	h.t.Helper()
	const what = "{{.State.Running}} {{.State.StartedAt}}"
	before := h.docker("inspect", "-f", what, container)
	_, err := h.Exec(h.ctx(), "kill", "-9", h.docker("inspect", "-f", "{{.State.Pid}}", container))
	h.check(err)
	h.eventually(time.Minute, func() string {
		if now := h.docker("inspect", "-f", what, container); now == before || !strings.HasPrefix(now, "true") {
			return container + " did not restart"
		}
		return ""
	})
}

// stacks are the compose files that are brought up, upstream's as they are.
var stacks = []string{
	"contrail-database", "contrail-config", "contrail-control", "contrail-analytics", "contrail-webui",
	"keystone", "glance", "nova", "neutron", "always",
}

// upstream finds the folder with upstream's compose files.
func upstream(t *testing.T) string {
	t.Helper()
	root, err := lab.Root()
	if err != nil {
		t.Fatal(err)
	}
	dir := os.Getenv("DOCKSTACK_SHARED")
	if dir == "" {
		dir = filepath.Join(root, "..", "shared")
	}
	dir = filepath.Join(dir, "data", "upstream-compose")
	if _, err := os.Stat(dir); err != nil {
		t.Fatalf("the upstream compose files are not beside the checkout: %v; set DOCKSTACK_SHARED to the folder that has data/upstream-compose", err)
	}
	return dir
}

var imageLine = regexp.MustCompile(`(?m)^\s*image:\s*(\S+)`)

// copyStacks puts the compose files into the test's folder, byte for byte: an
// engine makes folders that a file mounts beside it. Each image that they name
// becomes the stand-in.
func (h *host) copyStacks() {
	h.t.Helper()
	files, err := filepath.Glob(filepath.Join(upstream(h.t), "*"))
	h.check(err)
	for _, file := range append(files, "always.yml") {
		text, err := os.ReadFile(file)
		h.check(err)
		h.check(os.WriteFile(filepath.Join(h.dir, filepath.Base(file)), text, 0o600))
		for _, m := range imageLine.FindAllStringSubmatch(string(text), -1) {
			h.docker("tag", standin, m[1])
		}
	}
}

// compose runs docker-compose on one stack.
func (h *host) compose(stack string, args ...string) {
	h.t.Helper()
	file := filepath.Join(h.dir, stack+".yml")
	if _, err := h.Compose(h.ctx(), append([]string{"-p", stack, "-f", file}, args...)...); err != nil {
		h.t.Fatal(err)
	}
}

// up is `docker-compose up -d` of one stack after the other.
func (h *host) up(stacks []string) {
	h.t.Helper()
	for _, s := range stacks {
		h.compose(s, "up", "-d", "-t", "1")
	}
}
