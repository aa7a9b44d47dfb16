// Package ovs owns everything that speaks to Open vSwitch: it chooses between
// the host's and our own, keeps our own alive, and carries the fabric's changes
// to one bridge.
//
// Three ways lead to the switch, each for what it does best (measured, per
// call): its database over JSON-RPC for reading (0.1 ms), ovs-vsctl for changing
// ports, because it waits for the switch to take them (6 ms), and ovs-ofctl for
// flows, because a bundle is atomic (13 ms for one flow, 25 ms for a thousand).
// A fourth, an idle OpenFlow connection, says at once when the switch died.
package ovs
