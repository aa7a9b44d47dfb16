package command

import (
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/dockstack/dockstack/internal/admin"
)

// Prose fits the terminal; other programs get lines as they are.
func TestProseFitsTheTerminal(t *testing.T) {
	w := newWorld(t)
	w.env["NO_COLOR"] = "1"
	words := strings.TrimSpace(strings.Repeat("fünf words of a problem, ", 12))
	w.StatusNow.Problems = []string{words}
	w.StatusNow.Store.Where = words
	w.Found.Findings = []admin.Finding{{ID: "x", Severity: admin.SeverityWarning, What: words, Why: words, Command: "run this"}}
	for _, verb := range []string{"status", "doctor"} {
		w.columns = 0
		whole := w.does(verb)
		if strings.Count(whole, words) != 2 {
			t.Errorf("%s in a pipe wraps:\n%s", verb, whole)
		}
		for columns, most := range map[int]int{20: 40, 60: 60, 80: 80, 500: 200} {
			w.columns = columns
			got := w.does(verb)
			if strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(whole), " ") {
				t.Errorf("%s at %d says something else:\n%s", verb, columns, got)
			}
			longest := 0
			for line := range strings.Lines(got) {
				longest = max(longest, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")))
			}
			if longest > most || longest < most-25 {
				t.Errorf("%s at %d columns is %d wide:\n%s", verb, columns, longest, got)
			}
		}
	}
}

// A disk that is full, or a directory that is missing, is what the error names.
func TestBackupThatCantBeWritten(t *testing.T) {
	w := newWorld(t)
	if got := w.runsUntil(t.Context(), full{syscall.ENOSPC}, "backup", "-"); got.code != ExitFailed || !strings.Contains(got.err, "no space left") {
		t.Errorf("a backup to a full disk: exit code %d, %q", got.code, got.err)
	}
	dir := t.TempDir() + "/none"
	w.fails(ExitFailed, "write "+dir+"/x: directory "+dir+": no such file or directory", "backup", dir+"/x")
}

// What is too much is refused before it is read, and a long word printed short.
func TestLargeFiles(t *testing.T) {
	w := newWorld(t)
	large := w.file("large", "")
	if err := syscall.Truncate(large, 1<<40); err != nil {
		t.Fatal(err)
	}
	w.fails(ExitFailed, "is larger than 64 MB", "import", large)
	w.fails(ExitFailed, "is larger than 64 MB", "restore", large)
	long := strings.Repeat("x", 3<<20)
	for _, name := range []string{"hosts", "dnsmasq.conf", "odd"} {
		file := w.file(name, map[string]string{
			"hosts": "172.16.0.31 " + long + "\n", "dnsmasq.conf": "dhcp-host=" + long + ",172.16.0.31\n" + long + "=1\n", "odd": long,
		}[name])
		got := w.runs("import", file)
		if got.code == ExitDone || len(got.out)+len(got.err) > 10_000 {
			t.Errorf("%s: exit code %d, %d bytes: %.300s %.300s", name, got.code, len(got.out)+len(got.err), got.out, got.err)
		}
	}
}
