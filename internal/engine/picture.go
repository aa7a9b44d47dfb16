package engine

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
)

// Labels that say which service of which project a container is a replica of,
// and the beginning of those that are meant for us.
const (
	labelProject = "com.docker.compose.project"
	labelService = "com.docker.compose.service"
	labelOneOff  = "com.docker.compose.oneoff"
	labelNumber  = "com.docker.compose.container-number"
	labelPrefix  = "dockstack."
)

// sharedMode begins the network mode of a container that shares another's
// network namespace.
const sharedMode = "container:"

// Endpoint is a running container's attachment to a network.
type Endpoint struct {
	ID, Network string
	// Container is the container's present name.
	Container string
	Addrs     []netip.Addr
}

// Port is one that a container exposes or publishes.
type Port struct {
	Number uint16
	// Proto is "tcp", "udp" or "sctp".
	Proto string
}

// Attachment is a container's being on a network.
type Attachment struct {
	Network, Endpoint string
	// Aliases are the names that the user gave it there.
	Aliases []string
}

// States of a container's health check.
const (
	Starting  = string(container.Starting)
	Healthy   = string(container.Healthy)
	Unhealthy = string(container.Unhealthy)
)

// Container is one that exists.
type Container struct {
	ID, Name string
	Running  bool
	// Project and Service are what compose calls it, "" where compose did not
	// make it, or only to run one command.
	Project, Service string
	// Health is Starting, Healthy, Unhealthy, or "" for one without a check.
	Health string
	// Labels are those that begin with "dockstack.", nil for none.
	Labels map[string]string
	// On is where it is attached now.
	On []Attachment
	// Networks are the ids of those that it is on whenever it runs.
	Networks []string
	// Home is the one that it was made on, by id: "" for none, or one that is no more.
	Home string
	// Shares is whose network namespace it has, by id or name, "" for its own.
	Shares string
	// Known: Ports, and the Aliases of On, were read. That is later than the rest.
	Known bool
	Ports []Port
}

// Picture is everything of interest that the engine knew at one moment.
type Picture struct {
	// At is when the engine was asked.
	At time.Time
	// Version is the engine's, such as 29.6.0.
	Version string
	// Networks has the name of every network, of whatever driver, by id.
	Networks map[string]string
	// Endpoints are those of running containers in these networks.
	Endpoints []Endpoint
	// Containers are all that exist.
	Containers []Container
}

// picture is what list tells, and the engine's version.
func picture(ctx context.Context, api *client.Client) (Picture, error) {
	version, err := api.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return Picture{}, fmt.Errorf("ask engine for its version: %w", err)
	}
	p, err := list(ctx, api)
	p.Version = version.Version
	return p, err
}

// list asks only for lists: they take no lock of a container that may be
// waiting for us (moby, daemon/list.go); an inspect would.
func list(ctx context.Context, api *client.Client) (Picture, error) {
	p := Picture{At: time.Now(), Networks: map[string]string{}}
	networks, err := api.NetworkList(ctx, client.NetworkListOptions{})
	if err != nil {
		return p, fmt.Errorf("list networks: %w", err)
	}
	for _, n := range networks.Items {
		p.Networks[n.ID] = n.Name
	}
	containers, err := api.ContainerList(ctx, client.ContainerListOptions{All: true})
	if err != nil {
		return p, fmt.Errorf("list containers: %w", err)
	}
	for i := range containers.Items {
		p.add(&containers.Items[i])
	}
	return p, nil
}

func (p *Picture) add(s *container.Summary) {
	c := Container{ID: s.ID, Name: ownName(s.Names), Running: running(s.State)}
	if s.Health != nil && s.Health.Status != container.NoHealthcheck {
		c.Health = string(s.Health.Status)
	}
	c.label(s.Labels)
	var shares bool
	if c.Shares, shares = strings.CutPrefix(s.HostConfig.NetworkMode, sharedMode); !shares {
		c.Shares, c.Home = "", p.networkOf(s.HostConfig.NetworkMode, nil)
	}
	if s.NetworkSettings != nil {
		for name, e := range s.NetworkSettings.Networks {
			if id := p.networkOf(name, e); id != "" {
				c.Networks = append(c.Networks, id)
			}
			if e == nil || e.EndpointID == "" || !c.Running {
				continue
			}
			ep := Endpoint{ID: e.EndpointID, Network: e.NetworkID, Container: c.Name}
			for _, a := range []netip.Addr{e.IPAddress, e.GlobalIPv6Address} {
				if a.IsValid() {
					ep.Addrs = append(ep.Addrs, a)
				}
			}
			p.Endpoints = append(p.Endpoints, ep)
			c.On = append(c.On, Attachment{Network: e.NetworkID, Endpoint: e.EndpointID})
		}
	}
	p.Containers = append(p.Containers, c)
}

// networkOf is the id of a network that a container is to be on. Before its first
// start the engine may have nothing but the name, or the id, that its user wrote.
func (p *Picture) networkOf(name string, e *network.EndpointSettings) string {
	if e != nil && e.NetworkID != "" {
		return e.NetworkID
	}
	for id, other := range p.Networks {
		if other == name || id == name {
			return id
		}
	}
	return ""
}

// label takes over what the labels say.
func (c *Container) label(labels map[string]string) {
	if !strings.EqualFold(labels[labelOneOff], "true") {
		c.Project, c.Service = labels[labelProject], labels[labelService]
	}
	for k, v := range labels {
		if !strings.HasPrefix(k, labelPrefix) {
			continue
		}
		if c.Labels == nil {
			c.Labels = map[string]string{}
		}
		c.Labels[k] = v
	}
}

// running tells whether a container in that state has a process, or is about to
// have one again.
func running(state container.ContainerState) bool {
	switch state {
	case container.StateRunning, container.StatePaused, container.StateRestarting:
		return true
	default:
		return false
	}
}

// ownName picks the container's name among the names of links to it, which
// have a second slash.
func ownName(names []string) string {
	for _, n := range names {
		if n = strings.TrimPrefix(n, "/"); !strings.Contains(n, "/") {
			return n
		}
	}
	return ""
}
