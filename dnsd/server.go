package dnsd

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// retryEvery is how often an address that could not be opened is tried
	// again: another server that holds it goes away when somebody stops it,
	// and two seconds later the address is ours.
	retryEvery = 2 * time.Second
	// ownRefresh is how often the host's addresses are read anew, so that one
	// that it gave up is not served any more.
	ownRefresh = 30 * time.Second
)

// Server answers DNS on the addresses that SetListeners names. Its methods
// are safe for concurrent use.
type Server struct {
	cfg      Config
	zone     zone
	names    func() Names
	log      *slog.Logger
	access   *access
	forwards *forwarder
	rate     *rateLimiter
	conns    *conns
	count    counters
	self     atomic.Pointer[map[netip.AddrPort]struct{}]
	// transfers bounds those under way.
	transfers chan struct{}

	// ctx ends with Close, and with it whatever the server has under way.
	ctx    context.Context // the server's life, not a call's
	cancel context.CancelFunc
	// wg counts the goroutines of listeners and connections.
	wg sync.WaitGroup

	mu     sync.Mutex
	wanted []netip.AddrPort             // guarded by mu
	open   map[netip.AddrPort]*listener // guarded by mu; by the address wanted
	failed map[netip.AddrPort]error     // guarded by mu; by the address wanted
}

// New makes a server that listens nowhere yet. names returns the present
// picture of who is live, or nil while that is not known: queries for names
// of ours then fail instead of denying them. It is called for each batch of
// queries and must not block.
func New(cfg Config, names func() Names, log *slog.Logger) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{
		cfg: cfg, zone: newZone(cfg.Zone, cfg.Nameservers), names: names, log: log,
		access: newAccess(&cfg), conns: newConns(cfg.MaxConns, cfg.MaxConnsPerAddr),
		ctx: ctx, cancel: cancel, transfers: make(chan struct{}, transfersAtOnce),
		open: map[netip.AddrPort]*listener{}, failed: map[netip.AddrPort]error{},
	}
	s.self.Store(&map[netip.AddrPort]struct{}{})
	s.forwards = newForwarder(s)
	s.rate = newRateLimiter(cfg.ClientRate, s.access.isHost)
	return s, nil
}

// SetServed makes prefixes the subnets whose clients are served beside the
// host itself, and whose reverse zones are ours. It replaces the last set.
func (s *Server) SetServed(prefixes []netip.Prefix) {
	served := slices.Clone(prefixes)
	for i, p := range served {
		served[i] = p.Masked()
	}
	s.access.served.Store(&served)
}

// Zone is the zone that the names live under, without a dot at its end.
func (s *Server) Zone() string { return s.zone.name }

// Stats returns what was counted until now.
func (s *Server) Stats() Stats {
	st := s.count.stats()
	st.CacheEntries, st.CacheBytes = s.forwards.cache.size()
	return st
}

// Run tries addresses again that could not be opened, and closes the server
// when ctx ends.
func (s *Server) Run(ctx context.Context) {
	defer s.Close()
	for _, at := range s.cfg.Secondaries {
		s.wg.Go(func() { s.notify(ctx, at) })
	}
	retry, own := time.NewTicker(retryEvery), time.NewTicker(ownRefresh)
	defer retry.Stop()
	defer own.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.ctx.Done():
			return
		case <-retry.C:
			s.retry()
		case now := <-own.C:
			s.access.refresh(now)
		}
	}
}

// Close stops listening and returns when nothing of the server runs any more.
// A second call waits for the same.
func (s *Server) Close() {
	s.mu.Lock()
	s.cancel()
	for want, l := range s.open {
		l.close()
		delete(s.open, want)
	}
	s.mu.Unlock()
	s.conns.closeAll()
	s.wg.Wait()
	s.forwards.wg.Wait()
}

func (s *Server) isSelf(addr netip.AddrPort) bool {
	_, ok := (*s.self.Load())[addr]
	return ok || s.cfg.Self != nil && s.cfg.Self(addr)
}
