package fabric

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Config says how the fabric behaves.
type Config struct {
	// MAC derives a hardware address from an address, for the gateways. Hosts
	// must agree on it.
	MAC func(netip.Addr) net.HardwareAddr
	// Prefix of the names of all ports, 2 to 3 characters; "ds" by default.
	Prefix string
	// Tunnel is the way to other hosts, TunnelFlow or TunnelKernel; by default the
	// one for the switch's datapath.
	Tunnel string
	// SettleWait is how long an attachment may wait for the switch; 8 s by
	// default, so that one restart of the switch is no failed container.
	SettleWait time.Duration
	// DeleteDelay is how long removed ports may gather; 1 s by default. Their
	// flows go at once.
	DeleteDelay time.Duration
	// LingerDelay is how long a network without containers keeps its tunnel; 30 s
	// by default.
	LingerDelay time.Duration
	// AuditEvery is how often what is gets compared with what should be although
	// nothing changed; 10 s by default.
	AuditEvery time.Duration
	// StaleAfter is how long a recalled endpoint may lack a container before it
	// is swept; 2 minutes by default: longer than any start takes.
	StaleAfter time.Duration

	// bundle is how many flows go into one.
	bundle int
}

func (c Config) withDefaults() Config {
	c.Prefix = cmp.Or(c.Prefix, "ds")
	c.SettleWait = cmp.Or(c.SettleWait, 8*time.Second)
	c.DeleteDelay = cmp.Or(c.DeleteDelay, time.Second)
	c.AuditEvery = cmp.Or(c.AuditEvery, 10*time.Second)
	c.StaleAfter = cmp.Or(c.StaleAfter, 2*time.Minute)
	c.bundle = cmp.Or(c.bundle, bundleLimit)
	c.LingerDelay = cmp.Or(c.LingerDelay, 30*time.Second)
	return c
}

// Fabric keeps bridge, ports and flows as wanted. Its methods change what is
// wanted; Run makes it so.
type Fabric struct {
	cfg   Config
	sw    Switch
	links Links
	log   *slog.Logger

	// kick wakes the loop; one pending kick stands for any number of changes.
	kick chan struct{}
	// asks are what the loop is to run between two applies.
	asks chan func()
	// touched is whether more changed than remotes.
	touched atomic.Bool
	// recalled is closed once the endpoints of an earlier run are known.
	recalled chan struct{}
	// have and far belong to the loop alone.
	have have
	far  far

	mu sync.Mutex // guards all below
	// want is what should be.
	want wanted
	// changed is closed, and made anew, whenever an apply ended.
	changed chan struct{}
	// lastErr is why the last apply failed, nil when it didn't.
	lastErr error
	// deleting holds the links that are being removed, each with a channel that
	// is closed when it is gone.
	deleting map[string]chan struct{}
	// shown is what the last apply left, for Status.
	shown shown
}

// New makes a fabric over a switch and links. Nothing happens before Run.
func New(cfg Config, sw Switch, links Links, log *slog.Logger) *Fabric {
	return &Fabric{
		cfg: cfg.withDefaults(), sw: sw, links: links, log: log,
		kick: make(chan struct{}, 1), asks: make(chan func()), recalled: make(chan struct{}),
		want:    wanted{networks: map[string]Network{}, endpoints: map[string]*endpoint{}, forgotten: map[string]bool{}},
		changed: make(chan struct{}), deleting: map[string]chan struct{}{},
	}
}

// Recalled is closed once Endpoints includes those of an earlier run.
func (f *Fabric) Recalled() <-chan struct{} { return f.recalled }

// PutNetwork makes a network known, or changes it. The host's own interface in
// it is there when PutNetwork returns, if the switch has been chosen by then
// (before Run it hasn't); ports and flows follow.
func (f *Fabric) PutNetwork(ctx context.Context, n Network) error {
	if n.ID == "" || n.VNI == 0 || n.VNI >= 1<<24 || n.MTU < 68 {
		return fmt.Errorf("network %s with VNI %d and MTU %d: %w: give an id, a VNI from 1 to %d and an MTU", n.ID, n.VNI, n.MTU, ErrBadEndpoint, 1<<24-1)
	}
	f.mu.Lock()
	for _, other := range f.want.networks {
		if other.VNI == n.VNI && other.ID != n.ID {
			f.mu.Unlock()
			return fmt.Errorf("network %s: VNI %d is that of network %s: %w", n.ID, n.VNI, other.ID, ErrBadEndpoint)
		}
	}
	f.want.networks[n.ID], f.want.had = n, true
	f.want.disown(func(network string, vni uint32) bool { return vni == n.VNI && network != n.ID })
	f.mu.Unlock()
	defer f.wake()
	if st, _ := f.sw.State(); st.Offloads != "" && len(n.Gateways) > 0 {
		return f.putGateway(ctx, n, st.Offloads)
	}
	return nil
}

// RemoveNetwork forgets a network; its gateway, ports and flows go. An unknown
// one is no error.
func (f *Fabric) RemoveNetwork(_ context.Context, id string) error {
	f.mu.Lock()
	delete(f.want.networks, id)
	f.want.disown(func(network string, _ uint32) bool { return network == id })
	f.want.forgotten[id], f.want.had = true, true
	f.mu.Unlock()
	f.wake()
	return nil
}

// Attach makes an endpoint's veth and returns the name of the container's end.
// Its port and flows are on their way: Settle waits for them. It may be called
// again with the same endpoint.
func (f *Fabric) Attach(ctx context.Context, ep Endpoint) (string, error) {
	if ep.ID == "" || len(ep.MAC) != 6 || len(ep.Addrs) == 0 {
		return "", fmt.Errorf("endpoint %s with MAC %q and %d addresses: %w: an id, a MAC and an address are needed", ep.ID, ep.MAC, len(ep.Addrs), ErrBadEndpoint)
	}
	ctx, cancel := context.WithTimeout(ctx, f.cfg.SettleWait)
	defer cancel()
	offloads, err := f.ready(ctx)
	if err != nil {
		return "", fmt.Errorf("attach endpoint %s to network %s: %w", ep.ID, ep.Network, err)
	}
	name := f.cfg.portName(ep.ID)
	if err := f.awaitDeletion(ctx, name); err != nil {
		return "", fmt.Errorf("attach endpoint %s: its former link %s is still being removed: %w", ep.ID, name, err)
	}
	f.mu.Lock()
	n, known := f.want.networks[ep.Network]
	if !known {
		f.mu.Unlock()
		return "", fmt.Errorf("attach endpoint %s to network %s: %w: it was created while dockstack was away; remove the network and create it again", ep.ID, ep.Network, ErrUnknownNetwork)
	}
	f.want.claim(ep, name)
	f.mu.Unlock()
	peer := f.cfg.peerName(ep.ID)
	err = f.links.AddVeth(ctx, VethSpec{
		Host: name, Peer: peer, PeerMAC: ep.MAC, Alias: endpointAlias(ep, n.VNI), MTU: n.MTU, Offloads: offloads,
	})
	if err != nil {
		return "", fmt.Errorf("attach endpoint %s to network %s: %w", ep.ID, ep.Network, err)
	}
	f.mu.Lock()
	f.want.linked(ep.ID)
	f.mu.Unlock()
	f.wake()
	return peer, nil
}

// Settle waits until an attached endpoint's port and flows are there.
func (f *Fabric) Settle(ctx context.Context, endpointID string) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, f.cfg.SettleWait)
	defer cancel()
	for {
		state, _ := f.sw.State()
		f.mu.Lock()
		ep, known := f.want.endpoints[endpointID]
		changed, cause := f.changed, f.lastErr
		var settled bool
		if known {
			settled = state.Up && ep.settled == state.Generation && ep.settled != 0
			if ep.portErr != nil {
				cause = ep.portErr
			}
		}
		f.mu.Unlock()
		if !known {
			return fmt.Errorf("settle endpoint %s: %w: the engine must create it first", endpointID, ErrUnknownEndpoint)
		}
		if settled {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("endpoint %s has no port on the switch after %s: %w", endpointID, time.Since(began).Round(time.Millisecond), f.explain(state, cause))
		}
	}
}

// explain makes of a state a cause and a way out.
func (f *Fabric) explain(st SwitchState, cause error) error {
	if st.Up && cause != nil {
		return cause
	}
	if st.Up {
		return fmt.Errorf("Open vSwitch %s takes too long: %w", st.Version, context.DeadlineExceeded) //nolint:staticcheck // a name
	}
	way := "it is started again and again: start the container again, and if this stays see the plugin's log"
	if st.Origin == "host" {
		way = "start the host's Open vSwitch (systemctl start openvswitch-switch), then the container"
	}
	return fmt.Errorf("%w: %w; %s", ErrSwitchAway, cmp.Or(st.Err, cause, context.DeadlineExceeded), way)
}

// Detach forgets an endpoint: its flows go at once, its port and veth soon.
// An unknown endpoint is no error.
func (f *Fabric) Detach(ctx context.Context, endpointID string) error {
	select {
	case <-f.recalled:
	case <-ctx.Done():
		return fmt.Errorf("detach endpoint %s: %w", endpointID, ctx.Err())
	}
	f.mu.Lock()
	delete(f.want.endpoints, endpointID)
	f.mu.Unlock()
	f.wake()
	return nil
}

// Endpoints returns the attached endpoints, ordered by id. Those of an earlier
// run are among them once Recalled is closed.
func (f *Fabric) Endpoints() []Endpoint {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]Endpoint, 0, len(f.want.endpoints))
	for _, ep := range f.want.endpoints {
		out = append(out, ep.Endpoint)
	}
	slices.SortFunc(out, func(a, b Endpoint) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// ready waits until earlier endpoints are known and the switch is chosen.
func (f *Fabric) ready(ctx context.Context) (Offloads, error) {
	select {
	case <-f.recalled:
	case <-ctx.Done():
		return "", fmt.Errorf("%w: the host's links were not read yet: %w", ErrSwitchAway, ctx.Err())
	}
	for {
		st, changed := f.sw.State()
		if st.Offloads != "" {
			return st.Offloads, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", f.explain(st, ctx.Err())
		}
	}
}

// awaitDeletion waits for a link of this name that is being removed.
func (f *Fabric) awaitDeletion(ctx context.Context, name string) error {
	f.mu.Lock()
	gone := f.deleting[name]
	f.mu.Unlock()
	if gone == nil {
		return nil
	}
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// wake tells the loop that something changed.
func (f *Fabric) wake() {
	f.touched.Store(true)
	f.poke()
}

// poke tells the loop that there is news of remotes.
func (f *Fabric) poke() {
	select {
	case f.kick <- struct{}{}:
	default:
	}
}
