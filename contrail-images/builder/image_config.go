package main

import (
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// imageConfig is what the Dockerfiles of an image and of those under it make of its start and of its settings.
type imageConfig struct {
	entrypoint, command []string
	env                 []string // KEY=VALUE, the last of a key counts
	copies              []instructions.CopyCommand
	labels              map[string]string
	health              *instructions.HealthCheckCommand
	shell               bool // ENTRYPOINT or CMD is a line for a shell, which would be process 1
}

// config of an image, from the Dockerfile at the bottom up.
func (i *image) config() imageConfig {
	c := imageConfig{labels: map[string]string{}}
	if i.parent != nil {
		c = i.parent.config()
	}
	for _, command := range i.file.last().Commands {
		switch command := command.(type) {
		case *instructions.EntrypointCommand:
			c.entrypoint, c.command = command.CmdLine, nil
			c.shell = command.PrependShell
		case *instructions.CmdCommand:
			c.command = command.CmdLine
			c.shell = c.shell || command.PrependShell
		case *instructions.EnvCommand:
			for _, pair := range command.Env {
				c.env = append(c.env, pair.Key+"="+unquoted(pair.Value))
			}
		case *instructions.CopyCommand:
			if command.From == "" {
				c.copies = append(slices.Clip(c.copies), *command)
			}
		case *instructions.HealthCheckCommand:
			c.health = command
		}
	}
	maps.Copy(c.labels, i.file.labels())
	if len(c.entrypoint) == 0 {
		c.entrypoint = replaced(c.copies)
	}
	return c
}

// replaced is the entrypoint of an image over somebody else's, where a script of ours takes the place of theirs: which
// place that is stands in their ENTRYPOINT.
func replaced(copies []instructions.CopyCommand) []string {
	for _, command := range copies {
		for _, source := range command.SourcePaths {
			switch {
			case filepath.Base(source) != "entrypoint.sh":
			case command.DestPath == "/":
				return []string{"/entrypoint.sh"}
			case isEntrypoint(command.DestPath):
				return []string{command.DestPath}
			}
		}
	}
	return nil
}

func isEntrypoint(path string) bool {
	return filepath.Dir(path) == "/" && strings.HasSuffix(path, "entrypoint.sh")
}

// entrypoint is the script that an image starts with, its own or that of the image under it, and where the image has it.
func (i *image) entrypoint(root string) (script, at string) {
	for _, command := range slices.Backward(i.config().copies) {
		for _, source := range command.SourcePaths {
			if path.Base(source) == "entrypoint.sh" {
				return filepath.Join(root, source), target(command, source)
			}
		}
	}
	return "", ""
}

// script is the first result of entrypoint.
func (i *image) script(root string) string {
	script, _ := i.entrypoint(root)
	return script
}

// target is where COPY puts a file.
func target(command instructions.CopyCommand, source string) string {
	if strings.HasSuffix(command.DestPath, "/") || len(command.SourcePaths) > 1 {
		return path.Join(command.DestPath, path.Base(source))
	}
	return path.Clean(command.DestPath)
}

// source is the file of ours that an image has at a path, or "" if COPY didn't put it there.
func (i *image) source(root, at string) string {
	for _, command := range slices.Backward(i.config().copies) {
		for _, source := range slices.Backward(command.SourcePaths) {
			from := filepath.Join(root, source)
			if rest, below := strings.CutPrefix(at, path.Clean(command.DestPath)+"/"); below && isFile(filepath.Join(from, rest)) {
				return filepath.Join(from, rest) // a folder's content
			}
			if at == target(command, source) && isFile(from) {
				return from
			}
		}
	}
	return ""
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// scripts are an image's entrypoint and all that it sources of ours, itself first.
func (i *image) scripts(root string) ([]*script, error) {
	var all []*script
	seen := map[string]bool{}
	var add func(string) error
	add = func(path string) error {
		if seen[path] {
			return nil
		}
		seen[path] = true
		s, err := readScript(path)
		if err != nil {
			return err
		}
		all = append(all, s)
		for _, at := range s.sources {
			source := i.source(root, at)
			if source == "" {
				return fmt.Errorf("%s sources %s, which no COPY in the Dockerfile of %s puts there", path, at, i.name)
			}
			if err := add(source); err != nil {
				return err
			}
		}
		return nil
	}
	return all, add(i.script(root))
}
