package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/fabric"
)

// site is a host with one container, on a Linux bridge that stands in for the
// switch, and a tunnel.
type site struct {
	host, box *space
	m         *Manager
	vtep      netip.Addr
	mac       [6]byte
}

// newSites joins hosts by an underlay, in which each has its place as the last
// number of its address, IPv4 and IPv6.
func newSites(t *testing.T, n int, six bool) []*site {
	t.Helper()
	underlay := newSpace(t)
	underlay.bridge(t, "wires")
	out := make([]*site, n)
	for i := range out {
		s := &site{host: newSpace(t), box: newSpace(t)}
		last := i + 1
		underlay.wire(t, fmt.Sprintf("to%d", last), s.host, "wan")
		underlay.enslave(t, fmt.Sprintf("to%d", last), "wires")
		s.host.addr(t, "wan", fmt.Sprintf("192.0.2.%d/24", last))
		s.host.addr(t, "wan", fmt.Sprintf("2001:db8::%d/64", last))
		s.m = s.host.manager(t)
		s.vtep = netip.AddrFrom4([4]byte{192, 0, 2, byte(last)})
		if six {
			s.vtep = netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", last))
		}
		s.mac = [6]byte{2, 0x42, 10, 0, 0, byte(last)}
		s.host.bridge(t, "net")
		s.host.sysctl(t, "ipv4/conf/net/arp_ignore", "8")
		s.host.sysctl(t, "ipv6/conf/net/disable_ipv6", "1")
		v := spec("dsva", "dsca")
		v.PeerMAC = s.mac[:]
		must(t, s.m.AddVeth(t.Context(), v))
		s.host.enslave(t, "dsva", "net")
		s.box.take(t, s.host, "dsca", "eth0")
		s.box.addr(t, "eth0", fmt.Sprintf("10.0.0.%d/24", last))
		s.box.addr(t, "eth0", fmt.Sprintf("fd00::%d/64", last))
		must(t, s.m.PutVXLAN(t.Context(), s.spec()))
		s.host.enslave(t, "dsx7", "net")
		out[i] = s
	}
	return out
}

func (s *site) spec() fabric.VXLANSpec {
	return fabric.VXLANSpec{Name: "dsx7", Alias: "tunnel of 7", VNI: 7, Local: s.vtep, Port: tunnelPort, MTU: 1450 - 20}
}

// entries are a host's for all others: their containers, and floods.
func entries(to ...*site) []fabric.FDBEntry {
	var out []fabric.FDBEntry
	for _, s := range to {
		out = append(out, fabric.FDBEntry{MAC: s.mac, VTEP: s.vtep}, fabric.FDBEntry{VTEP: s.vtep})
	}
	return out
}

// permanents are the permanent entries of a device as text.
func (s *site) permanents(t *testing.T) []string {
	t.Helper()
	have, err := s.m.listFDB(s.host.link(t, "dsx7").Attrs().Index)
	must(t, err)
	out := make([]string, len(have))
	for i, e := range have {
		out[i] = net.HardwareAddr(e.MAC[:]).String() + " " + e.VTEP.String()
	}
	slices.Sort(out)
	return out
}

func vteps(s []*site) []netip.Addr {
	out := make([]netip.Addr, len(s))
	for i := range s {
		out[i] = s[i].vtep
	}
	return out
}

// changeTo are the entries for some hosts.
func changeTo(to ...*site) fabric.FDBChange { return fabric.FDBChange{Add: entries(to...)} }

// atBox is whether a datagram of that size gets from the first host's container
// to another's, over IPv4 and in one piece.
func atBox(t *testing.T, from, to *site, size int) bool {
	t.Helper()
	pc := at(t, to.box, 9)
	word := strings.Repeat("x", size)
	say(t, from.box, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, to.mac[5]}), 9), word, word)
	must(t, pc.SetReadDeadline(time.Now().Add(arrives)))
	n, _, err := pc.ReadFrom(make([]byte, 2*size))
	return err == nil && n == size
}

// fragments is how many a host has made.
func fragments(t *testing.T, s *space) (n int) {
	t.Helper()
	s.in(t, func() error {
		// Of the network namespace of the thread.
		v4, err := os.ReadFile("/proc/thread-self/net/snmp")
		if err != nil {
			return err
		}
		v6, err := os.ReadFile("/proc/thread-self/net/snmp6")
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(v6)) {
			if f := strings.Fields(line); f[0] == "Ip6FragCreates" {
				n, err = strconv.Atoi(f[1])
			}
		}
		names, values := []string(nil), []string(nil)
		for line := range strings.Lines(string(v4)) {
			if f := strings.Fields(line); f[0] == "Ip:" {
				names, values = values, f
			}
		}
		more, aerr := strconv.Atoi(values[slices.Index(names, "FragCreates")])
		n += more
		return errors.Join(err, aerr)
	})
	return n
}
