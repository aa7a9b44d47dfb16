package stack

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/dockstack/dockstack/test/lab"
)

// registryAddr is where the plugin's registry listens in a host; plain http is allowed there.
const registryAddr = "127.0.0.1:5055"

// plugin runs docker plugin commands, one after the other.
func plugin(ctx context.Context, h *lab.Host, commands [][]string) error {
	for _, c := range commands {
		if _, err := h.Docker(ctx, append([]string{"plugin"}, c...)...); err != nil {
			return err
		}
	}
	return nil
}

// pushed puts the plugin into a registry in the host, as another version of itself, and returns its reference.
func pushed(ctx context.Context, h *lab.Host) (string, error) {
	if err := startRegistry(ctx, h); err != nil {
		return "", err
	}
	root, err := lab.Root()
	if err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp("", "stack-plugin-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	dir := filepath.Join(tmp, "plugin")
	if out, err := exec.CommandContext(ctx, "cp", "-a", filepath.Join(root, "build", "plugin"), dir).CombinedOutput(); err != nil {
		return "", fmt.Errorf("copy the plugin: %w: %s", err, out)
	}
	// The engine takes no plugin whose configuration and files it has already.
	tag := fmt.Sprint(time.Now().UnixNano())
	config, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		return "", err
	}
	other := strings.Replace(string(config), `"dockstack: `, `"dockstack `+tag+`: `, 1)
	for path, text := range map[string]string{"config.json": other, "rootfs/etc/version": tag} {
		if err := os.WriteFile(filepath.Join(dir, path), []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	ref := registryAddr + "/dockstack-plugin:" + tag
	return ref, plugin(ctx, h, [][]string{{"create", ref, dir}, {"push", ref}, {"rm", ref}})
}

// startRegistry starts Debian's docker-registry in a host, unless it runs there. It ends with the host's run.
func startRegistry(ctx context.Context, h *lab.Host) error {
	const knock = "echo > /dev/tcp/127.0.0.1/5055"
	if _, err := h.Exec(ctx, "bash", "-c", knock); err == nil {
		return nil
	}
	const config = "/etc/dockstack-registry.yml"
	if err := h.WriteFile(config, "version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: /var/lib/registry}}\n"+
		"http: {addr: '"+registryAddr+"'}\n"); err != nil {
		return err
	}
	cmd := h.Command(context.WithoutCancel(ctx), "docker-registry", "serve", config)
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }()
	return retry(ctx, 30*time.Second, func() error {
		_, err := h.Exec(ctx, "bash", "-c", knock)
		return err
	})
}
