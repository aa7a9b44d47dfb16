package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// undeclared may be read without a declaration: they are the shell's, the system's, or the entrypoints' own.
var undeclared = regexp.MustCompile(`^(RENDER_ONLY|HOME|HOSTNAME|PATH|PWD|UID|EUID|RANDOM|SECONDS|IFS|PIPESTATUS|BASHPID|BASH_[A-Z]+|LANG|TZ)$`)

// Every upper-case variable that an entrypoint or a file that it sources reads must be declared, or be set by them.
func TestEveryVariableIsDeclared(t *testing.T) {
	for _, i := range repository(t).images {
		if i.script(images) == "" {
			continue
		}
		known := map[string]bool{}
		all, err := i.scripts(images)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, s := range all {
			for _, v := range s.declares {
				known[v.name], known[v.name+"_FILE"] = true, true
			}
			for name := range s.sets {
				known[name] = true
			}
		}
		for _, s := range all {
			for name, line := range s.reads {
				if !known[name] && !undeclared.MatchString(name) {
					t.Errorf("%s:%d: $%s is not declared: add a line: setting %s DEFAULT 'meaning'", s.path, line, name, name)
				}
			}
		}
	}
}

// The README of an image has to name each variable of its entrypoint, those of lib/openstack.sh left out.
func TestReadmesNameEveryVariable(t *testing.T) {
	for _, i := range repository(t).images {
		path := filepath.Join(images, i.folder, "README.md")
		readme, err := os.ReadFile(path)
		if err != nil {
			t.Errorf("every image has a README: %v", err)
			continue
		}
		own := filepath.Join(images, i.folder, "entrypoint.sh")
		if i.script(images) != own {
			continue
		}
		s, err := readScript(own)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, v := range s.declares {
			if !strings.Contains(string(readme), "`"+v.name+"`") {
				t.Errorf("%s doesn't name `%s`, which %s declares", path, v.name, v.where)
			}
		}
	}
}
