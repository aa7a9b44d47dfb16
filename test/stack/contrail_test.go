package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/test/lab"
)

// contrailStack is all of Contrail with what it needs of OpenStack.
var contrailStack = What{"contrail", []Group{
	{Files: []string{"database", "keystone", "contrail-database", "config"}, Host: 1},
	{Files: []string{"analytics", "control", "webui"}, Host: 2},
}}

// contrailPart is what fits CI: configuration and control, and the databases that are theirs alone.
var contrailPart = What{"a part of contrail", []Group{{Files: []string{"contrail-database", "config", "control"}, Host: 1}}}

// notInPart are the kinds of servers that a part of Contrail does without.
var notInPart = []string{"ANALYTICS", "COLLECTOR", "KEYSTONE", "RABBITMQ"}

// ext is the network that Contrail's groups are in beside Network: the hosts' own, by macvlan, with addresses that
// dockstack keeps. Without a gateway of its own, published ports work as well.
var ext = []string{
	"network", "create", "-d", "macvlan", "--internal", "--ipam-driver", "dockstack", "-o", "parent=eth0",
	"--subnet", "198.51.100.0/24", "ext",
}

// TestContrail builds all images over stand-ins, brings up configuration and control, and lets things happen to them.
func TestContrail(t *testing.T) {
	s := contrailHosts(t, 1)
	h := s.Host(1)
	t.Run("images", func(t *testing.T) { sameStart(t, h) })
	t.Run("groups", func(t *testing.T) { imageGroups(t, h) })
	t.Run("vrouter", func(t *testing.T) { vrouter(t, s, h) })
	// A server whose real image CI does not build: enough that something takes connections.
	if err := docker1(t.Context(), h, "image", "inspect", "-f", "{{.Id}}", registry()+"/zookeeper:1.0"); err != nil {
		must(t, h.StandIn(t.Context()))
		dir := t.TempDir()
		write(t, dir+"/Dockerfile", "FROM "+lab.StandInImage+"\nENV PORTS=2181\n", 0o600)
		must(t, docker1(t.Context(), h, "build", "-q", "-t", registry()+"/zookeeper:1.0", dir))
	}
	c := contrailUp(t, s, contrailPart, notInPart)
	c.storms(t, []string{"restart of all in random order", "down and up", "reboot of all hosts at once"})
}

// TestContrailWhole has all of it, with ZooKeeper, RabbitMQ, Redis and Keystone as they are, on one host and on two.
func TestContrailWhole(t *testing.T) {
	Full(t)
	for _, hosts := range []int{1, 2} {
		t.Run(fmt.Sprintf("hosts-%d", hosts), func(t *testing.T) {
			c := contrailUp(t, contrailHosts(t, hosts), contrailStack, nil)
			var all []string
			for _, storm := range Storms {
				all = append(all, storm.Name)
			}
			c.storms(t, all)
		})
	}
}

// contrailHosts makes hosts that have Contrail's images and both networks.
func contrailHosts(t *testing.T, hosts int) *Stack {
	t.Helper()
	t.Setenv("COMPOSE_PROFILES", "nodemgr")
	s := ForTest(t, Options{Hosts: hosts})
	began := time.Now()
	standins(t, s, s.Host(1))
	made := time.Since(began)
	buildContrail(t, s, s.Host(1))
	t.Logf("stand-ins after %.1f s, our images after %.1f s", made.Seconds(), time.Since(began).Seconds())
	var refs []string
	for _, o := range upstream {
		if o.ours != "" {
			refs = append(refs, o.image())
		}
	}
	for _, h := range s.Hosts {
		if h != s.Host(1) {
			copyImages(t, s.Host(1), h, refs)
		}
		must(t, docker1(t.Context(), h, ext...))
	}
	return s
}

// imageStart is the part of `docker image inspect` that is looked at.
type imageStart struct {
	Config struct {
		Entrypoint, Cmd, Env []string
		Labels               map[string]string
		WorkingDir, User     string
	}
}

func inspectImage(t *testing.T, h *lab.Host, ref string) imageStart {
	t.Helper()
	out, err := h.Docker(t.Context(), "image", "inspect", ref)
	must(t, err)
	var all []imageStart
	must(t, json.Unmarshal([]byte(out), &all))
	return all[0]
}

// sameStart finds what our images change of OpenSDN's: labels are added, and everything else is as it was.
func sameStart(t *testing.T, h *lab.Host) {
	t.Helper()
	for _, o := range upstream {
		if o.ours == "" {
			continue
		}
		theirs, ours := inspectImage(t, h, o.ref()).Config, inspectImage(t, h, o.image()).Config
		for key, value := range theirs.Labels {
			if ours.Labels[key] != value {
				t.Errorf("%s: label %s is %q, OpenSDN's was %q", o.ours, key, ours.Labels[key], value)
			}
		}
		node := map[bool]string{true: "compute", false: "controller"}[o.ours == "vrouter-agent"]
		if got := ours.Labels["net.juniper.contrail"]; got != o.contrail {
			t.Errorf("%s: label net.juniper.contrail=%s, want %s", o.ours, got, o.contrail)
		}
		if got := ours.Labels["net.juniper.node"]; got != node {
			t.Errorf("%s: label net.juniper.node=%s, want %s", o.ours, got, node)
		}
		theirs.Labels, ours.Labels = nil, nil
		if !reflect.DeepEqual(theirs, ours) {
			t.Errorf("%s starts otherwise than %s:\n%+v\n%+v", o.ours, o.name, ours, theirs)
		}
	}
}

// imageGroups asks for the images of each group as a user of the originals did.
func imageGroups(t *testing.T, h *lab.Host) {
	t.Helper()
	want := map[string][]string{}
	for _, o := range upstream {
		if o.ours != "" {
			want[o.contrail] = append(want[o.contrail], o.image())
		}
	}
	for group, names := range want {
		out, err := h.Docker(t.Context(), "images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", "label=net.juniper.contrail="+group)
		must(t, err)
		// ZooKeeper, one of the common images, has the label as well, where it was built.
		_, tag, _ := strings.Cut(names[0], ":")
		got := slices.DeleteFunc(strings.Fields(out), func(name string) bool { return !strings.HasSuffix(name, ":"+tag) })
		slices.Sort(got)
		slices.Sort(names)
		if !slices.Equal(got, names) {
			t.Errorf("label=net.juniper.contrail=%s finds %v, want %v", group, got, names)
		}
	}
}

// vrouter is what a computing host has. On its own network there is nothing to find, but what it was told is right.
func vrouter(t *testing.T, s *Stack, h *lab.Host) {
	t.Helper()
	host := filepath.Join(t.TempDir(), "host.yml")
	write(t, host, "services: {vrouter: {environment: {PHYSICAL_INTERFACE: eth0, GATEWAY_IP: 192.0.2.254, HOST_IP: 192.0.2.1}}}\n", 0o600)
	_, err := s.Compose(t.Context(), h, []string{"vrouter", host}, "up", "-d")
	must(t, err)
	var n noted
	must(t, eventually(t.Context(), time.Minute, func() (err error) {
		n, err = note(t.Context(), h, "openstack-vrouter-1")
		return err
	}))
	for name, want := range map[string]string{
		"PHYSICAL_INTERFACE": "eth0", "VROUTER_GATEWAY": "192.0.2.254", "VROUTER_COMPUTE_NODE_ADDRESS": "192.0.2.1",
		"CONTROL_NODES": "control", "DNS_NODES": "control", "NODE_TYPE": "vrouter", "SERVICE_NAME": "agent",
	} {
		if n.Env[name] != want {
			t.Errorf("the agent is told %s=%q, want %q", name, n.Env[name], want)
		}
	}
	must(t, s.Down(t.Context(), h, []string{"vrouter"}, "-t", "2"))
}

// eventually tries something until it succeeds, and returns the last failure.
func eventually(ctx context.Context, limit time.Duration, do func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := do()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %s: %w", limit, err)
		case <-time.After(300 * time.Millisecond):
		}
	}
}
