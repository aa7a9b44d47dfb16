// Command builder builds the images of contrail-images/ in the order that their Dockerfiles demand, pushes them, lists
// them, and says which variables they read. It does everything through the docker command.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage: builder VERB... [flag...]          build (from the repository's root: go run ./contrail-images/builder)
       builder list [flag...]             what stands on what, with the sizes of what is built
       builder dump-config-keys [-o FORM] every variable that an entrypoint reads; FORM: table, md, env
       builder remove [flag...]           take all images of these names away from the engine, and the logs of their builds

Verbs, any of them together:
  -b         all base images
  -s         all sub-images
  -c NAME    one image; several: -c A -c B, or -c A,B
  -x NAME    a base image and its sub-images
What these stand on is built too if the engine hasn't got it.

Flags:
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run is main with what main can't be tested with. It returns the exit code: 2 if it was called wrongly.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	o, err := parse(args, errs)
	if errors.Is(err, flag.ErrHelp) {
		return 2
	}
	if err != nil {
		sayf(errs, "builder: %v\n", err)
		return 2
	}
	g, problems := loadGraph(o.root, o.names)
	for _, problem := range problems {
		sayf(errs, "builder: %v\n", problem)
	}
	switch {
	case g == nil:
	case o.command == "list":
		err = list(ctx, g, out)
	case o.command == "dump-config-keys":
		err = dumpKeys(g, o.form, out)
	case len(problems) > 0:
	case o.command == "remove":
		err = remove(ctx, g, o, out)
	default:
		err = build(ctx, g, o, out)
	}
	if err != nil {
		sayf(errs, "builder: %v\n", err)
	}
	if err != nil || len(problems) > 0 {
		return 1
	}
	return 0
}

// sayf prints for a person. Where that fails, there is nobody to be told.
func sayf(to io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(to, format, args...) }
