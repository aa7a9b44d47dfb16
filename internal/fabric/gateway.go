package fabric

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// gatewayMAC is the same on every host: the overlay's gateway has one address
// and one MAC wherever a container asks for it.
func (f *Fabric) gatewayMAC(n Network) net.HardwareAddr { return f.cfg.MAC(n.Gateways[0].Addr()) }

// putGateway makes the host's own interface in a network.
func (f *Fabric) putGateway(ctx context.Context, n Network, offloads Offloads) error {
	err := f.links.PutGateway(ctx, GatewaySpec{
		Host: f.cfg.gateName(n.ID), Inner: f.cfg.innerName(n.ID), MAC: f.gatewayMAC(n),
		Alias: gatewayAlias(n.ID), Addrs: n.Gateways, MTU: n.MTU, Offloads: offloads,
	})
	if err != nil {
		return fmt.Errorf("the host's own address in network %s: %w", n.ID, err)
	}
	return nil
}

// gateways makes the gateways' links that are not yet as wanted. One that fails
// does not keep the others, nor containers, from their ports.
func (f *Fabric) gateways(ctx context.Context, networks []Network, offloads Offloads) error {
	if f.have.gates == nil {
		f.have.gates = map[string]string{}
	}
	var failed error
	for _, n := range networks {
		want := fmt.Sprint(n.Gateways, n.MTU, offloads)
		if len(n.Gateways) == 0 || f.have.gates[n.ID] == want {
			continue
		}
		if err := f.putGateway(ctx, n, offloads); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		f.have.gates[n.ID] = want
	}
	return errors.Join(failed, f.dropGateways(ctx))
}

// dropGateways removes the gateways of networks that were removed.
func (f *Fabric) dropGateways(ctx context.Context) error {
	f.mu.Lock()
	var gone []string
	for id := range f.want.forgotten {
		if _, back := f.want.networks[id]; back {
			delete(f.want.forgotten, id)
			continue
		}
		gone = append(gone, id)
	}
	f.mu.Unlock()
	var failed error
	for _, id := range gone {
		if err := f.links.RemoveGateway(ctx, f.cfg.gateName(id)); err != nil {
			failed = errors.Join(failed, fmt.Errorf("remove the host's own address in network %s: %w", id, err))
			continue
		}
		delete(f.have.gates, id)
		f.have.reopen(f.cfg.gateName(id)) // if it comes back, it is another link
		f.mu.Lock()
		delete(f.want.forgotten, id)
		f.mu.Unlock()
	}
	return failed
}
