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

// systemd-resolved's own listener, and the file in which it lists the
// resolvers that it asks itself.
var (
	resolvedStub = netip.MustParseAddrPort("127.0.0.53:53")
	resolvedConf = "/run/systemd/resolve/resolv.conf"
)

// ResolvConf returns a function for Config.Forwarders that lists the resolvers
// in the file at path and reads it again when it changed. While the file is
// away or unreadable, the last list stays. Where systemd-resolved alone stands
// in it, the resolvers behind it are taken, as Docker does: it may have been
// told to ask us, and the two would go on asking each other.
func ResolvConf(path string) func() []netip.AddrPort {
	return resolvConfs(path, resolvedConf)
}

func resolvConfs(path, behind string) func() []netip.AddrPort {
	var (
		mu      sync.Mutex
		next    time.Time
		own     = confFile{path: path}
		stub    = confFile{path: behind}
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
		servers = own.read()
		if len(servers) == 1 && servers[0] == resolvedStub {
			if list := stub.read(); len(list) > 0 {
				servers = list
			}
		}
		return servers
	}
}

// confFile is a resolv.conf as it was read last.
type confFile struct {
	path    string
	last    os.FileInfo
	servers []netip.AddrPort
}

// read returns the resolvers in the file, reading it only if it changed.
func (c *confFile) read() []netip.AddrPort {
	info, err := os.Stat(c.path)
	if err != nil || c.last != nil && os.SameFile(info, c.last) &&
		info.ModTime().Equal(c.last.ModTime()) && info.Size() == c.last.Size() {
		return c.servers
	}
	if text, err := os.ReadFile(c.path); err == nil {
		c.servers, c.last = parseResolvConf(text), info
	}
	return c.servers
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
