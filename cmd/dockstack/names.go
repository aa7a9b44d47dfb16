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

func (n names) ByName(name string) []dnsd.Host   { return hosts(n.Snapshot.ByName(name)) }
func (n names) ByLabel(label string) []dnsd.Host { return hosts(n.Snapshot.ByLabel(label)) }

func (n names) ByAddr(addr netip.Addr) (dnsd.Host, bool) {
	l, ok := n.Snapshot.ByAddr(addr)
	return host(l), ok
}

func host(h ipam.Host) dnsd.Host { return dnsd.Host(h) }

func hosts(all []ipam.Host) []dnsd.Host {
	if len(all) == 0 {
		return nil
	}
	out := make([]dnsd.Host, len(all))
	for i, h := range all {
		out[i] = host(h)
	}
	return out
}
