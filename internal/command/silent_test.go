package command

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A daemon that hangs: no verb waits for it for ever, and the doctor looks by
// itself.
func TestDaemonSilent(t *testing.T) {
	w := newWorld(t)
	w.patience = 30 * time.Millisecond
	w.env[envSocket] = filepath.Join(t.TempDir(), "s")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", w.env[envSocket])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	file := w.file("hosts", "172.16.0.9 x1\n")
	good := w.file("backup", backupText(t))
	for _, args := range []string{
		"ls", "status", "watch", "dns web", "reserve web 172.16.0.9", "release web", "rename aa bb", "record ls", "host ls", "import " + file, "export",
		"backup " + filepath.Join(t.TempDir(), "b"), "restore " + good,
	} {
		w.fails(ExitUnreachable, "the daemon does not answer", strings.Fields(args)...)
		w.fails(ExitUnreachable, "`dockstack doctor`", strings.Fields(args)...)
	}
	got := w.runs("doctor")
	if got.code != ExitUnreachable || !strings.Contains(got.err, "does not answer") || !strings.Contains(got.out, " fine\n") {
		t.Errorf("the doctor: %+v", got)
	}
}
