package lab_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/test/lab"
)

// web runs a container that listens on port 80, on a network of the engine's own bridge driver.
func web(t *testing.T, h *lab.Host, name string, args ...string) {
	t.Helper()
	if err := h.StandIn(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := append([]string{"run", "-d", "--name", name}, args...)
	docker(t, h, append(all, lab.StandInImage, "serve", "80")...)
}

func docker(t *testing.T, h *lab.Host, args ...string) string {
	t.Helper()
	out, err := h.Docker(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits until ok says so: engines do some things a moment after they answer.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal("never happened: " + what)
}

func running(t *testing.T, h *lab.Host, name string) func() bool {
	t.Helper()
	return func() bool { return docker(t, h, "inspect", "-f", "{{.State.Running}}", name) == "true" }
}

func TestHostsReachEachOtherOnTheUnderlay(t *testing.T) {
	l := lab.ForTest(t, lab.Options{Hosts: 2})
	web(t, l.Host(1), "web", "-p", "8080:80")
	out, err := l.Host(2).Docker(t.Context(), "version", "-f", "{{.Server.Version}}")
	must(t, err)
	if !strings.HasPrefix(out, "29.") {
		t.Errorf("the engine's version is %q, want 29", out)
	}
	must(t, l.Host(2).StandIn(t.Context()))
	// The published port answers on the underlay, through the other host's own bridge and default route.
	name := docker(t, l.Host(2), "run", "--rm", lab.StandInImage, "get", l.Host(1).Addr+":8080")
	if id := docker(t, l.Host(1), "inspect", "-f", "{{.Config.Hostname}}", "web"); name != id {
		t.Errorf("h2 reached %q, want the container %q on h1", name, id)
	}
}

func TestHostHasItsOwnSystem(t *testing.T) {
	h := lab.ForTest(t, lab.Options{}).Host(1)
	for _, c := range []struct{ name, command, want string }{
		{"host name", "uname -n", "h1"},
		{"address", "ip -4 -o addr show eth0 | awk '{print $4}'", "192.0.2.1/24"},
		{"default route", "ip route show default", "default via 192.0.2.254 dev eth0"},
		{"network seen in /sys", "ls /sys/class/net | tr '\\n' ' '", "docker0 eth0 lo"},
		{"few processes", "ps -e -o pid= | head -n 1 | tr -d ' '", "1"},
		{"/run on a tmpfs", "stat -f -c %T /run", "tmpfs"},
		{"/var/lib of its own", "ls /var/lib", "docker"},
		{"mounts shared inside", "findmnt -n -o PROPAGATION /run", "shared"},
		{"cgroups of its own", "cut -d: -f3 /proc/1/cgroup | grep -vx /init | sort -u", "/"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := h.Exec(t.Context(), "sh", "-c", c.command)
			must(t, err)
			if got := strings.TrimSpace(out); got != c.want {
				t.Errorf("%s: got %q, want %q", c.command, got, c.want)
			}
		})
	}
}

func TestEngineStopsStartsAndDies(t *testing.T) {
	h := lab.ForTest(t, lab.Options{}).Host(1)
	web(t, h, "web", "--restart", "always")
	for _, c := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"restart", h.EngineRestart},
		{"kill -9", func(ctx context.Context) error {
			if err := h.EngineKill9(ctx); err != nil {
				return err
			}
			return h.EngineStart(ctx)
		}},
		{"reboot", h.Reboot},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := h.EnginePID()
			must(t, c.do(t.Context()))
			if after := h.EnginePID(); after == before || after == 0 {
				t.Errorf("dockerd's pid was %d and is %d: it did not start anew", before, after)
			}
			eventually(t, "the container with restart: always runs", running(t, h, "web"))
		})
	}
}

func TestRebootEmptiesRunAndKeepsTheDisk(t *testing.T) {
	h := lab.ForTest(t, lab.Options{}).Host(1)
	ctx := t.Context()
	_, err := h.Exec(ctx, "sh", "-c", "touch /run/gone /var/lib/kept /etc/kept; ip link add gone type bridge")
	must(t, err)
	must(t, h.SetResolvers("192.0.2.7"))
	must(t, h.Reboot(ctx))
	out, err := h.Exec(ctx, "sh", "-c", "ls -d /run/gone /var/lib/kept /etc/kept /sys/class/net/gone 2>/dev/null; cat /etc/resolv.conf")
	must(t, err)
	if want := "/etc/kept\n/var/lib/kept\nnameserver 192.0.2.7\n"; out != want {
		t.Errorf("after the reboot: %q, want %q", out, want)
	}
	if _, err := os.Stat("/etc/kept"); err == nil {
		t.Error("the host wrote into the machine's /etc")
	}
}

func TestCommandDiesWithItsCaller(t *testing.T) {
	h := lab.ForTest(t, lab.Options{}).Host(1)
	ctx, cancel := context.WithCancel(t.Context())
	cmd := h.Command(ctx, "sleep", "4711")
	must(t, cmd.Start())
	inside := func() bool {
		_, err := h.Exec(t.Context(), "pgrep", "-f", "^sleep 4711")
		return err == nil
	}
	eventually(t, "the command runs", inside)
	cancel()
	_ = cmd.Wait()
	eventually(t, "the command ends", func() bool { return !inside() })
}

func TestComposeBringsServicesUp(t *testing.T) {
	h := lab.ForTest(t, lab.Options{}).Host(1)
	must(t, h.StandIn(t.Context()))
	file := filepath.Join(t.TempDir(), "compose.yml")
	must(t, os.WriteFile(file, []byte("services:\n  a: {image: standin}\n  b: {image: standin}\n"), 0o600))
	_, err := h.Compose(t.Context(), "-f", file, "-p", "x", "up", "-d")
	must(t, err)
	if got := docker(t, h, "ps", "--format", "{{.Names}}"); strings.Count(got, "x-") != 2 {
		t.Errorf("running: %q, want x-a-1 and x-b-1", got)
	}
	_, err = h.Compose(t.Context(), "-f", file, "-p", "x", "stop")
	must(t, err)
	// 137 is Docker's SIGKILL, after the 10 s that SIGTERM has.
	if got := docker(t, h, "inspect", "-f", "{{.State.ExitCode}}", "x-a-1", "x-b-1"); strings.Contains(got, "137") {
		t.Errorf("exit codes %q: the stand-in did not end on SIGTERM", got)
	}
	_, err = h.Compose(t.Context(), "-f", file, "-p", "x", "down")
	must(t, err)
}
