package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestDockerfiles lints every Dockerfile of the repository.
func TestDockerfiles(t *testing.T) {
	for _, path := range tracked(t, "ls-files", "-z", "--", "*Dockerfile") {
		file, err := readDockerfile(path)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, w := range file.lint() {
			t.Errorf("%s:%d: %s", path, w.line, w.text)
		}
	}
}

func TestDockerfilesOfImages(t *testing.T) {
	g := repository(t)
	for _, i := range g.images {
		for _, w := range g.lintImage(i) {
			t.Errorf("%s:%d: %s", i.file.path, w.line, w.text)
		}
	}
}

// TestShellcheck is what test/lint.sh does with every script; it stands here too because CI runs the tests.
func TestShellcheck(t *testing.T) {
	scripts := tracked(t, "grep", "-lIzE", "^#!.*[/ ](ba)?sh$")
	scripts = append(scripts, tracked(t, "ls-files", "-z", "--", "contrail-images/lib/*.sh")...)
	if len(scripts) < 10 {
		t.Fatalf("only %d scripts found: %v", len(scripts), scripts)
	}
	for part := range slices.Chunk(scripts, 12) {
		t.Run(filepath.Base(part[0]), func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), "shellcheck", append([]string{"-x"}, relative(part)...)...)
			cmd.Dir = "../.." // the scripts' source= lines are paths from there
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// tracked asks git for files; their paths are as seen from here.
func tracked(t *testing.T, args ...string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", "../.."}, args...)...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %v: %v", args, err)
	}
	var paths []string
	for path := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		if _, err := os.Stat(filepath.Join("../..", path)); path != "" && err == nil {
			paths = append(paths, filepath.Join("../..", path))
		}
	}
	return paths
}

func relative(paths []string) []string {
	var short []string
	for _, path := range paths {
		short = append(short, strings.TrimPrefix(path, "../../"))
	}
	return short
}
