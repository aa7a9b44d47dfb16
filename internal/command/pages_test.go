package command

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

var update = flag.Bool("update", false, "write what the tests compare with")

// docs/cli is what the command says of itself.
func TestPages(t *testing.T) {
	const dir = "../../docs/cli"
	want := pages((&app{Program: Program{Version: "test"}, called: programName}).root())
	if *update {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range want {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	have, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range have {
		names = append(names, f.Name())
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if string(text) != want[f.Name()] {
			t.Errorf("docs/cli/%s is not what the command says of itself; `go generate ./internal/command` writes it anew", f.Name())
		}
	}
	if all := slices.Sorted(maps.Keys(want)); !slices.Equal(names, all) {
		t.Errorf("docs/cli has %q, want %q", names, all)
	}
	// Every verb of the issue.
	for _, verb := range []string{
		"ls", "reserve", "release", "rename", "import", "export", "convert", "status", "doctor",
		"backup", "restore", "dns", "record", "watch", "host", "completion", "version", "daemon",
	} {
		if want[verb+".md"] == "" {
			t.Errorf("no page for %s", verb)
		}
	}
}
