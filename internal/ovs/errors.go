package ovs

import "errors"

// What callers tell apart.
var (
	// ErrNoSwitch: there is neither a host's Open vSwitch nor programs for one.
	ErrNoSwitch = errors.New("no Open vSwitch: start the host's, or use a plugin that brings its own")
	// ErrNotOurs: a bridge of our name belongs to somebody else.
	ErrNotOurs = errors.New("the bridge is not dockstack's: rename it, or set another name for ours")
	// ErrDown: the switch is not connected.
	ErrDown = errors.New("not connected")
	// errHostAppeared: the host's Open vSwitch started while ours ran.
	errHostAppeared = errors.New("the host's Open vSwitch has started")
	// errStopped: dockstack is ending, or changing over to another switch.
	errStopped = errors.New("dockstack has let go of it")
)
