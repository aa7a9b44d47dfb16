package main

import (
	"path"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
)

// lintStages has those of BuildKit's rules that it checks while it builds, not while it parses.
func lintStages(stages []instructions.Stage, lint *linter.Linter) {
	seen := map[string]bool{}
	for _, stage := range stages {
		switch {
		case stage.Name == "":
		case seen[strings.ToLower(stage.Name)]:
			lint.Run(&linter.RuleDuplicateStageName, stage.Location, linter.RuleDuplicateStageName.Format(stage.Name))
		case strings.ToLower(stage.Name) != stage.Name:
			lint.Run(&linter.RuleStageNameCasing, stage.Location, linter.RuleStageNameCasing.Format(stage.Name))
		}
		seen[strings.ToLower(stage.Name)] = true
		s := stageLint{lint: lint, known: map[string]string{"PATH": ""}, once: map[string]bool{}}
		for _, command := range stage.Commands {
			s.command(command)
		}
	}
}

// stageLint is how far reading a stage has come.
type stageLint struct {
	lint  *linter.Linter
	known map[string]string // variables that ARG and ENV have made
	once  map[string]bool   // instructions of which the last counts
}

func (s *stageLint) command(command instructions.Command) {
	at := command.Location()
	s.undefined(command)
	switch command := command.(type) {
	case *instructions.EntrypointCommand, *instructions.CmdCommand, *instructions.HealthCheckCommand:
		name := strings.ToUpper(command.Name())
		if s.once[name] {
			s.lint.Run(&linter.RuleMultipleInstructionsDisallowed, at, linter.RuleMultipleInstructionsDisallowed.Format(name))
		}
		s.once[name] = true
	case *instructions.WorkdirCommand:
		if !path.IsAbs(command.Path) && !strings.HasPrefix(command.Path, "$") {
			s.lint.Run(&linter.RuleWorkdirRelativePath, at, linter.RuleWorkdirRelativePath.Format(command.Path))
		}
	case *instructions.EnvCommand:
		s.pairs("ENV", command.Env, command)
		for _, pair := range command.Env {
			s.known[pair.Key] = ""
		}
	case *instructions.LabelCommand:
		s.pairs("LABEL", command.Labels, command)
	case *instructions.ArgCommand:
		for _, arg := range command.Args {
			s.known[arg.Key] = ""
		}
	}
}

func (s *stageLint) pairs(name string, pairs instructions.KeyValuePairs, command instructions.Command) {
	if slices.ContainsFunc(pairs, func(pair instructions.KeyValuePair) bool { return pair.NoDelim }) {
		s.lint.Run(&linter.RuleLegacyKeyValueFormat, command.Location(), linter.RuleLegacyKeyValueFormat.Format(name))
	}
}

// undefined finds variables in a command that neither ARG nor ENV of its stage has made: those in front of the first
// FROM are known in FROM alone.
func (s *stageLint) undefined(command instructions.Command) {
	words, expands := command.(instructions.SupportsSingleWordExpansion)
	if !expands {
		return
	}
	_ = words.Expand(func(word string) (string, error) {
		_, unmatched, err := expand(word, s.known)
		for _, name := range unmatched {
			s.lint.Run(&linter.RuleUndefinedVar, command.Location(), linter.RuleUndefinedVar.Format(name, ""))
		}
		return word, err // as it stands: only its variables were asked for
	})
}
