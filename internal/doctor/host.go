package doctor

import (
	"context"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/dockstack/dockstack/dnsd"
	"github.com/dockstack/dockstack/internal/engine"
	"github.com/dockstack/dockstack/internal/fabric"
	"github.com/dockstack/dockstack/internal/heal"
	"github.com/dockstack/dockstack/internal/link"
	"github.com/dockstack/dockstack/internal/ovs"
	"github.com/dockstack/dockstack/ipam"
)

// Host is the host as its daemon sees it.
type Host struct {
	// Name is what people call it.
	Name string
	// Root is where the host's files are mounted, "" where they are in place.
	Root string
	// State is the path of the store's file on the host.
	State string
	// Zone is that of DNS.
	Zone string
	// DNS are the host's own addresses that DNS is asked on, networks' gateways
	// apart.
	DNS []netip.Addr
	// DNSPort is the port that DNS is asked on, DNSBackend the one that it listens
	// on where the kernel can redirect.
	DNSPort, DNSBackend uint16
	// VTEP and Port are where this host's tunnels end; VTEP is invalid where that
	// is not known, or this host is alone.
	VTEP netip.Addr
	Port uint16
	// Settle is the time between two looks, 0 for the usual.
	Settle time.Duration

	Engine  Engine
	Fabric  Fabric
	Switch  Switch
	Links   Links
	Kernel  Kernel
	Tunnels Tunnels
	Server  Server
	Store   Store
	Groups  Groups
	// Cluster is nil where this host is alone.
	Cluster Cluster
	Mender  Mender
}

// path is where a file of the host is found.
func (h Host) path(p string) string { return filepath.Join(h.Root, p) }

// Engine asks the Docker engine.
type Engine interface {
	Look(ctx context.Context) (engine.View, error)
}

// Fabric is what should be on the switch.
type Fabric interface {
	Status() fabric.Status
	// Networks are those that this host has, Endpoints the containers' on them.
	Networks() []fabric.Network
	Endpoints() []fabric.Endpoint
	// Alive is whether an endpoint's link is in a container, or may be.
	Alive(endpointID string) bool
	Wanted(ctx context.Context) (fabric.Wanted, error)
	// Resync makes everything as it should be, trusting nothing.
	Resync(ctx context.Context) error
}

// Switch is what is on it.
type Switch interface {
	Ports(ctx context.Context) ([]fabric.Port, error)
	Compare(ctx context.Context, want []fabric.Flow) (ovs.Difference, error)
	// Bridge is our bridge's name, and the path of its database's socket.
	Bridge() (name, socket string)
	// HostRuns is whether the host's own Open vSwitch answers.
	HostRuns(ctx context.Context) bool
}

// Links are the host's interfaces.
type Links interface {
	List(ctx context.Context, prefix string) ([]fabric.Link, error)
	// PeerMTUs are those of the other ends of pairs, also in containers.
	PeerMTUs(ctx context.Context, prefix string) (map[string]int, error)
	GatewayMissing(ctx context.Context, inner string, addrs []netip.Prefix) ([]string, error)
	// Overlaps are the routes into a subnet by links not named like but.
	Overlaps(ctx context.Context, subnet netip.Prefix, but string) ([]link.HostRoute, error)
}

// Kernel is what the host's kernel can do and has of ours.
type Kernel interface {
	KernelDatapath() (bool, error)
	KernelDatapathInUse() (bool, error)
	Supports(kind string) (bool, error)
	RedirectMissing(r link.Redirect) (string, error)
	// Tun is why the device for the userspace datapath can't be opened.
	Tun() error
}

// Tunnels is the way to other hosts.
type Tunnels interface {
	ProbePath(ctx context.Context, from, to netip.Addr, size int) (link.Path, error)
	WaysTo(ctx context.Context, from, to netip.Addr) (link.Ways, error)
	Bound(protocol string, port uint16) ([]netip.Addr, error)
	VXLANs(ctx context.Context, port uint16) ([]link.VXLANDevice, error)
	Drops(ctx context.Context, d link.Datagram) (*link.Dropped, error)
	FilterMissing(f fabric.TunnelFilter) (string, error)
}

// Server is the DNS server.
type Server interface {
	Listeners() []dnsd.Listener
	// Asked are the addresses that DNS is to be asked on.
	Asked() []netip.Addr
}

// Store is the leases and where they are kept.
type Store interface {
	// Closed is why there are no leases now, nil if there are.
	Closed() error
	Leases(ctx context.Context) ([]ipam.Lease, error)
	Pools(ctx context.Context) ([]PoolUse, error)
	// Problems are sentences for people.
	Problems() []string
}

// Groups are the containers that share another's network namespace, and those
// that dockstack did not answer when they were to start.
type Groups interface {
	// Apart are those whose namespace ended, or that are down, and that are not
	// being healed.
	Apart() []heal.Case
}

// PoolUse is a pool and how much of it is in use.
type PoolUse struct {
	ID, Network string
	// NetworkID is the engine's id of this host's network on it, "" for none.
	NetworkID string
	Subnet    netip.Prefix
	// Live and Reserved addresses can't be given to others; Parked can, when all
	// else is used up. Free belong to no name.
	Live, Parked, Reserved int
	Free                   int64
}

// Cluster is the hosts that share a store.
type Cluster interface {
	// Away is why the shared store isn't reached, and since when.
	Away() (since time.Time, err error)
	// Peers are the other hosts that are alive.
	Peers() []Peer
	// Uses are the pools that hosts have in use, by the host's id.
	Uses(ctx context.Context) (map[string][]string, error)
	// Imports are the ids of hosts with an import that was not finished.
	Imports(ctx context.Context) ([]string, error)
	// Self is this host's id.
	Self() string
}

// Peer is another host.
type Peer struct {
	ID, Name string
	VTEP     netip.Addr
}

// Mender does what Fix needs beside the switch.
type Mender interface {
	// Drop ends an endpoint that no container has, Park a lease, unless it changed
	// since.
	Drop(ctx context.Context, endpointID string) error
	Park(ctx context.Context, l ipam.Lease) error
	// ServeDNS makes the redirection and opens the listeners anew.
	ServeDNS(ctx context.Context) error
}
