// Package engine listens to the Docker engine in the background, for what its
// plugin protocols leave out: the names of networks, and that a running
// container was renamed.
//
// Nothing may depend on it. While the engine boots, and while it stops, its
// API hangs or is gone, and those are the moments in which most containers
// start. So what it brings improves answers, and is late at worst.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/moby/moby/client"
)

// Endpoint is a running container's attachment to a network.
type Endpoint struct {
	ID, Network string
	// Container is the container's present name.
	Container string
	Addrs     []netip.Addr
}

// Picture is everything of interest that the engine knew at one moment.
type Picture struct {
	// Version is the engine's, such as 29.6.0.
	Version string
	// Networks has the name of every network, of whatever driver, by id.
	Networks map[string]string
	// Endpoints are those of running containers in these networks.
	Endpoints []Endpoint
}

// Config says where the engine is and who wants to know.
type Config struct {
	// Socket is the path of the engine's API socket.
	Socket string
	// Apply gets a whole picture after each change, and every 20 s; calls
	// don't overlap.
	Apply func(context.Context, Picture)
	Log   *slog.Logger
}

// The pause after a failed connection doubles from the first to the last.
const (
	firstPause = 500 * time.Millisecond
	lastPause  = 15 * time.Second
)

// Run keeps listening until ctx ends.
func Run(ctx context.Context, cfg Config) {
	for pause := firstPause; ctx.Err() == nil; pause = min(2*pause, lastPause) {
		began := time.Now()
		err := listen(ctx, cfg)
		if ctx.Err() != nil {
			return
		}
		cfg.Log.Debug("engine not listened to for now", "error", err)
		if time.Since(began) > lastPause {
			pause = firstPause
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// listen takes a picture, and another after every event that may change it.
func listen(ctx context.Context, cfg Config) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	api, err := client.New(client.WithHost("unix://" + cfg.Socket))
	if err != nil {
		return fmt.Errorf("open engine API: %w", err)
	}
	defer func() { _ = api.Close() }()
	// Before the first picture, so that no change falls between the two.
	events := api.Events(ctx, client.EventsListOptions{Filters: make(client.Filters).
		Add("type", "network", "container").
		Add("event", "create", "destroy", "rename", "start")})
	for {
		p, err := picture(ctx, api)
		if err != nil {
			return err
		}
		cfg.Apply(ctx, p)
		select {
		case <-events.Messages:
			drain(ctx, events.Messages)
		case <-time.After(refresh):
		case err := <-events.Err:
			return errors.Join(errors.New("engine events ended"), err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// refresh is how often a picture is taken although nothing was heard.
const refresh = 20 * time.Second

// gather is how long events are collected before the next picture, so that a
// hundred containers starting at once cost one and not a hundred.
const gather = 200 * time.Millisecond

func drain[T any](ctx context.Context, c <-chan T) {
	end := time.After(gather)
	for {
		select {
		case <-c:
		case <-end:
			return
		case <-ctx.Done():
			return
		}
	}
}

// picture asks only for lists: they take no lock of a container that may be
// waiting for us (moby, daemon/list.go); an inspect would.
func picture(ctx context.Context, api *client.Client) (Picture, error) {
	p := Picture{Networks: map[string]string{}}
	version, err := api.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return p, fmt.Errorf("ask engine for its version: %w", err)
	}
	p.Version = version.Version
	networks, err := api.NetworkList(ctx, client.NetworkListOptions{})
	if err != nil {
		return p, fmt.Errorf("list networks: %w", err)
	}
	for _, n := range networks.Items {
		p.Networks[n.ID] = n.Name
	}
	containers, err := api.ContainerList(ctx, client.ContainerListOptions{})
	if err != nil {
		return p, fmt.Errorf("list containers: %w", err)
	}
	for _, c := range containers.Items {
		if c.NetworkSettings == nil {
			continue
		}
		for _, e := range c.NetworkSettings.Networks {
			if e == nil || e.EndpointID == "" {
				continue
			}
			ep := Endpoint{ID: e.EndpointID, Network: e.NetworkID, Container: ownName(c.Names)}
			for _, a := range []netip.Addr{e.IPAddress, e.GlobalIPv6Address} {
				if a.IsValid() {
					ep.Addrs = append(ep.Addrs, a)
				}
			}
			p.Endpoints = append(p.Endpoints, ep)
		}
	}
	return p, nil
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
