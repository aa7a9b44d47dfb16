package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/dockstack/dockstack/internal/fabric"
)

// statusPath is the file on the host that says how things stand.
const statusPath = runDir + "/status"

const (
	// statusEvery is how often the file is written though nothing changed, so
	// that a reader sees that somebody is alive.
	statusEvery = 10 * time.Second
	// statusApart is the least time between two writes.
	statusApart = time.Second
)

// statusFile keeps a text that a person reads.
type statusFile struct {
	path string
	text func() string
	log  *slog.Logger
	wake chan struct{}

	mu   sync.Mutex
	nets []fabric.Network // guarded by mu
}

func newStatusFile(path string, text func() string, log *slog.Logger) *statusFile {
	return &statusFile{path: path, text: text, log: log, wake: make(chan struct{}, 1)}
}

// changed says that there is news.
func (s *statusFile) changed() { nudge(s.wake) }

// networks takes the networks that there are now.
func (s *statusFile) networks(all []fabric.Network) {
	s.mu.Lock()
	s.nets = all
	s.mu.Unlock()
	s.changed()
}

func (s *statusFile) known() []fabric.Network {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nets
}

// run writes the file until ctx ends.
func (s *statusFile) run(ctx context.Context) {
	failed := false
	for ctx.Err() == nil {
		err := s.write(s.text())
		if err != nil && !failed {
			s.log.Warn("the status can't be written", "error", err)
		}
		failed = err != nil
		if pause(ctx, statusApart) != nil {
			break
		}
		tick := time.NewTimer(statusEvery - statusApart)
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-tick.C:
		}
		tick.Stop()
	}
	if err := s.write(fmt.Sprintf("dockstack %s was stopped at %s\n", version, stamp(time.Now()))); err != nil && !failed {
		s.log.Warn("the status can't be written", "error", err)
	}
}

// write replaces the file, so that a reader never sees half of one.
func (s *statusFile) write(text string) error {
	if err := os.MkdirAll(filepath.Dir(s.path), 0o755); err != nil {
		return fmt.Errorf("make the status' directory: %w", err)
	}
	half := s.path + ".new"
	if err := os.WriteFile(half, []byte(text), 0o644); err != nil { //nolint:gosec // everybody may read it
		return fmt.Errorf("write the status: %w", err)
	}
	if err := os.Rename(half, s.path); err != nil {
		return fmt.Errorf("replace the status: %w", err)
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
