package fabric

import "errors"

// What callers tell apart.
var (
	// ErrUnknownNetwork: an endpoint's network was never put.
	ErrUnknownNetwork = errors.New("the network is unknown to the switch")
	// ErrUnknownEndpoint: the endpoint was never attached, or is detached.
	ErrUnknownEndpoint = errors.New("the endpoint is unknown to the switch")
	// ErrSwitchAway: Open vSwitch can't be reached.
	ErrSwitchAway = errors.New("the switch is away")
	// ErrDisplaced: an endpoint's address is another host's now.
	ErrDisplaced = errors.New("its name moved there while this host was cut off")
	// ErrBadEndpoint: an endpoint or a network lacks what it needs.
	ErrBadEndpoint = errors.New("incomplete")
)
