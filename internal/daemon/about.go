package daemon

import (
	"context"
	"sync"

	"github.com/dockstack/dockstack/dnsd"
	"github.com/dockstack/dockstack/internal/engine"
	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/records"
	"github.com/dockstack/dockstack/internal/services"
	"github.com/dockstack/dockstack/ipam"
)

// about is what DNS has beside the leases: services, and the operator's records.
type about struct {
	services *services.Services
	records  *records.Records
	pictures *pictures

	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// openAbout reads it. store is where it is written.
func (o opening) openAbout(ctx context.Context, out *opened, mine clusterRecord) error {
	a := &about{}
	own := watched{Store: o.local, failed: o.failed}
	sc := services.Config{Host: out.id, Store: own, Label: dnsd.Label, Health: o.health, Log: o.log}
	rc := records.Config{Zone: o.zone, Store: own, Log: o.log}
	if c := out.cluster; c != nil {
		sc.Store, sc.Hosts = c.gate, c.peers
		rc.Store, rc.Standalone = c.gate, mine.ID == ""
	}
	rc.Live = func(name string) string { return a.pictures.now().liveAs(o.zone, name) }
	var err error
	if a.services, err = services.Open(ctx, o.local, sc); err != nil {
		return err
	}
	if a.records, err = records.Open(ctx, o.local, rc); err != nil {
		return err
	}
	serial, err := openSerial(ctx, own)
	if err != nil {
		return err
	}
	a.pictures = &pictures{leases: out.Leases.Names, services: a.services.Now, records: a.records.Now, serial: serial}
	if out.cluster != nil {
		a.pictures.machine = out.cluster.peers.Name
	}
	out.about = a
	return nil
}

// start has it written; stop ends that.
func (a *about) start(ctx context.Context, log func(error)) {
	ctx, a.cancel = context.WithCancel(context.WithoutCancel(ctx))
	a.wg.Go(func() { a.services.Run(ctx) })
	a.wg.Go(func() { a.pictures.serial.run(ctx, log) })
}

func (a *about) stop() {
	a.cancel()
	a.wg.Wait()
}

// learn takes one change of the shared store.
func (a *about) learn(ch kv.Change) {
	a.records.Learn(ch)
	a.services.Learn(ch)
}

// observe takes what the engine tells of containers.
func (a *about) observe(pic engine.Picture, leases *ipam.Registry) {
	a.services.Observe(pic, leases.Names().PoolsOf)
}

// ours tells whether a network of the engine is one of dockstack's.
func (p *parts) ours(network string) bool {
	o, err := p.store.now()
	return err == nil && o != nil && len(o.Leases.Names().PoolsOf(network)) > 0
}
