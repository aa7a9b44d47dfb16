// Package leasefile reads leases from the files that people have (dnsmasq's,
// hosts files, compose files, the ancestor's environment.yaml, and our own
// export) and writes them.
//
// Nothing that a file has is dropped silently: what becomes neither a
// reservation nor a DNS record is listed with its line and the reason.
package leasefile

import (
	"net/netip"
	"slices"

	"github.com/dockstack/dockstack/internal/admin"
)

// Formats of files, as --format has them.
const (
	// YAML is our own export; JSON is the same with other brackets.
	YAML = "yaml"
	JSON = "json"
	// DnsmasqLeases is dnsmasq's lease file, DnsmasqConf its configuration, and
	// DnsmasqHosts its dhcp-hostsfile.
	DnsmasqLeases = "dnsmasq-leases"
	DnsmasqConf   = "dnsmasq-conf"
	DnsmasqHosts  = "dnsmasq-hosts"
	// Hosts is /etc/hosts, or what dnsmasq's addn-hosts names.
	Hosts = "hosts"
	// Compose is a compose file with fixed addresses.
	Compose = "compose"
	// Environment is the environment.yaml of dockstack's ancestor.
	Environment = "environment"
)

// Readable are the formats that Read takes, and Writable those that Write makes.
var (
	Readable = []string{YAML, JSON, DnsmasqLeases, DnsmasqConf, DnsmasqHosts, Hosts, Compose, Environment}
	Writable = []string{YAML, JSON, Hosts, DnsmasqConf}
)

// LeftOut is what a file has and the result has not.
type LeftOut struct {
	// From is where it stands, as "file:line".
	From string `json:"from"`
	// What is the line, or what is meant of it; Reason is why.
	What   string `json:"what"`
	Reason string `json:"reason"`
}

// Content is what a file says of leases.
type Content struct {
	// Reservations are addresses for names.
	Reservations []admin.Reservation
	// Records are DNS but no lease.
	Records []admin.Record
	// Subnets are the networks that the file names and that have at least one of
	// the reservations.
	Subnets []netip.Prefix
}

// Result is what Read found.
type Result struct {
	// Format is the file's, as given or found out.
	Format string
	Content
	// LeftOut is what is not in Content.
	LeftOut []LeftOut
	// Domains are those that names of the file carry, most used first: a hint for
	// DOCKSTACK_ZONE.
	Domains []string
}

// Read reads a file. name is what errors call it, and what a compose project is
// named after; format is one of Readable, or "" to find it out. The error has
// all that is wrong, a line each.
func Read(name string, data []byte, format string) (Result, error) {
	return source{name: name, data: data, files: true}.read(format)
}

// source is a file that is read.
type source struct {
	name string
	data []byte
	// files: others that it names may be read as well.
	files bool
}

func (s source) read(format string) (Result, error) {
	if format == "" {
		found, err := detect(s.name, s.data)
		if err != nil {
			return Result{}, err
		}
		format = found
	}
	read, ok := map[string]func(source, *builder) error{
		YAML: source.readOwn, JSON: source.readOwn,
		DnsmasqLeases: source.readLeases, DnsmasqConf: source.readConf, DnsmasqHosts: source.readDHCPHosts,
		Hosts: source.readHosts, Compose: source.readCompose, Environment: source.readEnvironment,
	}[format]
	if !ok {
		return Result{}, unknownFormat(format, Readable)
	}
	b := &builder{file: s.name, seen: map[held]int{}, recorded: map[string][]int{}, domains: map[string]int{}}
	if err := read(s, b); err != nil {
		return Result{}, err
	}
	if err := b.wrong.Join(); err != nil {
		return Result{}, err
	}
	return b.result(format), nil
}

// covers tells whether p has the address of any.
func covers(p netip.Prefix, all []admin.Reservation) bool {
	return slices.ContainsFunc(all, func(r admin.Reservation) bool { return p.Contains(r.Address) })
}
