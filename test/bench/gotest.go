package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/dockstack/dockstack/internal/ovs/ovstest"
)

// goBench is a benchmark of one of our packages. It measures us and the peer in
// turn; every repetition gives a median of each, and their ratio.
type goBench struct {
	pkg    string
	name   string // regular expression, as -bench takes it
	rounds int    // of one repetition: go test's -benchtime
	repeat int    // how often all of that is done
	how    repetition
}

// repetition says how a benchmark is repeated.
type repetition string

const (
	inOneProcess repetition = ""     // go test's -count
	eachAlone    repetition = "each" // where namespaces and their links go only with the process
)

// goLimit bounds one benchmark, compiling included.
const goLimit = 5 * time.Minute

// metrics are a benchmark's figures by unit, one per repetition.
type metrics map[string][]float64

// run runs the benchmark and returns what it reported.
func (g goBench) run(ctx context.Context, b *bench) (metrics, error) {
	repeat := b.rounds(g.repeat)
	if g.how == inOneProcess {
		return g.goTest(ctx, b, repeat)
	}
	all := metrics{}
	for range repeat {
		m, err := g.goTest(ctx, b, 1)
		if err != nil {
			return nil, err
		}
		for unit, values := range m {
			all[unit] = append(all[unit], values...)
		}
	}
	return all, nil
}

// goTest runs go test once.
func (g goBench) goTest(ctx context.Context, b *bench, count int) (metrics, error) {
	return command{limit: goLimit, args: []string{
		"test", "-run", "^$", "-bench", g.name, "-benchtime", strconv.Itoa(b.rounds(g.rounds)) + "x",
		"-count", strconv.Itoa(count), "-timeout", goLimit.String(), g.pkg,
	}}.run(ctx, b)
}

// command is one of the go tool that prints results of benchmarks.
type command struct {
	args  []string
	env   []string
	limit time.Duration
}

func (c command) run(ctx context.Context, b *bench) (metrics, error) {
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", c.args...)
	cmd.Dir = b.root
	// An interrupt must reach the test binary too: killing go test alone would leave it running.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	cmd.Stdout = io.MultiWriter(&out, b.verb)
	cmd.Stderr = cmd.Stdout
	// The switch that is measured is the plugin's.
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", ovstest.RootEnv+"="+filepath.Join(b.root, "build", "plugin", "rootfs"))
	cmd.Env = append(cmd.Env, c.env...)
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out.Bytes())
	}
	m := parse(out.String())
	if len(m) == 0 {
		return nil, fmt.Errorf("%s: no benchmark ran\n%s", strings.Join(cmd.Args, " "), out.Bytes())
	}
	return m, nil
}

// parse reads the lines of results: a name, a number of rounds, then values
// with their units (https://go.dev/design/14313-benchmark-format). A bound in
// brackets behind a unit is ours, for people who read it.
func parse(text string) metrics {
	m := metrics{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 4 || len(f)%2 != 0 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		if _, err := strconv.Atoi(f[1]); err != nil {
			continue
		}
		for i := 2; i < len(f); i += 2 {
			v, err := strconv.ParseFloat(f[i], 64)
			if err != nil {
				break
			}
			unit, _, _ := strings.Cut(f[i+1], "(")
			m[unit] = append(m[unit], v)
		}
	}
	return m
}

// need returns the figures of a unit; without any, the benchmark is not what
// this program knows.
func (m metrics) need(units ...string) ([][]float64, error) {
	var out [][]float64
	for _, u := range units {
		v, ok := m[u]
		if !ok {
			return nil, fmt.Errorf("the benchmark reported no %s", u)
		}
		out = append(out, v)
	}
	return out, nil
}
