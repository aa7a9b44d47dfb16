package ovs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Limits of single commands. A stuck ovs-vswitchd lets ovs-ofctl hang for ever,
// so each has a limit of its own and one from outside.
const (
	commandSeconds = "--timeout=5"
	commandLimit   = 6 * time.Second
)

// places are where programs lie, Debian's first. The last is where its package
// unpacks ovs-vswitchd; the link in /usr/sbin that points there is made later.
var places = []string{"usr/sbin", "usr/bin", "usr/lib/openvswitch-switch"}

const schemaPlace = "usr/share/openvswitch/vswitch.ovsschema"

// tools finds and runs Open vSwitch's programs.
type tools struct {
	root string
	// rundir is where the switch has its sockets.
	rundir string
}

// Run runs one of Open vSwitch's programs against our own switch: for a person
// who looks, and for tests.
func (c Config) Run(ctx context.Context, program string, args ...string) ([]byte, error) {
	c = c.withDefaults()
	t := tools{root: c.Root, rundir: c.RunDir}
	if program == "ovs-vsctl" {
		args = append([]string{commandSeconds, "--db=unix:" + c.ownSocket()}, args...)
	}
	return t.run(ctx, nil, program, args...)
}

// argv returns the command line of a program. Programs outside / get the loader
// and the libraries that lie beside them, so that they need no chroot.
func (t tools) argv(name string, args ...string) ([]string, error) {
	for _, place := range places {
		path := filepath.Join(t.root, place, name)
		if _, err := os.Stat(path); err != nil {
			continue
		}
		if t.root == "/" {
			return append([]string{path}, args...), nil
		}
		libs := t.find("usr/lib/*-linux-gnu", "lib/*-linux-gnu")
		loaders := t.find("usr/lib/*-linux-gnu/ld-linux*.so.*", "lib64/ld-linux*.so.*", "lib/ld-linux*.so.*")
		if len(loaders) == 0 || len(libs) == 0 {
			return append([]string{path}, args...), nil
		}
		return append([]string{loaders[0], "--library-path", strings.Join(libs, ":"), path}, args...), nil
	}
	return nil, fmt.Errorf("%s under %s: %w", name, t.root, ErrNoSwitch)
}

// schema is the database's schema.
// find returns the files under the root that match a pattern, first patterns first.
func (t tools) find(patterns ...string) []string {
	var found []string
	for _, p := range patterns {
		matches, _ := filepath.Glob(filepath.Join(t.root, p))
		found = append(found, matches...)
	}
	return found
}

func (t tools) schema() string { return filepath.Join(t.root, schemaPlace) }

// env is the programs' environment.
func (t tools) env() []string {
	return append(os.Environ(), "OVS_RUNDIR="+t.rundir, "OVS_LOGDIR="+t.rundir, "OVS_DBDIR="+t.rundir)
}

// run runs a program to its end and returns what it printed, also when it failed.
func (t tools) run(ctx context.Context, stdin io.Reader, name string, args ...string) ([]byte, error) {
	return t.runFor(ctx, commandLimit, stdin, name, args...)
}

// runFor is run with another limit.
func (t tools) runFor(ctx context.Context, limit time.Duration, stdin io.Reader, name string, args ...string) ([]byte, error) {
	argv, err := t.argv(name, args...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.Stdin = t.env(), stdin
	// A killed program's pipes may be held by nobody we know: don't wait on.
	cmd.WaitDelay = time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if cause := ctx.Err(); cause != nil {
			err = errors.Join(err, cause)
		}
		return stdout.Bytes(), fmt.Errorf("%s %s: %w: %s", name, firstWord(args), err, firstLine(stderr.String()))
	}
	return stdout.Bytes(), nil
}

// version is that of the programs, as in "3.5.0".
func (t tools) version(ctx context.Context) (string, error) {
	out, err := t.run(ctx, nil, "ovs-vsctl", "--version")
	if err != nil {
		return "", err
	}
	// ovs-vsctl (Open vSwitch) 3.5.0
	fields := strings.Fields(firstLine(string(out)))
	if len(fields) == 0 {
		return "", fmt.Errorf("ovs-vsctl tells no version: %w", ErrNoSwitch)
	}
	return fields[len(fields)-1], nil
}

// firstWord is the first argument that is no option, which says what was asked.
func firstWord(args []string) string {
	for _, a := range args {
		if !strings.HasPrefix(a, "-") {
			return a
		}
	}
	return ""
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}
