// Package environment reads environment.yaml, the one file in which dockstack's
// ancestor was told of its containers, their hosts and their hooks.
//
// It is strict with what decides about addresses and kind with the rest: keys
// that nobody knows are listed, not refused, and all that is wrong is said at
// once.
package environment

import (
	"net/netip"

	"github.com/dockstack/dockstack/internal/yamldoc"
)

// Environment is such a file.
type Environment struct {
	// File is what messages call it.
	File string
	// Common is what was common to all containers, in the file's order.
	Common []Setting
	// VIP is an address that containers take over from each other, VIPName its
	// name in DNS.
	VIP     netip.Addr
	VIPName string
	// Hosts are the container hosts, Containers what ran on them.
	Hosts      []Host
	Containers []Container
	// Services are which containers stood for a service, from registered_services.
	Services []Service
	// Unknown are keys that the ancestor had no use for.
	Unknown []Unknown
}

// Setting is a key of `common`.
type Setting struct {
	Key, Value string
	Line       int
}

// Host is a container host.
type Host struct {
	Name string
	// IP and Port are where the ancestor's server listened.
	IP   netip.Addr
	Port int
	Line int
}

// Service is an entry of registered_services.
type Service struct {
	Name       string
	Containers []string
	Line       int
}

// Unknown is a key that is not known, such as containers.web1.imgae.
type Unknown struct {
	Path string
	Line int
	// Meant is the known key that is most like it, or "".
	Meant string
}

// Container is one container, with what came from containerdefault by a merge
// key.
type Container struct {
	Name string
	Line int
	// Host is a container host's name, "" where the file has none.
	Host string
	// IP is invalid where the container asked DHCP.
	IP      netip.Addr
	MAC     string
	Mask    int
	Gateway netip.Addr
	DNS     []netip.Addr
	Domain  string
	Bridge  string
	Image   string
	Volumes []string
	// State is whether it ran; StateKnown: the file says so.
	State, StateKnown bool
	// Hooks are commands that ran on the container host.
	Hooks []Hook
	// IPLine is where the address stands.
	IPLine int
}

// Hook is a command that the ancestor ran on the container host.
type Hook struct {
	// When is precreation, postcreation or postdestroy.
	When string
	// Command is what the file has, in one line.
	Command string
	Line    int
}

// Subnet is the network that the container is in, invalid where the file does
// not say.
func (c Container) Subnet() netip.Prefix {
	addr := c.IP
	if !addr.IsValid() {
		addr = c.Gateway
	}
	if !addr.IsValid() || c.Mask == 0 {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(addr, c.Mask).Masked()
}

// Parse reads the file. Its error has all that is wrong, a line each.
func Parse(file string, data []byte) (*Environment, error) {
	doc, err := yamldoc.Parse(file, data)
	if err != nil {
		return nil, err
	}
	r := &reader{doc: doc, env: &Environment{File: file}}
	r.top()
	if err := r.wrong.Join(); err != nil {
		return nil, err
	}
	return r.env, nil
}
