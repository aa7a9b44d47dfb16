package fabric

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
)

// SetUnderlay says how this host reaches the others, and which there are. It
// only notes that; Run follows, with what differs.
//
// Until the first call nothing about tunnels is touched: what an earlier run
// left goes on. So that the first one doesn't take away what is needed, the
// networks and remotes that are known are to be told before.
func (f *Fabric) SetUnderlay(u Underlay) {
	u.Peers = slices.Clone(u.Peers)
	u.VTEP = u.VTEP.Unmap()
	f.mu.Lock()
	f.want.under = underlay{Underlay: u, told: true, rev: f.want.under.rev + 1}
	f.mu.Unlock()
	f.wake()
}

// ChangeRemotes tells news of addresses on other hosts. It only notes them, and
// keeps the slices; Run follows. Networks needn't be known here.
//
// A remote wins over an endpoint of this host with the same address: the name
// has moved while this host was cut off. The endpoint is displaced, as Status
// tells, until the remote is gone.
func (f *Fabric) ChangeRemotes(changes []RemoteChange) {
	f.mu.Lock()
	f.want.news = append(f.want.news, changes...)
	f.mu.Unlock()
	f.poke()
}

// underlay is the one that is wanted.
type underlay struct {
	Underlay
	// told is whether SetUnderlay was ever called.
	told bool
	// rev grows with each call.
	rev uint64
}

// takeNews takes news of remotes in, and tells whether they concern addresses
// of this host's endpoints.
func (f *Fabric) takeNews() (near bool) {
	f.mu.Lock()
	news := f.want.news
	f.want.news = nil
	f.mu.Unlock()
	for _, c := range news {
		local := f.have.local[c.VNI]
		f.far.change(c, func(a netip.Addr) {
			if _, ours := local[a]; ours {
				near = true
			}
		})
	}
	return near
}

// Displaced is an endpoint of this host whose address is now another host's: its
// name moved there while this host was cut off. It gets no frames.
type Displaced struct {
	// Endpoint, Network are the engine's ids.
	Endpoint, Network string
	// Addr is the address.
	Addr netip.Addr
	// Host is the id of the host that has it.
	Host string
}

func (d Displaced) error() error {
	return fmt.Errorf("its address %s is in use on host %s: %w: end one of the two containers", d.Addr, d.Host, ErrDisplaced)
}

// displace finds the endpoints that lost their address to another host.
func (f *Fabric) displace(ctx context.Context, seats []seat) {
	f.have.local = map[uint32]map[netip.Addr]struct{}{}
	displaced := map[string]Displaced{}
	for i, s := range seats {
		if s.endpoint.ID == "" || s.network.ID == "" || s.network.Alone {
			continue
		}
		local := f.have.local[s.network.VNI]
		if local == nil {
			local = map[netip.Addr]struct{}{}
			f.have.local[s.network.VNI] = local
		}
		n := f.far.nets[s.network.VNI]
		for _, a := range s.endpoint.Addrs {
			a = a.Unmap()
			local[a] = struct{}{}
			if n == nil || n.set[a].host == 0 {
				continue
			}
			d := Displaced{Endpoint: s.endpoint.ID, Network: s.network.ID, Addr: a, Host: f.far.names.id(n.set[a].host)}
			seats[i].displaced, displaced[s.endpoint.ID] = d, d
		}
	}
	for id, d := range displaced {
		if _, known := f.have.displaced[id]; !known {
			f.log.WarnContext(ctx, "an endpoint's address is in use on another host: it gets no frames here",
				"endpoint", id, "network", d.Network, "addr", d.Addr, "peer", d.Host)
		}
	}
	for id, d := range f.have.displaced {
		if _, still := displaced[id]; !still {
			f.log.InfoContext(ctx, "an endpoint's address is no longer in use on another host",
				"endpoint", id, "network", d.Network, "addr", d.Addr, "peer", d.Host)
		}
	}
	f.have.displaced = displaced
}
