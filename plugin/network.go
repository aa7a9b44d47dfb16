package plugin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	sdknet "github.com/docker/go-plugins-helpers/network"

	"github.com/dockstack/dockstack/internal/fabric"
	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/ipam"
)

// networkPrefix is where networks stand in the store. The engine says
// CreateNetwork once in a network's life and never repeats it.
const networkPrefix = "network/"

// network is what the store keeps of one.
type network struct {
	Version  int            `json:"version"`
	ID       string         `json:"id"`
	VNI      uint32         `json:"vni"`
	MTU      int            `json:"mtu"`
	IfPrefix string         `json:"if_prefix"`
	Overlay  string         `json:"overlay,omitempty"`
	Internal bool           `json:"internal,omitempty"`
	Pools    []string       `json:"pools,omitempty"` // none: another IPAM driver's
	Gateways []netip.Prefix `json:"gateways,omitempty"`
	VIPs     []netip.Addr   `json:"vips,omitempty"`
	// Alone: its addresses are another IPAM driver's, so no other host knows them.
	Alone bool `json:"alone,omitempty"`
}

// networkVersion is the format of network records.
const networkVersion = 1

// maxVNI is the largest number that a VXLAN header holds (RFC 7348, section 5).
const maxVNI = 1<<24 - 1

func (n network) wanted() fabric.Network {
	return fabric.Network{ID: n.ID, VNI: n.VNI, MTU: n.MTU, Gateways: n.Gateways, VIPs: n.VIPs, Alone: n.Alone}
}

// capability is sdknet.CapabilitiesResponse with the field that it lacks.
type capability struct {
	sdknet.CapabilitiesResponse
	// GwAllocChecker would let us tell the engine to reserve no gateway; ours
	// is reserved, because the host has it and DNS listens there.
	GwAllocChecker bool
}

func (d *Driver) handleNetworkDriver(mux *http.ServeMux) {
	d.constant(mux, "/NetworkDriver.GetCapabilities", capability{
		// A driver of scope global would be run by Swarm's manager.
		CapabilitiesResponse: sdknet.CapabilitiesResponse{Scope: sdknet.LocalScope, ConnectivityScope: sdknet.GlobalScope},
	})
	handle(d, mux, "/NetworkDriver.CreateNetwork", networkErrors, d.createNetwork)
	handle(d, mux, "/NetworkDriver.DeleteNetwork", networkErrors, d.deleteNetwork)
	handle(d, mux, "/NetworkDriver.CreateEndpoint", networkErrors, d.createEndpoint)
	handle(d, mux, "/NetworkDriver.DeleteEndpoint", networkErrors, d.deleteEndpoint)
	handle(d, mux, "/NetworkDriver.EndpointOperInfo", networkErrors, d.endpointInfo)
	handle(d, mux, joinPath, networkErrors, d.join)
	handle(d, mux, "/NetworkDriver.Leave", networkErrors, d.leave)
	// Node discovery is Swarm's; the other calls that exist are optional.
	d.constant(mux, "/NetworkDriver.DiscoverNew", none{})
	d.constant(mux, "/NetworkDriver.DiscoverDelete", none{})
}

// errForeignIPAM refuses what would silently break the promise.
var errForeignIPAM = errors.New("this network would use another IPAM driver, and its addresses would change at every restart: " +
	"create it with `docker network create -d dockstack --ipam-driver dockstack --subnet 172.16.0.0/16 NAME` " +
	"(in a compose file: networks.NAME.ipam.driver: dockstack), or allow changing addresses with `-o dockstack.ipam=any`")

func (d *Driver) createNetwork(ctx context.Context, req sdknet.CreateNetworkRequest) (*none, error) {
	if req.NetworkID == "" {
		return nil, errors.New("malformed request: no network id")
	}
	set, err := parseNetworkOptions(req.Options)
	if err != nil {
		return nil, err
	}
	st, err := d.state(ctx)
	if err != nil {
		return nil, err
	}
	n := network{Version: networkVersion, ID: req.NetworkID, VNI: set.vni, MTU: set.mtu, IfPrefix: set.ifPrefix, Overlay: set.overlay, VIPs: set.vips}
	n.Internal, _ = req.Options[keyInternal].(bool)
	for _, family := range [][]*sdknet.IPAMData{req.IPv4Data, req.IPv6Data} {
		if err := d.addPool(&n, st, family, set); err != nil {
			return nil, err
		}
	}
	if err := checkVIPs(n, append(req.IPv4Data, req.IPv6Data...)); err != nil {
		return nil, err
	}
	return &none{}, d.putNetwork(ctx, st, n, set)
}

// addPool enters one family's pool and gateway into n.
func (d *Driver) addPool(n *network, st *State, family []*sdknet.IPAMData, set settings) error {
	if len(family) > 1 {
		return fmt.Errorf("two subnets of one family, %s and %s: the engine takes addresses from the first only; give one, as large as both", family[0].Pool, family[1].Pool)
	}
	for _, data := range family {
		subnet, err := netip.ParsePrefix(data.Pool)
		if err != nil {
			return fmt.Errorf("subnet %q: want an address and its prefix length, such as 172.16.0.0/16", data.Pool)
		}
		if data.Gateway != "" {
			gw, err := parseAddr(data.Gateway)
			if err != nil {
				return err
			}
			n.Gateways = append(n.Gateways, netip.PrefixFrom(gw, subnet.Bits()))
		}
		if data.AddressSpace != addressSpace {
			if !set.anyIPAM {
				return errForeignIPAM
			}
			continue
		}
		pool, ok := st.Leases.PoolFor(subnet, set.overlay)
		if !ok {
			return fmt.Errorf("subnet %s was not asked for under the overlay %q: give `%s` in both -o and --ipam-opt, or in neither", subnet, set.overlay, optOverlay)
		}
		n.Pools = append(n.Pools, pool.ID)
	}
	return nil
}

// checkVIPs refuses addresses that no endpoint of the network could have.
func checkVIPs(n network, data []*sdknet.IPAMData) error {
	for _, vip := range n.VIPs {
		inside := slices.ContainsFunc(data, func(d *sdknet.IPAMData) bool {
			subnet, err := netip.ParsePrefix(d.Pool)
			return err == nil && subnet.Contains(vip)
		})
		if !inside {
			return fmt.Errorf("option %s: %s lies in no subnet of this network", optVIP, vip)
		}
		if slices.ContainsFunc(n.Gateways, func(g netip.Prefix) bool { return g.Addr() == vip }) {
			return fmt.Errorf("option %s: %s is the network's gateway; choose another address, or another --gateway", optVIP, vip)
		}
	}
	return nil
}

// putNetwork makes n be: leases, store, switch. Each step may be repeated.
func (d *Driver) putNetwork(ctx context.Context, st *State, n network, set settings) error {
	wait, cancel := context.WithTimeout(ctx, createWait)
	defer cancel()
	if err := d.cfg.Fabric.Ready(wait); err != nil {
		return err
	}
	if err := d.bind(ctx, st, &n, set); err != nil {
		return err
	}
	if err := d.record(ctx, st, &n); err != nil {
		return errors.Join(err, st.Leases.Unbind(ctx, n.ID))
	}
	if err := d.cfg.Fabric.PutNetwork(ctx, n.wanted()); err != nil {
		return errors.Join(err, d.dropNetwork(ctx, st, n.ID))
	}
	d.changed()
	return nil
}

// bind has n take what its overlay has: VNI, MTU and virtual addresses.
func (d *Driver) bind(ctx context.Context, st *State, n *network, set settings) error {
	if len(n.Pools) == 0 {
		if set.vni != 0 || set.perHost || set.vipNames != nil {
			return fmt.Errorf("options %s, %s, and names in %s are for networks with `--ipam-driver dockstack`: this one stays on its host", optVNI, optNames, optVIP)
		}
		n.Alone = true
		n.MTU = cmp.Or(n.MTU, d.cfg.DefaultMTU())
		return nil
	}
	bound, err := st.Leases.Bind(ctx, ipam.Binding{
		Network: n.ID, Pools: n.Pools, VIPs: n.VIPs, VIPNames: set.vipNames, VNI: n.VNI, MTU: n.MTU, DefaultMTU: d.cfg.DefaultMTU(), PerHost: set.perHost,
	})
	if err != nil {
		return err
	}
	n.VNI, n.MTU, n.VIPs = bound.VNI, bound.MTU, bound.VIPs
	if limit := d.cfg.MaxMTU(); limit > 0 && n.MTU > limit {
		err := fmt.Errorf("the network's MTU is %d bytes, and between this host and the others only %d get through: raise the MTU of this host's uplink by %d, or create the network on every host with `-o %s=%d`",
			n.MTU, limit, n.MTU-limit, optMTU, limit)
		return errors.Join(err, st.Leases.Unbind(ctx, n.ID))
	}
	return nil
}

// record writes n, and gives it a VNI where it has no overlay.
func (d *Driver) record(ctx context.Context, st *State, n *network) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if old, ok := d.networks[n.ID]; ok && n.Alone {
		n.VNI = old.VNI
	} else if n.Alone {
		used := map[uint32]bool{}
		for _, other := range d.networks {
			used[other.VNI] = true
		}
		for n.VNI = ipam.FirstLocalVNI; used[n.VNI]; n.VNI++ {
		}
	}
	value, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("encode network: %w", err)
	}
	if err := st.Store.Commit(ctx, []kv.Op{{Key: networkPrefix + n.ID, Value: value}}); err != nil {
		return err
	}
	d.networks[n.ID], d.since[n.ID] = *n, time.Now()
	return nil
}

func (d *Driver) deleteNetwork(ctx context.Context, req sdknet.DeleteNetworkRequest) (*none, error) {
	st, err := d.state(ctx)
	if err != nil {
		return nil, err
	}
	return &none{}, d.dropNetwork(ctx, st, req.NetworkID)
}

// dropNetwork undoes putNetwork, in reverse; what isn't there is no error.
func (d *Driver) dropNetwork(ctx context.Context, st *State, id string) error {
	for _, e := range d.cfg.Fabric.Endpoints() {
		if e.Network != id {
			continue
		}
		// The engine removes no network that it knows an endpoint of: these
		// are ones whose end we were never told.
		if err := d.cfg.Fabric.Detach(ctx, e.ID); err != nil {
			return err
		}
	}
	if err := d.cfg.Fabric.RemoveNetwork(ctx, id); err != nil {
		return err
	}
	if err := st.Store.Commit(ctx, []kv.Op{{Key: networkPrefix + id, Delete: true}}); err != nil {
		return err
	}
	d.mu.Lock()
	delete(d.networks, id)
	delete(d.since, id)
	d.mu.Unlock()
	d.changed()
	return st.Leases.Unbind(ctx, id)
}

// forgetAfter is how long a network may be unknown to the engine: while it is
// being made it is, and a call that a crash cut off is repeated for 15 s.
const forgetAfter = 30 * time.Second

// Forget ends the networks that the engine did not know at that time (known has those
// it did, by id): they were removed while nobody here listened.
func (d *Driver) Forget(ctx context.Context, st *State, known map[string]string, at time.Time) error {
	var gone []string
	d.mu.Lock()
	for id := range d.networks {
		if _, ok := known[id]; !ok && at.Sub(d.since[id]) > forgetAfter {
			gone = append(gone, id)
		}
	}
	d.mu.Unlock()
	for _, id := range gone {
		d.log.Warn("network was removed while dockstack was away", "network", id)
		if err := d.dropNetwork(ctx, st, id); err != nil {
			return err
		}
	}
	return nil
}

// Restore reads the networks from the store, once, and hands them to the
// switch, which by itself knows only its endpoints. Who comes meanwhile waits until
// the switch has all.
func (d *Driver) Restore(ctx context.Context, st *State) error {
	d.restoring.Lock()
	defer d.restoring.Unlock()
	d.mu.Lock()
	done := d.restored
	d.mu.Unlock()
	if done {
		return nil
	}
	found, since := map[string]network{}, map[string]time.Time{}
	err := st.Store.Load(ctx, networkPrefix, func(key string, value []byte) error {
		var n network
		if err := json.Unmarshal(value, &n); err != nil || n.ID != strings.TrimPrefix(key, networkPrefix) || n.VNI == 0 || n.VNI > maxVNI {
			return fmt.Errorf("%w: record %s is no network", kv.ErrDamaged, key)
		}
		if n.Version > networkVersion {
			return fmt.Errorf("%w: record %s has format %d, this version knows up to %d", kv.ErrNewer, key, n.Version, networkVersion)
		}
		found[n.ID], since[n.ID] = n, time.Now()
		return nil
	})
	if err != nil {
		return err
	}
	for _, n := range found {
		if err := d.cfg.Fabric.PutNetwork(ctx, n.wanted()); err != nil {
			// The switch goes on trying; its state shows the error.
			d.log.Error("network not restored yet", "network", n.ID, "error", err)
		}
	}
	d.mu.Lock()
	d.networks, d.restored = found, true
	maps.Copy(d.since, since)
	d.mu.Unlock()
	d.changed()
	return nil
}

// Refresh gives networks the VNI and the virtual addresses that their overlay has
// now: they are others when this host joined others that had them otherwise.
func (d *Driver) Refresh(ctx context.Context, st *State) error {
	d.mu.Lock()
	var stale []network
	for _, n := range d.networks {
		if now := d.asBound(st, n); now.VNI != n.VNI || !slices.Equal(now.VIPs, n.VIPs) {
			stale = append(stale, now)
		}
	}
	d.mu.Unlock()
	for _, n := range stale {
		// Two may swap: the switch takes a VNI for one network only.
		if err := d.cfg.Fabric.RemoveNetwork(ctx, n.ID); err != nil {
			return err
		}
	}
	var failed error // one that can't be put keeps no other from its place
	for _, n := range stale {
		err := d.record(ctx, st, &n)
		if err == nil {
			err = d.cfg.Fabric.PutNetwork(ctx, n.wanted())
		}
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		d.log.Info("network has another VNI or other virtual addresses now", "network", n.ID, "vni", n.VNI, "vips", n.VIPs)
	}
	return failed
}

// asBound is n with what its overlay has now.
func (d *Driver) asBound(st *State, n network) network {
	var vips []netip.Addr
	for _, id := range n.Pools {
		p, ok := st.Leases.Pool(id)
		if !ok || p.VNI == 0 || p.Network != n.ID {
			return n
		}
		n.VNI = p.VNI
		vips = append(vips, st.Leases.VIPs(id)...)
	}
	if len(n.Pools) == 0 || sameAddrs(vips, n.VIPs) {
		return n
	}
	n.VIPs = vips
	return n
}

// sameAddrs compares without regard to order.
func sameAddrs(a, b []netip.Addr) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.SortFunc(a, netip.Addr.Compare)
	slices.SortFunc(b, netip.Addr.Compare)
	return slices.Equal(slices.Compact(a), slices.Compact(b))
}

// changed tells the outside which networks there are now: of two at once the later
// one is told last.
func (d *Driver) changed() {
	d.telling.Lock()
	defer d.telling.Unlock()
	d.mu.Lock()
	all := make([]fabric.Network, 0, len(d.networks))
	for _, n := range d.networks {
		all = append(all, n.wanted())
	}
	d.mu.Unlock()
	d.cfg.Changed(all)
}
