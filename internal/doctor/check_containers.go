package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/dockstack/dockstack/internal/engine"
	"github.com/dockstack/dockstack/internal/fabric"
	"github.com/dockstack/dockstack/internal/heal"
	"github.com/dockstack/dockstack/ipam"
)

var containerChecks = []check{
	{ids: []string{"cut-off"}, twice: true, run: (*exam).cutOff},
	{ids: []string{"stale-endpoint"}, twice: true, run: (*exam).endpoints},
	{ids: []string{"displaced"}, twice: true, run: (*exam).displaced},
	{ids: []string{"unknown-network", "stale-network"}, twice: true, run: (*exam).networks},
	{ids: []string{"dead-namespace", "start-failed"}, twice: true, run: (*exam).unhealed},
	{ids: []string{"container-mtu"}, twice: true, run: (*exam).interfaces},
}

// driver is how networks of ours name their driver. The plugin's own name works
// too, where somebody took that.
const driver = "dockstack"

// ours is whether a network of the engine's is dockstack's.
func (x *exam) ours(n engine.ViewNetwork) bool {
	return n.Driver == driver || slices.ContainsFunc(ourPlugins(x.eng.view.Plugins), func(p engine.ViewPlugin) bool { return n.Driver == p.Name })
}

// cutOff looks for running containers whose endpoint is not known, or without a
// link.
func (x *exam) cutOff(ctx context.Context) error {
	have := x.Fabric.Endpoints()
	v, err := x.ask(ctx)
	if err != nil {
		return err
	}
	mine := map[string]bool{}
	for _, n := range v.Networks {
		mine[n.ID] = x.ours(n)
	}
	for _, e := range v.Endpoints {
		known := slices.ContainsFunc(have, func(h fabric.Endpoint) bool { return h.ID == e.ID })
		if !mine[e.Network] || !e.Running || known && x.Fabric.Alive(e.ID) {
			continue
		}
		x.add(Finding{
			ID: "cut-off", Subject: e.Container + " " + e.NetworkName, What: fmt.Sprintf("container %s is cut off from network %s", e.Container, e.NetworkName),
			Command: "docker restart " + quote(e.Container),
		})
	}
	return nil
}

// unhealed looks for containers whose network namespace ended with its owner's
// run, and for those whose start dockstack did not answer.
func (x *exam) unhealed(context.Context) error {
	for _, c := range x.Groups.Apart() {
		f := Finding{ID: "dead-namespace", Subject: c.Member, What: c.What(), Command: c.Command()}
		if c.Owner == "" {
			f.ID = "start-failed"
		}
		if c.Kind == heal.Declined || c.Kind == heal.Off {
			f.Severity = Warning
		}
		x.add(f)
	}
	return nil
}

// endpoints looks for endpoints of ours that no container has.
func (x *exam) endpoints(ctx context.Context) error {
	// Ours first: one that ends meanwhile is then in neither.
	have := x.Fabric.Endpoints()
	v, err := x.ask(ctx)
	if err != nil {
		return err
	}
	theirs := map[string]bool{}
	for _, e := range v.Endpoints {
		theirs[e.ID] = true
	}
	var left []fabric.Endpoint
	for _, e := range have {
		// What is in a container may be one that the engine is still starting.
		if !theirs[e.ID] && !x.Fabric.Alive(e.ID) {
			left = append(left, e)
		}
	}
	if len(left) == 0 {
		return nil
	}
	young, err := x.young(ctx)
	if err != nil {
		return err
	}
	for _, e := range left {
		if slices.ContainsFunc(e.Addrs, func(a netip.Addr) bool { return young[a] }) {
			continue
		}
		x.staleEndpoints = append(x.staleEndpoints, e.ID)
		x.add(Finding{
			ID: "stale-endpoint", Subject: e.ID, What: fmt.Sprintf("the engine knows no endpoint %.12s of network %s, which has %s", e.ID, x.network(e.Network), join(e.Addrs)),
		})
	}
	return nil
}

// young are the addresses that were just asked for here. Their containers are
// being started: an engine that starts a hundred at once lists an endpoint, and
// has its link in the container, many seconds after it was made.
func (x *exam) young(ctx context.Context) (map[netip.Addr]bool, error) {
	if err := x.open(); err != nil {
		return nil, err
	}
	all, err := x.Store.Leases(ctx)
	if err != nil {
		return nil, err
	}
	out := map[netip.Addr]bool{}
	for _, l := range all {
		if l.State == ipam.StateLive && x.here(l.Host) && time.Since(l.Since) < starting {
			out[l.Addr] = true
		}
	}
	return out, nil
}

func (x *exam) displaced(ctx context.Context) error {
	displaced := x.Fabric.Status().Displaced
	if len(displaced) == 0 {
		return nil
	}
	v, err := x.ask(ctx)
	names := map[string]string{}
	for _, e := range v.Endpoints {
		names[e.ID] = e.Container
	}
	for _, d := range displaced {
		name := names[d.Endpoint]
		f := Finding{ID: "displaced", Subject: d.Endpoint, What: fmt.Sprintf("container %s is kept off network %s: its address %s is in use on host %s", name, x.network(d.Network), d.Addr, x.hostName(d.Host))}
		if name == "" {
			f.What = fmt.Sprintf("endpoint %.12s is kept off network %s: its address %s is in use on host %s", d.Endpoint, x.network(d.Network), d.Addr, x.hostName(d.Host))
			f.Command = "docker ps"
		} else {
			f.Command = "docker stop " + quote(name)
		}
		x.add(f)
	}
	return err
}

// hostName is what people call a host.
func (x *exam) hostName(id string) string {
	if x.Cluster != nil {
		for _, p := range x.Cluster.Peers() {
			if p.ID == id {
				return p.Name
			}
		}
	}
	return id
}

// networks compares the engine's with ours.
func (x *exam) networks(ctx context.Context) error {
	have := x.Fabric.Networks()
	v, err := x.ask(ctx)
	if err != nil {
		return err
	}
	if err := x.Store.Closed(); err != nil {
		return fmt.Errorf("the store is not open: %w", err)
	}
	known := map[string]bool{}
	for _, n := range v.Networks {
		known[n.ID] = true
		if !x.ours(n) || slices.ContainsFunc(have, func(h fabric.Network) bool { return h.ID == n.ID }) {
			continue
		}
		x.add(Finding{ID: "unknown-network", Subject: n.Name, What: fmt.Sprintf("the engine has network %s, and dockstack does not know it", n.Name), Command: recreate(n)})
	}
	for _, n := range have {
		if !known[n.ID] {
			x.add(Finding{ID: "stale-network", Subject: n.ID, What: fmt.Sprintf("the engine does not know network %.12s any more", n.ID), Command: x.restart()})
		}
	}
	return nil
}

// recreate makes a network anew, as it was. Its containers have to be stopped
// and connected again.
func recreate(n engine.ViewNetwork) string {
	words := []string{"docker", "network", "create", "-d", n.Driver, "--ipam-driver", n.IPAM}
	if n.Internal {
		words = append(words, "--internal")
	}
	if n.IPv6 {
		words = append(words, "--ipv6")
	}
	for _, s := range n.Subnets {
		words = append(words, "--subnet", s.Subnet.String())
		if s.Range.IsValid() {
			words = append(words, "--ip-range", s.Range.String())
		}
		if s.Gateway.IsValid() && s.Gateway != s.Subnet.Masked().Addr().Next() {
			words = append(words, "--gateway", s.Gateway.String())
		}
	}
	for _, k := range keys(n.Options) {
		words = append(words, "-o", quote(k+"="+n.Options[k]))
	}
	for _, k := range keys(n.IPAMOptions) {
		words = append(words, "--ipam-opt", quote(k+"="+n.IPAMOptions[k]))
	}
	name := quote(n.Name)
	return fmt.Sprintf("docker network rm %s && %s %s", name, strings.Join(words, " "), name)
}

// interfaces compares the MTU of containers' interfaces with their network's.
func (x *exam) interfaces(ctx context.Context) error {
	mtus, err := x.Links.PeerMTUs(ctx, linkPrefix+"e")
	if err != nil {
		return err
	}
	want, err := x.Fabric.Wanted(ctx)
	if err != nil {
		return err
	}
	v, err := x.ask(ctx)
	if err != nil {
		return err
	}
	network := map[string]int{}
	for _, n := range x.Fabric.Networks() {
		network[n.ID] = n.MTU
	}
	for _, e := range v.Endpoints {
		for _, port := range keys(mtus) {
			if want.Ports[port] != "endpoint "+e.ID || network[e.Network] == 0 || mtus[port] <= network[e.Network] {
				continue
			}
			x.add(Finding{
				ID: "container-mtu", Subject: e.Container + " " + e.NetworkName,
				What:    fmt.Sprintf("container %s has the MTU %d on network %s, which has %d", e.Container, mtus[port], e.NetworkName, network[e.Network]),
				Command: "docker restart " + quote(e.Container),
			})
		}
	}
	return nil
}
