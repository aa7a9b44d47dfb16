package plugin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"

	sdknet "github.com/docker/go-plugins-helpers/network"

	"github.com/dockstack/dockstack/internal/fabric"
	"github.com/dockstack/dockstack/ipam"
)

// unknownNetwork is the error for an id that no CreateNetwork named.
func unknownNetwork(id string) error {
	return fmt.Errorf("network %.12s is not known to dockstack, its state may have been removed from /var/lib/dockstack: "+
		"remove the network with `docker network rm` and create it again, or restore the state from a backup", id)
}

func (d *Driver) network(id string) (network, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, ok := d.networks[id]
	if !ok {
		return n, unknownNetwork(id)
	}
	return n, nil
}

func (d *Driver) createEndpoint(ctx context.Context, req sdknet.CreateEndpointRequest) (*sdknet.CreateEndpointResponse, error) {
	if req.EndpointID == "" || req.Interface == nil {
		return nil, errors.New("malformed request: no endpoint id or no interface")
	}
	st, err := d.state(ctx)
	if err != nil {
		return nil, err
	}
	n, err := d.network(req.NetworkID)
	if err != nil {
		return nil, err
	}
	if err := checkEndpointOptions(req.Options); err != nil {
		return nil, err
	}
	ep := fabric.Endpoint{ID: req.EndpointID, Network: req.NetworkID}
	for _, text := range []string{req.Interface.Address, req.Interface.AddressIPv6} {
		addr, err := parseAddr(text)
		if err != nil {
			return nil, err
		}
		if addr.IsValid() {
			ep.Addrs = append(ep.Addrs, addr)
		}
	}
	if len(ep.Addrs) == 0 {
		return nil, fmt.Errorf("endpoint %.12s has no address; is the network's IPAM driver the null one?", ep.ID)
	}
	if ep.MAC, err = d.macOf(ctx, st, n, ep, req.Interface.MacAddress); err != nil {
		return nil, err
	}
	if err := d.attach(ctx, ep); err != nil {
		return nil, errors.Join(err, st.Leases.Detach(ctx, ep.ID))
	}
	res := &sdknet.CreateEndpointResponse{Interface: &sdknet.EndpointInterface{}}
	if req.Interface.MacAddress == "" {
		// The engine takes only what it did not give itself.
		res.Interface.MacAddress = ep.MAC.String()
	}
	return res, nil
}

// checkEndpointOptions refuses driver_opts of ours: there are none per
// endpoint, and one that does nothing would deceive.
func checkEndpointOptions(options map[string]any) error {
	for _, key := range slices.Sorted(maps.Keys(options)) {
		if strings.HasPrefix(key, "dockstack.") {
			return fmt.Errorf("%w %s: dockstack has options for networks (%s), none for one container's attachment", errUnknownOption, key, strings.Join(networkOpts, ", "))
		}
	}
	return nil
}

// macOf ties the endpoint to its leases and returns the hardware address that
// stays with the name.
func (d *Driver) macOf(ctx context.Context, st *State, n network, ep fabric.Endpoint, user string) (net.HardwareAddr, error) {
	if user != "" {
		mac, err := net.ParseMAC(user)
		if err != nil || len(mac) != 6 || mac[0]&1 == 1 {
			return nil, fmt.Errorf("MAC address %q: want six bytes with colons, the first one even", user)
		}
		user = mac.String()
	}
	if len(n.Pools) == 0 { // another IPAM driver's addresses, without leases
		if user != "" {
			return net.ParseMAC(user)
		}
		return d.cfg.MAC(ep.Addrs[0]), nil
	}
	mac, err := st.Leases.Attach(ctx, ipam.Endpoint{ID: ep.ID, Network: ep.Network, Addrs: ep.Addrs, MAC: user})
	if err != nil {
		return nil, err
	}
	return net.ParseMAC(mac)
}

// attach gives ep to the switch, and ends endpoints before it that have one of
// its addresses: those are ones whose end we were never told, because the
// lease has just been given anew.
func (d *Driver) attach(ctx context.Context, ep fabric.Endpoint) error {
	for _, old := range d.cfg.Fabric.Endpoints() {
		if old.Network != ep.Network || old.ID == ep.ID {
			continue
		}
		if slices.ContainsFunc(old.Addrs, func(a netip.Addr) bool { return slices.Contains(ep.Addrs, a) }) {
			d.log.Info("an endpoint left over from before gives way", "endpoint", old.ID, "network", ep.Network)
			if err := d.cfg.Fabric.Detach(ctx, old.ID); err != nil {
				return err
			}
		}
	}
	_, err := d.cfg.Fabric.Attach(ctx, ep)
	return err
}

func (d *Driver) deleteEndpoint(ctx context.Context, req sdknet.DeleteEndpointRequest) (*none, error) {
	if err := d.cfg.Fabric.Detach(ctx, req.EndpointID); err != nil {
		return nil, err
	}
	st, err := d.state(ctx)
	if err != nil {
		return nil, err
	}
	return &none{}, st.Leases.Detach(ctx, req.EndpointID)
}

// join answers at once where the switch serves: the flows are awaited in
// EndpointOperInfo, so that they are put in while the engine moves the
// interface.
func (d *Driver) join(ctx context.Context, req sdknet.JoinRequest) (*sdknet.JoinResponse, error) {
	if _, err := d.state(ctx); err != nil {
		return nil, err
	}
	n, err := d.network(req.NetworkID)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	if err := d.cfg.Fabric.Ready(ctx); err != nil {
		return nil, err
	}
	src := d.cfg.Fabric.SrcName(req.EndpointID)
	if src == "" {
		return nil, fmt.Errorf("endpoint %.12s is not known to dockstack: start the container again", req.EndpointID)
	}
	// No gateway: docker_gwbridge then gives the default route and publishes
	// ports, as for Docker's own overlay.
	return &sdknet.JoinResponse{InterfaceName: sdknet.InterfaceName{SrcName: src, DstPrefix: n.IfPrefix}}, nil
}

// leave has nothing to do: the interface is still in the container, and
// DeleteEndpoint follows.
func (d *Driver) leave(context.Context, sdknet.LeaveRequest) (*none, error) {
	return &none{}, nil
}

// noInfo is what EndpointOperInfo says of every endpoint: nothing.
type noInfo struct{ sdknet.InfoResponse }

func (*noInfo) sameForAll() {}

// endpointInfo is the last call before the container's process starts. The
// engine ignores its errors, so a switch that is late here is only logged.
func (d *Driver) endpointInfo(ctx context.Context, req sdknet.InfoRequest) (*noInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, settleWait)
	defer cancel()
	if err := d.cfg.Fabric.Settle(ctx, req.EndpointID); err != nil {
		d.log.Warn("container starts before its flows are in", "endpoint", req.EndpointID, "error", err)
	}
	return &noInfo{sdknet.InfoResponse{Value: map[string]string{}}}, nil
}
