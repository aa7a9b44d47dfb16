package dnsd

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// ownEvery is how often an address that is not known makes us look at the
// host's addresses again: often enough for an interface that just came up,
// seldom enough that strangers can't keep us busy with it.
const ownEvery = time.Second

// access tells who is served: this host, by loopback or by one of its own
// addresses, the overlays' subnets, and whom the operator names. Everybody else is refused, so that no
// open resolver stands on the host's outer addresses, whatever is routed here.
type access struct {
	served atomic.Pointer[[]netip.Prefix]
	own    atomic.Pointer[map[netip.Addr]struct{}]

	// clients are served beside them, secondaries asked about our zones only.
	clients     []netip.Prefix
	secondaries []netip.AddrPort

	// list returns the host's addresses; a field for tests.
	list func() ([]netip.Addr, error)

	mu   sync.Mutex
	next time.Time // guarded by mu
}

func newAccess(cfg *Config) *access {
	a := &access{list: hostAddrs, clients: cfg.Clients, secondaries: cfg.Secondaries}
	a.served.Store(&[]netip.Prefix{})
	a.own.Store(&map[netip.Addr]struct{}{})
	return a
}

// allowed tells whether addr is served as far as is known.
func (a *access) allowed(addr netip.Addr) bool {
	if addr.IsLoopback() {
		return true
	}
	for _, p := range *a.served.Load() {
		if p.Contains(addr) {
			return true
		}
	}
	if _, ok := (*a.own.Load())[addr.WithZone("")]; ok {
		return true
	}
	for _, p := range a.clients {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// secondary tells whether addr is that of a server which may have our zones.
func (a *access) secondary(addr netip.Addr) bool {
	for _, s := range a.secondaries {
		if s.Addr() == addr {
			return true
		}
	}
	return false
}

// allowedNow is allowed after another look at the host's addresses.
func (a *access) allowedNow(addr netip.Addr) bool {
	return a.allowed(addr) || a.refresh(time.Now()) && a.allowed(addr)
}

// refresh reads the host's addresses unless that was done just before.
func (a *access) refresh(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Before(a.next) {
		return false
	}
	a.next = now.Add(ownEvery)
	addrs, err := a.list()
	if err != nil {
		// The last known ones stay good.
		return false
	}
	own := make(map[netip.Addr]struct{}, len(addrs))
	for _, addr := range addrs {
		own[addr] = struct{}{}
	}
	a.own.Store(&own)
	return true
}

func hostAddrs() ([]netip.Addr, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list the host's addresses: %w", err)
	}
	addrs := make([]netip.Addr, 0, len(list))
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			addrs = append(addrs, p.Addr().Unmap().WithZone(""))
		}
	}
	return addrs, nil
}
