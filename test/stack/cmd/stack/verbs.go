package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dockstack/dockstack/test/lab"
	"github.com/dockstack/dockstack/test/stack"
)

func images(ctx context.Context, only []string) error {
	began := time.Now()
	names, err := stack.Sync(ctx, only...)
	if err != nil {
		return err
	}
	for _, n := range names {
		fmt.Println("  " + n)
	}
	sayf("%d images were new to the lab hosts, %.1f s", len(names), time.Since(began).Seconds())
	return nil
}

func up(ctx context.Context, opts stack.Options, what stack.What, bare bool) (err error) {
	began := time.Now()
	since := func() string { return time.Since(began).Round(100 * time.Millisecond).String() }
	s, err := stack.Start(ctx, opts)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Stop(context.WithoutCancel(ctx)))
		}
	}()
	sayf("%d host(s), after %s", len(s.Hosts), since())
	if !bare {
		if err := s.UpAll(ctx, what); err != nil {
			return err
		}
		sayf("every container is healthy, after %s", since())
		if err := s.StartClient(ctx, s.Host(1)); err != nil {
			return err
		}
		if err := s.Check(ctx, sayf); err != nil {
			return err
		}
		if what.Name == stack.Whole.Name {
			if err := compute(ctx, s); err != nil {
				return err
			}
		}
		if err := status(ctx, s); err != nil {
			return err
		}
	}
	help(ctx, s)
	return s.Detach()
}

// compute boots two virtual machines, which stay, and has a look at the web interface.
func compute(ctx context.Context, s *stack.Stack) error {
	began := time.Now()
	vms, err := s.BootVMs(ctx, "compute1", "compute1")
	if err != nil {
		return err
	}
	if err := s.CheckVMs(ctx, 5*time.Minute, vms); err != nil {
		return err
	}
	for _, v := range vms {
		sayf("virtual machine %s is on %s with %s", v.Name, v.Node, v.Address)
	}
	sayf("they ping each other and get each other's bytes, after %.1f s", time.Since(began).Seconds())
	h, err := s.Where(ctx, "openstack-horizon-1")
	if err != nil {
		return err
	}
	page, err := h.Exec(ctx, "curl", "-sSfL", "--max-time", "60", "http://127.0.0.1/auth/login/")
	if err != nil {
		return fmt.Errorf("the login page of Horizon: %w", err)
	}
	if !strings.Contains(page, `id="loginBtn"`) {
		return fmt.Errorf("the login page of Horizon has no login: %.300s", page)
	}
	sayf("Horizon has its login page")
	return nil
}

// help says how to use what is up.
func help(ctx context.Context, s *stack.Stack) {
	fmt.Println("\nuse it:")
	for _, h := range s.Hosts {
		fmt.Printf("  docker -H unix://%s ps\n", h.Socket)
	}
	if h, err := s.Where(ctx, stack.Client); err == nil {
		fmt.Printf("  docker -H unix://%s exec -it %s openstack service list\n", h.Socket, stack.Client)
	}
	if h, err := s.Where(ctx, "openstack-horizon-1"); err == nil {
		fmt.Printf("  nsenter --net=%s curl http://%s/   (Horizon; ADMIN_USER and ADMIN_PASSWORD are in compose/common.env)\n", s.UnderlayNet(), h.Addr)
	}
	fmt.Println("end it with `make stack-down`")
}

// status prints each container's address, and what is wrong with it.
func status(ctx context.Context, s *stack.Stack) error {
	p, err := s.Picture(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("\n%-32s %-16s %s\n", "container", "address", "MAC")
	for _, key := range slices.Sorted(maps.Keys(p)) {
		name, _, _ := strings.Cut(key, " ")
		fmt.Printf("%-32s %-16s %s\n", name, p[key].IPv4, p[key].MAC)
	}
	if text := s.Unwell(ctx); text != "" {
		return errors.New("not all is well:" + text)
	}
	return nil
}

func down(ctx context.Context, id string) error {
	if err := lab.Down(ctx, id); err != nil {
		return err
	}
	fmt.Println("the stack is down")
	return nil
}
