package main

import (
	"net/netip"

	"github.com/dockstack/dockstack/dnsd"
	"github.com/dockstack/dockstack/ipam"
)

// names lets the DNS server read the leases' snapshot; the two packages don't
// know each other.
type names struct{ *ipam.Snapshot }

var _ dnsd.Names = names{}

func (n names) ByName(to []dnsd.Host, name string) []dnsd.Host {
	return hosts(to, n.Snapshot.ByName(name))
}

func (n names) ByLabel(to []dnsd.Host, label string) []dnsd.Host {
	return hosts(to, n.Snapshot.ByLabel(label))
}

func (n names) ByAddr(addr netip.Addr) (dnsd.Host, bool) {
	l, ok := n.Snapshot.ByAddr(addr)
	return host(l), ok
}

func (n names) ByService(to []dnsd.Host, _ string) []dnsd.Host { return to }
func (n names) Ports(dnsd.Host) []dnsd.Port                    { return nil }
func (n names) Records(string) []dnsd.Record                   { return nil }
func (n names) RecordsFor(netip.Addr) []dnsd.Record            { return nil }
func (n names) HasRecordsBelow(string) bool                    { return false }
func (n names) All(func(dnsd.Host) bool)                       {}
func (n names) AllServices(func(string) bool)                  {}
func (n names) AllRecords(func(dnsd.Record) bool)              {}

func host(h ipam.Host) dnsd.Host {
	return dnsd.Host{Name: h.Name, Network: h.Network, Overlay: h.Overlay, Addr: h.Addr, Pool: h.Pool}
}

func hosts(to []dnsd.Host, all []ipam.Host) []dnsd.Host {
	for _, h := range all {
		to = append(to, host(h))
	}
	return to
}
