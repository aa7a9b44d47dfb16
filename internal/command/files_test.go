package command

import (
	"context"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dockstack/dockstack/test/stall"
)

// A pipe that nobody writes to doesn't keep a command from being interrupted.
func TestInterruptedRead(t *testing.T) {
	for _, verb := range [][]string{{"import"}, {"restore"}, {"convert"}} {
		w := newWorld(t)
		path := filepath.Join(t.TempDir(), "pipe")
		if err := unix.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		began := time.Now()
		got := w.runsUntil(ctx, nil, append(verb, path)...)
		cancel()
		if took := stall.Took(began); got.code != ExitFailed || !strings.Contains(got.err, "interrupted") || took > 5*time.Second {
			t.Errorf("%q: exit code %d after %v, %q", verb, got.code, took, got.err)
		}
		// Lets go of the one that waits, which a process takes along when it ends.
		fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		_ = unix.Close(fd)
	}
}

// full is a disk without room.
type full struct{ err error }

func (f full) Write([]byte) (int, error) { return 0, f.err }

// Output that got lost is told by the exit code; a reader that had enough is
// nothing to tell.
func TestUnwritten(t *testing.T) {
	w := newWorld(t)
	for _, verb := range []string{"ls", "status", "export"} {
		if got := w.runsUntil(t.Context(), full{syscall.ENOSPC}, verb); got.code != ExitFailed || !strings.Contains(got.err, "no space left") {
			t.Errorf("%s to a full disk: exit code %d, %q", verb, got.code, got.err)
		}
	}
	for _, verb := range []string{"ls", "status"} {
		if got := w.runsUntil(t.Context(), full{syscall.EPIPE}, verb); got.code != ExitDone || got.err != "" {
			t.Errorf("%s to one who went: exit code %d, %q", verb, got.code, got.err)
		}
	}
}
