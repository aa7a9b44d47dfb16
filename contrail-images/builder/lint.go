package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// Names of variables that would hold a secret. A secret in an image is everybody's who pulls it.
var secretNames = regexp.MustCompile(`(^|_)(PASSWORD|PASSWD|SECRETS?|TOKEN|COOKIE|CREDENTIALS?|PRIVATE_KEY|API_KEY)(_|$)`)

// lint finds what is wrong with a Dockerfile of any kind, beside what BuildKit warns of.
func (d *dockerfile) lint() []warning {
	found := d.warnings
	warn := func(line int, format string, args ...any) {
		found = append(found, warning{line: line, text: fmt.Sprintf(format, args...)})
	}
	for _, arg := range d.args {
		lintKeys(arg.Args, first(arg.Location()), warn)
	}
	for _, stage := range d.stages {
		if name := stage.BaseName; !strings.Contains(name, "$") && name != "scratch" && !d.isStage(name) && !strings.Contains(name, ":") {
			warn(first(stage.Location), "FROM %s has no tag: it would be another image every month", name)
		}
		for _, command := range stage.Commands {
			d.lintCommand(command, warn)
		}
	}
	return found
}

func (d *dockerfile) isStage(name string) bool {
	for _, stage := range d.stages {
		if strings.EqualFold(stage.Name, name) {
			return true
		}
	}
	return false
}

func (d *dockerfile) lintCommand(command instructions.Command, warn func(int, string, ...any)) {
	at := first(command.Location())
	switch command := command.(type) {
	case *instructions.AddCommand:
		warn(at, "ADD: use COPY for files; what a URL gives can change under the image")
	case *instructions.ArgCommand:
		lintKeys(command.Args, at, warn)
	case *instructions.EnvCommand:
		for _, pair := range command.Env {
			lintKeys([]instructions.KeyValuePairOptional{{Key: pair.Key}}, at, warn)
		}
	case *instructions.EntrypointCommand:
		if command.PrependShell {
			warn(at, `ENTRYPOINT: write it as a list, ["a", "b"]: a shell in front gets the signals and keeps them`)
		}
	case *instructions.CmdCommand:
		if command.PrependShell {
			warn(at, `CMD: write it as a list, ["a", "b"]: a shell in front gets the signals and keeps them`)
		}
	case *instructions.RunCommand:
		d.lintRun(strings.Join(command.CmdLine, " "), at, warn)
	}
}

// sets says whether a stage of the file has an ENV of that name.
func (d *dockerfile) sets(name string) bool {
	for _, stage := range d.stages {
		for _, command := range stage.Commands {
			env, is := command.(*instructions.EnvCommand)
			if is && slices.ContainsFunc(env.Env, func(pair instructions.KeyValuePair) bool { return pair.Key == name }) {
				return true
			}
		}
	}
	return false
}

func lintKeys(keys []instructions.KeyValuePairOptional, line int, warn func(int, string, ...any)) {
	for _, pair := range keys {
		if secretNames.MatchString(pair.Key) {
			warn(line, "%s: an image must not hold a secret: declare it in the entrypoint", pair.Key)
		}
	}
}

var (
	installs  = regexp.MustCompile(`apt-get\b[^&|;]*\binstall\b`)
	confirmed = regexp.MustCompile(`\s(-y|-qq|--yes|--assume-yes|-qy|-qqy)\s`)
	cleaned   = regexp.MustCompile(`rm -rf [^&|;]*/var/lib/apt/lists/\*`)
	aptly     = regexp.MustCompile(`(^|[\s;&|])apt (install|update)`)
	piped     = regexp.MustCompile(`\b(curl|wget)\b[^&;]*\|\s*(ba|da)?sh\b`)
)

func (d *dockerfile) lintRun(line string, at int, warn func(int, string, ...any)) {
	if install := installs.FindString(line); install != "" {
		if !strings.Contains(line, "apt-get -qq update") && !strings.Contains(line, "apt-get update") {
			warn(at, "RUN apt-get install without apt-get update in the same RUN: a cached list of packages is an old one")
		}
		if !cleaned.MatchString(line) {
			warn(at, "RUN apt-get install leaves /var/lib/apt/lists in the image: end it with rm -rf /var/lib/apt/lists/*")
		}
		if !confirmed.MatchString(install + " ") {
			warn(at, "RUN apt-get install asks whether to: add -qq or -y")
		}
		if !strings.Contains(line, "DEBIAN_FRONTEND=noninteractive") && !d.sets("DEBIAN_FRONTEND") {
			warn(at, "RUN apt-get install may ask questions: set DEBIAN_FRONTEND=noninteractive for it")
		}
	}
	if aptly.MatchString(line) {
		warn(at, "RUN apt is for people: use apt-get")
	}
	if piped.MatchString(line) {
		warn(at, "RUN pipes a download into a shell: nobody can say what that did")
	}
}

// lintImage finds what is wrong with the Dockerfile of one of our images. What is only built to build others from has
// no start of its own.
func (g *graph) lintImage(i *image) []warning {
	var found []warning
	warn := func(line int, format string, args ...any) {
		found = append(found, warning{line: line, text: fmt.Sprintf(format, args...)})
	}
	c := i.config()
	end := first(i.file.last().Location)
	started := (len(c.entrypoint) > 0 || i.script(g.root) != "") && !i.group
	if started && c.health == nil && !oneShot(c) {
		warn(end, "no HEALTHCHECK: nobody can wait for it. An image that runs once and ends says HEALTHCHECK NONE")
	}
	if started && c.labels["net.juniper.openstack"] == "" && c.labels["net.juniper.contrail"] == "" {
		warn(end, "neither of the labels net.juniper.openstack and net.juniper.contrail: docker images --filter label=... misses it")
	}
	if node := c.labels["net.juniper.node"]; started && i.kind != "common" && node != "controller" && node != "compute" {
		warn(end, "the label net.juniper.node is %q: controller or compute", node)
	}
	if started && i.script(g.root) == "" && i.parent != nil {
		warn(end, "its ENTRYPOINT is %q: images of ours start with an entrypoint.sh", c.entrypoint)
	}
	found = append(found, g.lintDefaults(i)...)
	return append(found, lintOrder(i.file)...)
}

// oneShot is an image that says it needs no health check: HEALTHCHECK NONE.
func oneShot(c imageConfig) bool {
	return c.health != nil && len(c.health.Health.Test) > 0 && c.health.Health.Test[0] == "NONE"
}

// lintDefaults compares what a plain docker build would take with structure.yaml.
func (g *graph) lintDefaults(i *image) []warning {
	var found []warning
	given := g.argsFor(i.file)
	for _, arg := range i.file.args {
		for _, one := range arg.Args {
			want, is := given[one.Key]
			if is && (one.Value == nil || *one.Value != want) {
				found = append(found, warning{first(arg.Location()), fmt.Sprintf("ARG %s: its default is not %q, which structure.yaml has", one.Key, want)})
			}
		}
	}
	return found
}

// lintOrder wants our own files after the packages: they change more often.
func lintOrder(d *dockerfile) []warning {
	copied := 0
	for _, command := range d.last().Commands {
		switch command := command.(type) {
		case *instructions.CopyCommand:
			if command.From == "" {
				copied = first(command.Location())
			}
		case *instructions.RunCommand:
			if copied > 0 && installs.MatchString(strings.Join(command.CmdLine, " ")) {
				return []warning{{copied, "COPY above apt-get install: every change of that file would install the packages again"}}
			}
		}
	}
	return nil
}
