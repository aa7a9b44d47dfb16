// Command lab owns the lab that a person starts: it brings hosts up, leaves them running, and takes them down.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/dockstack/dockstack/test/lab"
)

const usage = `usage: lab up [-hosts n] [-etcd n] [-plugin=false] | down | do machine deed | engine -- command...

up      start n hosts, each with its own Docker Engine 29 and the plugin, and leave them running; with -etcd
        they share the names in an etcd of that many members (1 or 3), without it each has its own
down    remove them, and whatever a killed lab left
do      do something to a machine of the lab that is up. To a host (h1, h2 and so on): off, on, reboot, cut (from the
        underlay), mend, cut-etcd, mend-etcd. To a member of etcd (e1 and so on): stop, start, kill, pause, resume,
        cut (from the other members), mend
engine  run a command with DOCKER_HOST set to an engine: the machine's own, or else a private one that
        lives as long as the command, has the machine's network and keeps its images in build/builder

The variable LAB names another lab than that of make lab, to have several.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1) //nolint:gocritic // stop has nothing left to do
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("no command\n%s", usage)
	}
	switch args[0] {
	case "up":
		f := flag.NewFlagSet("up", flag.ContinueOnError)
		hosts := f.Int("hosts", 1, "how many hosts")
		etcd := f.Int("etcd", 0, "how many members the etcd that they share has; 0: none")
		plugin := f.Bool("plugin", true, "install and enable the plugin on each")
		if err := f.Parse(args[1:]); err != nil {
			return err
		}
		return up(ctx, lab.Options{Hosts: *hosts, Etcd: *etcd}, *plugin)
	case "down":
		return down(ctx)
	case "do":
		if len(args) != 3 {
			return fmt.Errorf("do: give a machine and what to do to it\n%s", usage)
		}
		return do(ctx, args[1], args[2])
	case "engine":
		if len(args) < 3 || args[1] != "--" {
			return fmt.Errorf("engine: no command\n%s", usage)
		}
		return withEngine(ctx, args[2:])
	}
	return fmt.Errorf("unknown command %q\n%s", args[0], usage)
}
