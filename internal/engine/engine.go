// Package engine listens to the Docker engine in the background, for what its
// plugin protocols leave out: the names of networks, that a running container
// was renamed, and what it is besides its name: its compose service, aliases,
// ports and health.
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
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// Config says where the engine is and who wants to know.
type Config struct {
	// Socket is the path of the engine's API socket.
	Socket string
	// Apply gets a whole picture after each change, and every 20 s; calls
	// don't overlap.
	Apply func(context.Context, Picture)
	// Ours tells which networks' containers are looked at closely, nil for all.
	Ours func(network string) bool
	Log  *slog.Logger
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
		Add("event", "create", "destroy", "rename", "start", "die", "connect", "disconnect", "health_status")})
	in := newInspector(func(ctx context.Context, id string) (container.InspectResponse, error) {
		found, err := api.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
		return found.Container, err
	}, cfg)
	var wg sync.WaitGroup
	wg.Go(func() { in.run(ctx) })
	defer wg.Wait()
	defer cancel()
	for {
		p, err := picture(ctx, api)
		if err != nil {
			return err
		}
		in.fill(&p)
		cfg.Apply(ctx, p)
		select {
		case <-events.Messages:
			drain(ctx, events.Messages)
		case <-in.news:
			drain(ctx, events.Messages)
		case <-time.After(in.wait()):
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
