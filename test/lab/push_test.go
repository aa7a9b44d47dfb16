package lab_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/dockstack/dockstack/test/lab"
)

// registry runs Debian's docker-registry inside the host, on its loopback: plain http is allowed there.
func registry(t *testing.T, h *lab.Host) string {
	t.Helper()
	const addr = "127.0.0.1:5000"
	config := filepath.Join(t.TempDir(), "registry.yml")
	must(t, os.WriteFile(config, fmt.Appendf(nil,
		"version: 0.1\nstorage: {filesystem: {rootdirectory: /var/lib/registry}}\nhttp: {addr: %q}\n", addr), 0o600))
	cmd := h.Command(t.Context(), "docker-registry", "serve", config)
	must(t, cmd.Start())
	go func() { _ = cmd.Wait() }()
	eventually(t, "the registry listens", func() bool {
		_, err := h.Exec(t.Context(), "bash", "-c", "echo > /dev/tcp/127.0.0.1/5000")
		return err == nil
	})
	return addr
}

func TestPushedPluginInstalls(t *testing.T) {
	root, err := lab.Root()
	must(t, err)
	plugin := filepath.Join(root, "build", "plugin")
	if _, err := os.Stat(filepath.Join(plugin, "config.json")); err != nil {
		t.Fatal("no plugin in build/plugin: run `make plugin`")
	}
	h := lab.ForTest(t, lab.Options{}).Host(1)
	ref := registry(t, h) + "/dockstack-plugin:1.0"

	push := exec.CommandContext(t.Context(), filepath.Join(root, "test", "engine", "push.sh"), plugin, ref)
	push.Env = append(os.Environ(), "DOCKER_HOST=unix://"+h.Socket, "PATH="+filepath.Join(root, "build", "engine", "bin")+":"+os.Getenv("PATH"))
	if out, err := push.CombinedOutput(); err != nil {
		t.Fatalf("push: %v: %s", err, out)
	}
	if left := docker(t, h, "plugin", "ls", "-q"); left != "" {
		t.Fatalf("push left a plugin behind: %s", left)
	}

	docker(t, h, "plugin", "install", "--grant-all-permissions", "--alias", lab.PluginName, ref)
	got := docker(t, h, "plugin", "inspect", "-f", "{{.Name}} {{.PluginReference}} {{.Enabled}}", lab.PluginName)
	if want := lab.PluginName + ":latest " + ref + " true"; got != want {
		t.Errorf("installed: %q, want %q", got, want)
	}
	if h.PluginPID() == 0 {
		t.Error("the plugin is enabled, but its daemon does not run")
	}
}
