package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dockstack/dockstack/internal/engine"
	"github.com/dockstack/dockstack/ipam"
)

// sweepEvery is how often leases whose end we were not told are looked for.
const sweepEvery = time.Minute

// recall restores networks and endpoints of an earlier run, without waiting
// for the first call, and from then on parks leases that nobody holds.
func (p *parts) recall(ctx context.Context) {
	var synced <-chan struct{}
	for pause := time.Duration(0); ; pause = sweepEvery {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		case <-p.store.opened:
		case <-synced:
		}
		// Whose containers run here may be told by others' store alone, and which
		// number an overlay has once this host joined them.
		synced = p.unsynced()
		if err := p.sweep(ctx); err != nil && ctx.Err() == nil {
			p.log.Warn("leases not compared with containers yet", "error", err)
		}
	}
}

// unsynced is closed once the shared store was read, nil where it was already.
func (p *parts) unsynced() <-chan struct{} {
	o, err := p.store.now()
	if err != nil || o == nil {
		return nil
	}
	select {
	case <-o.Leases.Synced():
		return nil
	default:
		return o.Leases.Synced()
	}
}

func (p *parts) sweep(ctx context.Context) error {
	st, err := p.store.get(ctx)
	if err != nil {
		return err
	}
	if err := p.driver.Restore(ctx, &st.State); err != nil {
		return err
	}
	p.fabric.NetworksKnown()
	p.serving.Do(p.healer.Missed)
	return errors.Join(p.compare(ctx, st.Leases), p.driver.Refresh(ctx, &st.State), p.driver.EndStrays(ctx, &st.State))
}

// compare tells the leases which containers hold them.
func (p *parts) compare(ctx context.Context, leases *ipam.Registry) error {
	ctx, cancel := context.WithTimeout(ctx, askKernel)
	defer cancel()
	select {
	case <-p.fabric.Recalled():
	case <-ctx.Done():
		return fmt.Errorf("the host's links were not read yet: %w", ctx.Err())
	}
	var held []ipam.Endpoint
	for _, e := range p.fabric.Endpoints() {
		if p.fabric.Alive(e.ID) {
			held = append(held, ipam.Endpoint{ID: e.ID, Network: e.Network, Addrs: e.Addrs, MAC: e.MAC.String()})
		}
	}
	return leases.Sweep(ctx, held)
}

// watch follows network names and renames that the engine tells of.
func (p *parts) watch(ctx context.Context) {
	engine.Run(ctx, engine.Config{
		Socket: p.cfg.host(engineSocket),
		Apply:  func(ctx context.Context, pic engine.Picture) { p.apply(ctx, pic) },
		Ours:   p.ours,
		Log:    p.log,
	})
}

func (p *parts) apply(ctx context.Context, pic engine.Picture) {
	p.engineVersion.Store(&pic.Version)
	p.healer.Observe(pic)
	st, err := p.store.get(ctx)
	if err != nil {
		return // it is in the log already, and the next picture comes
	}
	var errs []error
	for id, name := range pic.Networks {
		// The engine has other drivers' networks too.
		if err := st.Leases.SetNetworkName(ctx, id, name); !errors.Is(err, ipam.ErrUnknownNetwork) {
			errs = append(errs, err)
		}
	}
	containers := make(map[string]string, len(pic.Endpoints))
	for _, e := range pic.Endpoints {
		containers[e.ID] = e.Container
	}
	errs = append(errs, st.Leases.NameEndpoints(ctx, containers), p.driver.Forget(ctx, &st.State, pic.Networks, pic.At))
	// Behind the renames: facts follow the names that leases have.
	st.about.observe(pic, st.Leases)
	if err := errors.Join(errs...); err != nil {
		p.log.Warn("the engine's names are not all taken over", "error", err)
	}
}
