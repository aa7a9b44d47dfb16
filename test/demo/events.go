package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/dockstack/dockstack/test/lab"
)

type demo struct {
	host   *lab.Host
	root   string
	say    *teller
	stacks []*stack
}

// event is something that happens to containers, and its column in the table.
type event struct {
	what   string
	column string
	do     func(context.Context) error
}

// prepare leaves an engine that has the images, the plugin and both networks, and nothing else.
func (d *demo) prepare(ctx context.Context) error {
	for _, s := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"load the images of MariaDB, RabbitMQ, memcached and Redis", d.loadImages},
		{"install the dockstack plugin", func(ctx context.Context) error { return d.host.InstallPlugin(ctx) }},
		{"create the networks", d.createNetworks},
	} {
		if err := d.say.step(s.what, func() error { return s.do(ctx) }); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) createNetworks(ctx context.Context) error {
	if _, err := d.host.Docker(ctx, "network", "create", "-d", "dockstack", "--ipam-driver", "dockstack",
		"--subnet", "172.16.0.0/16", "internal"); err != nil {
		return err
	}
	_, err := d.host.Docker(ctx, "network", "create", "bridged")
	return err
}

// loadImages loads what `make demo` built, unless a run before did.
func (d *demo) loadImages(ctx context.Context) error {
	if err := clean(ctx, d.host); err != nil { // what a killed run left
		return err
	}
	tar := filepath.Join(d.root, "build", "cache", "demo-images.tar")
	info, err := os.Stat(tar)
	if err != nil {
		return fmt.Errorf("no images in %s: start the demo with `make demo`", tar)
	}
	mark := filepath.Join(d.host.Dir, "images")
	want := fmt.Sprintln(info.Size(), info.ModTime().UnixNano())
	if have, err := os.ReadFile(mark); err == nil && string(have) == want {
		return nil
	}
	if err := d.host.LoadImages(ctx, tar); err != nil {
		return err
	}
	return os.WriteFile(mark, []byte(want), 0o600)
}

// clean removes everything from the engine except for images. It is no error when there is nothing.
func clean(ctx context.Context, h *lab.Host) error {
	ids, err := h.Docker(ctx, "ps", "-aq")
	if err != nil {
		return err
	}
	for _, c := range [][]string{
		append([]string{"rm", "-f", "-v"}, strings.Fields(ids)...),
		{"network", "prune", "-f"},
		{"volume", "prune", "-a", "-f"},
	} {
		if c[0] == "rm" && ids == "" {
			continue
		}
		if _, err := h.Docker(ctx, c...); err != nil {
			return err
		}
	}
	if plugins, err := h.Docker(ctx, "plugin", "ls", "-q"); err != nil || plugins == "" {
		return err
	}
	_, err = h.Docker(ctx, "plugin", "rm", "-f", lab.PluginName)
	return err
}

// events is the life of the containers, in order. The first one is the state before.
func (d *demo) events() []event {
	all := func(args ...string) func(context.Context) error {
		return func(ctx context.Context) error {
			return d.each(func(s *stack) error { return s.compose(ctx, args...) })
		}
	}
	return []event{
		{"docker-compose up -d, twice", "before", all("up", "-d")},
		{"docker-compose restart", "restart", all("restart", "-t", "20")},
		{"stop all, start one by one in another order", "reorder", func(ctx context.Context) error {
			return d.each(func(s *stack) error { return s.reorder(ctx) })
		}},
		{"docker-compose down, then up -d", "down, up", func(ctx context.Context) error {
			return d.each(func(s *stack) error {
				if err := s.compose(ctx, "down", "-t", "20"); err != nil {
					return err
				}
				return s.compose(ctx, "up", "-d")
			})
		}},
		{"restart the engine", "engine", d.host.EngineRestart},
		{"reboot the host", "reboot", d.host.Reboot},
	}
}

// each does it to both stacks at once.
func (d *demo) each(do func(*stack) error) error {
	var g errgroup.Group
	for _, s := range d.stacks {
		g.Go(func() error { return do(s) })
	}
	return g.Wait()
}

// observe lets an event happen, waits until every server answers its health check, and notes the addresses.
func (d *demo) observe(ctx context.Context, e event) error {
	return d.say.step(e.what, func() error {
		if err := e.do(ctx); err != nil {
			return err
		}
		return d.each(func(s *stack) error {
			if err := s.healthy(ctx); err != nil {
				return fmt.Errorf("after %q: %w", e.what, err)
			}
			return s.note(ctx, e.column)
		})
	})
}
