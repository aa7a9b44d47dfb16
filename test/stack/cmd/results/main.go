// Command results keeps what a run of the stacks' tests found.
//
// It reads the run from standard input, as `go test -json` writes it, shows it as `go test -v` does, and at its end
// writes a page with every test and every storm: results PAGE [NOTE].
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"
)

func main() {
	if len(os.Args) < 2 || len(os.Args) > 3 {
		fmt.Fprintln(os.Stderr, "usage: go test -json … | results PAGE [NOTE]")
		os.Exit(2)
	}
	note := ""
	if len(os.Args) == 3 {
		note = os.Args[2]
	}
	ok, err := run(os.Stdin, os.Stdout, os.Args[1], note)
	if err != nil {
		fmt.Fprintln(os.Stderr, "results:", err)
		os.Exit(1)
	}
	if !ok {
		os.Exit(1)
	}
}

// run reads a run and writes its page, with a note on how it was made. ok is that no test failed.
func run(in io.Reader, out io.Writer, page, note string) (ok bool, err error) {
	r := results{ok: true, machine: thisMachine(), note: note, now: time.Now}
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				_, _ = out.Write(line) // what the go command says itself
			} else {
				_, _ = io.WriteString(out, e.Output)
				r.take(e)
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return false, err
		}
	}
	return r.ok, os.WriteFile(page, []byte(r.page()), 0o644)
}
