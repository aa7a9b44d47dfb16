package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/dockstack/dockstack/dnsd"
	"github.com/dockstack/dockstack/internal/fabric"
	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/boltkv"
	"github.com/dockstack/dockstack/internal/kv/etcdkv"
	"github.com/dockstack/dockstack/internal/peers"
	"github.com/dockstack/dockstack/ipam"
	"github.com/dockstack/dockstack/plugin"
)

// opening is how a host's state is opened.
type opening struct {
	local kv.Store
	// leases lack what only several hosts need.
	leases ipam.Config
	// cluster is for a host that shares a store, nil for one that is alone. It
	// lacks what stands in the local store.
	cluster *clusterConfig
	// moved is told where addresses are on other hosts.
	moved func([]ipam.Move)
	// compare tells the leases which containers hold them.
	compare func(context.Context, *ipam.Registry) error
	// failed is called when the host's own store has to be opened anew.
	failed func()
	// zone is DNS's; health: unhealthy replicas are left out.
	zone   string
	health bool
	log    *slog.Logger
}

// openState opens the store and what decides on top of it.
func (p *parts) openState(ctx context.Context) (*opened, error) {
	kvs, err := boltkv.Open(p.cfg.host(stateFile))
	if err != nil {
		return nil, err
	}
	open := opening{
		local: kvs, moved: p.moved, compare: p.compare, log: p.log,
		failed: p.store.reopen, zone: p.cfg.zone, health: p.cfg.dns.health,
		leases: ipam.Config{
			Supernet4: p.cfg.supernet4, Supernet6: p.cfg.supernet6,
			HostRoutes: p.hostRoutes, Alive: p.fabric.Alive, Label: dnsd.Label, Changed: p.changes.take, Log: p.log,
		},
	}
	if p.cfg.store.is() {
		open.cluster, err = p.clusterConfig()
	} else {
		// Tunnels of a time with others go.
		p.fabric.SetUnderlay(fabric.Underlay{})
	}
	var o *opened
	if err == nil {
		o, err = open.open(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", p.cfg.host(stateFile), err), kvs.Close())
	}
	return o, nil
}

func (p *parts) clusterConfig() (*clusterConfig, error) {
	boot, err := bootID(p.cfg.host(bootFile))
	if err != nil {
		return nil, err
	}
	settings := p.cfg.etcd()
	settings.Log = p.log
	return &clusterConfig{
		where:    p.cfg.store.address.String(),
		dial:     func() (kv.Shared, error) { return etcdkv.Open(settings) },
		self:     peers.Host{Name: p.cfg.hostName, Port: p.cfg.vxlanPort, Boot: boot, Version: version},
		underlay: p.underlay, setUnderlay: p.fabric.SetUnderlay,
		failed: p.store.reopen, changed: p.status.changed, log: p.log,
	}, nil
}

// open opens it. The local store stays the caller's where that fails.
func (o opening) open(ctx context.Context) (*opened, error) {
	id, err := peers.Identity(ctx, o.local)
	if err != nil {
		return nil, err
	}
	mine, err := copyOf(ctx, o.local)
	if err != nil {
		return nil, err
	}
	out := &opened{State: plugin.State{Store: o.local}, id: id}
	cfg := o.leases
	cfg.Host = id
	if o.cluster != nil {
		c := *o.cluster
		c.local, c.mine, c.self.ID = o.local, mine, id
		if out.cluster, err = newCluster(ctx, c); err != nil {
			return nil, err
		}
		cfg = out.cluster.config(cfg, o.moved)
	}
	if out.Leases, err = ipam.Open(ctx, o.local, cfg); err != nil {
		return nil, err
	}
	// Before anybody asks for an address: whose container still runs, the links
	// know better than the store.
	if err := o.compare(ctx, out.Leases); err != nil {
		return nil, err
	}
	if err := o.openAbout(ctx, out, mine); err != nil {
		return nil, err
	}
	if out.cluster == nil && mine.ID != "" {
		if err := o.leave(ctx, mine, out.Leases); err != nil {
			return nil, err
		}
	}
	out.about.start(ctx, func(err error) { o.log.Warn("DNS may count its zones' changes anew after a restart", "error", err) })
	if out.cluster != nil {
		out.cluster.start(ctx, out)
	}
	return out, nil
}

// leave makes a host that shared a store one of its own.
func (o opening) leave(ctx context.Context, mine clusterRecord, leases *ipam.Registry) error {
	if err := leave(ctx, o.local); err != nil {
		return err
	}
	kept, err := leases.Leases(ctx, ipam.LeaseFilter{})
	if err != nil {
		return err
	}
	o.log.Info("this host has left its cluster and is alone, with the names that it knew", "cluster", mine.ID, "names", len(kept))
	return nil
}

// moved tells the switch where addresses are on other hosts.
func (p *parts) moved(moves []ipam.Move) {
	changes := make([]fabric.RemoteChange, len(moves))
	for i, m := range moves {
		c := fabric.RemoteChange{VNI: m.VNI, Whole: m.Whole, Gone: m.Gone, Set: make([]fabric.Remote, len(m.Set))}
		for j, at := range m.Set {
			c.Set[j] = fabric.Remote{Addr: at.Addr, MAC: at.MAC, Host: at.Host}
		}
		changes[i] = c
	}
	p.fabric.ChangeRemotes(changes)
}
