package admin

import (
	"net/netip"
	"time"
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
