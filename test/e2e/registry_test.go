package e2e

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/dockstack/dockstack/test/lab"
)

// registryAddr is on the lab host's own loopback, which docker trusts without
// TLS, and on a port that no compose file publishes.
const registryAddr = "127.0.0.1:5999"

// registry starts Debian's docker-registry on the lab host, if none runs there.
func (h *host) registry() {
	h.t.Helper()
	alive := func() string {
		var err error
		h.inNet(func() {
			var c net.Conn
			if c, err = net.DialTimeout("tcp", registryAddr, time.Second); err == nil {
				err = c.Close()
			}
		})
		if err != nil {
			return err.Error()
		}
		return ""
	}
	if alive() == "" {
		return
	}
	h.check(h.WriteFile("/etc/dockstack-registry.yml", "version: 0.1\nlog: {level: error}\n"+
		"storage: {filesystem: {rootdirectory: /var/lib/registry}}\nhttp: {addr: '"+registryAddr+"'}\n"))
	cmd := h.Command(h.t.Context(), "docker-registry", "serve", "/etc/dockstack-registry.yml")
	log := new(strings.Builder)
	cmd.Stdout, cmd.Stderr = log, log
	h.check(cmd.Start())
	h.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	h.eventually(20*time.Second, func() string {
		if why := alive(); why != "" {
			return "docker-registry: " + why
		}
		return ""
	})
}

// pushed puts the plugin into the registry under a tag, as another version of
// itself, and returns its reference.
func (h *host) pushed(tag string) string {
	h.t.Helper()
	h.registry()
	root, err := lab.Root()
	h.check(err)
	dir := filepath.Join(h.t.TempDir(), "plugin")
	if out, err := exec.Command("cp", "-a", filepath.Join(root, "build", "plugin"), dir).CombinedOutput(); err != nil {
		h.t.Fatalf("copy the plugin: %v: %s", err, out)
	}
	config, err := os.ReadFile(filepath.Join(dir, "config.json"))
	h.check(err)
	h.check(os.WriteFile(filepath.Join(dir, "config.json"), []byte(strings.Replace(string(config), `"dockstack: `, `"dockstack `+tag+`: `, 1)), 0o600))
	// The engine takes no plugin whose files are all in its store already.
	h.check(os.WriteFile(filepath.Join(dir, "rootfs", "etc", "version"), []byte(tag), 0o600))
	ref := registryAddr + "/dockstack-plugin:" + tag
	h.docker("plugin", "create", ref, dir)
	h.docker("plugin", "push", ref)
	h.docker("plugin", "rm", ref)
	return ref
}
