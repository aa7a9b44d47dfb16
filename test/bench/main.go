// Command bench owns the project's figures: it measures everything that has to be fast beside its peer, in one run, and prints one table.
//
// What packages measure themselves (`go test -bench`) is run and read; what needs a whole engine or a daemon of its own
// is measured here. A figure that is missed is no failure: machines differ, and a loaded one says little. What can't be
// measured is one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"

	"github.com/dockstack/dockstack/test/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "\nbench:", err)
		os.Exit(1) //nolint:gocritic // stop has nothing left to do
	}
}

// measure is one thing to run; it gives one or several rows.
type measure struct {
	name string
	run  func(ctx context.Context, b *bench) ([]row, error)
}

// bench is what all measures share.
type bench struct {
	root  string // the checkout
	quick bool   // few rounds: to see that it works, not how fast it is
	trace string // where the engine's log goes, with every call of the plugin; empty: nowhere
	verb  io.Writer
}

// sayf tells who asked for it what was measured.
func (b *bench) sayf(format string, args ...any) {
	_, _ = fmt.Fprintf(b.verb, format+"\n", args...)
}

// rounds is n, or as few as do for a quick look.
func (b *bench) rounds(n int) int {
	if b.quick {
		return min(n, 2)
	}
	return n
}

func run(ctx context.Context, out io.Writer) error {
	only := flag.String("only", "", "measure only what matches this regular expression (addresses, names, containers, dns, start, tcp, hosts, kernel, trips, cluster, reach, stack)")
	quick := flag.Bool("quick", false, "a few rounds of each: whether it works, not how fast it is")
	trace := flag.String("trace", "", "keep the engine's log with the plugin's calls in this file (costs a little time in each call)")
	verbose := flag.Bool("v", false, "show what the benchmarks print")
	flag.Parse()
	wanted, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	b := &bench{quick: *quick, trace: *trace, verb: io.Discard}
	if *verbose {
		b.verb = os.Stderr
	}
	if b.root, err = lab.Root(); err != nil {
		return err
	}
	before := load()
	var rows []row
	var failed []error
	for _, m := range measures() {
		if !wanted.MatchString(m.name) {
			continue
		}
		began := time.Now()
		fmt.Fprintf(os.Stderr, "measuring %s ... ", m.name)
		got, err := m.run(ctx, b)
		if ctx.Err() != nil {
			return errors.New("interrupted; nothing is left running")
		}
		rows = append(rows, got...)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s could not be measured: %w", m.name, err))
			fmt.Fprintln(os.Stderr, "failed")
			continue
		}
		fmt.Fprintf(os.Stderr, "%.0f s\n", time.Since(began).Seconds())
	}
	_, err = fmt.Fprint(out, table(rows), "\n", machine(before, load()), "\n")
	return errors.Join(append(failed, err)...)
}

// measures are all of them, in the table's order.
func measures() []measure {
	return []measure{
		{"addresses", knownName},
		{"names", newNames},
		{"containers", containers},
		{"dns", dns},
		{"start", starts},
		{"tcp", tcp},
		{"hosts", tcpAcrossHosts},
		{"kernel", tcpInKernel},
		{"trips", roundTrips},
		{"cluster", clusterStarts},
		{"reach", reach},
		{"stack", stackCost},
	}
}
