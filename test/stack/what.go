package stack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/dockstack/dockstack/test/lab"
)

// What says which compose files make up a stack, and which host of two has which.
type What struct {
	Name string
	// Groups are brought up by one docker-compose each, those of several hosts at once.
	Groups []Group
}

// Group is compose files that run on one host.
type Group struct {
	Files []string
	// Host is its number where there are several.
	Host int
	// Env is set for docker-compose, as KEY=value, which then is one of its own.
	Env []string
}

// Slice is the smallest OpenStack: who you are, and images.
var Slice = What{"slice", []Group{
	{Files: []string{"database"}, Host: 1},
	{Files: []string{"keystone", "glance"}, Host: 2},
}}

// Whole is everything of OpenStack. The computing host is the second.
var Whole = What{"full", []Group{
	{Files: []string{"database", "keystone", "glance", "horizon"}, Host: 1},
	{Files: []string{"nova", "neutron", "cinder", "heat", "designate", "compute"}, Host: 2},
}}

// Named returns a stack by its name.
func Named(name string) (What, error) {
	for _, w := range []What{Slice, Whole} {
		if w.Name == name {
			return w, nil
		}
	}
	return What{}, fmt.Errorf("no stack %q: there are %s and %s", name, Slice.Name, Whole.Name)
}

// on returns the groups of each of a number of hosts, the first host's first. Groups without an Env of their own are
// one there.
func (w What) on(hosts int) [][]Group {
	out := make([][]Group, hosts)
	for _, g := range w.Groups {
		n := min(g.Host, hosts) - 1
		if last := len(out[n]) - 1; last >= 0 && len(g.Env)+len(out[n][last].Env) == 0 {
			out[n][last].Files = slices.Concat(out[n][last].Files, g.Files)
			continue
		}
		out[n] = append(out[n], g)
	}
	return out
}

// UpAll brings a stack up on all hosts at once, and waits until all is well.
func (s *Stack) UpAll(ctx context.Context, w What, args ...string) error {
	return s.onAll(w, func(h *lab.Host, g Group) error { return s.with(g.Env).Up(ctx, h, g.Files, args...) })
}

// DownAll is `docker-compose down` on all hosts at once.
func (s *Stack) DownAll(ctx context.Context, w What, args ...string) error {
	return s.onAll(w, func(h *lab.Host, g Group) error { return s.with(g.Env).Down(ctx, h, g.Files, args...) })
}

// onAll does something with every group: on all hosts at once, on each one after the other.
func (s *Stack) onAll(w What, do func(*lab.Host, Group) error) error {
	var wg sync.WaitGroup
	errs := make([]error, len(s.Hosts))
	for i, groups := range w.on(len(s.Hosts)) {
		wg.Go(func() {
			for _, g := range groups {
				errs[i] = errors.Join(errs[i], do(s.Hosts[i], g))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Check does what a user does first: log in, make an image, and read it back byte for byte. It tells say about it.
func (s *Stack) Check(ctx context.Context, say func(format string, args ...any)) error {
	began := time.Now()
	if err := s.Token(ctx); err != nil {
		return err
	}
	say("openstack token issue: a token, after %.1f s", time.Since(began).Seconds())
	const size = 5 << 20
	began = time.Now()
	sum, err := s.UploadImage(ctx, "check", size)
	if err != nil {
		return err
	}
	if err := s.SameImage(ctx, "check", sum); err != nil {
		return err
	}
	say("an image of %d bytes uploaded and read back, SHA-256 %.12s… both times, %.1f s", size, sum, time.Since(began).Seconds())
	return s.OpenStack(ctx, nil, "image", "delete", "check")
}
