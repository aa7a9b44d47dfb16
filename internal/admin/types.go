// Package admin is the operator's API: what the command, the page and the
// metrics ask of a daemon, over a unix socket that only root and the docker
// group can open.
package admin

import (
	"net/netip"
	"time"
)

// Socket is where the daemon listens, on the host.
const Socket = "/run/dockstack/admin.sock"

// States of a lease.
const (
	// StateLive: a container holds the address.
	StateLive = "live"
	// StateParked: no container runs under the name; the address is kept for it.
	StateParked = "parked"
)

// Lease is an address that is kept for a name in one network.
type Lease struct {
	// Name is the container's, as the engine has it.
	Name    string     `json:"name"`
	Address netip.Addr `json:"address"`
	MAC     string     `json:"mac"`
	// Network is the network's name, "" while it is not known. Pool is its id
	// for ever: the subnet, with @ and the overlay's name where it has one.
	Network string `json:"network,omitempty"`
	Pool    string `json:"pool"`
	Overlay string `json:"overlay,omitempty"`
	// State is StateLive or StateParked.
	State string `json:"state"`
	// Fixed: the user named the address. Reserved: an operator did.
	Fixed    bool `json:"fixed,omitempty"`
	Reserved bool `json:"reserved,omitempty"`
	// Host is what people call the host where the container runs, or ran last;
	// HostID is its id. Both are "" where this host is alone.
	Host   string `json:"host,omitempty"`
	HostID string `json:"host_id,omitempty"`
	// Since is when State last changed.
	Since time.Time `json:"since"`
}

// Pool is the addresses of one network in one family.
type Pool struct {
	ID      string       `json:"id"`
	Subnet  netip.Prefix `json:"subnet"`
	Range   netip.Prefix `json:"range"`
	Gateway netip.Addr   `json:"gateway,omitzero"`
	Overlay string       `json:"overlay,omitempty"`
	// Network is the network's name and NetworkID the engine's id of it on this
	// host; both are "" where this host has none.
	Network   string `json:"network,omitempty"`
	NetworkID string `json:"network_id,omitempty"`
	VNI       uint32 `json:"vni,omitempty"`
	MTU       int    `json:"mtu,omitempty"`
	// InUse: a network of this or another host has it.
	InUse bool `json:"in_use"`
	// Set aside for no container: VIPs and auxiliary addresses.
	Excluded []netip.Addr `json:"excluded,omitempty"`
	// Live, Parked and Reserved count leases; a reserved one counts as that and as
	// live or parked. Free is how many addresses of the range no name holds, at
	// most MaxFree.
	Live     int   `json:"live"`
	Parked   int   `json:"parked"`
	Reserved int   `json:"reserved"`
	Free     int64 `json:"free"`
}

// MaxFree is where counting free addresses ends: IPv6 has too many.
const MaxFree = 1 << 40

// Host is one of the hosts that share a store, or this one alone.
type Host struct {
	ID   string     `json:"id"`
	Name string     `json:"name"`
	VTEP netip.Addr `json:"vtep,omitzero"`
	Port uint16     `json:"port,omitempty"`
	// Since is when it came, Version that of its dockstack.
	Since   time.Time `json:"since"`
	Version string    `json:"version"`
	// Self: it is the host that answers.
	Self bool `json:"self,omitempty"`
	// Live is how many containers' addresses are on it.
	Live int `json:"live"`
}

// Status is how things stand.
type Status struct {
	At      time.Time   `json:"at"`
	Version string      `json:"version"`
	Started time.Time   `json:"started"`
	Store   StoreStatus `json:"store"`
	// Alone: no other host shares the store, by setting.
	Alone bool `json:"alone,omitempty"`
	// Hosts are those that are alive, with this one.
	Hosts  []Host       `json:"hosts"`
	Switch SwitchStatus `json:"switch"`
	DNS    DNSStatus    `json:"dns"`
	// Engine is the version of Docker's engine, "" while it was not heard of.
	Engine string `json:"engine,omitempty"`
	// Pools are all that have leases or a network.
	Pools []Pool `json:"pools"`
	// Problems are for people; none: all is well.
	Problems []string `json:"problems"`
}

// StoreOpening is what Closed says at the daemon's start.
const StoreOpening = "it is being opened"

// StoreStatus is how the store stands.
type StoreStatus struct {
	// Where is a file or the setting; Cluster the cluster's id, "" where this
	// host is alone.
	Where   string `json:"where"`
	Cluster string `json:"cluster,omitempty"`
	// Closed is why it is not open or not to be used, Away why it isn't reached;
	// "" where it is.
	Closed string `json:"closed,omitempty"`
	Away   string `json:"away,omitempty"`
	// Since is when it was reached or went away; zero where this host is alone.
	Since time.Time `json:"since,omitzero"`
	// Synced: what others wrote is known here. Held: others know that this host
	// is alive.
	Synced bool `json:"synced"`
	Held   bool `json:"held"`
}

// SwitchStatus is how Open vSwitch and what is on it stand.
type SwitchStatus struct {
	Up bool `json:"up"`
	// Own: dockstack's own Open vSwitch, else the host's.
	Own      bool      `json:"own"`
	Version  string    `json:"version,omitempty"`
	Datapath string    `json:"datapath,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	// Error is why it is not up, or not as wanted.
	Error     string       `json:"error,omitempty"`
	Networks  int          `json:"networks"`
	Endpoints int          `json:"endpoints"`
	Ports     int          `json:"ports"`
	Flows     int          `json:"flows"`
	Tunnel    TunnelStatus `json:"tunnel,omitzero"`
}

// TunnelStatus is how the way to other hosts stands.
type TunnelStatus struct {
	// Kind is "flow" or "kernel", "" where there are no other hosts.
	Kind     string   `json:"kind,omitempty"`
	Peers    int      `json:"peers"`
	Networks int      `json:"networks"`
	Remotes  int      `json:"remotes"`
	Flows    int      `json:"flows"`
	Faults   []string `json:"faults,omitempty"`
}

// DNSStatus is how DNS stands and what it did since its start.
type DNSStatus struct {
	Zone      string        `json:"zone"`
	Listeners []DNSListener `json:"listeners"`
	// Forwarders are where other names are asked.
	Forwarders []string `json:"forwarders"`
	Queries    uint64   `json:"queries"`
	Answered   uint64   `json:"answered"`
	Forwarded  uint64   `json:"forwarded"`
	Cached     uint64   `json:"cached"`
	// Stale had expired, and were given because no resolver answered.
	Stale uint64 `json:"stale"`
	// CacheEntries and CacheBytes are what is kept now.
	CacheEntries int64  `json:"cache_entries"`
	CacheBytes   int64  `json:"cache_bytes"`
	Failed       uint64 `json:"failed"`
	Refused      uint64 `json:"refused"`
	Limited      uint64 `json:"limited"`
	Malformed    uint64 `json:"malformed"`
}

// DNSListener is one address that DNS is asked on.
type DNSListener struct {
	Addr  netip.AddrPort `json:"addr"`
	Error string         `json:"error,omitempty"`
}

// DNSSample is what DNS did in a span of time that ends at At.
type DNSSample struct {
	At        time.Time `json:"at"`
	Seconds   float64   `json:"seconds"`
	Queries   uint64    `json:"queries"`
	Answered  uint64    `json:"answered"`
	Forwarded uint64    `json:"forwarded"`
	Failed    uint64    `json:"failed"`
}

// Event is something that happened.
type Event struct {
	// Seq grows by one with each event of this daemon's life.
	Seq uint64    `json:"seq"`
	At  time.Time `json:"at"`
	// Kind is one of the Event… constants.
	Kind string `json:"kind"`
	// What it is about; empty where it is about something else.
	Name    string     `json:"name,omitempty"`
	Address netip.Addr `json:"address,omitzero"`
	Network string     `json:"network,omitempty"`
	Host    string     `json:"host,omitempty"`
	// Text says it in one line, for people.
	Text string `json:"text"`
}

// Kinds of events.
const (
	EventLive     = "live"     // a container holds the address
	EventParked   = "parked"   // no container holds it any more
	EventNew      = "new"      // a name got its address
	EventGone     = "gone"     // a name lost its address
	EventReserved = "reserved" // an operator's word came or went
	EventRenamed  = "renamed"
	EventChanged  = "changed" // a name has another address or MAC address
	EventHost     = "host"    // a host came, went or changed
	EventStore    = "store"   // the store went away or came back
	EventSwitch   = "switch"  // the switch went away or came back
	EventProblem  = "problem" // something to mend came up, or is mended
	EventDNS      = "dns"     // a record, a listener
	EventRefused  = "refused" // the engine got an error instead of what it wanted
	EventHealed   = "healed"  // a container without a network was restarted
)

// EventKinds are all kinds there are.
var EventKinds = []string{
	EventLive, EventParked, EventNew, EventGone, EventReserved, EventRenamed, EventChanged,
	EventRefused, EventHost, EventStore, EventSwitch, EventProblem, EventDNS, EventHealed,
}
