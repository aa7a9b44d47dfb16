package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/dockstack/dockstack/test/lab"
)

func up(ctx context.Context, opts lab.Options, plugin bool) error {
	root, err := lab.Root()
	if err != nil {
		return err
	}
	began := time.Now()
	fmt.Printf("starting %d host(s)%s\n", opts.Hosts, map[bool]string{true: " and etcd"}[opts.Etcd > 0])
	opts.ID = name()
	opts.Dir = filepath.Join(root, "build", "lab")
	if opts.ID != lab.Main {
		opts.Dir += "-" + opts.ID
	}
	l, err := lab.Start(ctx, opts)
	if err != nil {
		return err
	}
	if plugin {
		if err := install(ctx, l); err != nil {
			return errors.Join(err, l.Stop(context.WithoutCancel(ctx)))
		}
	}
	if err := l.Detach(); err != nil {
		return errors.Join(err, l.Stop(context.WithoutCancel(ctx)))
	}
	fmt.Printf("the lab is up after %s; end it with `make lab-down`\n", time.Since(began).Round(100*time.Millisecond))
	for _, h := range l.Hosts {
		fmt.Printf("  %s  %-12s docker -H unix://%s ps\n", h.Name, h.Addr, h.Socket)
	}
	for _, m := range l.Etcd {
		fmt.Printf("  %s  %-12s etcd, pid %d\n", m.Name, m.Addr, m.PID())
	}
	if url := l.EtcdURL(); url != "" {
		fmt.Printf("  DOCKSTACK_STORE=%s\n  nsenter --net=%s etcdctl --endpoints=%s get --prefix --keys-only /dockstack\n",
			url, l.UnderlayNet(), strings.TrimPrefix(url, "etcd://"))
		fmt.Printf("  build/lab-command do e1 stop    (or: do h1 cut-etcd; `build/lab-command` alone lists what else)\n")
	}
	return nil
}

// install gives each host the plugin, joined to the lab's etcd if there is one.
func install(ctx context.Context, l *lab.Lab) error {
	for _, h := range l.Hosts {
		fmt.Printf("%s: installing the plugin\n", h.Name)
		settings, err := h.StoreSettings(ctx)
		if err != nil {
			return err
		}
		if err := h.InstallPlugin(ctx, settings...); err != nil {
			return err
		}
	}
	return nil
}

// name is the lab that is meant: that of `make lab`, or another beside it.
func name() string { return cmp.Or(os.Getenv("LAB"), lab.Main) }

func down(ctx context.Context) error {
	if err := lab.Down(ctx, name()); err != nil {
		return err
	}
	fmt.Println("the lab is down")
	return nil
}

// withEngine runs a command with an engine to talk to, and ends with the command's own exit status.
func withEngine(ctx context.Context, args []string) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = os.Environ()
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if exec.CommandContext(ctx, "docker", "version").Run() == nil {
		return cmd.Run()
	}
	root, err := lab.Root()
	if err != nil {
		return err
	}
	bin, err := lab.EngineBin()
	if err != nil {
		return err
	}
	fmt.Println("no Docker engine at hand: starting a private one")
	l, err := builder(ctx, root)
	if err != nil {
		return err
	}
	cmd.Env = append(cmd.Env, "DOCKER_HOST=unix://"+l.Host(1).Socket, "DOCKER_BUILDKIT=0",
		"DOCKER_CONFIG="+filepath.Join(l.Dir, "h1", "docker-config"), "PATH="+bin+":"+os.Getenv("PATH"))
	return errors.Join(cmd.Run(), l.Stop(context.WithoutCancel(ctx)))
}

// builder starts the private engine, after whoever else on this machine is building with it.
func builder(ctx context.Context, root string) (*lab.Lab, error) {
	opts := lab.Options{ID: "builder", Dir: filepath.Join(root, "build", "builder"), Keep: true, Network: lab.Machine}
	for said := false; ; {
		l, err := lab.Start(ctx, opts)
		if !errors.Is(err, lab.ErrUp) {
			return l, err
		}
		if !said {
			fmt.Println("another build has the private engine: waiting for it to end")
			said = true
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}
