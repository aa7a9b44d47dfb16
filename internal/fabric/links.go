package fabric

import (
	"context"
	"net"
	"net/netip"
)

// Links is what the fabric needs of the host's network interfaces. Every
// method may be called at any time and again: it makes sure that something is
// so, it doesn't fail because it already is. Safe for concurrent use.
type Links interface {
	// AddVeth makes a veth pair, or completes one that is there under this
	// name. It returns once both ends have their MTU, MAC, alias and offloads
	// and the host's end is up; the peer stays down, the engine moves it.
	AddVeth(ctx context.Context, spec VethSpec) error
	// Raise puts a link that is there up, and gives it at least that MTU; 0 leaves
	// it as it is. Absence is no error.
	Raise(ctx context.Context, name string, mtu int) error
	// DeleteVeth removes pairs by their host ends, side by side. Absence is
	// success. A deletion takes about 17 ms, so nobody should wait for it.
	DeleteVeth(ctx context.Context, hosts ...string) error
	// List returns the links of this network namespace whose names begin with
	// prefix.
	List(ctx context.Context, prefix string) ([]Link, error)
	// Find returns the link of that name; absence is no error.
	Find(name string) (l Link, found bool, err error)
	// PutGateway makes the host's own interface in a network: a veth pair whose
	// inner end stays in this network namespace with the addresses. Addresses
	// that are not in the spec are removed from it. Nothing but this host's own
	// sockets may use it: the networks' subnets are not to be reached through
	// forwarding (`iif lo to SUBNET lookup main` before `to SUBNET prohibit`),
	// else a container of one network gets to another through the host.
	PutGateway(ctx context.Context, spec GatewaySpec) error
	// RemoveGateway removes what PutGateway made, by the host end's name, its
	// forwarding rules included. Absence is success.
	RemoveGateway(ctx context.Context, host string) error
	Tunnels
}

// Tunnels is what the fabric needs of the kernel's VXLAN, for the userspace
// datapath.
type Tunnels interface {
	// PutVXLAN makes a kernel vxlan device, one a VNI, or completes one that is
	// there under this name; one with another VNI, address or UDP port is made
	// anew (its FDB is empty then, and List tells another Index). It learns, has
	// no IPv6 of its own, and is up when PutVXLAN returns.
	PutVXLAN(ctx context.Context, spec VXLANSpec) error
	// ChangeFDB changes the permanent entries of a vxlan device. Entries that the
	// kernel has learned are nobody's: they stay, unless an entry of the change
	// has their MAC. An entry to be removed that isn't there is no error.
	ChangeFDB(ctx context.Context, name string, change FDBChange) error
	// RemoveVXLAN removes vxlan devices. Absence is success.
	RemoveVXLAN(ctx context.Context, names ...string) error
	// PutTunnelFilter drops UDP packets to the tunnels' port that come from
	// anybody but the peers. Port 0 removes the filter.
	PutTunnelFilter(ctx context.Context, filter TunnelFilter) error
}

// VXLANSpec says how a kernel vxlan device is to be.
type VXLANSpec struct {
	// Name of the device, which is the switch's port.
	Name string
	// Alias is its ifalias, by which it's known to be ours.
	Alias string
	// VNI on the wire.
	VNI uint32
	// Local is this host's tunnel address, IPv4 or IPv6.
	Local netip.Addr
	// Port is the UDP port of the tunnels.
	Port uint16
	// MTU of the device: that of the network's interfaces.
	MTU int
}

// FDBChange is one change of a vxlan device's permanent entries.
type FDBChange struct {
	// Reset makes the permanent entries exactly Add.
	Reset bool
	// Add are added. An entry of a MAC replaces the one it had, but flood entries
	// stand side by side.
	Add []FDBEntry
	// Del are removed.
	Del []FDBEntry
}

// FDBEntry says where frames to a MAC go.
type FDBEntry struct {
	// MAC of the destination; zero for frames that have no entry, broadcast and
	// multicast: those go to each such entry's VTEP.
	MAC [6]byte
	// VTEP is the host's tunnel address.
	VTEP netip.Addr
}

// TunnelFilter says who may send to the tunnels' UDP port.
type TunnelFilter struct {
	Port  uint16
	Peers []netip.Addr
}

// VethSpec says how a container's veth pair is to be.
type VethSpec struct {
	// Host is the end that becomes the switch's port, without IPv6 of its own.
	Host string
	// Peer is the end that goes into the container.
	Peer string
	// PeerMAC is the container's hardware address.
	PeerMAC net.HardwareAddr
	// Alias is the host end's ifalias (255 bytes at most): the facts from which
	// an endpoint is known again after a crash.
	Alias string
	// MTU of both ends.
	MTU int
	// Offloads that the peer may leave to the switch.
	Offloads Offloads
}

// GatewaySpec says how the host's interface in a network is to be.
type GatewaySpec struct {
	// Host is the end that becomes the switch's port.
	Host string
	// Inner is the end that holds the addresses.
	Inner string
	// MAC of the inner end.
	MAC net.HardwareAddr
	// Alias of the host end.
	Alias string
	// Addrs are the inner end's addresses with the network's mask.
	Addrs []netip.Prefix
	// MTU of both ends.
	MTU int
	// Offloads that the inner end may leave to the switch.
	Offloads Offloads
}

// Link is one link of the host.
type Link struct {
	// Name of the interface.
	Name string
	// Index is the kernel's number of it: another one under the same name means
	// that the link was made anew.
	Index int
	// Alias is its ifalias.
	Alias string
	// Down is whether it was set down, whatever its peer's state is.
	Down bool
	// MTU in bytes, 0 where it's not known.
	MTU int
	// PeerElsewhere is whether it's a veth whose peer is in another network
	// namespace, as a container's is while it lives.
	PeerElsewhere bool
}

// Offloads is what the peer of a port may leave undone to what it sends. A
// switch in userspace hands on frames as it reads them, so what it can't finish
// itself must be done before.
type Offloads string

const (
	// OffloadAll leaves everything as the kernel makes it (kernel datapath).
	OffloadAll Offloads = "all"
	// OffloadTCP allows checksums and TCP segmentation only (userspace datapath
	// with userspace-tso). UDP and SCTP segmentation and the SCTP checksum are
	// off by name: such datagrams would vanish without a trace.
	OffloadTCP Offloads = "tcp"
	// OffloadNone computes every checksum in the container (userspace datapath
	// without userspace-tso): without that no TCP connection gets through.
	OffloadNone Offloads = "none"
)
