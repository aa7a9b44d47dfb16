package fabric

import (
	"context"
	"time"
)

// Switch is what the fabric needs of Open vSwitch: one bridge of ours. Safe for
// concurrent use. Every call has a time limit of its own.
type Switch interface {
	// State returns what is known of the switch, and a channel that is closed
	// when that changes.
	State() (SwitchState, <-chan struct{})
	// Ports returns the ports of our bridge, without its local one.
	Ports(ctx context.Context) ([]Port, error)
	// ChangePorts removes and adds ports in one transaction, removals first. A
	// port that is in both is made anew. It returns the added ports as the
	// switch made them; a port that it could not open has Error set.
	ChangePorts(ctx context.Context, del []string, add []PortSpec) ([]Port, error)
	// ChangeFlows changes flows in one atomic bundle.
	ChangeFlows(ctx context.Context, change FlowChange) error
	// Drops returns the packets that the flows with action drop in a table have
	// counted, by cookie.
	Drops(ctx context.Context, table int) (map[uint64]uint64, error)
	// FlowCount returns how many flows with such cookies are installed.
	FlowCount(ctx context.Context, which Cookies) (int, error)
}

// SwitchState is what is known of the switch.
type SwitchState struct {
	// Up is whether the bridge is there and takes commands.
	Up bool
	// Generation grows whenever the switch may have forgotten flows or ports.
	Generation uint64
	// Offloads that ports' peers may have; empty until the switch is chosen.
	Offloads Offloads
	// Version of Open vSwitch.
	Version string
	// Datapath is "kernel" or "userspace"; empty until the switch is chosen.
	Datapath string
	// Origin is "host" for the host's Open vSwitch, "own" for ours.
	Origin string
	// Since is when the switch last came up.
	Since time.Time
	// Err is why the switch is not up.
	Err error
}

// PortSpec says how a port is to be.
type PortSpec struct {
	// Name of the link, which is the port's name also.
	Name string
	// Number that the port is to have in flows.
	Number int
	// Facts are kept with the port by the switch.
	Facts map[string]string
	// Type is empty for a link of the host, "vxlan" for a tunnel that the switch
	// itself has.
	Type string
	// Options are those that a Type has.
	Options map[string]string
}

// Port is a port as the switch has it.
type Port struct {
	PortSpec
	// Error is why the switch could not open the link.
	Error string
}

// FlowChange is one atomic change of flows.
type FlowChange struct {
	// Reset removes all flows with the fabric's cookie first; what the switch
	// itself has learned stays.
	Reset bool
	// Wipe removes flows by their cookies, before anything else.
	Wipe []Cookies
	// Del are removed: exactly the flows of that table, priority and match.
	Del []Flow
	// Add are added, or replace those of the same table, priority and match.
	Add []Flow
}

// Flow is one flow in ovs-ofctl's words.
type Flow struct {
	// Cookie names what the flow is for; its highest byte is CookieOwner.
	Cookie uint64
	// Table number.
	Table int
	// Priority within the table.
	Priority int
	// Match is a comma-separated list; empty matches all.
	Match string
	// Actions is a comma-separated list, or "drop".
	Actions string
}

// Cookies of flows: the highest byte says whose they are.
const (
	// CookieOwner marks the fabric's flows.
	CookieOwner uint64 = 0xd5 << 56
	// CookieLearned marks flows that the switch learned by the fabric's flows.
	CookieLearned uint64 = 0xd6 << 56
	// CookieMask covers the byte that marks the owner.
	CookieMask uint64 = 0xff << 56
	// cookieFar marks those of the fabric's flows that are about other hosts.
	cookieFar uint64 = 1 << 55
)

// Cookies are all that have Value in the bits of Mask.
type Cookies struct{ Value, Mask uint64 }

// What the fabric's flows are counted and removed by.
var (
	// AllFlows are the fabric's.
	AllFlows = Cookies{CookieOwner, CookieMask}
	// NearFlows are those about this host.
	NearFlows = Cookies{CookieOwner, CookieMask | cookieFar}
	// FarFlows are those about other hosts.
	FarFlows = Cookies{CookieOwner | cookieFar, CookieMask | cookieFar}
)

// Has is whether a cookie is one of them.
func (c Cookies) Has(cookie uint64) bool { return cookie&c.Mask == c.Value }
