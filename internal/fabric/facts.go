package fabric

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Facts are kept twice: with the port in the switch's database, for people and
// for the host's own Open vSwitch, and as the link's alias. The alias is what
// an endpoint is recalled from: it is there without the switch, it survives a
// lost database, and it goes with the link, when the endpoint is over anyway.
const (
	factOwner    = "owner"
	ownerName    = "dockstack"
	factEndpoint = "dockstack-endpoint"
	factNetwork  = "dockstack-network"
	factTunnel   = "dockstack-tunnel"
	factMAC      = "dockstack-mac"
	factAddrs    = "dockstack-addrs"

	aliasEndpoint = "dockstack:1:endpoint"
	aliasGateway  = "dockstack:1:gateway"
	aliasTunnel   = "dockstack:1:vxlan"
	aliasMark     = "dockstack:"
)

func endpointFacts(ep Endpoint) map[string]string {
	return map[string]string{
		factOwner: ownerName, factEndpoint: ep.ID, factNetwork: ep.Network,
		factMAC: ep.MAC.String(), factAddrs: joinAddrs(ep.Addrs),
	}
}

func gatewayFacts(network string) map[string]string {
	return map[string]string{factOwner: ownerName, factNetwork: network}
}

// endpointAlias tells the VNI too, so that a container keeps its flows while its
// network is not known because the store is away.
func endpointAlias(ep Endpoint, vni uint32) string {
	return strings.Join([]string{
		aliasEndpoint, ep.ID, ep.Network, strconv.FormatUint(uint64(vni), 10), ep.MAC.String(), joinAddrs(ep.Addrs),
	}, " ")
}

func gatewayAlias(network string) string { return aliasGateway + " " + network }

// parseAlias reads an endpoint and its network's VNI back. ours is false for
// aliases of other kinds.
func parseAlias(alias string) (ep Endpoint, vni uint32, ours bool, err error) {
	fields := strings.Split(alias, " ")
	if fields[0] != aliasEndpoint {
		return Endpoint{}, 0, false, nil
	}
	if len(fields) != 6 || fields[1] == "" || fields[2] == "" {
		return Endpoint{}, 0, true, fmt.Errorf("alias %q: want 5 fields after %s", alias, aliasEndpoint)
	}
	ep = Endpoint{ID: fields[1], Network: fields[2]}
	wide, err := strconv.ParseUint(fields[3], 10, 24)
	if err != nil {
		return Endpoint{}, 0, true, fmt.Errorf("alias %q: %w", alias, err)
	}
	if ep.MAC, err = net.ParseMAC(fields[4]); err != nil {
		return Endpoint{}, 0, true, fmt.Errorf("alias %q: %w", alias, err)
	}
	if len(ep.MAC) != 6 {
		return Endpoint{}, 0, true, fmt.Errorf("alias %q: a MAC of %d bytes", alias, len(ep.MAC))
	}
	if ep.Addrs, err = splitAddrs(fields[5]); err != nil {
		return Endpoint{}, 0, true, fmt.Errorf("alias %q: %w", alias, err)
	}
	return ep, uint32(wide), true, nil
}

// parseGatewayAlias returns the network of a gateway's link.
func parseGatewayAlias(alias string) (network string, ok bool) {
	return strings.CutPrefix(alias, aliasGateway+" ")
}

// tunnelFacts are those of a port of the tunnel.
func tunnelFacts(what string) map[string]string {
	return map[string]string{factOwner: ownerName, factTunnel: what}
}

func tunnelAlias(vni uint32) string { return aliasTunnel + " " + strconv.FormatUint(uint64(vni), 10) }

// parseTunnelAlias returns the VNI of a vxlan device, as it's written.
func parseTunnelAlias(alias string) (vni string, ok bool) {
	return strings.CutPrefix(alias, aliasTunnel+" ")
}

func joinAddrs(addrs []netip.Addr) string {
	text := make([]string, len(addrs))
	for i, a := range addrs {
		text[i] = a.String()
	}
	return strings.Join(text, ",")
}

func splitAddrs(text string) ([]netip.Addr, error) {
	if text == "" {
		return nil, nil
	}
	var addrs []netip.Addr
	for part := range strings.SplitSeq(text, ",") {
		a, err := netip.ParseAddr(part)
		if err != nil {
			return nil, err
		}
		if a.Zone() != "" {
			return nil, fmt.Errorf("address %s has a zone", part)
		}
		addrs = append(addrs, a)
	}
	return addrs, nil
}
