package dnsd

import (
	"bytes"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	// dnsPort is where a resolver of resolv.conf listens.
	dnsPort = 53
	// confEvery is how often a resolv.conf is looked at for a change.
	confEvery = time.Second
	// maxConf is how much of it is read; the C library's limit of three
	// resolvers fits a thousandth of it.
	maxConf = 64 << 10
)

// ResolvConf returns a function for Config.Forwarders that lists the resolvers
// in the file at path and reads it again when it changed. While the file is
// away or unreadable, the last list stays.
func ResolvConf(path string) func() []netip.AddrPort {
	var (
		mu      sync.Mutex
		next    time.Time
		last    os.FileInfo
		servers []netip.AddrPort
	)
	return func() []netip.AddrPort {
		mu.Lock()
		defer mu.Unlock()
		now := time.Now()
		if now.Before(next) {
			return servers
		}
		next = now.Add(confEvery)
		info, err := os.Stat(path)
		if err != nil || last != nil && os.SameFile(info, last) &&
			info.ModTime().Equal(last.ModTime()) && info.Size() == last.Size() {
			return servers
		}
		if text, err := os.ReadFile(path); err == nil { //nolint:gosec // the path is the operator's setting
			servers, last = parseResolvConf(text), info
		}
		return servers
	}
}

// parseResolvConf returns the resolvers that text names, in order.
func parseResolvConf(text []byte) []netip.AddrPort {
	var servers []netip.AddrPort
	for line := range bytes.Lines(text[:min(len(text), maxConf)]) {
		fields := strings.Fields(string(line))
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		addr, err := netip.ParseAddr(fields[1])
		if err != nil {
			continue
		}
		if addr = addr.Unmap(); addr.IsUnspecified() {
			// The C library takes 0.0.0.0 for this host.
			addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
		servers = append(servers, netip.AddrPortFrom(addr, dnsPort))
	}
	return servers
}
