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
)

// Reservation is an operator's word: Address is kept for Name.
type Reservation struct {
	Name    string     `json:"name" yaml:"name"`
	Address netip.Addr `json:"address" yaml:"address"`
	// MAC is one that the user wants, "" for the one that follows from Address.
	MAC string `json:"mac,omitempty" yaml:"mac,omitempty"`
	// Pool is the pool's id, or "" for the one whose subnet has Address.
	Pool string `json:"pool,omitempty" yaml:"pool,omitempty"`
	// Network is the network's name, where Pool is empty.
	Network string `json:"network,omitempty" yaml:"network,omitempty"`
	// From is where it was read, such as "dnsmasq.conf:12", for messages.
	From string `json:"from,omitempty" yaml:"-"`
}

// Import is what to take in, all or nothing.
type Import struct {
	Reservations []Reservation `json:"reservations"`
	// Subnets are made where there is no pool for them, so that addresses can be
	// brought over before the network is created.
	Subnets []netip.Prefix `json:"subnets,omitempty"`
	// Records are DNS records that come along.
	Records []Record `json:"records,omitempty"`
	// DryRun: only say what would happen.
	DryRun bool `json:"dry_run,omitempty"`
}

// Plan is what an import does, or would do.
type Plan struct {
	// New become reservations, Same were so already. Replaced lose a parked
	// lease's other address.
	New      []Reservation `json:"new"`
	Same     []Reservation `json:"same"`
	Replaced []Replaced    `json:"replaced"`
	// Records are DNS records that are new.
	Records []Record `json:"records"`
	// Clashes keep the whole from being done.
	Clashes []Clash `json:"clashes"`
	// Pools are those that are made.
	Pools []string `json:"pools,omitempty"`
	// Done: it was carried out.
	Done bool `json:"done"`
}

// Replaced is a name whose parked address is exchanged for another.
type Replaced struct {
	Reservation Reservation `json:"reservation"`
	Old         netip.Addr  `json:"old"`
}

// Clash is why a reservation can't be.
type Clash struct {
	Reservation Reservation `json:"reservation"`
	Reason      string      `json:"reason"`
}

// Target is a name that something is to happen to, in the pool with that id, the
// network of that name, or all where both are empty.
type Target struct {
	Name    string `json:"name"`
	Pool    string `json:"pool,omitempty"`
	Network string `json:"network,omitempty"`
}

// Rename gives what is kept for a name to another.
type Rename struct {
	Target
	To string `json:"to"`
}

// Restore is what taking a backup in did, or would do.
type Restore struct {
	// Made is when the backup was made, on Host, and Version dockstack's then.
	Made    time.Time `json:"made"`
	Host    string    `json:"host,omitempty"`
	Version string    `json:"version"`
	// Pools are those that come back.
	Pools []string `json:"pools"`
	// Same, New, Moved and Gone count names: those that stay as they are, that come
	// back, that get back another address than they have, and those that the backup
	// does not know, which go.
	Same  int `json:"same"`
	New   int `json:"new"`
	Moved int `json:"moved"`
	Gone  int `json:"gone"`
	// Kept are names that the backup does not know and whose containers run.
	Kept []string `json:"kept"`
	// Records is how many of the operator's DNS records the backup has.
	Records int `json:"records"`
	// Clashes keep the whole from being done.
	Clashes []string `json:"clashes"`
	// Done: it was carried out.
	Done bool `json:"done"`
}

// Record is a DNS record by the operator's word.
type Record struct {
	// Name is a full name without a dot at its end, or one relative to the zone
	// where it has no dot; "*.apps.endor.lab" stands for all below.
	Name string `json:"name" yaml:"name"`
	// Type is A, AAAA, CNAME, SRV, TXT or PTR.
	Type string `json:"type" yaml:"type"`
	// Value is the data as a zone file has it.
	Value string `json:"value" yaml:"value"`
	// TTL is in seconds, 0 for the default.
	TTL uint32 `json:"ttl,omitempty" yaml:"ttl,omitempty"`
}

// Question is asked of the daemon's DNS.
type Question struct {
	Name string `json:"name"`
	// Type is A where empty.
	Type string `json:"type,omitempty"`
	// Client is who asks; invalid: the host itself.
	Client netip.Addr `json:"client,omitzero"`
}

// Answer is what DNS says, and why.
type Answer struct {
	Rcode   string   `json:"rcode"`
	Answers []string `json:"answers"`
	// Authority has the SOA of a negative answer.
	Authority []string `json:"authority,omitempty"`
	// Additional comes along, such as the addresses of a service's hosts.
	Additional []string `json:"additional,omitempty"`
	// Source says where the answer comes from, in one line for people.
	Source string        `json:"source"`
	Took   time.Duration `json:"took_ns"`
}

// Report is what the doctor found.
type Report struct {
	At time.Time `json:"at"`
	// Host is what the host is called that was looked at.
	Host string `json:"host,omitempty"`
	// Findings are the worst first, and what is as it should be last.
	Findings []Finding `json:"findings"`
}

// Severities of findings.
const (
	// SeverityError: something does not work.
	SeverityError = "error"
	// SeverityWarning: it works, but not as it should, or not for long.
	SeverityWarning = "warning"
	// SeverityNote: good to know.
	SeverityNote = "note"
	// SeverityOK: this was looked at, and is as it should be.
	SeverityOK = "ok"
)

// Finding is one thing that the doctor found.
type Finding struct {
	// ID is its kind, Severity one of the Severity… constants.
	ID       string `json:"id"`
	Severity string `json:"severity"`
	// Subject is what it is about, such as a port or a container; "" where there
	// is only one of its kind.
	Subject string `json:"subject,omitempty"`
	// What is in one sentence what is wrong, Why what follows from it.
	What string `json:"what"`
	Why  string `json:"why,omitempty"`
	// Command is what mends it, on the host. Fix: the doctor may do so.
	Command string `json:"command,omitempty"`
	Fix     bool   `json:"fix,omitempty"`
	// Mended: it was just mended. Failed is why that did not work.
	Mended bool   `json:"mended,omitempty"`
	Failed string `json:"failed,omitempty"`
}
