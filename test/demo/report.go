package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// teller shows a person what happens. Its lines fit 80 columns.
type teller struct {
	out   *os.File
	color bool
}

func newTeller(out *os.File) *teller { return &teller{out: out, color: interactive(out)} }

func (t *teller) line(text string) { _, _ = fmt.Fprintln(t.out, text) }

// step says what is going on before it happens, and afterwards how long it took.
func (t *teller) step(what string, do func() error) error {
	_, _ = fmt.Fprintf(t.out, "  %s %s ", what, strings.Repeat(".", max(0, 62-len(what))))
	began := time.Now()
	err := do()
	word := fmt.Sprintf("%5.1f s", time.Since(began).Seconds())
	if err != nil {
		word = paint(t.color, bad, "failed")
	}
	_, _ = fmt.Fprintln(t.out, word)
	return err
}

const (
	bold = "1"
	good = "32"
	bad  = "31"
)

func paint(color bool, code, text string) string {
	if !color {
		return text
	}
	return "\033[" + code + "m" + text + "\033[0m"
}

// report is the demo's end: each container's address before, whether it is the same after each event, and the sums.
func report(stacks []*stack, color bool) string {
	var b strings.Builder
	for _, s := range stacks {
		fmt.Fprintf(&b, "\n%s\n", paint(color, bold, s.title+" (network "+s.network+")"))
		fmt.Fprintf(&b, "%-10s", "")
		for _, e := range s.seen {
			fmt.Fprintf(&b, " %-10s", e.column)
		}
		b.WriteString("\n")
		for _, name := range services {
			fmt.Fprintf(&b, "%-10s", name)
			for i, e := range s.seen {
				b.WriteString(" " + cell(e.at[name].addr, s.seen[0].at[name].addr, i, color))
			}
			b.WriteString("\n")
		}
	}
	fmt.Fprintf(&b, "\n%s", paint(color, bold, fmt.Sprintf("%-14s%22s%22s", "changed", "IPv4 addresses", "MAC addresses")))
	b.WriteString("\n")
	for _, s := range stacks {
		n := s.changes()
		fmt.Fprintf(&b, "%-14s%22s%22s\n", s.title, of(n.addrs, n.compared), of(n.macs, n.compared))
	}
	return b.String()
}

// cell is one address in 10 columns, as wide as those of the demo's networks get: whole where it is new.
func cell(addr, before string, column int, color bool) string {
	switch {
	case column == 0:
		return fmt.Sprintf("%-10s", addr)
	case addr == before:
		return paint(color, good, fmt.Sprintf("%-10s", "same"))
	default:
		return paint(color, bad, fmt.Sprintf("%-10s", addr))
	}
}

func of(n, all int) string { return fmt.Sprintf("%d of %d", n, all) }
