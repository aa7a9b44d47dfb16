package main

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// image is one folder: what it is called, what it stands on, what builds it.
type image struct {
	entry
	folder string // KIND/NAME
	ref    string // REGISTRY/NAME:VERSION
	file   *dockerfile
	on     []*image // those of ours that its Dockerfile takes
	parent *image   // of them, the one that its last stage stands on
	args   map[string]string
}

// names are what decides how the images are called and what they are made of.
type names struct {
	registry string
	versions map[string]string // by kind
	upstream string            // version of OpenSDN's images
	args     map[string]string // more build arguments
}

// graph is every image in an order in which they can be built.
type graph struct {
	root   string
	images []*image
	byName map[string]*image
	names  names
}

// loadGraph reads structure.yaml and every Dockerfile. Its errors are all that is wrong, sorted by file and line.
func loadGraph(root string, choose func(*structure) names) (*graph, []error) {
	s, problems := readStructure(root)
	if s == nil {
		return nil, problems
	}
	g := &graph{root: root, byName: map[string]*image{}, names: choose(s)}
	for _, e := range s.entries {
		problems = append(problems, g.add(s, e)...)
	}
	problems = append(problems, g.unlisted(s)...)
	for _, i := range g.images {
		problems = append(problems, g.connect(i)...)
	}
	problems = append(problems, g.sort()...)
	slices.SortStableFunc(problems, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return g, problems
}

func (g *graph) add(s *structure, e entry) []error {
	folder := filepath.Join(e.kind, e.name)
	path := filepath.Join(g.root, folder, "Dockerfile")
	if _, err := os.Stat(path); err != nil {
		if e.group { // only a name for its sub-images
			return nil
		}
		return []error{s.errorf(e.line, "%s has no Dockerfile: write %s, or take the image off the list", e.name, path)}
	}
	file, err := readDockerfile(path)
	if err != nil {
		return []error{err}
	}
	i := &image{entry: e, folder: folder, file: file, ref: g.names.registry + "/" + e.name + ":" + g.names.versions[e.kind]}
	i.args = g.argsFor(file)
	if g.byName[e.name] == nil {
		g.byName[e.name] = i
		g.images = append(g.images, i)
	}
	return nil
}

// argsFor are the build arguments that a Dockerfile declares, with their values. Docker complains about others.
func (g *graph) argsFor(file *dockerfile) map[string]string {
	all := map[string]string{
		"REGISTRY":      g.names.registry,
		"COMMON_TAG":    g.names.versions["common"],
		"OPENSTACK_TAG": g.names.versions["openstack"],
		"CONTRAIL_TAG":  g.names.upstream,
	}
	maps.Copy(all, g.names.args)
	for key := range all {
		if !file.declared[key] {
			delete(all, key)
		}
	}
	return all
}

// unlisted finds folders with a Dockerfile that structure.yaml doesn't know.
func (g *graph) unlisted(s *structure) []error {
	var problems []error
	for _, kind := range kinds {
		found, err := filepath.Glob(filepath.Join(g.root, kind, "*", "Dockerfile"))
		if err != nil {
			problems = append(problems, err)
		}
		for _, path := range found {
			name := filepath.Base(filepath.Dir(path))
			if !slices.ContainsFunc(s.entries, func(e entry) bool { return e.kind == kind && e.name == name }) {
				problems = append(problems, fmt.Errorf("%s:1: %s doesn't list the image %s: add it under containers, %s", path, s.path, name, kind))
			}
		}
	}
	return problems
}

// connect finds what an image stands on.
func (g *graph) connect(i *image) []error {
	found, err := i.file.references(i.args)
	if err != nil {
		return []error{err}
	}
	var problems []error
	for _, ref := range found {
		name, tag, ours := g.ours(ref.image)
		if !ours {
			continue
		}
		other := g.byName[name]
		switch {
		case other == nil:
			problems = append(problems, fmt.Errorf("%s:%d: no folder makes %s: write %s, or correct the name",
				i.file.path, ref.line, ref.image, filepath.Join(g.root, i.kind, name, "Dockerfile")))
		case tag != g.names.versions[other.kind]:
			problems = append(problems, fmt.Errorf("%s:%d: %s is built as %s, not as %s: use the ARG of its kind's tag",
				i.file.path, ref.line, name, other.ref, ref.image))
		default:
			i.on = append(i.on, other)
			if ref.final {
				i.parent = other
			}
		}
	}
	return problems
}

// ours takes the name of an image apart if our registry has it.
func (g *graph) ours(ref string) (name, tag string, ours bool) {
	rest, ours := strings.CutPrefix(ref, g.names.registry+"/")
	name, tag, _ = strings.Cut(rest, ":")
	return name, cmp.Or(tag, "latest"), ours && !strings.Contains(name, "/")
}

// sort puts what is stood on first, and else keeps the order of structure.yaml.
func (g *graph) sort() []error {
	var problems []error
	var sorted, path []*image
	done := map[*image]bool{}
	var visit func(*image)
	visit = func(i *image) {
		if start := slices.Index(path, i); start >= 0 {
			problems = append(problems, cycle(path[start:]))
			return
		}
		if done[i] {
			return
		}
		path = append(path, i)
		for _, other := range i.on {
			visit(other)
		}
		path = path[:len(path)-1]
		done[i] = true
		sorted = append(sorted, i)
	}
	for _, i := range g.images {
		visit(i)
	}
	g.images = sorted
	return problems
}

func cycle(images []*image) error {
	var text strings.Builder
	for at, i := range images {
		next := images[(at+1)%len(images)]
		if at > 0 {
			text.WriteString(", ")
		}
		fmt.Fprintf(&text, "%s takes %s", i.name, next.name)
	}
	return fmt.Errorf("%s:1: these images need each other: %s: no order can build them", images[0].file.path, &text)
}
