package stack

import (
	"os"
	"path/filepath"
	"testing"
)

// TestTemplateIsShared: a host has the template's files themselves, and databases of its own.
func TestTemplateIsShared(t *testing.T) {
	tmpl, host := template{t.TempDir()}, t.TempDir()
	from, to := daemon(filepath.Join(tmpl.dir, "h1")), daemon(host)
	files := map[string]bool{ // whether a host has one of its own
		"io.containerd.content.v1.content/blobs/sha256/aa":                  false,
		"io.containerd.metadata.v1.bolt/meta.db":                            true,
		"io.containerd.snapshotter.v1.overlayfs/metadata.db":                true,
		"io.containerd.snapshotter.v1.overlayfs/snapshots/1/fs/etc/conf.db": false, // an image's, not the engine's
	}
	for name := range files {
		path := filepath.Join(from, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		must(t, os.WriteFile(path, []byte(name), 0o600))
	}
	for _, part := range imageParts {
		must(t, os.MkdirAll(filepath.Join(from, part), 0o700))
	}
	must(t, tmpl.link(t.Context(), host))
	for name, own := range files {
		a, err := os.Stat(filepath.Join(from, name))
		must(t, err)
		b, err := os.Stat(filepath.Join(to, name))
		must(t, err)
		if os.SameFile(a, b) == own {
			t.Errorf("%s: the host has the template's own file: %v, want %v", name, !own, own)
		}
		text, err := os.ReadFile(filepath.Join(to, name))
		must(t, err)
		if string(text) != name {
			t.Errorf("%s: the host's has %q", name, text)
		}
	}
}
