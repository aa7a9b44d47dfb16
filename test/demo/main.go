// Command demo owns the project's first impression: four real servers whose addresses stay, beside a Docker bridge where they do not.
//
// It runs the same compose file on a dockstack network and on a bridge network of one Docker Engine 29, does to both
// what happens to containers in their lives, and prints every address in a table. It fails if a dockstack address changed.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/dockstack/dockstack/test/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted; nothing is left running")
		}
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
		os.Exit(1) //nolint:gocritic // stop has nothing left to do
	}
}

func run(ctx context.Context) (err error) {
	root, err := lab.Root()
	if err != nil {
		return err
	}
	// From the second run on the images are there. The plugin starts without any memory, as on a new machine.
	dir := filepath.Join(root, "build", "demo")
	if err := os.RemoveAll(filepath.Join(dir, "h1", "varlib", "dockstack")); err != nil {
		return err
	}
	say := newTeller(os.Stdout)
	say.line("One compose file with four real servers runs twice on one Docker Engine 29:")
	say.line("on a dockstack network, and on a Docker bridge network for comparison.\n")

	var l *lab.Lab
	if err := say.step("start a host with Docker Engine 29", func() error {
		l, err = lab.Start(ctx, lab.Options{ID: "demo", Dir: dir, Keep: true})
		return err
	}); err != nil {
		return err
	}
	defer func() {
		// Even after an interrupt: the lab is ours to remove.
		ctx := context.WithoutCancel(ctx)
		err = errors.Join(err, clean(ctx, l.Host(1)), l.Stop(ctx))
	}()
	d := &demo{host: l.Host(1), root: root, say: say, stacks: []*stack{
		{host: l.Host(1), title: "dockstack", network: "internal", project: "demo"},
		{host: l.Host(1), title: "Docker bridge", network: "bridged", project: "plain"},
	}}
	if err := d.prepare(ctx); err != nil {
		return err
	}
	for _, e := range d.events() {
		if err := d.observe(ctx, e); err != nil {
			return err
		}
	}
	fmt.Print(report(d.stacks, say.color))
	if n := d.stacks[0].changes(); n.addrs+n.macs > 0 {
		return fmt.Errorf("dockstack changed %d addresses and %d MACs; the engine's log is %s", n.addrs, n.macs, d.host.EngineLog())
	}
	return nil
}
