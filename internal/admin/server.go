package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dockstack/dockstack/internal/nearest"
)

// What one may ask at once and how long it may take. Who opens the socket is as
// good as root; these keep a script that goes wrong from taking memory and time
// that containers' starts need.
const (
	maxConns   = 256
	maxCalls   = 32
	maxWatches = 32
	maxBody    = 1 << 20
	// maxTold bounds errors, which may have the plan of a whole import.
	maxTold   = 128 << 20
	maxHeader = 32 << 10

	callWithin = 30 * time.Second
	fileWithin = 5 * time.Minute
	// heartbeat is how often a watch says that it is alive.
	heartbeat = 15 * time.Second
	// writeWithin is how long a client may leave what it asked for unread.
	writeWithin = 30 * time.Second
	// finishWithin is how long calls may go on when the daemon ends.
	finishWithin = 3 * time.Second
)

// Server answers the API's calls.
type Server struct {
	backend Backend
	version string
	log     *slog.Logger
	routes  []string
	mux     *http.ServeMux
	calls   chan struct{}
	watches chan struct{}
	// file is the place of the one call that carries a file.
	file chan struct{}
}

// NewServer makes a server of the daemon that backend is.
func NewServer(backend Backend, version string, log *slog.Logger) *Server {
	s := &Server{
		backend: backend, version: version, log: log, mux: http.NewServeMux(),
		calls: make(chan struct{}, maxCalls), watches: make(chan struct{}, maxWatches), file: make(chan struct{}, 1),
	}
	s.handleAll()
	s.mux.HandleFunc("/", s.unknown)
	return s
}

// Serve answers on l until ctx ends.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		// Watches end with ctx.
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: withCaller,
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(&bounded{Listener: l}) }()
	select {
	case err := <-ended:
		return fmt.Errorf("the operator's socket ended: %w", err)
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishWithin)
	defer cancel()
	err := srv.Shutdown(last)
	if err != nil {
		err = errors.Join(err, srv.Close())
	}
	if last := <-ended; !errors.Is(last, http.ErrServerClosed) {
		err = errors.Join(err, last)
	}
	return err
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if what := recover(); what != nil {
			if what == http.ErrAbortHandler { //nolint:errorlint // a panic value is no error chain
				panic(what)
			}
			s.log.Error("an operator's call failed in a way that is a bug", "call", r.Method+" "+Plain(r.URL.Path), "panic", fmt.Sprint(what), "stack", string(debug.Stack()))
			writeError(w, Errorf(CodeFailed, "the daemon failed in a way that is a bug; its log has more"))
		}
	}()
	s.mux.ServeHTTP(w, r)
}

// Also has the server answer more, in other ways than the API's.
func (s *Server) Also(pattern string, h http.Handler) { s.mux.Handle(pattern, h) }

// enter takes one of the calls' places, until leave; without one it answers that.
func (s *Server) enter(w http.ResponseWriter) bool {
	select {
	case s.calls <- struct{}{}:
		return true
	default:
		writeError(w, Errorf(CodeBusy, "%d calls are being answered already; try again", maxCalls))
		return false
	}
}

func (s *Server) leave() { <-s.calls }

// handle registers a call that answers with what fn returns.
func (s *Server) handle(pattern string, within time.Duration, fn func(ctx context.Context, r *http.Request) (any, error)) {
	s.routes = append(s.routes, pattern)
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if !s.enter(w) {
			return
		}
		defer s.leave()
		ctx, cancel := context.WithTimeout(r.Context(), within)
		defer cancel()
		deadline(w, within)
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		if r.Method != http.MethodGet {
			s.log.Info("an operator's call", "call", pattern, "uid", callerOf(r.Context()))
		}
		out, err := fn(ctx, r)
		if err != nil {
			writeError(w, timed(ctx, err))
			return
		}
		deadline(w, writeWithin)
		writeJSON(w, http.StatusOK, out)
	})
}

// deadline bounds how long the call may read and write from now on. Recorders of
// tests have no deadlines.
func deadline(w http.ResponseWriter, within time.Duration) {
	c := http.NewResponseController(w)
	end := time.Now().Add(within)
	_ = c.SetReadDeadline(end)
	_ = c.SetWriteDeadline(end)
}

// timed says what a person can make of a context's end.
func timed(ctx context.Context, err error) error {
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		return Errorf(CodeAway, "the daemon did not get to it in time (%s); `dockstack status` says what keeps it", err)
	}
	return err
}

// unknown answers calls that there are none of.
func (s *Server) unknown(w http.ResponseWriter, r *http.Request) {
	asked := r.Method + " " + r.URL.Path
	writeError(w, Errorf(CodeUsage, "the daemon (%s) has no call `%s`%s", s.version, Plain(shorten(asked)), nearest.Hint(asked, slices.Clone(s.routes))))
}

func shorten(text string) string {
	if len(text) > 200 {
		return strings.ToValidUTF8(text[:200], "") + "…"
	}
	return text
}

// bounded refuses connections beyond maxConns: those that wait would look like a
// daemon that hangs.
type bounded struct {
	net.Listener
	open atomic.Int64
}

// Accept implements net.Listener.
func (b *bounded) Accept() (net.Conn, error) {
	for {
		c, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if b.open.Add(1) <= maxConns {
			return &counted{Conn: c, open: &b.open}, nil
		}
		b.open.Add(-1)
		_ = c.Close()
	}
}

type counted struct {
	net.Conn
	open   *atomic.Int64
	closed atomic.Bool
}

// Close implements net.Conn.
func (c *counted) Close() error {
	if !c.closed.Swap(true) {
		c.open.Add(-1)
	}
	return c.Conn.Close()
}
