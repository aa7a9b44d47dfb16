package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// dockerfile is what the builder knows of one: BuildKit's parser has read it, so it is what the engine will see.
type dockerfile struct {
	path     string
	args     []instructions.ArgCommand // before the first FROM: these may stand in FROM
	stages   []instructions.Stage
	declared map[string]bool // every ARG, wherever it stands: what may be given by --build-arg
	warnings []warning       // BuildKit's own
}

type warning struct {
	line int
	text string
}

// reference is an image that a Dockerfile takes, and where it says so.
type reference struct {
	image string
	line  int
	final bool // the image stands on it; others give it files, or are a stage on the way
}

func readDockerfile(path string) (*dockerfile, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	d := &dockerfile{path: path, declared: map[string]bool{}}
	tree, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, text string, at []parser.Range) {
		d.warnings = append(d.warnings, warning{line: first(at), text: rule + ": " + text})
	}})
	d.stages, d.args, err = instructions.Parse(tree.AST, lint)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	lintStages(d.stages, lint)
	for _, warn := range tree.Warnings {
		d.warnings = append(d.warnings, warning{line: first([]parser.Range{*warn.Location}), text: warn.Short})
	}
	for _, arg := range d.args {
		d.declare(arg)
	}
	for _, stage := range d.stages {
		for _, command := range stage.Commands {
			if arg, is := command.(*instructions.ArgCommand); is {
				d.declare(*arg)
			}
		}
	}
	return d, nil
}

func (d *dockerfile) declare(arg instructions.ArgCommand) {
	for _, one := range arg.Args {
		d.declared[one.Key] = true
	}
}

// references are the images of FROM and COPY --from with these build arguments, stages of the file itself left out.
func (d *dockerfile) references(given map[string]string) ([]reference, error) {
	values, err := d.values(given)
	if err != nil {
		return nil, err
	}
	r := references{file: d, values: values, stages: map[string]int{"scratch": -1}}
	under := -1
	for number, stage := range d.stages {
		if under, err = r.add(stage.BaseName, stage.Location); err != nil {
			return nil, err
		}
		for _, command := range stage.Commands {
			from, is := command.(*instructions.CopyCommand)
			if !is || from.From == "" {
				continue
			}
			if _, err := r.add(from.From, from.Location()); err != nil {
				return nil, err
			}
		}
		r.stages[strconv.Itoa(number)], r.stages[strings.ToLower(stage.Name)] = under, under
	}
	if under >= 0 {
		r.found[under].final = true
	}
	return r.found, nil
}

// references is how far reading a file has come.
type references struct {
	file   *dockerfile
	values map[string]string
	stages map[string]int // what each stands on: an index in found
	found  []reference
}

// add returns where in found the image is that this name means in the end, or -1 if it means none.
func (r *references) add(image string, at []parser.Range) (int, error) {
	expanded, unmatched, err := expand(image, r.values)
	if err == nil && len(unmatched) > 0 {
		err = fmt.Errorf("%s is not declared by an ARG above the first FROM", strings.Join(unmatched, ", "))
	}
	if err != nil {
		return -1, fmt.Errorf("%s:%d: %s: %w", r.file.path, first(at), image, err)
	}
	if under, is := r.stages[strings.ToLower(expanded)]; is {
		return under, nil
	}
	r.found = append(r.found, reference{image: expanded, line: first(at)})
	return len(r.found) - 1, nil
}

// values are the arguments that FROM may use: what is given, else what the file has as default.
func (d *dockerfile) values(given map[string]string) (map[string]string, error) {
	values := map[string]string{}
	for _, arg := range d.args {
		for _, one := range arg.Args {
			value := ""
			if one.Value != nil {
				expanded, _, err := expand(*one.Value, values)
				if err != nil {
					return nil, fmt.Errorf("%s:%d: ARG %s: %w", d.path, first(arg.Location()), one.Key, err)
				}
				value = expanded
			}
			if other, is := given[one.Key]; is {
				value = other
			}
			values[one.Key] = value
		}
	}
	return values, nil
}

func expand(word string, values map[string]string) (string, []string, error) {
	env := make([]string, 0, len(values))
	for key, value := range values {
		env = append(env, key+"="+value)
	}
	result, err := shell.NewLex('\\').ProcessWordWithMatches(word, shell.EnvsFromSlice(env))
	if err != nil {
		return "", nil, err
	}
	var unmatched []string
	for key := range result.Unmatched {
		unmatched = append(unmatched, key)
	}
	return result.Result, unmatched, nil
}

// first is the line where something begins.
func first(at []parser.Range) int {
	if len(at) == 0 {
		return 1
	}
	return at[0].Start.Line
}

// last is the stage that becomes the image.
func (d *dockerfile) last() instructions.Stage { return d.stages[len(d.stages)-1] }

// labels are those that the last stage sets.
func (d *dockerfile) labels() map[string]string {
	labels := map[string]string{}
	for _, command := range d.last().Commands {
		label, is := command.(*instructions.LabelCommand)
		if !is {
			continue
		}
		for _, pair := range label.Labels {
			labels[unquoted(pair.Key)] = unquoted(pair.Value)
		}
	}
	return labels
}

func unquoted(word string) string {
	plain, _, err := expand(word, nil)
	if err != nil {
		return word
	}
	return plain
}
