package stack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dockstack/dockstack/test/lab"
)

const (
	// Main is the name of the stack that `make stack` starts.
	Main = "stack"
	// Network is the network that the compose files are on.
	Network = "internal"
	// Subnet is the network's, as the README has it.
	Subnet = "172.16.0.0/16"
	// resolver is where dockstack's DNS server listens on each host.
	resolver = "127.0.0.153"
)

// Options is what a stack runs on. The zero value is one host of a lab with a random name.
type Options struct {
	ID       string   // of the lab; random if empty
	Hosts    int      // 1 if zero
	Etcd     int      // members; if zero 1 for several hosts, none for a single one
	Bridge   bool     // the network is a bridge of Docker's own, and there is no plugin: for comparison, on one host
	Settings []string // more settings of the plugin, as KEY=value
	Bare     bool     // there is no network yet
}

// Stack is lab hosts with all images, the plugin and the network, on which compose files are brought up.
type Stack struct {
	*lab.Lab
	Root string // the checkout
	opts Options
	env  []string // of docker-compose, beyond the process's
}

// Start makes the hosts, with the images that Sync brought.
func Start(ctx context.Context, opts Options) (_ *Stack, err error) {
	if opts.Hosts = max(opts.Hosts, 1); opts.Hosts > 1 {
		if opts.Bridge {
			return nil, errors.New("a bridge network ends at its host: give one host")
		}
		opts.Etcd = max(opts.Etcd, 1)
	}
	opts.ID = cmp.Or(opts.ID, fmt.Sprintf("stack%x", time.Now().UnixNano()&0xffffffff))
	s := &Stack{opts: opts}
	if s.Root, err = lab.Root(); err != nil {
		return nil, err
	}
	if _, err := lab.Attach(opts.ID); err == nil {
		return nil, fmt.Errorf("%w: %q", lab.ErrUp, opts.ID)
	}
	dir, err := prepare(ctx, s.Root, opts)
	if err != nil {
		return nil, err
	}
	if s.Lab, err = lab.Start(ctx, lab.Options{ID: opts.ID, Dir: dir, Hosts: opts.Hosts, Etcd: opts.Etcd}); err != nil {
		return nil, err
	}
	if err := s.equip(ctx); err != nil {
		return nil, errors.Join(err, s.Stop(context.WithoutCancel(ctx)))
	}
	return s, nil
}

// prepare makes the folder of the lab, with all images in each host's.
func prepare(ctx context.Context, root string, opts Options) (string, error) {
	t, err := newTemplate()
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(t.list()); err != nil {
		return "", errors.New("there are no images of the stacks yet: run `make stack-images`")
	}
	unlock, err := t.lock(".lock", unix.LOCK_SH)
	if err != nil {
		return "", err
	}
	defer unlock()
	if err := lab.Sweep(ctx); err != nil { // lest it takes the folder, as that of a dead lab of the same name, later
		return "", err
	}
	dir := filepath.Join(root, "build", "lab-"+opts.ID)
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	for n := range opts.Hosts {
		if err := t.link(ctx, filepath.Join(dir, fmt.Sprintf("h%d", n+1))); err != nil {
			return "", errors.Join(err, os.RemoveAll(dir))
		}
	}
	return dir, nil
}

// equip gives each host what a user would: name servers, the plugin, the network.
func (s *Stack) equip(ctx context.Context) error {
	return s.Each(func(h *lab.Host) error {
		if !s.opts.Bridge {
			if err := h.SetResolvers(resolver, s.UnderlayAddr()); err != nil {
				return err
			}
			settings, err := h.StoreSettings(ctx)
			if err != nil {
				return err
			}
			if err := h.InstallPlugin(ctx, append(settings, s.opts.Settings...)...); err != nil {
				return err
			}
		}
		if s.opts.Bare {
			return nil
		}
		return s.CreateNetwork(ctx, h, Network, "--subnet", Subnet)
	})
}

// CreateNetwork makes a network on a host: dockstack's, or a bridge in a stack of those.
func (s *Stack) CreateNetwork(ctx context.Context, h *lab.Host, name string, args ...string) error {
	driver := []string{"network", "create", "-d", "dockstack", "--ipam-driver", "dockstack"}
	if s.opts.Bridge {
		driver = []string{"network", "create"}
	}
	_, err := h.Docker(ctx, append(append(driver, args...), name)...)
	return err
}

// Attach returns a stack that another process started and detached, such as the one of `make stack`.
func Attach(id string) (*Stack, error) {
	root, err := lab.Root()
	if err != nil {
		return nil, err
	}
	l, err := lab.Attach(id)
	if err != nil {
		return nil, err
	}
	opts := Options{ID: id, Hosts: len(l.Hosts), Etcd: len(l.Etcd)}
	return &Stack{Lab: l, Root: root, opts: opts}, nil
}

// Each does something on every host at once.
func (s *Stack) Each(do func(*lab.Host) error) error {
	errs := make(chan error, len(s.Hosts))
	for _, h := range s.Hosts {
		go func() {
			err := do(h)
			if err != nil && !strings.HasPrefix(err.Error(), h.Name+": ") {
				err = fmt.Errorf("%s: %w", h.Name, err)
			}
			errs <- err
		}()
	}
	var all []error
	for range s.Hosts {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// Picture is what all hosts' containers have in the given networks, or in Network. A name that has an address on two
// hosts is an error.
func (s *Stack) Picture(ctx context.Context, networks ...string) (lab.Picture, error) {
	if len(networks) == 0 {
		networks = []string{Network}
	}
	all, where := lab.Picture{}, map[string]string{}
	for _, h := range s.Hosts {
		p, err := h.Picture(ctx, networks...)
		if err != nil {
			return nil, err
		}
		for key, a := range p {
			if had, ok := all[key]; ok && a == (lab.Attachment{}) {
				continue // it does not run here, and does elsewhere
			} else if ok && had != (lab.Attachment{}) {
				return nil, fmt.Errorf("%s has %v on %s and %v on %s", key, had, where[key], a, h.Name)
			}
			all[key], where[key] = a, h.Name
		}
	}
	return all, nil
}
