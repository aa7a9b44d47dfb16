package link

import (
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// The places of IPv4 settings in IFLA_INET_CONF, from linux/ip.h. They are the
// files below /proc/sys/net/ipv4/conf/NAME, which a plugin finds read-only;
// netlink sets them nevertheless.
const (
	confForwarding         = 1
	confAcceptRedirects    = 4
	confSendRedirects      = 6
	confArpAnnounce        = 18
	confArpIgnore          = 19
	confDropUnicastInL2Mcs = 30
)

// iflaInetConf is IFLA_INET_CONF.
const iflaInetConf = 1

// addrGenNone keeps the kernel from making a link-local IPv6 address, and with
// that from asking for routers and reporting groups on the overlay.
const addrGenNone = 1

// setting is one IPv4 setting of a link.
type setting struct {
	key   uint16
	value uint32
}

// portConf is for the ends that are the switch's: the host's stack must leave
// what arrives there alone (doc.go).
func portConf() []setting {
	return []setting{
		{confForwarding, 0}, {confArpIgnore, 8}, {confDropUnicastInL2Mcs, 1}, {confAcceptRedirects, 0}, {confSendRedirects, 0},
	}
}

// gatewayConf is for the inner end of a gateway. It answers ARP for its own
// addresses only, not for those of another network or of the host, and asks
// with its own, since the switch drops foreign ones.
func gatewayConf() []setting {
	return []setting{
		{confForwarding, 0}, {confArpIgnore, 1}, {confArpAnnounce, 2}, {confAcceptRedirects, 0}, {confSendRedirects, 0},
	}
}

// configure sets IPv4 settings of a link and keeps IPv6 from making addresses.
func (m *Manager) configure(l netlink.Link, conf []setting) error {
	inet := nl.NewRtAttr(iflaInetConf, nil)
	for _, c := range conf {
		inet.AddRtAttr(int(c.key), nl.Uint32Attr(c.value))
	}
	v4 := nl.NewRtAttr(unix.AF_INET, nil)
	v4.AddChild(inet)
	if err := m.setAF(l, v4); err != nil {
		return fmt.Errorf("set IPv4 settings of %s: %w", l.Attrs().Name, err)
	}
	v6 := nl.NewRtAttr(unix.AF_INET6, nil)
	v6.AddRtAttr(unix.IFLA_INET6_ADDR_GEN_MODE, nl.Uint8Attr(addrGenNone))
	// A host without IPv6, or an MTU too small for it, needs no such setting.
	if err := m.setAF(l, v6); err != nil && !noFamily(err) {
		return fmt.Errorf("keep IPv6 from making addresses on %s: %w", l.Attrs().Name, err)
	}
	return nil
}

// setAF sends one family's settings for a link.
func (m *Manager) setAF(l netlink.Link, family *nl.RtAttr) error {
	req := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
	req.Sockets = m.raw
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(l.Attrs().Index)
	req.AddData(msg)
	spec := nl.NewRtAttr(unix.IFLA_AF_SPEC, nil)
	spec.AddChild(family)
	req.AddData(spec)
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}
