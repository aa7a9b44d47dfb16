package stack

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Computing is as much of OpenStack as virtual machines need.
var Computing = What{"computing", []Group{
	{Files: []string{"database", "keystone", "glance", "nova", "neutron"}, Host: 1},
	{Files: []string{"compute"}, Host: 1},
}}

// ComputingTwice has a compute node on each of two hosts.
var ComputingTwice = What{"computing on two hosts", append([]Group{
	{Files: []string{"compute"}, Host: 2, Env: []string{"COMPUTE_NAME=compute2"}},
}, Computing.Groups...)}

// TestVirtualMachines boots two on one compute node, and lets happen to that node what happens to containers.
func TestVirtualMachines(t *testing.T) {
	Full(t)
	s, vms := booted(t, Options{}, Computing, "compute1", "compute1")
	t.Run("console", func(t *testing.T) { console(t, s, vms[0]) })
	for _, container := range []string{
		"openstack-libvirt-1", "openstack-nova-compute-1", "openstack-compute-agent-1",
		"openstack-dhcp-agent-1", "openstack-metadata-agent-1", "compute1", "openstack-network-1",
	} {
		t.Run("killed-"+container, func(t *testing.T) {
			must(t, killed(t, s, container))
			began := time.Now()
			must(t, s.CheckVMs(t.Context(), recoverLimit, vms))
			t.Logf("%s killed: virtual machines reach each other again after %.1f s", container, time.Since(began).Seconds())
		})
	}
	t.Run("shut down", func(t *testing.T) { staysDown(t, s, vms) })
}

// TestVirtualMachinesAcrossHosts boots one on each of two hosts: their network is VXLAN within dockstack's.
func TestVirtualMachinesAcrossHosts(t *testing.T) {
	Full(t)
	s, vms := booted(t, Options{Hosts: 2}, ComputingTwice, "compute1", "compute2")
	must(t, s.Host(2).Reboot(t.Context()))
	began := time.Now()
	must(t, s.CheckVMs(t.Context(), recoverLimit, vms))
	t.Logf("host of compute2 rebooted: virtual machines reach each other again after %.1f s", time.Since(began).Seconds())
}

// booted brings a stack up and boots virtual machines, which reach each other.
func booted(t *testing.T, opts Options, w What, nodes ...string) (*Stack, []VM) {
	t.Helper()
	ctx := t.Context()
	s := ForTest(t, opts)
	began := time.Now()
	must(t, s.UpAll(ctx, w))
	t.Logf("up and healthy after %.1f s", time.Since(began).Seconds())
	must(t, s.StartClient(ctx, s.Host(1)))
	began = time.Now()
	vms, err := s.BootVMs(ctx, nodes...)
	must(t, err)
	for i, v := range vms {
		if v.Node != nodes[i] {
			t.Errorf("virtual machine %+v is not on %s", v, nodes[i])
		}
	}
	t.Logf("virtual machines active after %.1f s", time.Since(began).Seconds())
	must(t, s.CheckVMs(ctx, recoverLimit, vms))
	t.Logf("virtual machines have their addresses and metadata, ping each other, and get each other's bytes after %.1f s: %+v",
		time.Since(began).Seconds(), vms)
	return s, vms
}

// killed kills a container's processes from outside, as if they had crashed, so that the engine's restart policy acts.
// (docker kill would be somebody's wish.)
func killed(t *testing.T, s *Stack, container string) error {
	t.Helper()
	h, err := s.Where(t.Context(), container)
	if err != nil {
		return err
	}
	pid, err := h.Docker(t.Context(), "inspect", "-f", "{{.State.Pid}}", container)
	if err != nil {
		return err
	}
	_, err = h.Exec(t.Context(), "kill", "-KILL", strings.TrimSpace(pid))
	return err
}

// console reads a virtual machine's console through Nova, and its screen's page through the proxy.
func console(t *testing.T, s *Stack, v VM) {
	t.Helper()
	log, err := s.InClient(t.Context(), `openstack console log show "$1"`, v.Name)
	must(t, err)
	if want := "guest: address " + v.Address; !strings.Contains(log, want) {
		t.Errorf("console of %s does not have %q:\n%s", v.Name, want, log)
	}
	// From the network that users' browsers would be in.
	page, err := s.InClient(t.Context(), `url=$(openstack console url show "$1" -f value -c url); echo "$url"; curl -sSf "$url"`, v.Name)
	must(t, err)
	url, html, _ := strings.Cut(page, "\n")
	if !strings.HasPrefix(url, "http://nova:6080/vnc_auto.html?path=") || !strings.Contains(html, "noVNC") {
		t.Errorf("console of %s at %s: %.300s", v.Name, url, html)
	}
}

// staysDown lets a virtual machine be shut down: it must not come back with its node.
func staysDown(t *testing.T, s *Stack, vms []VM) {
	t.Helper()
	ctx := t.Context()
	must(t, s.OpenStack(ctx, nil, "server", "stop", vms[1].Name))
	status := func() (map[string]string, error) {
		var rows []struct{ Name, Status string }
		err := s.OpenStack(ctx, &rows, "server", "list")
		all := map[string]string{}
		for _, r := range rows {
			all[r.Name] = r.Status
		}
		return all, err
	}
	is := func(want string) error {
		return retry(ctx, recoverLimit, func() error {
			all, err := status()
			if got := all[vms[1].Name]; err == nil && got != want {
				err = fmt.Errorf("%s is %s, not %s", vms[1].Name, got, want)
			}
			return err
		})
	}
	must(t, is("SHUTOFF"))
	must(t, killed(t, s, "openstack-libvirt-1"))
	must(t, retry(ctx, recoverLimit, func() error { return s.ReachVMs(ctx, vms[:1]) }))
	must(t, is("SHUTOFF"))
	must(t, s.OpenStack(ctx, nil, "server", "start", vms[1].Name))
	must(t, s.CheckVMs(ctx, recoverLimit, vms))
}
