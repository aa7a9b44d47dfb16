package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/dockstack/dockstack/dnsd"
	"github.com/dockstack/dockstack/internal/fabric"
	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/boltkv"
	"github.com/dockstack/dockstack/internal/kv/etcdkv"
	"github.com/dockstack/dockstack/internal/peers"
	"github.com/dockstack/dockstack/ipam"
	"github.com/dockstack/dockstack/plugin"
)

// openState opens the store and what decides on top of it.
func (p *parts) openState(ctx context.Context) (*opened, error) {
	kvs, err := boltkv.Open(p.cfg.host(stateFile))
	if err != nil {
		return nil, err
	}
	o, err := p.openOn(ctx, kvs)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", p.cfg.host(stateFile), err), kvs.Close())
	}
	if o.cluster != nil {
		o.cluster.start(ctx, o.Leases)
	}
	return o, nil
}

func (p *parts) openOn(ctx context.Context, local kv.Store) (*opened, error) {
	id, err := peers.Identity(ctx, local)
	if err != nil {
		return nil, err
	}
	mine, err := copyOf(ctx, local)
	if err != nil {
		return nil, err
	}
	cfg := ipam.Config{
		Supernet4: p.cfg.supernet4, Supernet6: p.cfg.supernet6, Host: id,
		HostRoutes: p.hostRoutes, Alive: p.fabric.Alive, Label: dnsd.Label, Log: p.log,
	}
	o := &opened{State: plugin.State{Store: local}}
	if p.cfg.store.is() {
		if o.cluster, err = p.newCluster(ctx, local, id, mine); err != nil {
			return nil, err
		}
		cfg = o.cluster.config(cfg, p.moved)
	}
	if o.Leases, err = ipam.Open(ctx, local, cfg); err != nil {
		return nil, err
	}
	// Before anybody asks for an address: whose container still runs, the links
	// know better than the store.
	if err := p.compare(ctx, o.Leases); err != nil {
		return nil, err
	}
	if !p.cfg.store.is() && mine.ID != "" {
		if err := leave(ctx, local); err != nil {
			return nil, err
		}
		kept, err := o.Leases.Leases(ctx, ipam.LeaseFilter{})
		p.log.Info("this host left its cluster and is alone now, with the names that it knew", "cluster", mine.ID, "names", len(kept), "error", err)
	}
	return o, nil
}

func (p *parts) newCluster(ctx context.Context, local kv.Store, id string, mine clusterRecord) (*cluster, error) {
	boot, err := bootID(p.cfg.host(bootFile))
	if err != nil {
		return nil, err
	}
	settings := p.cfg.etcd()
	settings.Log = p.log
	return newCluster(ctx, clusterConfig{
		where: p.cfg.store.address.String(), local: local, mine: mine,
		dial:     func() (kv.Shared, error) { return etcdkv.Open(settings) },
		self:     peers.Host{ID: id, Name: p.cfg.hostName, Port: p.cfg.vxlanPort, Boot: boot, Version: version},
		underlay: p.underlay, setUnderlay: p.fabric.SetUnderlay,
		failed: p.store.reopen, changed: p.status.changed, log: p.log,
	})
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
