package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dockstack/dockstack/internal/fabric"
	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/etcdkv"
	"github.com/dockstack/dockstack/internal/peers"
	"github.com/dockstack/dockstack/ipam"
	"github.com/dockstack/dockstack/test/scale/sim"
)

// light is a host that follows and learns nothing: a real mark, kept by the
// real store, and the watch that Follow opens after its first picture.
type light struct {
	store  *etcdkv.Store
	client *clientv3.Client
	end    context.CancelFunc
	wg     sync.WaitGroup
}

const leaseKeys = sim.Prefix + "/lease/" + sim.Pool + "/"

func startLight(ctx context.Context, e *sim.Etcd, i int, saw func(name string)) (*light, error) {
	addr, err := etcdkv.Parse(e.URL())
	if err != nil {
		return nil, err
	}
	value, err := json.Marshal(sim.Host(i))
	if err != nil {
		return nil, err
	}
	l := &light{}
	if l.client, err = e.Client(i); err != nil {
		return nil, err
	}
	if l.store, err = etcdkv.Open(etcdkv.Settings{Address: addr}); err != nil {
		return nil, errors.Join(err, l.client.Close())
	}
	ctx, l.end = context.WithCancel(ctx)
	held, once := make(chan struct{}), sync.Once{}
	mark := kv.Mark{Key: peers.Prefix + sim.HostID(i), Value: value, TTL: peers.TTL, Held: func(on bool) {
		if on {
			once.Do(func() { close(held) })
		}
	}}
	l.wg.Go(func() { _ = l.store.Hold(ctx, mark) }) // it ends with ctx
	if err := l.watch(ctx, saw); err != nil {
		return nil, errors.Join(fmt.Errorf("host %d: %w", i, err), l.stop())
	}
	select {
	case <-held:
		return l, nil
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), l.stop())
	}
}

// watch returns once it is there.
func (l *light) watch(ctx context.Context, saw func(name string)) error {
	watch := l.client.Watch(clientv3.WithRequireLeader(ctx), sim.Prefix+"/", clientv3.WithPrefix(), clientv3.WithProgressNotify(), clientv3.WithCreatedNotify())
	select {
	case r, ok := <-watch:
		if !ok || r.Err() != nil {
			return fmt.Errorf("watch etcd: %w", r.Err())
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	l.wg.Go(func() {
		for r := range watch {
			for _, ev := range r.Events {
				if name, ok := strings.CutPrefix(string(ev.Kv.Key), leaseKeys); ok && ev.Type == clientv3.EventTypePut {
					saw(name)
				}
			}
		}
	})
	return nil
}

func (l *light) stop() error {
	err := errors.Join(l.store.Close(), l.client.Close())
	l.end()
	l.wg.Wait()
	return err
}

// full is a host that does everything but forward.
type full struct {
	*sim.Agent
	fabric *fabric.Fabric
	sw     *sim.Switch
	end    context.CancelFunc
	wg     sync.WaitGroup
}

// fullConfig says what a full host tells.
type fullConfig struct {
	number     int
	withSwitch bool
	moved      func(addr string)
	flows      func(addr string)
}

func startFull(ctx context.Context, e *sim.Etcd, cfg fullConfig) (*full, error) {
	f := &full{end: func() {}}
	tell := sim.Callbacks{Moved: func(moves []ipam.Move) {
		for _, m := range moves {
			if m.Whole {
				continue
			}
			for _, p := range m.Set {
				cfg.moved(p.Addr.String())
			}
		}
	}}
	if cfg.withSwitch {
		f.sw = &sim.Switch{Added: cfg.flows}
		f.fabric = fabric.New(fabric.Config{MAC: ipam.MAC}, f.sw, &sim.Links{}, slog.New(slog.DiscardHandler))
		noted := tell.Moved
		tell.Moved = func(moves []ipam.Move) {
			f.fabric.ChangeRemotes(remotes(moves))
			noted(moves)
		}
		tell.Hosts = func(p *peers.Peers) { f.fabric.SetUnderlay(underlay(p)) }
	}
	var err error
	if f.Agent, err = sim.StartAgent(ctx, e.URL(), sim.Host(cfg.number), tell, nil); err != nil {
		return nil, err
	}
	if f.fabric != nil {
		err = f.runSwitch(ctx, cfg.number)
	}
	return f, err
}

// runSwitch has the host have the network and one container in it: without one
// a host has no flows about other hosts.
func (f *full) runSwitch(ctx context.Context, number int) error {
	pool := f.Leases.Pools()
	if len(pool) != 1 {
		return fmt.Errorf("%d pools, want 1", len(pool))
	}
	prefix := netip.PrefixFrom(pool[0].Gateway, pool[0].Subnet.Bits())
	net := fabric.Network{ID: sim.NetworkID, VNI: pool[0].VNI, MTU: pool[0].MTU, Gateways: []netip.Prefix{prefix}}
	if err := f.fabric.PutNetwork(ctx, net); err != nil {
		return err
	}
	var run context.Context
	run, f.end = context.WithCancel(context.WithoutCancel(ctx))
	f.wg.Go(func() { _ = f.fabric.Run(run) }) // it ends with run
	name := fmt.Sprintf("on-the-switch-of-%d", number)
	addr, err := f.Start(ctx, name)
	if err != nil {
		return err
	}
	id := "ep-" + name
	if _, err := f.fabric.Attach(ctx, fabric.Endpoint{ID: id, Network: sim.NetworkID, MAC: ipam.MAC(addr), Addrs: []netip.Addr{addr}}); err != nil {
		return err
	}
	f.fabric.SetUnderlay(underlay(f.Peers))
	return f.fabric.Settle(ctx, id)
}

func (f *full) stop() error {
	err := f.Stop()
	f.end()
	f.wg.Wait()
	return err
}

// remotes and underlay are what the daemon makes of moves and hosts.
func remotes(moves []ipam.Move) []fabric.RemoteChange {
	out := make([]fabric.RemoteChange, len(moves))
	for i, m := range moves {
		c := fabric.RemoteChange{VNI: m.VNI, Whole: m.Whole, Gone: m.Gone, Set: make([]fabric.Remote, len(m.Set))}
		for j, at := range m.Set {
			c.Set[j] = fabric.Remote{Addr: at.Addr, MAC: at.MAC, Host: at.Host}
		}
		out[i] = c
	}
	return out
}

func underlay(p *peers.Peers) fabric.Underlay {
	self := p.Self()
	u := fabric.Underlay{VTEP: self.VTEP, Port: self.Port}
	for _, h := range p.All() {
		if h.ID != self.ID && h.VTEP.IsValid() {
			u.Peers = append(u.Peers, fabric.Peer{ID: h.ID, VTEP: h.VTEP})
		}
	}
	return u
}
