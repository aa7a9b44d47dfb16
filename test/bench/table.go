package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
)

// bound says on which side of the target a ratio is good.
type bound string

const (
	atMost  bound = "at most"
	atLeast bound = "at least"
)

// row is one line of the table.
type row struct {
	what       string
	ours, peer string // with their unit
	ratios     []float64
	bound      bound
	target     float64
	// note says more about it, below the table.
	note string
}

// reached compares the median of the rounds with the target, as it is shown:
// with two decimals.
func (r row) reached() bool {
	got := fmt.Sprintf("%.2f", median(r.ratios))
	want := fmt.Sprintf("%.2f", r.target)
	if got == want {
		return true
	}
	return (median(r.ratios) < r.target) == (r.bound == atMost)
}

func table(rows []row) string {
	var out bytes.Buffer
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	var text strings.Builder
	text.WriteString("what\tours\tpeer\tratio\tmin..max\ttarget\treached\n" +
		"----\t----\t----\t-----\t--------\t------\t-------\n")
	for _, r := range rows {
		reached := "yes"
		if !r.reached() {
			reached = "NO"
		}
		fmt.Fprintf(&text, "%s\t%s\t%s\t%.2f\t%.2f..%.2f\t%s %.2f\t%s\n", r.what, r.ours, r.peer, median(r.ratios),
			slices.Min(r.ratios), slices.Max(r.ratios), r.bound, r.target, reached)
	}
	_, _ = w.Write([]byte(text.String())) // into memory
	_ = w.Flush()
	for _, r := range rows {
		if r.note != "" {
			fmt.Fprintf(&out, "\n%s: %s", r.what, r.note)
		}
	}
	return strings.TrimRight(out.String(), "\n") + "\n"
}

// machine says where the figures come from. Only ratios are comparable.
func machine(before, after string) string {
	model := "unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		kernel = []byte("unknown")
	}
	return fmt.Sprintf("%d cores of %s, Linux %s, load %s before and %s after: medians of interleaved rounds on a noisy machine, so only ratios count.",
		runtime.NumCPU(), model, strings.TrimSpace(string(kernel)), before, after)
}

// load is the machine's load of the last minute.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if len(v) == 0 {
		return 0
	}
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// ratio is each of a by its neighbour in b.
func ratio(a, b []float64) []float64 {
	out := make([]float64, min(len(a), len(b)))
	for i := range out {
		out[i] = a[i] / b[i]
	}
	return out
}
