package main

import (
	"slices"
	"strings"
	"testing"
)

func TestParseReadsEveryRepetition(t *testing.T) {
	m := parse(`goos: linux
cpu: AMD EPYC
BenchmarkNewNames-2   	       4	 210000 ns/op	      5121 bbolt-batch/s	         3.5 of-bbolt-batch(min0.8)
BenchmarkNewNames-2   	       4	 190000 ns/op	      5000 bbolt-batch/s	         4 of-bbolt-batch(min0.8)
--- BENCH: BenchmarkNewNames-2
    bench_test.go:69: dockstack [1 2], dnsmasq [1 2]
BenchmarkHalf
PASS
ok  	github.com/dockstack/dockstack/ipam	10.106s
`)
	for unit, want := range map[string][]float64{
		"ns/op": {210000, 190000}, "bbolt-batch/s": {5121, 5000}, "of-bbolt-batch": {3.5, 4},
	} {
		if !slices.Equal(m[unit], want) {
			t.Errorf("%s: got %v, want %v", unit, m[unit], want)
		}
	}
	if len(m) != 3 {
		t.Errorf("units besides those of the results: %v", m)
	}
}

func TestMissingMetricIsAnError(t *testing.T) {
	if _, err := parse("BenchmarkX-2 1 5 ns/op\n").need("ns/op", "ratio"); err == nil || !strings.Contains(err.Error(), "ratio") {
		t.Errorf("got %v, want an error that names the metric", err)
	}
}

func TestReached(t *testing.T) {
	for _, c := range []struct {
		what   string
		ratios []float64
		bound  bound
		target float64
		want   bool
	}{
		{"below an upper bound", []float64{0.9, 9, 0.8}, atMost, 1, true},
		{"above an upper bound", []float64{1.5, 1.6, 1.4}, atMost, 1.05, false},
		{"at a bound as it is shown", []float64{1.053}, atMost, 1.05, true},
		{"above a lower bound", []float64{0.7}, atLeast, 0.65, true},
		{"below a lower bound", []float64{0.9, 0.9, 1.2}, atLeast, 0.95, false},
		{"an even number of rounds", []float64{1, 3, 2, 10}, atMost, 2.5, true},
	} {
		t.Run(c.what, func(t *testing.T) {
			if got := (row{ratios: c.ratios, bound: c.bound, target: c.target}).reached(); got != c.want {
				t.Errorf("reached: got %v, want %v", got, c.want)
			}
		})
	}
}

func TestTableShowsSpreadTargetAndNote(t *testing.T) {
	got := table([]row{
		{what: "queries", ours: "10/s", peer: "20/s other", ratios: []float64{0.4, 0.5, 0.7}, bound: atLeast, target: 1, note: "short of it"},
		{what: "start", ours: "1 s", peer: "2 s limit", ratios: []float64{0.5}, bound: atMost, target: 1},
	})
	want := `what     ours  peer        ratio  min..max    target         reached
----     ----  ----        -----  --------    ------         -------
queries  10/s  20/s other  0.50   0.40..0.70  at least 1.00  NO
start    1 s   2 s limit   0.50   0.50..0.50  at most 1.00   yes

queries: short of it
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestEveryMeasureHasItsOwnName(t *testing.T) {
	var names []string
	for _, m := range measures() {
		names = append(names, m.name)
	}
	if all := slices.Clone(names); len(slices.Compact(slices.Sorted(slices.Values(all)))) != len(names) {
		t.Errorf("-only can't tell %v apart", names)
	}
}
