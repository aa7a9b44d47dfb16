package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// variable is one that an entrypoint declares: `setting NAME DEFAULT 'meaning'` or `secret NAME 'meaning'`.
type variable struct {
	name, value, meaning string
	secret               bool
	where                string // file:line
}

// script is what the builder knows of an entrypoint or of a file that it sources.
type script struct {
	path     string
	declares []variable
	sources  []string       // files of ours, where the image has them
	reads    map[string]int // upper-case variables and the first line that reads them
	sets     map[string]bool
}

// installed is where the images have what entrypoints share.
const installed = "/usr/local/lib/dockstack/"

func readScript(path string) (*script, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	tree, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(bytes.NewReader(text), path)
	if err != nil {
		return nil, err
	}
	s := &script{path: path, reads: map[string]int{}, sets: map[string]bool{}}
	var problem error
	syntax.Walk(tree, func(node syntax.Node) bool {
		if problem == nil {
			problem = s.visit(node)
		}
		return true
	})
	return s, problem
}

func (s *script) visit(node syntax.Node) error {
	switch node := node.(type) {
	case *syntax.ParamExp:
		name := node.Param.Value
		if _, seen := s.reads[name]; !seen && isKey(name) {
			s.reads[name] = line(node)
		}
	case *syntax.Assign:
		if node.Name != nil {
			s.sets[node.Name.Value] = true
		}
	case *syntax.WordIter:
		s.sets[node.Name.Value] = true
	case *syntax.CoprocClause:
		if node.Name != nil {
			name := word(node.Name)
			s.sets[name], s.sets[name+"_PID"] = true, true
		}
	case *syntax.CallExpr:
		return s.call(node)
	}
	return nil
}

func (s *script) call(node *syntax.CallExpr) error {
	if len(node.Args) == 0 {
		return nil
	}
	command, args := word(node.Args[0]), make([]string, 0, len(node.Args))
	for _, arg := range node.Args[1:] {
		args = append(args, word(arg))
	}
	switch {
	case command == "setting" || command == "secret":
		return s.declare(command, args, fmt.Sprintf("%s:%d", s.path, line(node)))
	case (command == "." || command == "source") && len(args) > 0:
		if strings.HasPrefix(args[0], installed) {
			s.sources = append(s.sources, args[0])
		}
	case command == "read" || command == "mapfile" || command == "readarray":
		for _, arg := range args {
			s.sets[arg] = true
		}
	case command == "printf" && len(args) > 1 && args[0] == "-v":
		s.sets[args[1]] = true
	}
	return nil
}

// declare takes a line that declares a variable.
func (s *script) declare(command string, args []string, where string) error {
	if len(args) > 0 && args[0] == "$1" { // secret, in lib/entrypoint.sh, is a setting itself
		return nil
	}
	want := map[string]int{"setting": 3, "secret": 2}[command]
	if len(args) != want || !isKey(args[0]) || len(args[want-1]) < 4 {
		return fmt.Errorf("%s: write it as: setting NAME DEFAULT 'meaning', or secret NAME 'meaning'", where)
	}
	v := variable{name: args[0], meaning: args[want-1], secret: want == 2, where: where}
	if !v.secret {
		v.value = args[1]
	}
	s.declares = append(s.declares, v)
	return nil
}

func line(node syntax.Node) int { return int(node.Pos().Line()) }

// word prints a word of the script as it stands there, without the quotes around it.
func word(w *syntax.Word) string {
	var text strings.Builder
	for _, part := range w.Parts {
		switch part := part.(type) {
		case *syntax.Lit:
			text.WriteString(part.Value)
		case *syntax.SglQuoted:
			text.WriteString(part.Value)
		case *syntax.DblQuoted:
			text.WriteString(word(&syntax.Word{Parts: part.Parts}))
		default:
			_ = syntax.NewPrinter().Print(&text, part) // a strings.Builder takes everything
		}
	}
	return text.String()
}

// isKey says whether a name is written as settings are.
func isKey(name string) bool {
	if len(name) < 2 {
		return false
	}
	for i, c := range name {
		if (c < 'A' || c > 'Z') && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return true
}
