package command

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/admin/admintest"
)

// The test's own program is docker's plugin where docker calls it as one.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == pluginName {
		os.Exit(Main("1.0-test", func() int { return 0 }))
	}
	goleak.VerifyTestMain(m)
}

// world is a daemon, and a user who asks it.
type world struct {
	*admintest.Daemon
	t      *testing.T
	socket string
	// columns is how wide the user's terminal is, 0 for none.
	columns int
	env     map[string]string
	stdin   string
	name    string
	// patience is the client's, 0 for the usual.
	patience time.Duration
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{Daemon: admintest.New(), t: t, socket: filepath.Join(t.TempDir(), "admin.sock"), env: map[string]string{}, name: programName}
	ctx, cancel := context.WithCancel(context.Background())
	l, err := admin.Listen(ctx, w.socket, admin.RootOnly)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- admin.NewServer(w.Daemon, "1.0", slog.New(slog.DiscardHandler)).Serve(ctx, l)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	w.env[envSocket] = w.socket
	return w
}

// said is what a command came to.
type said struct {
	out, err string
	code     int
}

func (w *world) runs(args ...string) said {
	w.t.Helper()
	return w.runsUntil(w.t.Context(), nil, args...)
}

// runsUntil runs a command; out gets its output as well.
func (w *world) runsUntil(ctx context.Context, also io.Writer, args ...string) said {
	w.t.Helper()
	var out, errs bytes.Buffer
	var to io.Writer = &out
	if also != nil {
		to = io.MultiWriter(&out, also)
	}
	p := Program{
		Name: w.name, Version: "1.0", Daemon: func() int { return 7 },
		In: strings.NewReader(w.stdin), Out: to, Err: &errs,
		Getenv:   func(name string) string { return w.env[name] },
		Now:      func() time.Time { return admintest.At },
		Patience: w.patience,
		Terminal: func(io.Writer) (int, bool) {
			return w.columns, w.columns > 0
		},
	}
	code := p.Run(ctx, args)
	return said{out.String(), errs.String(), code}
}

// fails runs a command that is refused with that code and words.
func (w *world) fails(code int, words string, args ...string) {
	w.t.Helper()
	got := w.runs(args...)
	if got.code != code || !strings.Contains(got.err, words) {
		w.t.Errorf("%q: exit code %d, %q; want %d and %q", args, got.code, got.err, code, words)
	}
	if strings.Contains(got.err, "panic") || strings.ContainsRune(got.err, '\x1b') && w.columns == 0 {
		w.t.Errorf("%q says %q", args, got.err)
	}
	if n := strings.Count(got.err, "\n"); n > 3 {
		w.t.Errorf("%q says %d lines: %s", args, n, got.err)
	}
}

func (w *world) does(args ...string) string {
	w.t.Helper()
	got := w.runs(args...)
	if got.code != ExitDone {
		w.t.Errorf("%q: exit code %d, %q", args, got.code, got.err)
	}
	return got.out
}

func (w *world) file(name, content string) string {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}
