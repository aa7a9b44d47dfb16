package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// selected are the images that the verbs name, in an order in which they can be built.
func (g *graph) selected(o *options) ([]*image, error) {
	var unknown []error
	for _, name := range o.images {
		if g.byName[name] == nil {
			unknown = append(unknown, fmt.Errorf("there is no image %q: builder list shows them", name))
		}
	}
	for _, name := range o.services {
		if !slices.ContainsFunc(g.images, func(i *image) bool { return i.belongs(name) }) {
			unknown = append(unknown, fmt.Errorf("there is no base image %q: builder list shows them", name))
		}
	}
	if len(unknown) > 0 {
		return nil, errors.Join(unknown...)
	}
	var found []*image
	for _, i := range g.images {
		wanted := i.base == "" && o.bases || i.base != "" && o.subs || slices.Contains(o.images, i.name) ||
			slices.ContainsFunc(o.services, i.belongs)
		if wanted && (len(o.kinds) == 0 || slices.Contains(o.kinds, i.kind)) {
			found = append(found, i)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("none of these images is of the kind %s", &o.kinds)
	}
	return found, nil
}

// belongs says whether an image is a base image of that name or one of its sub-images.
func (i *image) belongs(base string) bool { return i.base == base || i.base == "" && i.name == base }

// withNeeded adds to a selection what it stands on and the engine hasn't got, and what stands between two of it.
func (g *graph) withNeeded(selection []*image, built func(*image) bool) []*image {
	in := map[*image]bool{}
	for _, i := range selection {
		in[i] = true
	}
	// In build order: what i stands on has been decided.
	fresh := map[*image]bool{}
	for _, i := range g.images {
		fresh[i] = in[i] || slices.ContainsFunc(i.on, func(other *image) bool { return fresh[other] })
	}
	for _, i := range slices.Backward(g.images) {
		if !in[i] {
			continue
		}
		for _, other := range i.on {
			in[other] = in[other] || fresh[other] || !built(other)
		}
	}
	var all []*image
	for _, i := range g.images {
		if in[i] {
			all = append(all, i)
		}
	}
	return all
}

// command is one that the builder starts, or prints with --dry-run.
type command struct {
	env  []string
	args []string
}

func (c command) String() string {
	quoted := make([]string, 0, len(c.env)+len(c.args))
	for _, word := range slices.Concat(c.env, c.args) {
		if word == "" || strings.ContainsAny(word, " \t\n\"'$\\&;|<>()*?#!`") {
			word = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
		quoted = append(quoted, word)
	}
	return strings.Join(quoted, " ")
}

// commands are what makes an image, and pushes it if that is asked for.
func (g *graph) commands(i *image, o *options) []command {
	var all []command
	push := command{args: []string{"docker", "push", i.ref}}
	if o.pushOnly {
		return []command{push}
	}
	folder := filepath.Join(g.root, i.folder)
	if _, err := os.Stat(filepath.Join(folder, "main.go")); err == nil {
		// The Dockerfile copies a program of ours: a static one, into a file that git ignores.
		all = append(all, command{env: []string{"CGO_ENABLED=0"}, args: []string{
			"go", "build", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(folder, i.name), local(folder),
		}})
	}
	args := []string{"docker", "build"}
	if o.network != "" {
		args = append(args, "--network="+o.network)
	}
	if o.noCache {
		args = append(args, "--no-cache")
	}
	keys := make([]string, 0, len(i.args))
	for key := range i.args {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		args = append(args, "--build-arg", key+"="+i.args[key])
	}
	all = append(all, command{args: append(args, "-t", i.ref, "-f", filepath.Join(folder, "Dockerfile"), g.root)})
	if o.push {
		all = append(all, push)
	}
	return all
}

// local is a path as the go command takes it.
func local(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return "./" + filepath.ToSlash(path)
}

// build does what the verbs say, or prints how.
func build(ctx context.Context, g *graph, o *options, out io.Writer) error {
	plan, err := g.selected(o)
	if err != nil {
		return err
	}
	if !o.pushOnly {
		have := inspect(ctx, g.images)
		plan = g.withNeeded(plan, func(i *image) bool { return have[i.ref] != nil && !o.under })
	}
	if o.dryRun {
		for _, i := range plan {
			for _, c := range g.commands(i, o) {
				sayf(out, "%s\n", c)
			}
		}
		return nil
	}
	return (&work{graph: g, options: o, out: out, all: plan}).run(ctx)
}
