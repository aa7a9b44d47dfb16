package ipam

import "errors"

// Errors of asking for a pool.
var (
	// ErrOverlap: the subnet shares addresses with a pool in use.
	ErrOverlap = errors.New("subnet overlaps")
	// ErrPoolInUse: a network has the pool, or is being created on it.
	ErrPoolInUse = errors.New("subnet is in use")
	// ErrMismatch: other hosts have the network otherwise.
	ErrMismatch = errors.New("the network is another on other hosts")
	// ErrNoSubnet: the supernet for pools without a subnet has no block left.
	ErrNoSubnet = errors.New("no subnet left")
	// ErrUnknownPool: no pool has that id.
	ErrUnknownPool = errors.New("unknown pool")
	// ErrUnknownNetwork: no pool belongs to that network.
	ErrUnknownNetwork = errors.New("unknown network")
)

// Errors of asking for an address.
var (
	// ErrPoolFull: every address is held by a name that keeps it.
	ErrPoolFull = errors.New("pool is full")
	// ErrAddressTaken: somebody else holds the address.
	ErrAddressTaken = errors.New("address is taken")
	// ErrOutsidePool: the address does not belong to the pool.
	ErrOutsidePool = errors.New("address is outside the pool")
	// ErrNotUsable: what was asked for cannot be used for this, such as a
	// broadcast address for a container.
	ErrNotUsable = errors.New("not usable")
	// ErrElsewhere: the name's container runs on another host.
	ErrElsewhere = errors.New("the name runs on another host")
	// ErrNoName: the engine named no container.
	ErrNoName = errors.New("no container name")
	// ErrNoLease: no name holds the address.
	ErrNoLease = errors.New("no lease")
)

// Errors of an operator's requests.
var (
	// ErrLive: a container runs under the name.
	ErrLive = errors.New("the container runs")
	// ErrClash: what is asked for contradicts what is there.
	ErrClash = errors.New("clash")
	// ErrAmbiguous: more than one pool is meant.
	ErrAmbiguous = errors.New("ambiguous")
	// ErrHostAlive: the host lives.
	ErrHostAlive = errors.New("the host is alive")
	// ErrUnknownHost: nothing is known of the host.
	ErrUnknownHost = errors.New("unknown host")
)
