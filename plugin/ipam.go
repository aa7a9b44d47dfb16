package plugin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"

	sdkipam "github.com/docker/go-plugins-helpers/ipam"

	"github.com/dockstack/dockstack/ipam"
)

// addressSpace tells our pools from those of other IPAM drivers in what
// CreateNetwork gets. Local and global are one: what hosts share is decided by
// the store, not by the engine.
const addressSpace = "dockstack"

// capabilities is sdkipam.CapabilitiesResponse with the field that it lacks.
type capabilities struct {
	sdkipam.CapabilitiesResponse
	// RequiresRequestReplay would make the engine ask for every stored address
	// again at boot, without names. Our store knows them.
	RequiresRequestReplay bool
}

func (d *Driver) handleIpamDriver(mux *http.ServeMux) {
	d.constant(mux, "/IpamDriver.GetCapabilities", capabilities{})
	d.constant(mux, "/IpamDriver.GetDefaultAddressSpaces", sdkipam.AddressSpacesResponse{
		LocalDefaultAddressSpace: addressSpace, GlobalDefaultAddressSpace: addressSpace,
	})
	handle(d, mux, "/IpamDriver.RequestPool", ipamErrors, d.requestPool)
	handle(d, mux, "/IpamDriver.ReleasePool", ipamErrors, d.releasePool)
	handle(d, mux, "/IpamDriver.RequestAddress", ipamErrors, d.requestAddress)
	handle(d, mux, "/IpamDriver.ReleaseAddress", ipamErrors, d.releaseAddress)
}

func (d *Driver) requestPool(ctx context.Context, req sdkipam.RequestPoolRequest) (*sdkipam.RequestPoolResponse, error) {
	overlay, err := parseIPAMOptions(req.Options)
	if err != nil {
		return nil, err
	}
	want := ipam.PoolRequest{Overlay: overlay, V6: req.V6}
	if req.Pool != "" {
		if want.Subnet, err = netip.ParsePrefix(req.Pool); err != nil {
			return nil, fmt.Errorf("subnet %q: want an address and its prefix length, such as 172.16.0.0/16", req.Pool)
		}
	}
	if req.SubPool != "" {
		if want.Range, err = netip.ParsePrefix(req.SubPool); err != nil {
			return nil, fmt.Errorf("range %q: want an address and its prefix length, such as 172.16.5.0/24", req.SubPool)
		}
	}
	st, err := d.state(ctx)
	if err != nil {
		return nil, err
	}
	pool, err := st.Leases.RequestPool(ctx, want)
	if err != nil {
		return nil, err
	}
	return &sdkipam.RequestPoolResponse{PoolID: pool.ID, Pool: pool.Subnet.String()}, nil
}

// releasePool also ends the network that used the pool: the engine releases a
// network's pools before it says DeleteNetwork, and where a create failed half
// way it says only this.
func (d *Driver) releasePool(ctx context.Context, req sdkipam.ReleasePoolRequest) (*none, error) {
	st, err := d.state(ctx)
	if err != nil {
		return nil, err
	}
	users := d.byPool(req.PoolID) // before somebody else can have the subnet
	if err := st.Leases.ReleasePool(ctx, req.PoolID); err != nil {
		return nil, err
	}
	for _, n := range users {
		if err := d.dropNetwork(ctx, st, n.ID); err != nil {
			return nil, err
		}
	}
	return &none{}, nil
}

// errOldEngine is what an engine gets that names no container.
var errOldEngine = errors.New("this engine does not say which container asks for an address, so no name can keep one: upgrade to Docker Engine 29.0.3 or newer (29.0.4 recommended), or give every container a fixed address (--ip, ipv4_address)")

func (d *Driver) requestAddress(ctx context.Context, req sdkipam.RequestAddressRequest) (*sdkipam.RequestAddressResponse, error) {
	addr, err := parseAddr(req.Address)
	if err != nil {
		return nil, err
	}
	st, err := d.state(ctx)
	if err != nil {
		return nil, err
	}
	name := req.Options[keyEndpointName]
	var got netip.Prefix
	switch {
	case req.Options[keyAddressType] == gatewayType:
		got, err = st.Leases.RequestGateway(ctx, req.PoolID, addr)
	case name != "":
		got, err = st.Leases.RequestAddress(ctx, ipam.AddressRequest{Pool: req.PoolID, Name: name, Addr: addr})
	case addr.IsValid():
		// --aux-address, or a fixed address on an engine that gives no names.
		got, err = st.Leases.RequestAux(ctx, req.PoolID, addr)
	default:
		err = errOldEngine
	}
	if err != nil {
		return nil, err
	}
	return &sdkipam.RequestAddressResponse{Address: got.String()}, nil
}

func (d *Driver) releaseAddress(ctx context.Context, req sdkipam.ReleaseAddressRequest) (*none, error) {
	addr, err := parseAddr(req.Address)
	if err != nil {
		return nil, err
	}
	if !addr.IsValid() {
		return nil, errors.New("malformed request: release of no address")
	}
	st, err := d.state(ctx)
	if err != nil {
		return nil, err
	}
	return &none{}, st.Leases.ReleaseAddress(ctx, req.PoolID, addr)
}

// parseAddr reads an address with or without a prefix length; "" is the
// invalid one.
func parseAddr(text string) (netip.Addr, error) {
	if text == "" {
		return netip.Addr{}, nil
	}
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Addr().Unmap(), nil
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("address %q: want an IPv4 or IPv6 address, such as 172.16.0.5", text)
	}
	return addr.Unmap(), nil
}

// byPool returns the networks that use a pool.
func (d *Driver) byPool(pool string) []network {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []network
	for _, n := range d.networks {
		if slices.Contains(n.Pools, pool) {
			out = append(out, n)
		}
	}
	return out
}
