// Command stack owns the stack that a person starts: it brings one up in a lab, checks that it works, and takes it down.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/dockstack/dockstack/test/stack"
)

const usage = `usage: stack images | up | check | status | down

images  bring what the engine of DOCKER_HOST has built, or only the images named, to where lab hosts find it
up      start lab hosts (-hosts n, -id name) and a stack on them (-what slice or full), check it, and leave it running
check   log in, upload an image and read it back
status  who has which address, and who is not well
down    remove all of it
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "stack:", err)
		os.Exit(1) //nolint:gocritic // stop has nothing left to do
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("no command\n%s", usage)
	}
	f := flag.NewFlagSet(args[0], flag.ContinueOnError)
	hosts := f.Int("hosts", 1, "how many hosts")
	name := f.String("what", stack.Slice.Name, "which stack: slice or full")
	id := f.String("id", stack.Main, "the name of the lab, to have several")
	bare := f.Bool("bare", false, "hosts with images and network only")
	bridge := f.Bool("bridge", false, "on a bridge network of Docker's own instead of dockstack's")
	if err := f.Parse(args[1:]); err != nil {
		return err
	}
	what, err := stack.Named(*name)
	if err != nil {
		return err
	}
	switch args[0] {
	case "images":
		return images(ctx, f.Args())
	case "up":
		return up(ctx, stack.Options{ID: *id, Hosts: *hosts, Bridge: *bridge}, what, *bare)
	case "down":
		return down(ctx, *id)
	case "check", "status":
		s, err := stack.Attach(*id)
		if err != nil {
			return err
		}
		if args[0] == "check" {
			return s.Check(ctx, sayf)
		}
		return status(ctx, s)
	}
	return fmt.Errorf("unknown command %q\n%s", args[0], usage)
}

func sayf(format string, args ...any) { fmt.Printf(format+"\n", args...) }
