// Command dockstack is the daemon inside the managed plugin, and the command with
// which operators ask it.
package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/dockstack/dockstack/internal/command"
)

// version is set by the build.
var version = "dev"

func main() { os.Exit(command.Main(version, runDaemon)) }

func runDaemon() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	cfg, cfgErr := readConfig()
	// The engine puts a time of its own before each line.
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: cfg.logLevel, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey && len(groups) == 0 {
			return slog.Attr{}
		}
		return a
	}}))
	// 100,000 leases take 33 MB; the limit keeps bursts, such as parking all of
	// them after a reboot, from doubling what they need. A shared store comes
	// with a client, and at the start with everything at once.
	limit := int64(80 << 20)
	if cfg.store.is() {
		limit = 145 << 20
	}
	debug.SetMemoryLimit(limit)
	if err := daemon(ctx, cfg, cfgErr, log); err != nil {
		log.Error("daemon ended", "error", err)
		return 1
	}
	return 0
}
