package main

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// event is a line of `go test -json`.
type event struct {
	Action, Test, Output string
	Elapsed              float64
}

// storm is one that came over a stack, in a test's words.
type storm struct{ test, name, took, healthy, token, image, machines, addresses string }

type test struct {
	name, result string
	elapsed      float64
}

// results are those of one run.
type results struct {
	storms  []storm
	tests   []test
	ok      bool
	machine string
	note    string
	now     func() time.Time
}

var (
	stormLine = regexp.MustCompile(`storm "([^"]+)": took ([0-9.]+ s)(.*); (\d+ of \d+) addresses changed`)
	step      = regexp.MustCompile(`, (healthy|token|image|virtual machines) (?:after ([0-9.]+ s)|(never))`)
)

// take takes one event.
func (r *results) take(e event) {
	switch e.Action {
	case "output":
		if m := stormLine.FindStringSubmatch(e.Output); m != nil {
			s := storm{test: top(e.Test), name: m[1], took: m[2], addresses: m[4]}
			for _, p := range step.FindAllStringSubmatch(m[3], -1) {
				*map[string]*string{"healthy": &s.healthy, "token": &s.token, "image": &s.image, "virtual machines": &s.machines}[p[1]] = p[2] + p[3]
			}
			r.storms = append(r.storms, s)
		}
	case "pass", "fail", "skip":
		if e.Action == "fail" {
			r.ok = false
		}
		if e.Test != "" {
			r.tests = append(r.tests, test{e.Test, e.Action, e.Elapsed})
		}
	}
}

func top(test string) string {
	test, _, _ = strings.Cut(test, "/")
	return test
}

// page is all of it, for people.
func (r *results) page() string {
	var b strings.Builder
	failed := 0
	for _, t := range r.tests {
		if t.result == "fail" {
			failed++
		}
	}
	note := ""
	if r.note != "" {
		note = "\n" + r.note
	}
	fmt.Fprintf(&b, `# The stacks' last test

Written by `+"`make stack-full-test`"+`, %s, on %s.
%d tests and parts of tests, %d failed.%s

## Storms

After each, nobody touches anything. Times are counted from the end of what happened: until every container is healthy,
a token is issued, an image reads back byte for byte, and virtual machines answer, ping each other and get their bytes.
`, r.now().UTC().Format("2006-01-02 15:04 UTC"), r.machine, len(r.tests), failed, note)
	last := ""
	for _, s := range r.storms {
		if s.test != last {
			last = s.test
			fmt.Fprintf(&b, "\n### %s\n\n| storm | it took | healthy | token | image | virtual machines | addresses changed |\n|---|---|---|---|---|---|---|\n", s.test)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", s.name, s.took, s.healthy, s.token, s.image, s.machines, s.addresses)
	}
	fmt.Fprint(&b, "\n## Tests\n\n| test | result | seconds |\n|---|---|---|\n")
	for _, t := range r.tests {
		fmt.Fprintf(&b, "| %s | %s | %.1f |\n", t.name, t.result, t.elapsed)
	}
	return b.String()
}

// thisMachine says what the run was on.
func thisMachine() string {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return err.Error()
	}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return err.Error()
	}
	load, _ := os.ReadFile("/proc/loadavg")
	fields := append(strings.Fields(string(load)), "", "", "")
	return fmt.Sprintf("%d processors, %d GB, Linux %s, load %s when it began", runtime.NumCPU(),
		info.Totalram*uint64(info.Unit)>>30, strings.TrimSpace(string(kernel)), fields[1])
}
