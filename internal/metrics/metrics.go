// Package metrics is what dockstack tells Prometheus.
//
// Most of it is read from the daemon's status at the moment it is asked for, so
// that no part of the daemon counts anything for it. No series is about one
// container: their number follows from that of networks and of parts.
package metrics

import (
	"context"
	"log/slog"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/dockstack/dockstack/internal/admin"
)

// Source is the daemon as the metrics see it: a method of admin.Backend.
type Source interface {
	// Status is how things stand. It answers at once, whatever is broken.
	Status(ctx context.Context) admin.Status
}

var _ Source = admin.Backend(nil)

// Config is what an Exporter needs; Drops may be nil.
type Config struct {
	Source Source
	// Drops is how many packets of each endpoint the switch dropped, by its id.
	Drops func(ctx context.Context) (map[string]uint64, error)
	Log   *slog.Logger
}

const (
	// askFor bounds what is asked of the daemon for one scrape.
	askFor = 5 * time.Second
	// maxScrapes is how many are answered at once.
	maxScrapes = 4
)

// Exporter has the metrics.
type Exporter struct {
	cfg      Config
	registry *prometheus.Registry
	calls    *prometheus.HistogramVec
	heals    *prometheus.CounterVec

	mu      sync.Mutex
	dropped uint64            // packets in all; guarded by mu
	by      map[string]uint64 // as read last, by endpoint; guarded by mu
}

// New makes an exporter.
func New(cfg Config) *Exporter {
	e := &Exporter{cfg: cfg, registry: prometheus.NewRegistry(), by: map[string]uint64{}}
	e.calls = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "dockstack_driver_call_duration_seconds",
		Help: "How long calls of the engine's took, by call and by whether they were served or refused.",
		// A known name's call takes less than a millisecond, a new one's waits for
		// the disk or the store, and the engine gives up after half a minute.
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
	}, []string{"call", "result"})
	e.heals = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "dockstack_heals_total",
		Help: "Containers that were restarted because the container whose network namespace they share was, or started because dockstack had not answered when they were to, by result: done or failed.",
	}, []string{"result"})
	for _, result := range []string{"done", "failed"} {
		e.heals.WithLabelValues(result)
	}
	e.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), e.calls, e.heals, e,
	)
	return e
}

// Handler answers scrapes.
func (e *Exporter) Handler() http.Handler {
	return promhttp.HandlerFor(e.registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(e.cfg.Log.Handler(), slog.LevelWarn), MaxRequestsInFlight: maxScrapes, Timeout: 2 * askFor,
		ErrorHandling: promhttp.ContinueOnError, // what can be told is
	})
}

// Results of a call.
const (
	served  = "served"
	refused = "refused"
)

// Call notes a call of the engine's. It does not wait.
func (e *Exporter) Call(path string, took time.Duration, err error) {
	result := served
	if err != nil {
		result = refused
	}
	e.calls.WithLabelValues(callName(path), result).Observe(took.Seconds())
}

// Heal notes that a container was restarted or started, or why it could not be.
func (e *Exporter) Heal(err error) {
	result := "done"
	if err != nil {
		result = "failed"
	}
	e.heals.WithLabelValues(result).Inc()
}

// callName is a call of the protocols, as /NetworkDriver.Join, without its slash;
// whatever else somebody asks for is one series.
func callName(path string) string {
	if _, known := protocol[path]; !known {
		return "other"
	}
	return path[1:]
}

var protocol = func() map[string]struct{} {
	out := map[string]struct{}{}
	for _, path := range []string{
		"/Plugin.Activate",
		"/NetworkDriver.GetCapabilities", "/NetworkDriver.CreateNetwork", "/NetworkDriver.DeleteNetwork", "/NetworkDriver.AllocateNetwork", "/NetworkDriver.FreeNetwork",
		"/NetworkDriver.CreateEndpoint", "/NetworkDriver.DeleteEndpoint", "/NetworkDriver.EndpointOperInfo", "/NetworkDriver.Join", "/NetworkDriver.Leave",
		"/NetworkDriver.DiscoverNew", "/NetworkDriver.DiscoverDelete", "/NetworkDriver.ProgramExternalConnectivity", "/NetworkDriver.RevokeExternalConnectivity",
		"/IpamDriver.GetCapabilities", "/IpamDriver.GetDefaultAddressSpaces", "/IpamDriver.RequestPool", "/IpamDriver.ReleasePool",
		"/IpamDriver.RequestAddress", "/IpamDriver.ReleaseAddress",
	} {
		out[path] = struct{}{}
	}
	return out
}()

// drops is how many packets were dropped since the daemon's start: endpoints
// come and go, and what went took its count along.
func (e *Exporter) drops(ctx context.Context) (uint64, bool) {
	if e.cfg.Drops == nil {
		return 0, false
	}
	now, err := e.cfg.Drops(ctx)
	if err != nil {
		e.cfg.Log.Debug("drops are left out of the metrics", "error", err)
		return 0, false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, n := range now {
		if was := e.by[id]; n >= was {
			e.dropped += n - was
		} else {
			e.dropped += n // a new port began to count anew
		}
	}
	e.by = now
	return e.dropped, true
}

var goVersion = runtime.Version()
