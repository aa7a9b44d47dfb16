package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// key is one variable as one or more images declare it.
type key struct {
	variable
	images []string
}

// keys are the variables of all entrypoints, by name. Two that differ in default or meaning are two.
func (g *graph) keys() ([]*key, error) {
	var all []*key
	for _, i := range g.images {
		if i.script(g.root) == "" {
			continue
		}
		scripts, err := i.scripts(g.root)
		if err != nil {
			return nil, err
		}
		for _, s := range scripts {
			for _, v := range s.declares {
				at := slices.IndexFunc(all, func(k *key) bool {
					return k.name == v.name && k.value == v.value && k.meaning == v.meaning
				})
				if at < 0 {
					at = len(all)
					all = append(all, &key{variable: v})
				}
				if !slices.Contains(all[at].images, i.name) {
					all[at].images = append(all[at].images, i.name)
				}
			}
		}
	}
	slices.SortStableFunc(all, func(a, b *key) int { return strings.Compare(a.name, b.name) })
	return all, nil
}

// readers names the images that read a variable; where all of a kind do, the kind.
func (g *graph) readers(k *key) string {
	var text []string
	for _, kind := range kinds {
		var of, reading []string
		for _, i := range g.images {
			if i.kind != kind || i.script(g.root) == "" {
				continue
			}
			of = append(of, i.name)
			if slices.Contains(k.images, i.name) {
				reading = append(reading, i.name)
			}
		}
		if len(of) > 3 && len(of) == len(reading) {
			text = append(text, "all of "+kind)
		} else {
			text = append(text, reading...)
		}
	}
	return strings.Join(text, ", ")
}

// dumpKeys prints every variable with its default, meaning and readers.
func dumpKeys(g *graph, form string, out io.Writer) error {
	all, err := g.keys()
	if err != nil {
		return err
	}
	var text strings.Builder
	switch form {
	case "md":
		text.WriteString("| variable | default | meaning | read by |\n|---|---|---|---|\n")
		for _, k := range all {
			fmt.Fprintf(&text, "| `%s` | %s | %s | %s |\n", k.name, code(k.shown()), strings.ReplaceAll(k.meaning, "|", `\|`), g.readers(k))
		}
	case "env":
		text.WriteString(g.skeleton(all))
	default:
		table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
		sayf(table, "VARIABLE\tDEFAULT\tMEANING\tREAD BY\n")
		for _, k := range all {
			sayf(table, "%s\t%s\t%s\t%s\n", k.name, k.shown(), k.meaning, g.readers(k))
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	_, err = io.WriteString(out, text.String())
	return err
}

// shown is the default as lists show it.
func (k *key) shown() string {
	switch {
	case k.secret:
		return "must be set"
	case k.value == "":
		return "empty"
	case strings.Contains(k.value, "$("):
		return "computed"
	}
	return k.value
}

func code(text string) string {
	if text == "must be set" || text == "empty" || text == "computed" {
		return text
	}
	return "`" + text + "`"
}

// skeleton is a file for Compose's env_file: what has to be set, and the rest with its default behind a #.
func (g *graph) skeleton(all []*key) string {
	var text strings.Builder
	text.WriteString("# Variables of the images. Lines behind a # show defaults; $NAME there is the value of another variable.\n")
	last := ""
	for _, k := range all {
		if k.name == last {
			continue // the same variable with another default or in other words
		}
		last = k.name
		fmt.Fprintf(&text, "\n# %s (%s)\n", k.meaning, g.readers(k))
		switch k.shown() {
		case "must be set":
			fmt.Fprintf(&text, "%s=\n", k.name)
		case "empty", "computed":
			fmt.Fprintf(&text, "#%s=\n", k.name)
		default:
			fmt.Fprintf(&text, "#%s=%s\n", k.name, k.value)
		}
	}
	return text.String()
}
