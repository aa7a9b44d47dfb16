package daemon

import (
	"net/netip"

	"github.com/dockstack/dockstack/dnsd"
	"github.com/dockstack/dockstack/internal/records"
	"github.com/dockstack/dockstack/internal/services"
	"github.com/dockstack/dockstack/ipam"
)

// names lets the DNS server read the snapshots of leases, services and records;
// the packages don't know each other. It is never changed.
type names struct {
	*ipam.Snapshot
	services *services.Snapshot
	records  *records.Snapshot
	serial   uint32
	// machine is what people call a host, nil where there is only one.
	machine func(id string) string
}

var _ dnsd.Names = (*names)(nil)

func (n *names) ByName(to []dnsd.Host, name string) []dnsd.Host {
	var room [8]ipam.Host
	return hosts(to, n.AppendByName(room[:0], name))
}

func (n *names) ByLabel(to []dnsd.Host, label string) []dnsd.Host {
	var room [8]ipam.Host
	return hosts(to, n.AppendByLabel(room[:0], label))
}

func (n *names) ByAddr(addr netip.Addr) (dnsd.Host, bool) {
	l, ok := n.Snapshot.ByAddr(addr)
	return host(&l), ok
}

// Machine is what people call the host where h's container runs, "" where
// there is only one.
func (n *names) Machine(h dnsd.Host) string {
	if n.machine == nil {
		return ""
	}
	l, ok := n.located(h)
	if !ok {
		return ""
	}
	return n.machine(l.HostID)
}

func host(h *ipam.Host) dnsd.Host {
	return dnsd.Host{Name: h.Name, Network: h.Network, Overlay: h.Overlay, Addr: h.Addr, Pool: h.Pool}
}

func hosts(to []dnsd.Host, all []ipam.Host) []dnsd.Host {
	for i := range all {
		to = append(to, host(&all[i]))
	}
	return to
}
