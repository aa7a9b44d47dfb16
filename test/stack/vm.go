package stack

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// VMNetwork is the network that virtual machines are in, one of Neutron's.
	VMNetwork = "vms"
	// DHCPAgent is the container of the network node in which VMNetwork has an end.
	DHCPAgent = "openstack-dhcp-agent-1"
	// bootLimit is how long Nova may take to make virtual machines. An idle machine needs a tenth of it.
	bootLimit = 4 * time.Minute
)

// VM is a virtual machine.
type VM struct {
	Name, ID, Node string
	Address        string // what Neutron gave it
}

// BootVMs makes a virtual machine on each of the compute nodes, vm1 on the first, and waits until all run and have an
// address. A node may be named more than once.
func (s *Stack) BootVMs(ctx context.Context, nodes ...string) ([]VM, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*bootLimit)
	defer cancel()
	if err := s.prepareVMs(ctx, nodes); err != nil {
		return nil, err
	}
	const script = `n=0
	for node; do
		openstack server create --image vm --flavor vm --network ` + VMNetwork + ` --availability-zone "nova:$node" "vm$((++n))" >/dev/null
	done`
	if _, err := s.InClient(ctx, script, nodes...); err != nil {
		return nil, err
	}
	var vms []VM
	err := retry(ctx, bootLimit, func() (err error) {
		vms, err = s.VMs(ctx)
		switch {
		case err != nil:
			return err
		case len(vms) < len(nodes):
			return fmt.Errorf("%d of %d virtual machines exist: %+v", len(vms), len(nodes), vms)
		}
		return nil
	})
	return vms, err
}

// prepareVMs uploads what virtual machines boot, makes their network, and waits until Nova has found the nodes.
func (s *Stack) prepareVMs(ctx context.Context, nodes []string) error {
	dir, err := os.MkdirTemp("", "guest-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	g, err := makeGuest(ctx, dir, filepath.Join(s.Root, "build", "vm"))
	if err != nil {
		return fmt.Errorf("make what virtual machines boot: %w", err)
	}
	h, err := s.Where(ctx, Client)
	if err != nil {
		return err
	}
	for name, file := range map[string]string{"kernel": g.kernel, "initramfs": g.initramfs, "disk": g.disk} {
		if _, err := h.Docker(ctx, "cp", file, Client+":/tmp/"+name); err != nil {
			return err
		}
	}
	// Kernel and initramfs as images of their own are Glance's oldest way, and the one without a boot loader. On a busy
	// machine an emulated timer may look broken, so that isn't asked.
	if _, err := s.InClient(ctx, `kernel=$(openstack image create --disk-format aki --container-format aki --file /tmp/kernel vm-kernel -f value -c id)
		initramfs=$(openstack image create --disk-format ari --container-format ari --file /tmp/initramfs vm-initramfs -f value -c id)
		openstack image create --disk-format raw --container-format bare --file /tmp/disk --property "kernel_id=$kernel" \
			--property "ramdisk_id=$initramfs" --property "os_command_line=console=ttyS0 quiet no_timer_check panic=5" vm >/dev/null
		openstack flavor create --vcpus 1 --ram 256 --disk 1 vm >/dev/null
		openstack network create `+VMNetwork+` >/dev/null
		openstack subnet create --network `+VMNetwork+` --subnet-range 10.77.0.0/24 `+VMNetwork+` >/dev/null
		rm /tmp/kernel /tmp/initramfs /tmp/disk
		for node; do until openstack hypervisor list -f value -c "Hypervisor Hostname" -c State | grep -qx "$node up"; do sleep 1; done; done`,
		nodes...); err != nil {
		return fmt.Errorf("prepare virtual machines on %v: %w", nodes, err)
	}
	return nil
}

// VMs lists the virtual machines, which must all be active.
func (s *Stack) VMs(ctx context.Context) ([]VM, error) {
	var rows []struct {
		ID       string
		Name     string
		Status   string
		Networks map[string][]string
		Host     string
	}
	if err := s.OpenStack(ctx, &rows, "server", "list", "--long", "--sort-column", "Name"); err != nil {
		return nil, err
	}
	vms := make([]VM, 0, len(rows))
	for _, r := range rows {
		addresses := r.Networks[VMNetwork]
		if r.Status != "ACTIVE" || len(addresses) != 1 {
			return nil, fmt.Errorf("virtual machine %s is %s with %v, not active with one address", r.Name, r.Status, r.Networks)
		}
		vms = append(vms, VM{Name: r.Name, ID: r.ID, Node: r.Host, Address: addresses[0]})
	}
	return vms, nil
}

// CheckVMs waits until every virtual machine runs with the address that it has always had, is reached from the network
// node, pings every other one, and gets its bytes as they are. An error says what was still wrong at the end.
func (s *Stack) CheckVMs(ctx context.Context, within time.Duration, vms []VM) error {
	return retry(ctx, within, func() error {
		now, err := s.VMs(ctx)
		if err != nil {
			return err
		}
		if len(now) != len(vms) {
			return fmt.Errorf("%d virtual machines, not %d: %+v", len(now), len(vms), now)
		}
		for i, v := range vms {
			if now[i] != v {
				return fmt.Errorf("virtual machine %+v was %+v", now[i], v)
			}
		}
		return s.ReachVMs(ctx, vms)
	})
}

// ReachVMs tries once what CheckVMs wants of the virtual machines' network. It asks no service of OpenStack.
func (s *Stack) ReachVMs(ctx context.Context, vms []VM) error {
	var errs []error
	hashes := map[string]string{}
	for _, v := range vms {
		hash, err := s.reachVM(ctx, v)
		hashes[v.Name] = hash
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, from := range vms {
		for _, to := range vms {
			if from == to {
				continue
			}
			got, err := s.FromVMNetwork(ctx, "http://"+from.Address+"/cgi-bin/peer?"+to.Address)
			if err != nil {
				return fmt.Errorf("%s asked for %s: %w", from.Name, to.Name, err)
			}
			ping, hash, _ := strings.Cut(got, "\n")
			if !strings.Contains(ping, "3 packets received") || hash != hashes[to.Name] {
				return fmt.Errorf("%s on %s of %s on %s: ping %q, hash %q of bytes with %q", from.Name, from.Node, to.Name, to.Node,
					ping, hash, hashes[to.Name])
			}
		}
	}
	return nil
}

// reachVM fetches what a virtual machine says of itself, and returns the hash of its bytes.
func (s *Stack) reachVM(ctx context.Context, v VM) (string, error) {
	url := "http://" + v.Address
	address, err := s.FromVMNetwork(ctx, url+"/address")
	if err != nil {
		return "", fmt.Errorf("%s on %s at %s: %w", v.Name, v.Node, v.Address, err)
	}
	if got, _, _ := strings.Cut(address, " "); got != v.Address {
		return "", fmt.Errorf("%s says that its address is %s: it must be %s", v.Name, got, v.Address)
	}
	text, err := s.FromVMNetwork(ctx, url+"/metadata")
	if err != nil {
		return "", fmt.Errorf("%s on %s has no metadata: %w", v.Name, v.Node, err)
	}
	var metadata struct{ UUID string }
	if err := json.Unmarshal([]byte(text), &metadata); err != nil || metadata.UUID != v.ID {
		return "", fmt.Errorf("%s was given the metadata of %q, not of %s (%w)", v.Name, metadata.UUID, v.ID, err)
	}
	hash, err := s.FromVMNetwork(ctx, url+"/hash")
	if err != nil {
		return "", fmt.Errorf("%s on %s: %w", v.Name, v.Node, err)
	}
	got, err := s.inVMNetwork(ctx, `curl -sSf --max-time 20 "$2/bytes" | sha256sum | cut -d" " -f1`, url)
	if err != nil || got != hash {
		return "", fmt.Errorf("bytes of %s on %s: hash %q, not %q (%w)", v.Name, v.Node, got, hash, err)
	}
	return hash, nil
}

// FromVMNetwork fetches a URL from inside VMNetwork, where the network node's DHCP server is.
func (s *Stack) FromVMNetwork(ctx context.Context, url string) (string, error) {
	return s.inVMNetwork(ctx, `curl -sSf --connect-timeout 3 --max-time 30 "$2"`, url)
}

// inVMNetwork runs a script with an argument, $2, in the namespace of VMNetwork's DHCP server.
func (s *Stack) inVMNetwork(ctx context.Context, script, arg string) (string, error) {
	h, err := s.Where(ctx, DHCPAgent)
	if err != nil {
		return "", err
	}
	// There is one network, so there is one namespace; before the agent has made it there is none.
	out, err := h.Docker(ctx, "exec", DHCPAgent, "bash", "-euo", "pipefail", "-c",
		`ns=$(ip netns list | sed -n "s/^\(qdhcp-[^ ]*\).*/\1/p"); exec ip netns exec "${ns:?the DHCP agent has made no namespace yet}" bash -euo pipefail -c "$1" sh "$@"`,
		"sh", script, arg)
	return strings.TrimSpace(out), cmp.Or(err, ctx.Err())
}

// retry does something until it succeeds, and returns its last error if it did not in time.
func retry(ctx context.Context, within time.Duration, do func() error) error {
	end := time.After(within)
	for {
		err := do()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-end:
			return fmt.Errorf("after %s: %w", within, err)
		case <-time.After(500 * time.Millisecond):
		}
	}
}
