// Package plugin is Docker's edge: it speaks libnetwork's remote network and
// IPAM protocols on one handler, and turns each call into one on the leases
// (package ipam) and the switch (package fabric).
//
// What the engine does, and what follows from it here:
//
//   - It asks for addresses by container name but releases them by address
//     only, may repeat a call whose answer was lost, and then sends no body
//     at all. So every handler may run twice, and an empty body is an error
//     unless the journal knows which call it was, or that it does not matter.
//   - It holds locks of the container while it waits for us, and at boot its
//     own API does not answer. So nothing here ever calls the engine.
//   - A container whose start failed in the network is not tried again, by no
//     restart policy. So a call that can't be served yet waits.
//
// The protocols: moby, daemon/libnetwork/drivers/remote/api and
// daemon/libnetwork/ipams/remote/api.
package plugin

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/dockstack/dockstack/internal/fabric"
	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/ipam"
)

// readyWait bounds how long a call waits for the store or the switch to come
// up. It stays below the 30 s after which `docker plugin enable` gives up, and
// far above what either needs after a boot.
const readyWait = 25 * time.Second

// createWait is the same for a new network, whose user sits and waits.
const createWait = 10 * time.Second

// settleWait bounds how long EndpointOperInfo holds a container's start until
// its flows are in. Usually they are there already.
const settleWait = 5 * time.Second

// Fabric is what the edge needs of the switch. Its methods are safe for
// concurrent use and may be repeated.
type Fabric interface {
	// Ready returns nil once the switch serves, or why it does not when ctx ends.
	Ready(ctx context.Context) error
	// PutNetwork makes the host take part in a network.
	PutNetwork(ctx context.Context, n fabric.Network) error
	// RemoveNetwork ends that; an unknown id is no error.
	RemoveNetwork(ctx context.Context, id string) error
	// Attach makes the endpoint's interface and returns the name of the end
	// that goes into the container. Ports and flows follow in the background.
	Attach(ctx context.Context, e fabric.Endpoint) (srcName string, err error)
	// Settle waits until they are there.
	Settle(ctx context.Context, endpointID string) error
	// Detach removes the endpoint; an unknown id is no error.
	Detach(ctx context.Context, endpointID string) error
	// Endpoints lists what is attached.
	Endpoints() []fabric.Endpoint
	// SrcName returns what Attach returned for the endpoint, "" if unknown.
	SrcName(endpointID string) string
}

// State is the opened store and what decides on top of it.
type State struct {
	Store  kv.Store
	Leases *ipam.Registry
}

// Config is what a Driver needs; Changed, Failed, Served and HostRoot may be empty.
type Config struct {
	// State returns the store, waiting for it until ctx ends; the error then
	// says what keeps it.
	State func(ctx context.Context) (*State, error)
	// Fabric is the switch.
	Fabric Fabric
	// DefaultMTU returns the MTU of networks that name none, in bytes.
	DefaultMTU func() int
	// MaxMTU returns the largest MTU that reaches the other hosts, in bytes, 0
	// where there are none; nil is that.
	MaxMTU func() int
	// MAC derives the hardware address of an address that has no lease.
	MAC func(netip.Addr) net.HardwareAddr
	// HostRoot is where the host's files are mounted; it is taken off the paths
	// in error texts, since their reader sits on the host.
	HostRoot string
	// JournalDir is a directory on a file system that outlives the process
	// but not the machine.
	JournalDir string
	// Changed is called after networks came or went, with all of them.
	Changed func([]fabric.Network)
	// Failed is called when the store has to be opened anew (kv.ErrFailed).
	Failed func()
	// Served is told of each call that was served or refused, before the engine
	// has the answer. It must not wait.
	Served func(Call)
	Log    *slog.Logger
}

// Call is one call of the engine's.
type Call struct {
	// Path is such as /NetworkDriver.Join.
	Path string
	Took time.Duration
	// Err is why it was refused, nil where it was served.
	Err error
}

// Driver serves both protocols.
type Driver struct {
	cfg     Config
	log     *slog.Logger
	journal *journal

	// restoring is held while networks are read from the store and put.
	restoring sync.Mutex
	// telling is held while the outside is told which networks there are.
	telling sync.Mutex

	mu       sync.Mutex
	networks map[string]network   // by the engine's id; guarded by mu
	since    map[string]time.Time // when this process learned of each; guarded by mu
	restored bool                 // networks were read from the store; guarded by mu
	strays   map[string]time.Time // when EndStrays first saw each; guarded by mu
}

// New returns a Driver that serves at once; calls wait for what isn't there yet.
func New(cfg Config) (*Driver, error) {
	j, err := openJournal(cfg.JournalDir)
	if err != nil {
		return nil, fmt.Errorf("open call journal: %w", err)
	}
	if cfg.MaxMTU == nil {
		cfg.MaxMTU = func() int { return 0 }
	}
	if cfg.Changed == nil {
		cfg.Changed = func([]fabric.Network) {}
	}
	if cfg.Failed == nil {
		cfg.Failed = func() {}
	}
	if cfg.Served == nil {
		cfg.Served = func(Call) {}
	}
	return &Driver{cfg: cfg, log: cfg.Log, journal: j, networks: map[string]network{}, since: map[string]time.Time{}}, nil
}

// Handler returns the handler of both protocols, for any number of listeners.
func (d *Driver) Handler() http.Handler {
	mux := http.NewServeMux()
	d.handleActivation(mux)
	d.handleNetworkDriver(mux)
	d.handleIpamDriver(mux)
	return mux
}

// state returns the store with the networks restored from it.
func (d *Driver) state(ctx context.Context) (*State, error) {
	ctx, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	st, err := d.cfg.State(ctx)
	if err != nil {
		return nil, err
	}
	if err := d.Restore(ctx, st); err != nil {
		return nil, err
	}
	return st, nil
}
