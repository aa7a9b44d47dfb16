package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/etcdkv"
	"github.com/dockstack/dockstack/internal/kv/kvtest"
	"github.com/dockstack/dockstack/internal/peers"
	"github.com/dockstack/dockstack/ipam"
)

// Agent is a host without a switch: the real store, peers and registry, wired
// as the daemon wires them, but for the copy on the host's disk.
type Agent struct {
	Store  *etcdkv.Store
	Peers  *peers.Peers
	Leases *ipam.Registry
	// Synced is when it had all that the store has.
	Synced time.Time

	end context.CancelFunc
	wg  sync.WaitGroup
}

// Callbacks are what an agent tells. Both may be nil.
type Callbacks struct {
	// Moved is ipam.Config's.
	Moved func([]ipam.Move)
	// Hosts is called with the peers when they changed.
	Hosts func(*peers.Peers)
}

// StartAgent starts a host and waits until it has all that the store has.
func StartAgent(ctx context.Context, url string, self peers.Host, tell Callbacks, log *slog.Logger) (*Agent, error) {
	addr, err := etcdkv.Parse(url)
	if err != nil {
		return nil, err
	}
	a := &Agent{}
	if a.Store, err = etcdkv.Open(etcdkv.Settings{Address: addr, Log: log}); err != nil {
		return nil, err
	}
	hosts := make(chan struct{}, 1)
	a.Peers = peers.New(peers.Config{Self: self, Log: log, Changed: func() {
		select {
		case hosts <- struct{}{}:
		default:
		}
	}})
	a.Leases, err = ipam.Open(ctx, kvtest.NewMemory(), ipam.Config{Host: self.ID, Shared: a.Store, Hosts: a.Peers, Moved: tell.Moved, Log: log})
	if err != nil {
		return nil, errors.Join(err, a.Store.Close())
	}
	run, end := context.WithCancel(context.WithoutCancel(ctx))
	a.end = end
	a.wg.Go(func() { _ = a.Peers.Run(run, a.Store) }) // these end with run
	a.wg.Go(func() { _ = a.Store.Follow(run, "", func(c kv.Change) { a.learn(run, c) }) })
	a.wg.Go(func() {
		for {
			select {
			case <-run.Done():
				return
			case <-hosts:
			}
			_ = a.Leases.HostsChanged(run)
			if tell.Hosts != nil {
				tell.Hosts(a.Peers)
			}
		}
	})
	select {
	case <-a.Leases.Synced():
		a.Synced = time.Now()
	case <-ctx.Done():
		return nil, errors.Join(fmt.Errorf("host %s has not read the store: %w", self.Name, ctx.Err()), a.Stop())
	}
	if err := a.Peers.Held(ctx); err != nil {
		return nil, errors.Join(err, a.Stop())
	}
	return a, nil
}

func (a *Agent) learn(ctx context.Context, c kv.Change) {
	a.Peers.Learn(c)
	if c.Whole {
		_ = a.Leases.HostsChanged(ctx) // it fails when ctx has ended
	}
	_ = a.Leases.Learn(ctx, c)
}

// Start does what a container's start does, and returns the address.
func (a *Agent) Start(ctx context.Context, name string) (netip.Addr, error) {
	got, err := a.Leases.RequestAddress(ctx, ipam.AddressRequest{Pool: Pool, Name: name})
	if err != nil {
		return netip.Addr{}, err
	}
	_, err = a.Leases.Attach(ctx, ipam.Endpoint{ID: "ep-" + name, Network: NetworkID, Addrs: []netip.Addr{got.Addr()}})
	return got.Addr(), err
}

// End does what a container's end does.
func (a *Agent) End(ctx context.Context, name string, addr netip.Addr) error {
	return errors.Join(a.Leases.Detach(ctx, "ep-"+name), a.Leases.ReleaseAddress(ctx, Pool, addr))
}

// Stop ends the host as a crash does: its mark stays for its time.
func (a *Agent) Stop() error {
	a.end()
	a.wg.Wait()
	return a.Store.Close()
}
