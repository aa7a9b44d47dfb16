// Package daemon is what runs in the managed plugin: it reads the settings, wires
// the parts, and keeps this host one of those that share a store.
package daemon

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// version is the binary's.
var version = "dev"

// Main serves until the process is told to end, and returns its exit code.
func Main(binaryVersion string) int {
	version = binaryVersion
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
	// 100,000 leases take 29 MB; the limit keeps bursts, such as parking all of
	// them after a reboot, from doubling what they need. A shared store comes
	// with a client, and at the start with everything at once.
	limit := int64(70 << 20)
	if cfg.store.is() {
		limit = 145 << 20
	}
	debug.SetMemoryLimit(limit)
	if err := serve(ctx, cfg, cfgErr, log); err != nil {
		log.Error("daemon ended", "error", err)
		return 1
	}
	return 0
}
