package events

import (
	"context"
	"sync"
	"time"

	"github.com/dockstack/dockstack/internal/admin"
)

const (
	// sampleEvery is the span of a sample, and samples how many are kept: an hour.
	sampleEvery = 10 * time.Second
	samples     = 360
)

// Samples are what DNS did lately.
type Samples struct {
	read func() admin.DNSStatus

	mu   sync.Mutex
	kept []admin.DNSSample // guarded by mu
}

// NewSamples makes samples of counters that read returns.
func NewSamples(read func() admin.DNSStatus) *Samples {
	return &Samples{read: read}
}

// All are the samples, oldest first.
func (s *Samples) All() []admin.DNSSample {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]admin.DNSSample(nil), s.kept...)
}

// Run takes samples until ctx ends.
func (s *Samples) Run(ctx context.Context) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	was, at := s.read(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		is, now := s.read(), time.Now()
		s.take(was, is, now, now.Sub(at))
		was, at = is, now
	}
}

func (s *Samples) take(was, is admin.DNSStatus, at time.Time, span time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) == samples {
		copy(s.kept, s.kept[1:])
		s.kept = s.kept[:samples-1]
	}
	s.kept = append(s.kept, admin.DNSSample{
		At: at, Seconds: span.Seconds(),
		Queries: less(is.Queries, was.Queries), Answered: less(is.Answered, was.Answered),
		Forwarded: less(is.Forwarded, was.Forwarded), Failed: less(is.Failed, was.Failed),
	})
}

// less is a-b for counters, which only grow.
func less(a, b uint64) uint64 { return max(a, b) - b }
