package datapath

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// tunnelled is a frame of the underlay that carries one of a network.
type tunnelled struct {
	src, dst netip.Addr
	vni      uint32
	inner    []byte
}

// parseTunnelled reads a frame of the underlay; ok is whether it's a tunnel's.
func parseTunnelled(f []byte) (t tunnelled, ok bool) {
	if len(f) < 14 {
		return t, false
	}
	var udp []byte
	switch p := f[14:]; binary.BigEndian.Uint16(f[12:]) {
	case typeIPv4:
		if len(p) < 20 || p[9] != unix.IPPROTO_UDP {
			return t, false
		}
		t.src, t.dst = netip.AddrFrom4([4]byte(p[12:])), netip.AddrFrom4([4]byte(p[16:]))
		udp = p[20:]
	case typeIPv6:
		if len(p) < 40 || p[6] != unix.IPPROTO_UDP {
			return t, false
		}
		t.src, t.dst = netip.AddrFrom16([16]byte(p[8:])), netip.AddrFrom16([16]byte(p[24:]))
		udp = p[40:]
	}
	if len(udp) < 8+8+14 || binary.BigEndian.Uint16(udp[2:]) != tunnelPort {
		return t, false
	}
	t.vni, t.inner = binary.BigEndian.Uint32(udp[12:])>>8, udp[16:]
	return t, true
}

// arriving is a frame of a network that comes to a host through the tunnel,
// with a mark in it.
func (h *host) arriving(vni uint32, mark string) func([]byte) bool {
	return func(f []byte) bool {
		t, ok := parseTunnelled(f)
		return ok && t.dst == h.vtep && t.vni == vni && bytes.Contains(t.inner, []byte(mark))
	}
}

// underlayWires listen on the underlay, at each host.
func (hs *hosts) underlayWires() []*wire {
	out := make([]*wire, len(hs.list))
	for i, h := range hs.list {
		out[i] = h.home.wireOn("wan")
	}
	return out
}

// fragments is how many IP fragments a host has made.
func (h *host) fragments() (n int) {
	h.tb.Helper()
	if err := h.inside(func() error {
		v4, err := os.ReadFile("/proc/thread-self/net/snmp")
		if err != nil {
			return err
		}
		var names, values []string
		for line := range strings.Lines(string(v4)) {
			if f := strings.Fields(line); f[0] == "Ip:" {
				names, values = values, f
			}
		}
		if n, err = strconv.Atoi(values[slices.Index(names, "FragCreates")]); err != nil {
			return err
		}
		v6, err := os.ReadFile("/proc/thread-self/net/snmp6")
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(v6)) {
			if f := strings.Fields(line); f[0] == "Ip6FragCreates" {
				more, err := strconv.Atoi(f[1])
				if err != nil {
					return err
				}
				n += more
			}
		}
		return nil
	}); err != nil {
		h.tb.Fatal(err)
	}
	return n
}

// stranger is a machine on the underlay that is none of the hosts.
type stranger struct {
	*box
	addr netip.Addr
}

func (hs *hosts) stranger(last int) *stranger {
	hs.tb.Helper()
	s := &stranger{newBox(hs.tb), hs.address(last)}
	hs.connect(s.box, s.addr)
	return s
}

// inject sends a frame into a network as a host's tunnel would.
func (b *box) inject(to netip.Addr, vni uint32, frame []byte) {
	b.tb.Helper()
	b.must(func() error {
		c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, tunnelPort)))
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		header := binary.BigEndian.AppendUint32([]byte{8, 0, 0, 0}, vni<<8)
		// What comes first may find no neighbour yet, and wait for it.
		if _, err := c.Write(slices.Concat(header, frame)); err != nil {
			return fmt.Errorf("to %s: %w", to, err)
		}
		return nil
	})
}
