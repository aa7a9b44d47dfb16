package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// server serves the plugin's protocols on any number of sockets.
type server struct {
	http      http.Server
	listeners []net.Listener
}

// listen opens the sockets. A file that a killed process left is replaced;
// sockets belong to root alone, as the engine does.
func listen(ctx context.Context, h http.Handler, paths ...string) (*server, error) {
	s := &server{http: http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}}
	for _, path := range paths {
		l, err := listenUnix(ctx, path)
		if err != nil {
			return nil, errors.Join(err, s.closeListeners())
		}
		s.listeners = append(s.listeners, l)
	}
	return s, nil
}

func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make socket directory: %w", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("replace old socket: %w", err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for the engine: %w", err)
	}
	return l, os.Chmod(path, 0o600)
}

func (s *server) closeListeners() error {
	var errs []error
	for _, l := range s.listeners {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// serve answers until ctx ends, and then finishes what it has begun.
func (s *server) serve(ctx context.Context, log *slog.Logger) {
	for _, l := range s.listeners {
		go func() {
			if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				log.Error("socket ended", "path", l.Addr().String(), "error", err)
			}
		}()
	}
	<-ctx.Done()
	// The engine kills us 10 s after its SIGTERM.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 4*time.Second)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		log.Warn("calls were cut off", "error", err)
	}
}
