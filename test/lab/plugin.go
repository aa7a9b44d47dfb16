package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// PluginName is what the managed plugin is called; the driver in it is called dockstack.
const PluginName = "dockstack-plugin"

// InstallPlugin makes the managed plugin from build/plugin and enables it. Settings are KEY=value.
func (h *Host) InstallPlugin(ctx context.Context, settings ...string) error {
	root, err := Root()
	if err != nil {
		return err
	}
	dir := filepath.Join(root, "build", "plugin")
	if _, err := os.Stat(filepath.Join(dir, "rootfs", "bin", "dockstack")); err != nil {
		return fmt.Errorf("no plugin in %s: run `make plugin`", dir)
	}
	if _, err := h.Docker(ctx, "plugin", "create", PluginName, dir); err != nil {
		return err
	}
	if len(settings) > 0 {
		if _, err := h.Docker(ctx, append([]string{"plugin", "set", PluginName}, settings...)...); err != nil {
			return err
		}
	}
	if _, err := h.Docker(ctx, "plugin", "enable", PluginName); err != nil {
		return fmt.Errorf("%w%s", err, h.logTail())
	}
	return nil
}

// PluginPID returns the process id of the plugin's daemon as this process sees it; 0 if there is none.
func (h *Host) PluginPID() int {
	if pids := h.processes("dockstack"); len(pids) > 0 {
		return pids[0]
	}
	return 0
}

// KillPlugin kills the plugin's daemon with kill -9. The engine starts it again by itself.
func (h *Host) KillPlugin(ctx context.Context) error {
	pid := h.PluginPID()
	if pid == 0 {
		return errors.New("no plugin runs on " + h.Name)
	}
	return signalAndWait(ctx, pid, unix.SIGKILL)
}
