package main

import (
	"bytes"
	"fmt"
	"text/tabwriter"
)

// table shows the sizes side by side, and by what the larger one's figures grew.
func table(results []result) string {
	var out bytes.Buffer
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	line := func(what, format string, of func(result) float64) {
		_, _ = fmt.Fprintf(w, "%s", what) // into memory, as all below
		for _, r := range results {
			_, _ = fmt.Fprintf(w, "\t"+format, of(r))
		}
		if len(results) == 2 && of(results[0]) != 0 {
			_, _ = fmt.Fprintf(w, "\t%.2f", of(results[1])/of(results[0]))
		}
		_, _ = fmt.Fprintln(w)
	}
	line("hosts", "%.0f", func(r result) float64 { return float64(r.Hosts) })
	line("endpoints", "%.0f", func(r result) float64 { return float64(r.Endpoints) })
	line("whole hosts among them", "%.0f", func(r result) float64 { return float64(r.full) })
	line("new name, answered, ms (median)", "%.1f", func(r result) float64 { return ms(r.answered.at(0.5)) })
	line("  all whole hosts' Moved, ms (median)", "%.1f", func(r result) float64 { return ms(r.moved.at(0.5)) })
	line("  the same, ms (99 %)", "%.1f", func(r result) float64 { return ms(r.moved.at(0.99)) })
	line("  all other hosts' watches, ms (median)", "%.1f", func(r result) float64 { return ms(r.watched.at(0.5)) })
	line("  the same, ms (99 %)", "%.1f", func(r result) float64 { return ms(r.watched.at(0.99)) })
	line("  flows on the simulated switches, ms (median)", "%.1f", func(r result) float64 { return ms(r.switched.at(0.5)) })
	line("etcd commits for a new name", "%.2f", func(r result) float64 { return r.txns })
	line("watch bytes of a new name, to each host", "%.0f", func(r result) float64 { return r.perHost })
	line("  to all hosts, kB", "%.0f", func(r result) float64 { return r.watchBytes / 1e3 })
	line("flows sent to a switch for a new name", "%.2f", func(r result) float64 { return r.flowsPerChange })
	line("flows of a host", "%.0f", func(r result) float64 { return float64(r.flows) })
	line("etcd reads a second at rest", "%.0f", func(r result) float64 { return r.idleCalls })
	line("  kB a second at rest", "%.0f", func(r result) float64 { return r.idleBytes / 1e3 })
	line("etcd's database, MB", "%.1f", func(r result) float64 { return r.etcdDB / 1e6 })
	line("  bytes an endpoint", "%.0f", func(r result) float64 { return r.perLease })
	line("  largest member resident, MB", "%.0f", func(r result) float64 { return r.etcdRSS / 1e6 })
	line("start of a host, s", "%.2f", func(r result) float64 { return r.start.Synced })
	line("  resident, MB", "%.0f", func(r result) float64 { return r.start.RSS / 1e6 })
	line("  resident at most, MB", "%.0f", func(r result) float64 { return r.start.Most / 1e6 })
	line("data of a host, MB", "%.1f", func(r result) float64 { return r.heap / 1e6 })
	line("a dead host is gone everywhere, s", "%.1f", func(r result) float64 { return r.died.Seconds() })
	_ = w.Flush()
	return out.String()
}
