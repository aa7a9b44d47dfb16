package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/test/lab"
)

// contrail is a stack of stand-ins that runs.
type contrail struct {
	*Stack
	what    What
	without []string // kinds of servers that it hasn't got
	before  lab.Picture
}

// noted is what a stand-in says of itself: see test/images/opensdn.
type noted struct {
	Args    []string
	Env     map[string]string
	Self    string
	Reached []string
	Missing []string
}

func note(ctx context.Context, h *lab.Host, container string) (noted, error) {
	out, err := h.Docker(ctx, "exec", container, "cat", "/noted.json")
	if err != nil {
		return noted{}, err
	}
	var n noted
	if err := json.Unmarshal([]byte(out), &n); err != nil {
		return noted{}, fmt.Errorf("%s: %w", container, err)
	}
	return n, nil
}

// contrailUp brings it up and looks at it.
func contrailUp(t *testing.T, s *Stack, what What, without []string) *contrail {
	t.Helper()
	began := time.Now()
	must(t, s.UpAll(t.Context(), what))
	t.Logf("%s is up after %.1f s", what.Name, time.Since(began).Seconds())
	c := &contrail{s, what, without, nil}
	c.well(t)
	c.before = c.picture(t)
	t.Logf("%d addresses: %v", len(c.before), c.before)
	for key, a := range c.before {
		if a.IPv4 == "" {
			t.Errorf("%s has no address", key)
		}
	}
	return c
}

// picture is what everybody has in both networks. The macvlan driver makes up a MAC at each start, and the engine tells
// it to the neighbours; nobody could give it one that stays, except for the compose file.
func (c *contrail) picture(t *testing.T) lab.Picture {
	t.Helper()
	p, err := c.Picture(t.Context(), Network, "ext")
	must(t, err)
	for key, a := range p {
		if strings.HasSuffix(key, " ext") {
			a.MAC = ""
			p[key] = a
		}
	}
	return p
}

// same finds addresses that are others than before.
func (c *contrail) same(t *testing.T) {
	t.Helper()
	for _, line := range c.before.Changed(c.picture(t)) {
		t.Error(line)
	}
}

// well waits until every stand-in reaches all that it was told of and has found itself.
func (c *contrail) well(t *testing.T) {
	t.Helper()
	began := time.Now()
	must(t, c.Healthy(t.Context(), wellLimit))
	must(t, eventually(t.Context(), wellLimit, func() error { return c.look(t.Context()) }))
	t.Logf("well %.1f s later", time.Since(began).Seconds())
}

// look finds what is not as it should be now.
func (c *contrail) look(ctx context.Context) error {
	var wrong []string
	looked := 0
	for _, h := range c.Hosts {
		all, err := h.Containers(ctx)
		if err != nil {
			return err
		}
		for _, o := range upstream {
			for _, one := range all {
				if one.Config.Image != o.image() || o.ours == "" {
					continue
				}
				looked++
				n, err := note(ctx, h, one.Name)
				if err == nil {
					err = c.right(o, n, all)
				}
				if err != nil {
					wrong = append(wrong, h.Name+": "+one.Name+": "+err.Error())
				}
			}
		}
	}
	if looked == 0 {
		return fmt.Errorf("no container of OpenSDN's")
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%d of %d containers: %s", len(wrong), looked, strings.Join(wrong, "\n"))
	}
	return nil
}

// right says what is wrong with one container: how it was started, which address it calls its own, what it doesn't reach.
func (c *contrail) right(o opensdn, n noted, all []lab.Container) error {
	if o.start == nil || o.start[0] != "/cacert_entrypoint.sh" { // that one is handed its command otherwise
		if !slices.Equal(n.Args, o.command) {
			return fmt.Errorf("started with %q, OpenSDN's own command is %q", n.Args, o.command)
		}
	}
	if want := selfAddress(o, all); n.Self != want {
		return fmt.Errorf("calls itself %q, want %q", n.Self, want)
	}
	for _, missing := range n.Missing {
		if kind, _, _ := strings.Cut(missing, " "); !slices.Contains(c.without, kind) {
			return fmt.Errorf("does not reach %s", missing)
		}
	}
	if asked, got := strings.Fields(o.peers), len(n.Reached)+len(n.Missing); got < len(asked) {
		return fmt.Errorf("asked %d servers, want one for each of %v", got, asked)
	}
	return nil
}

// selfAddress is what an image's process has to call its own address: that of its group in ext, or in Network.
func selfAddress(o opensdn, all []lab.Container) string {
	owner, network := o.contrail, Network
	switch o.contrail {
	case "analytics", "control":
		network = "ext"
	case "database":
		owner = o.ours
	}
	if o.self == "" {
		return ""
	}
	for _, one := range all {
		if one.Name == "openstack-"+owner+"-1" {
			return one.NetworkSettings.Networks[network].IPAddress
		}
	}
	return "the address of " + owner
}

// storms lets one thing after the other happen. Each owner's restart is one of them: its members heal.
func (c *contrail) storms(t *testing.T, names []string) {
	t.Helper()
	t.Run("restart-of-a-group's-owner", func(t *testing.T) {
		for _, h := range c.Hosts {
			all, err := h.Containers(t.Context())
			must(t, err)
			for _, one := range all {
				if strings.HasPrefix(one.Config.Image, registry()+"/pause:") {
					must(t, docker1(t.Context(), h, "restart", one.Name))
				}
			}
		}
		c.well(t)
		c.same(t)
	})
	for _, name := range names {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			must(t, StormNamed(name).Do(t.Context(), c.Stack, c.what))
			c.well(t)
			c.same(t)
		})
	}
}
