package link

import (
	"errors"
	"syscall"

	"github.com/vishvananda/netlink"
)

var (
	// ErrNotOurs says that a link has the wanted name, but isn't what dockstack makes.
	ErrNotOurs = errors.New("a link with this name exists that dockstack did not make; remove or rename it")
	// ErrNoIPv6 says that the host's kernel refuses IPv6 addresses.
	ErrNoIPv6 = errors.New("IPv6 is off on this host: set net.ipv6.conf.default.disable_ipv6=0, or make the network without --ipv6")
	// ErrOffload says that the kernel kept an offload that the switch can't do.
	ErrOffload = errors.New("the kernel keeps an offload that the switch can't finish")
	// ErrNoNAT says that the kernel can't redirect ports.
	ErrNoNAT = errors.New("the kernel has no NAT by nftables")
	// ErrNoFilter says that the kernel can't filter packets.
	ErrNoFilter = errors.New("the kernel has no nftables, so packets of strangers can't be kept out of the tunnels: load the module nf_tables")
	// ErrNoVXLAN says that the kernel can't make vxlan devices.
	ErrNoVXLAN = errors.New("the kernel has no VXLAN (or no IPv6, for a tunnel address of that family): load the module vxlan")
	// ErrVNITaken says that another device has the VNI on this UDP port.
	ErrVNITaken = errors.New("this VNI is taken on this port; set DOCKSTACK_VXLAN_PORT to another port on all hosts, or give the network another VNI")
	// ErrPortTaken says that another program has the UDP port.
	ErrPortTaken = errors.New("another program has this UDP port, as an Open vSwitch tunnel or, on 4789, Docker Swarm; set DOCKSTACK_VXLAN_PORT to another port on all hosts")
	// ErrNoVTEP says that there is no usable tunnel address.
	ErrNoVTEP = errors.New("no address for tunnels")
	// ErrBadSpec says that the caller asked for a link that can't be.
	ErrBadSpec = errors.New("bad link")
)

// absent is whether err says that the link is not there.
func absent(err error) bool {
	var missing netlink.LinkNotFoundError
	return errors.As(err, &missing) || errors.Is(err, syscall.ENODEV) || errors.Is(err, syscall.ENXIO)
}

// noFamily is whether err says that the kernel lacks an address family.
func noFamily(err error) bool {
	return errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOPROTOOPT)
}
