package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/dockstack/dockstack/internal/admin"
)

// retrySocket is how often the operator's socket is tried again that could not be
// made: containers don't need it.
const retrySocket = 10 * time.Second

// serveAdmin serves the operator's API until ctx ends.
func (p *parts) serveAdmin(ctx context.Context) {
	path := p.cfg.host(admin.Socket)
	srv := admin.NewServer(operator{p}, version, p.log)
	srv.Also("GET /metrics", p.metrics.Handler())
	for ctx.Err() == nil {
		err := p.serveAdminOnce(ctx, path, srv)
		if ctx.Err() != nil {
			return
		}
		p.log.Warn("operators can't reach this daemon", "socket", path, "error", err)
		if pause(ctx, retrySocket) != nil {
			return
		}
	}
}

func (p *parts) serveAdminOnce(ctx context.Context, path string, srv *admin.Server) error {
	// The group's id is the host's: the plugin has groups of its own.
	group, err := admin.DockerGroup(p.cfg.host("/etc/group"))
	if err != nil {
		p.log.Warn("only root can reach this daemon", "error", err)
	}
	// What stands beside the socket is for everybody to enter, such as the status;
	// what is not has modes of its own.
	if err := openDir(filepath.Dir(path)); err != nil {
		return err
	}
	l, err := admin.Listen(ctx, path, group)
	if err != nil {
		return err
	}
	return srv.Serve(ctx, l)
}

// openDir makes a directory that everybody may enter.
func openDir(path string) error {
	err := os.MkdirAll(path, 0o755)
	if err == nil {
		err = os.Chmod(path, 0o755) //nolint:gosec // what is in it has modes of its own
	}
	if err != nil {
		return fmt.Errorf("make the socket's directory: %w", err)
	}
	return nil
}
