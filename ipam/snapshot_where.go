package ipam

import (
	"slices"
	"strings"
)

// Located is a Host with what tells it from another of the same name.
type Located struct {
	Host
	// PoolID is the pool's id, HostID that of the host where the container runs.
	PoolID, HostID string
}

// Locate appends every address of the containers called name, compared without
// regard to case, to to. Where each host has names of its own, that is several
// containers.
func (s *Snapshot) Locate(to []Located, name string) []Located {
	for l := range s.names.Get(strings.ToLower(name)).all {
		to = append(to, s.locate(l))
	}
	return to
}

// All yields every address of every live container, and the virtual addresses
// that have a name, in no order, until yield returns false.
func (s *Snapshot) All(yield func(Located) bool) {
	for _, leases := range s.addrs.All {
		for l := range leases.all {
			if !yield(s.locate(l)) {
				return
			}
		}
	}
	for _, leases := range s.vips {
		for _, l := range leases {
			if !yield(Located{Host: s.host(l), PoolID: l.pool.id}) {
				return
			}
		}
	}
}

func (s *Snapshot) locate(l *lease) Located {
	at := Located{Host: s.host(l), PoolID: l.pool.id}
	if int(l.host) < len(s.ids) {
		at.HostID = s.ids[l.host]
	}
	return at
}

// PoolsOf returns the ids of the pools of this host's network with the engine's
// id, in order.
func (s *Snapshot) PoolsOf(network string) []string {
	var out []string
	for id, p := range s.pools {
		if p.Network == network && network != "" {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}
