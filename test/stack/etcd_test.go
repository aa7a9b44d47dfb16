package stack

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// etcd is three members, and how often a key was written.
type etcd struct {
	*cluster
	writes *int
}

// whole fails unless every member is part of one cluster of three and has the last write; then comes another.
func (e etcd) whole(what string) {
	e.t.Helper()
	began := time.Now()
	e.eventually(what, wellLimit, func() string {
		for _, m := range e.members {
			list, err := e.ctl(m, "member", "list")
			if n := strings.Count(list, "started"); err != nil || n != len(e.members) {
				return fmt.Sprintf("%s has %d members started: %s: %v", m, n, list, err)
			}
			if got, err := e.ctl(m, "get", "--print-value-only", "kept"); err != nil || got != fmt.Sprint(*e.writes) {
				return fmt.Sprintf("%s has %q, want %d: %v", m, got, *e.writes, err)
			}
		}
		return ""
	})
	e.t.Logf("%s: one cluster of three, with the last write on each, after %.1f s", what, time.Since(began).Seconds())
	e.well(what)
	e.write()
}

func (e etcd) ctl(member string, args ...string) (string, error) {
	return e.in(member, append([]string{"env", "ETCDCTL_API=3", "etcdctl", "--command-timeout=10s"}, args...)...)
}

func (e etcd) write() {
	e.t.Helper()
	*e.writes++
	_, err := e.ctl(e.some(), "put", "kept", fmt.Sprint(*e.writes))
	e.must(err)
}

// TestEtcd: members that are killed, stopped, and moved to another host with their data are in the cluster again, which
// knows them by name.
func TestEtcd(t *testing.T) {
	Full(t)
	e := etcd{newCluster(t, ForTest(t, Options{Hosts: 2}), "etcd", "etcd", 1, 1, 2), new(int)}
	e.write()
	e.whole("at first")
	e.must(killAll(t.Context(), e.Host(1)))
	e.whole("two of three killed")
	e.each(e.members, "stop")
	e.each([]string{e.members[2], e.members[0], e.members[1]}, "start")
	e.whole("all stopped, and started in another order")
	e.move(e.members[0], 1, 2, true)
	e.whole("a member moved to the other host")
}

// TestOpenvSwitch has the image's two processes share a namespace, as a node's would: a bridge in user space is there
// again after the switch was killed.
func TestOpenvSwitch(t *testing.T) {
	Full(t)
	s := ForTest(t, Options{})
	h, ctx := s.Host(1), t.Context()
	must(t, docker1(ctx, h, "run", "-d", "--name", "node", "--network", Network, registry()+"/pause:1.0"))
	for _, name := range []string{"ovsdb-server", "ovs-vswitchd"} {
		must(t, docker1(ctx, h, "run", "-d", "--name", name, "--network", "container:node", "--privileged", "--restart", "always",
			"-v", "openvswitch:/etc/openvswitch", "-v", "openvswitch-run:/run/openvswitch", registry()+"/openvswitch:1.0", name))
	}
	must(t, s.Healthy(ctx, wellLimit))
	must(t, docker1(ctx, h, "exec", "ovsdb-server", "ovs-vsctl", "--timeout=60", "add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev",
		"--", "add-port", "br-int", "p1", "--", "set", "interface", "p1", "type=internal"))
	there := func(what string) {
		t.Helper()
		must(t, retry(ctx, wellLimit, func() error {
			out, err := h.Docker(ctx, "exec", "ovs-vswitchd", "ovs-appctl", "-t", "/run/openvswitch/ovs-vswitchd.ctl", "dpif/show")
			if err != nil || !strings.Contains(out, "netdev@ovs-netdev") || !strings.Contains(out, "p1 ") {
				return errors.Join(fmt.Errorf("%s: the switch has %q", what, out), err)
			}
			return nil
		}))
	}
	there("at first")
	must(t, killed(t, s, "ovs-vswitchd"))
	there("after the switch was killed")
	must(t, killed(t, s, "ovsdb-server"))
	must(t, s.Healthy(ctx, wellLimit))
	there("after the database was killed")
}
