package admin_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/admin/admintest"
)

// listening is a client of whoever listens; nil takes connections and answers
// nothing, as a stopped process does.
func listening(t *testing.T, h http.Handler) *admin.Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	if h != nil {
		go func() { _ = srv.Serve(l) }()
	}
	c := admin.NewClient(socket)
	c.Patience = 50 * time.Millisecond
	t.Cleanup(func() { c.Close(); _ = srv.Close(); _ = l.Close() })
	return c
}

// A daemon that hangs is given up on, by short calls and long ones.
func TestSilentDaemon(t *testing.T) {
	c := listening(t, nil)
	for name, ask := range map[string]func(context.Context) error{
		"status":  func(ctx context.Context) error { _, err := c.Status(ctx); return err },
		"doctor":  func(ctx context.Context) error { _, err := c.Doctor(ctx, admin.DoctorLook); return err },
		"backup":  func(ctx context.Context) error { return c.Backup(ctx, &bytes.Buffer{}) },
		"restore": func(ctx context.Context) error { _, err := c.Restore(ctx, strings.NewReader("x"), ""); return err },
		"watch": func(ctx context.Context) error {
			return c.Watch(ctx, admin.LatestEvent, nil, func(admin.Event) error { return nil })
		},
		"answers": c.Answers,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		err := ask(ctx)
		if _, ok := errors.AsType[*admin.Unreachable](err); !ok || ctx.Err() != nil ||
			!strings.Contains(err.Error(), "does not answer") || !strings.Contains(err.Error(), "dockstack doctor") {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
}

// One that stops amid an answer is given up on, too.
func TestDaemonThatStopsAmidAnAnswer(t *testing.T) {
	held := make(chan struct{})
	defer close(held)
	c := listening(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/backup") {
			_, _ = w.Write([]byte("begun"))
			_ = http.NewResponseController(w).Flush()
		}
		select {
		case <-held:
		case <-r.Context().Done():
		}
	}))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var got bytes.Buffer
	err := c.Backup(ctx, &got)
	if _, ok := errors.AsType[*admin.Unreachable](err); !ok || !strings.Contains(err.Error(), "does not answer") || got.String() != "begun" {
		t.Errorf("%q, %v", got.String(), err)
	}
}

// slow answers late.
type slow struct {
	admin.Backend
	wait time.Duration
}

// Doctor implements admin.Backend.
func (s slow) Doctor(ctx context.Context, mode admin.DoctorMode) (admin.Report, error) {
	select {
	case <-time.After(s.wait):
	case <-ctx.Done():
	}
	return s.Backend.Doctor(ctx, mode)
}

// A daemon that takes its time is waited for while it answers beside it.
func TestSlowAnswerIsWaitedFor(t *testing.T) {
	c := listening(t, admin.NewServer(slow{admintest.New(), 3 * time.Second}, "1.0", slog.New(slog.DiscardHandler)))
	c.Patience = time.Second
	if _, err := c.Doctor(t.Context(), admin.DoctorLook); err != nil {
		t.Error(err)
	}
	if err := c.Answers(t.Context()); err != nil {
		t.Error(err)
	}
}
