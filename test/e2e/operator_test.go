package e2e

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/admin"
)

// operatorCommand is where the daemon puts the operator's command on its host.
const operatorCommand = "/var/lib/dockstack/bin/docker-dockstack"

// Exit codes of the operator's command, as its help has them.
const (
	exitUsage    = 2
	exitNotFound = 3
	exitClash    = 4
)

// operate runs the operator's command on the host.
func (h *host) operate(args ...string) string {
	h.t.Helper()
	out, err := h.Exec(h.ctx(), append([]string{operatorCommand}, args...)...)
	if err != nil {
		h.t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// cannot is an order that must fail with the exit code, and with all the words
// in what it writes, which it returns.
func (h *host) cannot(code int, args []string, words ...string) {
	h.t.Helper()
	out, err := h.Exec(h.ctx(), append([]string{operatorCommand}, args...)...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != code {
		h.t.Errorf("dockstack %s: want exit code %d, got %v\n%s", strings.Join(args, " "), code, err, out)
		return
	}
	text := out + err.Error()
	h.t.Log(text)
	for _, w := range words {
		if !strings.Contains(text, w) {
			h.t.Errorf("dockstack %s: what it says lacks %q: %s", strings.Join(args, " "), w, text)
		}
	}
}

// leases are what `dockstack ls` lists, by name and network.
func (h *host) leases(args ...string) map[string]admin.Lease {
	h.t.Helper()
	var all []admin.Lease
	h.check(json.Unmarshal([]byte(h.operate(append([]string{"ls", "--json"}, args...)...)), &all))
	out := map[string]admin.Lease{}
	for _, l := range all {
		out[l.Name+" "+l.Network] = l
	}
	return out
}

// write puts a file into the test's folder.
func (h *host) write(name, text string) (path string) {
	h.t.Helper()
	path = filepath.Join(h.dir, name)
	h.check(os.WriteFile(path, []byte(text), 0o600))
	return path
}

// releases drops what a test reserved, so that the next finds the host as it was.
func (h *host) releases(names ...string) {
	h.t.Cleanup(func() {
		h.clean()
		for _, n := range names {
			_, _ = h.Exec(h.ctx(), operatorCommand, "release", n) // what the test did not come to
		}
	})
}

// TestOperatorReserves: an operator's word holds for the container that comes,
// and takes nothing from one that runs.
func TestOperatorReserves(t *testing.T) {
	h := newHost(t)
	h.releases("op-web", "op-db", "op-db1", "op-thief", "op-ahead")
	h.create("op", "--subnet", "172.31.0.0/24")
	h.serve("op-web", "op")
	web := h.ipv4("op-web", "op")

	h.eventually(time.Minute, func() string { // the engine tells a network's name after its first container
		if _, there := h.leases()["op-web op"]; !there {
			return "ls does not have op-web on op"
		}
		return ""
	})
	got := h.leases()["op-web op"]
	if got.Address != web || got.State != admin.StateLive || got.MAC != h.mac("op-web", "op") || got.Reserved {
		t.Errorf("ls has %+v, the engine %s", got, web)
	}
	if table := h.operate("ls", "--state", "live"); !strings.Contains(table, "op-web") || !strings.Contains(table, web.String()) {
		t.Errorf("the table lacks op-web and %s:\n%s", web, table)
	}

	h.operate("reserve", "op-db", "172.31.0.77")
	h.run("op-db", "op")
	if a := h.ipv4("op-db", "op").String(); a != "172.31.0.77" {
		t.Errorf("op-db has %s, and 172.31.0.77 was reserved for it", a)
	}

	// What runs is left alone, and who is in the way is named.
	h.cannot(exitClash, []string{"reserve", "op-thief", web.String()}, "op-web", web.String())
	h.cannot(exitClash, []string{"reserve", "op-thief", "172.31.0.77"}, "op-db")
	h.cannot(exitClash, []string{"release", "op-web"}, "op-web", "stop")
	h.cannot(exitClash, []string{"rename", "op-web", "op-thief"}, "docker rename")
	h.cannot(exitNotFound, []string{"release", "op-wbe"}, "`op-web`")
	if l := h.leases(); l["op-web op"].Address != web || l["op-thief op"].Name != "" {
		t.Errorf("a refused order changed something: %+v", l)
	}

	// A name's reservation goes with it to a new name.
	h.remove("op-db")
	h.operate("rename", "op-db", "op-db1")
	h.run("op-db1", "op")
	if a := h.ipv4("op-db1", "op").String(); a != "172.31.0.77" {
		t.Errorf("op-db1 has %s, and op-db's 172.31.0.77 was given to it", a)
	}

	// What is released is free for who asks.
	h.remove("op-db1")
	h.operate("release", "op-db1")
	if l, ok := h.leases()["op-db1 op"]; ok {
		t.Errorf("op-db1 is released, and ls has %+v", l)
	}
	h.run("op-ahead", "op", "--ip", "172.31.0.77")
}

// TestOperatorInDocker: the command is one of Docker's own too, comes with the
// plugin, and only root and the docker group may use it.
func TestOperatorInDocker(t *testing.T) {
	h := newHost(t)
	h.create("op", "--subnet", "172.31.0.0/24")
	h.run("op-web", "op")
	h.releases("op-web")
	h.onHost("mkdir", "-p", "/etc/docker-user/cli-plugins")
	h.onHost("ln", "-sf", operatorCommand, "/etc/docker-user/cli-plugins/docker-dockstack")
	t.Cleanup(func() { h.onHost("rm", "-r", "/etc/docker-user") })
	docker := func(args ...string) (string, error) {
		return h.Exec(h.ctx(), append([]string{"env", "DOCKER_CONFIG=/etc/docker-user", "docker", "dockstack"}, args...)...)
	}
	out, err := docker("ls")
	if err != nil || !strings.Contains(out, "op-web") {
		t.Errorf("docker dockstack ls: %v\n%s", err, out)
	}
	var exit *exec.ExitError
	if _, err := docker("release", "op-wbe"); !errors.As(err, &exit) || exit.ExitCode() != exitNotFound || !strings.Contains(err.Error(), "`op-web`") {
		t.Errorf("docker dockstack release op-wbe: %v, want exit code %d and what was meant", err, exitNotFound)
	}

	// Who is in the group may, as for Docker itself. Nobody else may.
	as := func(group string) error {
		_, err := h.Exec(h.ctx(), "setpriv", "--reuid=65534", "--regid="+group, "--clear-groups", operatorCommand, "ls")
		return err
	}
	h.socketIs("600 0 0")
	groups := h.onHost("cat", "/etc/group")
	h.onHost("sh", "-c", "echo docker:x:4711: >> /etc/group")
	t.Cleanup(func() { h.check(h.WriteFile("/etc/group", groups)) })
	h.away(func() {})
	h.socketIs("660 0 4711")
	if err := as("4711"); err != nil {
		t.Errorf("the group docker may not: %v", err)
	}
	if err := as("65534"); err == nil {
		t.Error("nobody may list leases")
	}

	// It is put back with the plugin, should it be lost.
	h.away(func() { h.onHost("rm", operatorCommand) })
	h.eventually(time.Minute, func() string {
		if _, err := h.Exec(h.ctx(), operatorCommand, "version"); err != nil {
			return err.Error()
		}
		return ""
	})
}

// socketIs waits until the operator's socket has this mode, owner and group.
func (h *host) socketIs(want string) {
	h.t.Helper()
	h.eventually(10*time.Second, func() string {
		if got, _ := h.Exec(h.ctx(), "stat", "-c", "%a %u %g", admin.Socket); strings.TrimSpace(got) != want {
			return "the socket is " + got + ", want " + want
		}
		return ""
	})
}
