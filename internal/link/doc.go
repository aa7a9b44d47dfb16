// Package link owns every conversation with the kernel about network
// interfaces, addresses, routes and rules: no other code here speaks netlink
// or ethtool.
//
// A container's interface is a veth pair. Its host end becomes a port of the
// switch; the engine moves the other end into the container, with the MTU, MAC
// and offloads that it has at that time. A gateway is such a pair whose inner
// end stays with the host.
//
// Two things here are less obvious than the rest:
//
// The userspace datapath reads frames through a packet socket, and the host's
// own stack gets a copy of each. So a host end answers no ARP, forwards
// nothing, has no IPv6 address and a random MAC that nobody is told (veth.go).
//
// A gateway gives the host a route to every network, and an engine's host
// forwards. Without more a container of one network reaches another one
// through docker_gwbridge, with the host's address even. Rules close that, in
// three lines that list all there is to know (rules.go).
package link
