package engine

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// View is what the engine says of itself and of all that it has, asked for once.
type View struct {
	// Version is the engine's.
	Version string
	// Swarm: the host takes part in one.
	Swarm bool
	// LiveRestore: containers go on while the engine restarts.
	LiveRestore bool
	// Rootless: the engine runs in a namespace of its own.
	Rootless bool
	// Networks are of all drivers, by name.
	Networks []ViewNetwork
	// Endpoints are those that the engine holds to be attached.
	Endpoints []ViewEndpoint
	// Plugins are the managed ones.
	Plugins []ViewPlugin
}

// ViewNetwork is a network of the engine.
type ViewNetwork struct {
	ID, Name, Driver, IPAM string
	Internal, IPv6         bool
	Options, IPAMOptions   map[string]string
	Subnets                []ViewSubnet
}

// ViewSubnet is one family of a network.
type ViewSubnet struct {
	Subnet, Range netip.Prefix
	Gateway       netip.Addr
}

// ViewEndpoint is a container's attachment to a network.
type ViewEndpoint struct {
	ID, Network, NetworkName, Container string
	// Running: its container does.
	Running bool
}

// ViewPlugin is a managed plugin.
type ViewPlugin struct {
	Name    string
	Enabled bool
	// Socket is what it serves its protocols on, by which ours are known.
	Socket string
	// Mounts are the sources of its mounts on the host.
	Mounts []string
}

// Look asks the engine at a socket. While the engine starts or stops it doesn't
// answer, so ctx should end soon.
func Look(ctx context.Context, socket string) (View, error) {
	api, err := client.New(client.WithHost("unix://" + socket))
	if err != nil {
		return View{}, fmt.Errorf("open engine API: %w", err)
	}
	defer func() { _ = api.Close() }()
	var v View
	for _, ask := range []func(context.Context, *client.Client) error{v.askInfo, v.askNetworks, v.askContainers, v.askPlugins} {
		if err := ask(ctx, api); err != nil {
			return v, err
		}
	}
	return v, nil
}

func (v *View) askInfo(ctx context.Context, api *client.Client) error {
	res, err := api.Info(ctx, client.InfoOptions{})
	if err != nil {
		return fmt.Errorf("ask the engine about itself: %w", err)
	}
	v.Version, v.LiveRestore = res.Info.ServerVersion, res.Info.LiveRestoreEnabled
	v.Swarm = res.Info.Swarm.LocalNodeState == "active"
	v.Rootless = slices.Contains(res.Info.SecurityOptions, "name=rootless")
	return nil
}

func (v *View) askNetworks(ctx context.Context, api *client.Client) error {
	res, err := api.NetworkList(ctx, client.NetworkListOptions{})
	if err != nil {
		return fmt.Errorf("list the engine's networks: %w", err)
	}
	for _, n := range res.Items {
		out := ViewNetwork{
			ID: n.ID, Name: n.Name, Driver: n.Driver, IPAM: n.IPAM.Driver, Internal: n.Internal, IPv6: n.EnableIPv6,
			Options: n.Options, IPAMOptions: n.IPAM.Options,
		}
		for _, c := range n.IPAM.Config {
			out.Subnets = append(out.Subnets, ViewSubnet{Subnet: c.Subnet, Range: c.IPRange, Gateway: c.Gateway})
		}
		v.Networks = append(v.Networks, out)
	}
	slices.SortFunc(v.Networks, func(a, b ViewNetwork) int { return cmp.Compare(a.Name, b.Name) })
	return nil
}

func (v *View) askContainers(ctx context.Context, api *client.Client) error {
	res, err := api.ContainerList(ctx, client.ContainerListOptions{All: true})
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	for _, c := range res.Items {
		if c.NetworkSettings == nil {
			continue
		}
		for name, e := range c.NetworkSettings.Networks {
			if e == nil || e.EndpointID == "" {
				continue
			}
			v.Endpoints = append(v.Endpoints, ViewEndpoint{
				ID: e.EndpointID, Network: e.NetworkID, NetworkName: name, Container: ownName(c.Names), Running: c.State == container.StateRunning,
			})
		}
	}
	slices.SortFunc(v.Endpoints, func(a, b ViewEndpoint) int {
		return cmp.Or(cmp.Compare(a.Container, b.Container), cmp.Compare(a.NetworkName, b.NetworkName))
	})
	return nil
}

func (v *View) askPlugins(ctx context.Context, api *client.Client) error {
	res, err := api.PluginList(ctx, client.PluginListOptions{})
	if err != nil {
		return fmt.Errorf("list plugins: %w", err)
	}
	for _, p := range res.Items {
		out := ViewPlugin{Name: p.Name, Enabled: p.Enabled, Socket: p.Config.Interface.Socket}
		for _, m := range p.Settings.Mounts {
			if m.Source != nil {
				out.Mounts = append(out.Mounts, *m.Source)
			}
		}
		v.Plugins = append(v.Plugins, out)
	}
	return nil
}
