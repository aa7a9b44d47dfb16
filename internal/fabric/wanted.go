package fabric

import (
	"cmp"
	"slices"
	"time"
)

// wanted is what should be. The fabric's mutex guards it.
type wanted struct {
	networks  map[string]Network
	endpoints map[string]*endpoint
	// had is whether a network was ever put: then those that are not wanted are
	// really gone, not just unknown.
	had bool
	// forgotten networks' gateways are to go.
	forgotten map[string]bool
	// under is how other hosts are reached.
	under underlay
	// news of remotes that the loop has not taken yet.
	news []RemoteChange
}

// endpoint is a wanted endpoint and how far it has come.
type endpoint struct {
	Endpoint
	// vni is its network's as recalled, 0 when it wasn't: it serves while the
	// network itself is not known.
	vni uint32
	// port is its name on the switch.
	port string
	// rev grows with each change of the facts, so that an apply that began
	// before doesn't settle it.
	rev int
	// linked is whether its veth was made, made how often.
	linked bool
	made   int
	// claimed is whether the engine asked for it in this run; others were
	// recalled.
	claimed bool
	// lonely is since when no container has had it.
	lonely time.Time
	// settled is the generation of the switch that has its port and flows.
	settled uint64
	// portErr is why the switch could not open its port.
	portErr error
}

// claim makes an endpoint wanted, or changes its facts.
func (w *wanted) claim(ep Endpoint, port string) {
	old, known := w.endpoints[ep.ID]
	if !known {
		w.endpoints[ep.ID] = &endpoint{Endpoint: ep, port: port, claimed: true}
		return
	}
	old.claimed = true
	if old.Network != ep.Network || old.MAC.String() != ep.MAC.String() || !slices.Equal(old.Addrs, ep.Addrs) {
		old.Endpoint = ep
		old.rev++
		old.settled = 0
	}
}

// linked notes that an endpoint's veth is there.
func (w *wanted) linked(id string) {
	if ep := w.endpoints[id]; ep != nil {
		ep.linked = true
		ep.made++
	}
}

// disown makes recalled endpoints forget a network's VNI: the network is gone, or
// the VNI is now another's.
func (w *wanted) disown(so func(network string, vni uint32) bool) {
	for _, ep := range w.endpoints {
		if so(ep.Network, ep.vni) {
			ep.vni = 0
		}
	}
}

// seat is one port of a snapshot: an endpoint's or a gateway's.
type seat struct {
	port    string
	network Network
	// endpoint is empty for a gateway.
	endpoint Endpoint
	rev      int
	linked   bool
	made     int
	// displaced says who has its address now, if somebody has.
	displaced Displaced
}

// snapshot copies what is wanted, ordered, so that the loop works on a picture
// that doesn't change.
func (w *wanted) snapshot(cfg Config) (networks []Network, seats []seat) {
	for _, n := range w.networks {
		networks = append(networks, n)
		if len(n.Gateways) > 0 {
			seats = append(seats, seat{port: cfg.gateName(n.ID), network: n})
		}
	}
	recalled := map[string]bool{}
	for _, ep := range w.endpoints {
		n, known := w.networks[ep.Network]
		if !known && ep.vni != 0 {
			n = Network{ID: ep.Network, VNI: ep.vni}
			if !recalled[n.ID] {
				recalled[n.ID] = true
				networks = append(networks, n)
			}
		}
		seats = append(seats, seat{port: ep.port, network: n, endpoint: ep.Endpoint, rev: ep.rev, linked: ep.linked, made: ep.made})
	}
	slices.SortFunc(networks, func(a, b Network) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(seats, func(a, b seat) int { return cmp.Compare(a.port, b.port) })
	return networks, seats
}

// facts of a seat as the switch keeps them.
func (s seat) facts() map[string]string {
	if s.endpoint.ID == "" {
		return gatewayFacts(s.network.ID)
	}
	return endpointFacts(s.endpoint)
}
