package stack

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/test/lab"
)

// cluster is three containers that remember each other's addresses or names, in a stack of one or two hosts.
type cluster struct {
	*Stack
	t       *testing.T
	file    string   // the compose file
	members []string // its services
	before  lab.Picture
}

// newCluster brings a cluster up, on the host that home says for each member, and remembers the addresses.
func newCluster(t *testing.T, s *Stack, file, member string, home ...int) *cluster {
	t.Helper()
	c := &cluster{Stack: s, t: t, file: file}
	began := time.Now()
	for i, host := range home {
		c.members = append(c.members, fmt.Sprint(member, i+1))
		c.launch(host, c.members[i])
	}
	c.well("at first")
	t.Logf("three members up and healthy after %.1f s", time.Since(began).Seconds())
	var err error
	c.before, err = s.Picture(t.Context())
	c.must(err)
	if len(c.before) != len(home) {
		t.Fatalf("%d addresses, want %d: %v", len(c.before), len(home), c.before)
	}
	return c
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// with is the cluster as a subtest sees it.
func (c *cluster) with(t *testing.T) *cluster {
	t.Helper()
	sub := *c
	sub.t = t
	return &sub
}

func (c *cluster) container(member string) string { return "openstack-" + member + "-1" }

// launch is `docker-compose up -d MEMBER`, and waits for nothing.
func (c *cluster) launch(host int, member string) {
	c.t.Helper()
	_, err := c.Compose(c.t.Context(), c.Host(host), []string{c.file}, "up", "-d", member)
	c.must(err)
}

// in runs a command in a member's container.
func (c *cluster) in(member string, args ...string) (string, error) {
	h, err := c.Where(c.t.Context(), c.container(member))
	if err != nil {
		return "", err
	}
	out, err := h.Docker(c.t.Context(), append([]string{"exec", c.container(member)}, args...)...)
	return strings.TrimSpace(out), err
}

// kill9 kills a program of a member's from the host: who kills it in the container ends
// with it, maybe before that is told.
func (c *cluster) kill9(member, program string) {
	c.t.Helper()
	h := c.holder(member)
	out, err := h.Docker(c.t.Context(), "top", c.container(member), "-eo", "pid,comm")
	c.must(err)
	kill := []string{"kill", "-9"}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) == 2 && strings.HasPrefix(f[1], program) {
			kill = append(kill, f[0])
		}
	}
	_, err = h.Exec(c.t.Context(), kill...)
	c.must(err)
}

// well waits until all members are healthy, and all addresses are as they were.
func (c *cluster) well(what string) {
	c.t.Helper()
	began := time.Now()
	c.must(c.Healthy(c.t.Context(), wellLimit))
	c.t.Logf("%s: well after %.1f s", what, time.Since(began).Seconds())
	if c.before != nil {
		c.Same(c.t, what, c.before)
	}
}

// eventually waits until ask finds nothing wrong.
func (c *cluster) eventually(what string, limit time.Duration, ask func() string) {
	c.t.Helper()
	wrong := ask()
	for end := time.Now().Add(limit); wrong != "" && time.Now().Before(end); wrong = ask() {
		time.Sleep(300 * time.Millisecond)
	}
	if wrong != "" {
		c.t.Fatalf("%s: after %s still: %s", what, limit, wrong)
	}
}

// each runs a docker command on containers of the members, one after the other.
func (c *cluster) each(members []string, command ...string) {
	c.t.Helper()
	for _, m := range members {
		h := c.holder(m)
		_, err := h.Docker(c.t.Context(), append(append([]string{}, command...), c.container(m))...)
		c.must(err)
	}
}

// holder finds the host that has a member's container, running or not.
func (c *cluster) holder(member string) *lab.Host {
	c.t.Helper()
	for _, h := range c.Hosts {
		if _, err := h.Docker(c.t.Context(), "inspect", "-f", "{{.Id}}", c.container(member)); err == nil {
			return h
		}
	}
	c.t.Fatalf("no host has a container of %s", member)
	return nil
}

// move takes a member to another host, with its volume or without.
func (c *cluster) move(member string, from, to int, withVolume bool) {
	c.t.Helper()
	ctx := c.t.Context()
	_, err := c.Compose(ctx, c.Host(from), []string{c.file}, "rm", "--stop", "--force", member)
	c.must(err)
	volume := "openstack_" + member
	if withVolume {
		c.copyVolume(volume, from, to)
	}
	_, err = c.Host(from).Docker(ctx, "volume", "rm", volume)
	c.must(err)
	c.launch(to, member)
}

// copyVolume copies a volume's files to a volume of the same name on another host.
func (c *cluster) copyVolume(volume string, from, to int) {
	c.t.Helper()
	ctx := c.t.Context()
	tar := func(host int, flags ...string) *exec.Cmd {
		return c.Host(host).DockerCommand(ctx, append([]string{
			"run", "--rm", "-i", "--network", "none", "-v", volume + ":/volume", "--entrypoint", "tar",
			registry() + "/base:1.0", "-C", "/volume",
		}, flags...)...)
	}
	read, write := tar(from, "-cf", "-", "."), tar(to, "-xpf", "-")
	pipe, err := read.StdoutPipe()
	c.must(err)
	write.Stdin = pipe
	c.must(write.Start())
	c.must(read.Run())
	c.must(write.Wait())
}

// cutOff takes a member's network away, and returns what gives it back.
func (c *cluster) cutOff(member string) (mend func()) {
	c.t.Helper()
	h := c.holder(member)
	pid, err := h.Docker(c.t.Context(), "inspect", "-f", "{{.State.Pid}}", c.container(member))
	c.must(err)
	set := func(verb string) {
		c.t.Helper()
		_, err := h.Exec(c.t.Context(), "nsenter", "-t", strings.TrimSpace(pid), "-n", "ip", "link", "set", "eth0", verb)
		c.must(err)
	}
	set("down")
	return func() { set("up") }
}

// orders are some of the orders in which members may stop and start.
func (c *cluster) orders() [][2][]string {
	m := c.members
	return [][2][]string{
		{{m[0], m[1], m[2]}, {m[0], m[1], m[2]}},
		{{m[2], m[1], m[0]}, {m[2], m[0], m[1]}},
		{shuffled(m), shuffled(m)},
	}
}

// some is any member.
func (c *cluster) some() string { return c.members[rand.IntN(len(c.members))] }

// what makes the storms that bring files down and up bring this one, all members on the first host.
func (c *cluster) what() What { return What{c.file, []Group{{Files: []string{c.file}, Host: 1}}} }
