package page

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"
)

// Config is what a Server needs to know.
type Config struct {
	// Addr is where it listens. Other names than this address, loopback's and
	// those of Names are refused.
	Addr netip.AddrPort
	// Names are more names that it may be asked by, such as the host's own.
	Names []string
	// Metrics is served at /metrics, unless nil.
	Metrics http.Handler
	Log     *slog.Logger
}

// Server serves the page.
type Server struct {
	cfg     Config
	desk    *desk
	cache   cache
	handler http.Handler

	// streams and scans hold a place for each stream and each reading of all
	// leases.
	streams, scans chan struct{}
	watching       atomic.Int64
	// stopping is closed when the streams are to end.
	stopping chan struct{}
	stopOnce sync.Once
	// trouble is why the page is not served.
	trouble atomic.Pointer[error]
}

// Limits of what all clients together may have.
const (
	maxConns    = 128
	maxStreams  = 16
	maxScans    = 2
	headerTime  = 5 * time.Second
	requestTime = 20 * time.Second
	idleTime    = 60 * time.Second
	headerBytes = 16 << 10
	// lastWords is how long requests have to end once the daemon stops.
	lastWords = 2 * time.Second
	// listenAgain is the pause between two attempts to listen.
	listenAgain = 3 * time.Second
)

// New makes a server; it does not listen yet.
func New(cfg Config, src Source) *Server {
	s := &Server{
		cfg: cfg, desk: &desk{src: src},
		streams: make(chan struct{}, maxStreams), scans: make(chan struct{}, maxScans), stopping: make(chan struct{}),
	}
	s.desk.watching = s.watching.Load
	s.handler = s.guard(s.routes())
	return s
}

// Handler answers requests, to anybody who asks by one of the names.
func (s *Server) Handler() http.Handler { return s.handler }

// Follow keeps the last events until ctx ends, for a Handler that others serve.
func (s *Server) Follow(ctx context.Context) { s.desk.follow(ctx) }

// Run follows events, and listens and serves until ctx ends. An address that
// can't be listened on now is tried again.
func (s *Server) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.Follow(ctx) })
	last := ""
	for ctx.Err() == nil {
		err := s.serve(ctx)
		if err != nil && ctx.Err() == nil {
			s.trouble.Store(&err)
		}
		if err != nil && ctx.Err() == nil && err.Error() != last {
			last = err.Error()
			s.cfg.Log.Warn("the status page can't be served yet", "addr", s.cfg.Addr.String(), "error", err)
		}
		_ = wait(ctx, listenAgain)
	}
}

// Trouble is why the page is not served, nil where it is, or is about to be.
func (s *Server) Trouble() error {
	if err := s.trouble.Load(); err != nil {
		return *err
	}
	return nil
}

func (s *Server) serve(ctx context.Context) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.cfg.Addr.String())
	if err != nil {
		return fmt.Errorf("listen for browsers: %w", err)
	}
	if !s.cfg.Addr.Addr().IsLoopback() {
		s.cfg.Log.Warn("the status page can be read by everybody who reaches its address", "addr", l.Addr().String())
	}
	s.trouble.Store(nil)
	s.cfg.Log.Info("the status page is served", "url", "http://"+l.Addr().String()+"/")
	srv := &http.Server{
		Handler: s.handler, ReadHeaderTimeout: headerTime, ReadTimeout: requestTime, IdleTimeout: idleTime, MaxHeaderBytes: headerBytes,
		ErrorLog: slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(netutil.LimitListener(l, maxConns)) }()
	select {
	case err = <-ended:
		return fmt.Errorf("serve browsers: %w", err)
	case <-ctx.Done():
	}
	s.stopOnce.Do(func() { close(s.stopping) })
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	if err = srv.Shutdown(ctx); err != nil {
		err = errors.Join(err, srv.Close())
	}
	if e := <-ended; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}

// Endpoints of the server; all but the metrics and the page itself are for the
// page's own script.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", s.servePage)
	mux.HandleFunc("/part/{section}", s.servePart)
	mux.HandleFunc("/stream", s.serveStream)
	mux.HandleFunc("/assets/{file}", serveAsset)
	mux.HandleFunc("/favicon.ico", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/assets/good.svg", http.StatusMovedPermanently)
	})
	if s.cfg.Metrics != nil {
		mux.Handle("/metrics", s.cfg.Metrics)
	}
	return mux
}
