// Command leases runs in the test machine. It opens the store on the disk, says
// which leases it finds, and then asks for new ones as fast as it can, saying
// each one when it has it: what it said must be there after the power comes
// back.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/dockstack/dockstack/internal/kv/boltkv"
	"github.com/dockstack/dockstack/ipam"
)

// callers ask at once, so that commits carry more than one lease.
const callers = 4

func main() {
	path := flag.String("store", "/disk/lib/dockstack/leases.db", "the store")
	d := flag.Duration("for", 0, "how long to ask for addresses; 0: only say what there is")
	flag.Parse()
	if err := run(*path, *d); err != nil {
		fmt.Println("leases:", err)
		os.Exit(1)
	}
}

func run(path string, d time.Duration) error {
	ctx := context.Background()
	store, err := boltkv.Open(path)
	if err != nil {
		return err
	}
	r, err := ipam.Open(ctx, store, ipam.Config{})
	if err != nil {
		return err
	}
	have, err := r.Leases(ctx, ipam.LeaseFilter{})
	if err != nil {
		return err
	}
	for _, l := range have {
		fmt.Println("HAVE", l.Name, l.Addr, l.State)
	}
	fmt.Println("FOUND", len(have))
	if d > 0 {
		if err := ask(ctx, r, len(have), d); err != nil {
			return err
		}
	}
	return store.Close()
}

func ask(ctx context.Context, r *ipam.Registry, found int, d time.Duration) error {
	pool, err := network(ctx, r)
	if err != nil {
		return err
	}
	until := time.Now().Add(d)
	errs := make(chan error, callers)
	var say sync.Mutex // one line is one write
	for c := range callers {
		go func() {
			for i := 0; i == 0 || time.Now().Before(until); i++ { // each asks at least once
				lease, err := one(ctx, r, pool.ID, fmt.Sprintf("c%d-%d-%d", found, c, i))
				if err != nil {
					errs <- err
					return
				}
				say.Lock()
				fmt.Println("LEASED", lease.Name, lease.Addr, lease.State)
				say.Unlock()
			}
			errs <- nil
		}()
	}
	for range callers {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}

// network returns the pool of the only network, making both the first time.
func network(ctx context.Context, r *ipam.Registry) (ipam.Pool, error) {
	subnet := netip.MustParsePrefix("10.64.0.0/10")
	pool, there := r.PoolFor(subnet, "")
	if !there {
		var err error
		if pool, err = r.RequestPool(ctx, ipam.PoolRequest{Subnet: subnet}); err != nil {
			return ipam.Pool{}, err
		}
	}
	_, err := r.Bind(ctx, ipam.Binding{Network: "network", Pools: []string{pool.ID}})
	return pool, err
}

// one does what the start of a container does, and of every third its end.
func one(ctx context.Context, r *ipam.Registry, pool, name string) (ipam.Lease, error) {
	got, err := r.RequestAddress(ctx, ipam.AddressRequest{Pool: pool, Name: name})
	if err != nil {
		return ipam.Lease{}, err
	}
	lease := ipam.Lease{Name: name, Addr: got.Addr(), State: ipam.StateLive}
	if _, err := r.Attach(ctx, ipam.Endpoint{ID: name, Network: "network", Addrs: []netip.Addr{got.Addr()}}); err != nil {
		return ipam.Lease{}, err
	}
	if got.Addr().As4()[3]%3 == 0 {
		lease.State = ipam.StateParked
		err = errors.Join(r.Detach(ctx, name), r.ReleaseAddress(ctx, pool, got.Addr()))
	}
	return lease, err
}
