package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
)

// Life is what an inspect tells of how a container lives.
type Life struct {
	// Running: it has a process. Restarting: it has none, and the engine is going
	// to start it.
	Running, Paused, Restarting bool
	// Started is when it last started, Finished when the run before that, or the
	// present one if it is over, ended.
	Started, Finished time.Time
	// Error is why its last start failed, "" for one that did not.
	Error string
	// Networks are the names, and as far as the engine has them the ids, of the
	// networks that it is on whenever it runs.
	Networks []string
	// Kept: it has a restart policy, so its user asked for it to be kept running.
	Kept bool
	// Grace is how long it gets to stop.
	Grace time.Duration
}

// Up tells whether its process runs, be it paused.
func (l Life) Up() bool { return l.Running && !l.Restarting }

const (
	// defaultGrace is what the engine gives a container that does not say.
	defaultGrace = 10 * time.Second
	// startLimit bounds a start; pulling nothing, an engine takes seconds at worst.
	startLimit = 2 * time.Minute
	// connectLimit bounds a change of what the engine keeps of one that is down.
	connectLimit = 10 * time.Second
)

// Hands look at single containers of an engine, start them, and connect them to
// networks. Each of that waits for the container's lock, which the engine holds while
// it waits for us: nothing that the engine waits for may wait for them.
type Hands struct{ api *client.Client }

// Open reaches for the engine at a socket; there need not be one yet.
func Open(socket string) (*Hands, error) {
	api, err := client.New(client.WithHost("unix://" + socket))
	if err != nil {
		return nil, fmt.Errorf("open engine API: %w", err)
	}
	return &Hands{api: api}, nil
}

// Close lets go of it.
func (h *Hands) Close() { _ = h.api.Close() }

// List tells what the engine lists, without its version, and what takes an inspect.
// Unlike all else here it waits for no container's lock. It gives up after two
// seconds.
func (h *Hands) List(ctx context.Context) (Picture, error) {
	ctx, cancel := context.WithTimeout(ctx, inspectWait)
	defer cancel()
	return list(ctx, h.api)
}

// Inspect tells how a container lives. It gives up after two seconds.
func (h *Hands) Inspect(ctx context.Context, id string) (Life, error) {
	ctx, cancel := context.WithTimeout(ctx, inspectWait)
	defer cancel()
	res, err := h.api.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return Life{}, fmt.Errorf("inspect container %.12s: %w", id, err)
	}
	return lifeOf(&res.Container), nil
}

func lifeOf(c *container.InspectResponse) Life {
	l := Life{Grace: defaultGrace}
	if s := c.State; s != nil {
		l.Running, l.Paused, l.Restarting, l.Error = s.Running, s.Paused, s.Restarting, s.Error
		l.Started, l.Finished = moment(s.StartedAt), moment(s.FinishedAt)
	}
	if s := c.NetworkSettings; s != nil {
		for name, e := range s.Networks {
			l.Networks = append(l.Networks, name)
			if e != nil && e.NetworkID != "" {
				l.Networks = append(l.Networks, e.NetworkID)
			}
		}
	}
	if c.HostConfig != nil {
		l.Kept = !c.HostConfig.RestartPolicy.IsNone()
	}
	if c.Config != nil && c.Config.StopTimeout != nil {
		l.Grace = time.Duration(max(*c.Config.StopTimeout, 0)) * time.Second
	}
	return l
}

// moment reads a time of the engine's; a container that never started has one
// in the year 1.
func moment(text string) time.Time {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || at.Year() <= 1 {
		return time.Time{}
	}
	return at
}

// Restart stops a container, which has grace for that, and starts it. What the
// engine began it brings to its end, also if ctx ends.
func (h *Hands) Restart(ctx context.Context, id string, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, grace+startLimit)
	defer cancel()
	if _, err := h.api.ContainerRestart(ctx, id, client.ContainerRestartOptions{}); err != nil {
		return fmt.Errorf("restart container %.12s: %w", id, err)
	}
	return nil
}

// Start starts a container, unless it runs. It asks for a restart (moby,
// daemon/restart.go): a start whose caller goes away while it waits for the
// container's lock the engine gives up ("Canceled: context canceled", seen in a
// storm), and when this process is killed nobody tries again.
func (h *Hands) Start(ctx context.Context, id string) error {
	if life, err := h.Inspect(ctx, id); err == nil && life.Running {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if _, err := h.api.ContainerRestart(ctx, id, client.ContainerRestartOptions{}); err != nil {
		return fmt.Errorf("start container %.12s: %w", id, err)
	}
	return nil
}

// Connect has a container that is down be on a network from its next start on.
func (h *Hands) Connect(ctx context.Context, id, networkID string, aliases []string) error {
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	opts := client.NetworkConnectOptions{Container: id, EndpointConfig: &network.EndpointSettings{Aliases: aliases}}
	if _, err := h.api.NetworkConnect(ctx, networkID, opts); err != nil {
		return fmt.Errorf("connect container %.12s to network %.12s: %w", id, networkID, err)
	}
	return nil
}
