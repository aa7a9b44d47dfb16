package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"go.yaml.in/yaml/v3"
)

// kinds are the top folders, in the order in which lists show them.
var kinds = []string{"common", "openstack", "contrail"}

// structure is structure.yaml: which images there are and how they are called, not what is built from what.
type structure struct {
	path     string
	registry string
	versions map[string]string // by kind
	entries  []entry
}

// entry is one image that structure.yaml lists.
type entry struct {
	kind, name string
	base       string // of a sub-image: the key it is listed under
	group      bool   // a key that has sub-images; its own folder may be missing
	line       int
}

// readStructure reads structure.yaml of a folder. It reports everything that is wrong with it, not the first.
func readStructure(root string) (*structure, []error) {
	s := &structure{path: filepath.Join(root, "structure.yaml")}
	text, err := os.ReadFile(s.path)
	if err != nil {
		return nil, []error{err}
	}
	var file struct {
		Registry   string
		Versions   map[string]string
		Containers map[string]yaml.Node
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		return nil, []error{fmt.Errorf("%s: %w", s.path, err)}
	}
	s.registry, s.versions = file.Registry, file.Versions
	var problems []error
	if s.registry == "" {
		problems = append(problems, fmt.Errorf("%s: no registry: add the first part of the images' names, as in registry: dockstack", s.path))
	}
	for kind, node := range file.Containers {
		if !slices.Contains(kinds, kind) {
			problems = append(problems, s.errorf(node.Line, "there is no kind %q: the kinds are %v", kind, kinds))
		} else if s.versions[kind] == "" {
			problems = append(problems, s.errorf(node.Line, "no version of %s: add it under versions", kind))
		}
	}
	for _, kind := range kinds {
		node := file.Containers[kind]
		problems = append(problems, s.addKind(kind, &node)...)
	}
	return s, append(problems, s.twice()...)
}

// addKind takes the pairs BASE: [SUB, ...] of one kind in the order in which they stand.
func (s *structure) addKind(kind string, node *yaml.Node) []error {
	var problems []error
	for i := 0; i+1 < len(node.Content); i += 2 {
		base, subs := node.Content[i], node.Content[i+1]
		switch {
		case subs.Tag == "!!null":
			s.entries = append(s.entries, entry{kind: kind, name: base.Value, line: base.Line})
			continue
		case subs.Kind != yaml.SequenceNode:
			problems = append(problems, s.errorf(subs.Line, "%s: write its sub-images as a list, as in nova: [api, scheduler]", base.Value))
			continue
		}
		s.entries = append(s.entries, entry{kind: kind, name: base.Value, group: true, line: base.Line})
		for _, sub := range subs.Content {
			s.entries = append(s.entries, entry{kind: kind, name: base.Value + "-" + sub.Value, base: base.Value, line: sub.Line})
		}
	}
	return problems
}

func (s *structure) twice() []error {
	var problems []error
	seen := map[string]entry{}
	for _, e := range s.entries {
		if before, is := seen[e.name]; is {
			problems = append(problems, s.errorf(e.line, "the image %s is listed in line %d too: an image has one name, whatever its kind", e.name, before.line))
		}
		seen[e.name] = e
	}
	return problems
}

func (s *structure) errorf(line int, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %w", s.path, line, fmt.Errorf(format, args...))
}
