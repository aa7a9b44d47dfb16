package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/dockstack/dockstack/internal/link"
)

// ways is what finding the tunnels' end needs of the host's network.
type ways interface {
	// SourceTo returns the address from which the host sends to dst.
	SourceTo(ctx context.Context, dst netip.Addr) (netip.Addr, error)
	// VTEP returns the address that the setting means.
	VTEP(ctx context.Context, setting string) (netip.Addr, error)
	// VTEPMTU returns the MTU from that address.
	VTEPMTU(ctx context.Context, vtep netip.Addr) (int, error)
	// WatchAddrs says when the answers of these may be others.
	WatchAddrs(ctx context.Context) (<-chan struct{}, error)
}

const (
	// lookEvery is how often the tunnels' end is looked for though nothing seems
	// to have changed: the names in DOCKSTACK_STORE may mean other addresses.
	lookEvery = 30 * time.Second
	// lookAfter lets the changes that come together settle.
	lookAfter = 100 * time.Millisecond
	// lookup bounds the search for one name's addresses.
	lookup = 3 * time.Second
)

// underlay knows where this host's tunnels end.
type underlay struct {
	setting   string   // DOCKSTACK_VTEP
	endpoints []string // the store's, host and port
	ways      ways
	log       *slog.Logger
	// news gets a value after the address changed.
	news chan struct{}

	// looked is closed after the first look.
	looked chan struct{}

	mu   sync.Mutex
	addr netip.Addr // the last that was found; guarded by mu
	mtu  int        // 0: not known; guarded by mu
	err  error      // why addr may not be right; guarded by mu
}

func newUnderlay(cfg config, w ways, log *slog.Logger) *underlay {
	return &underlay{setting: cfg.vtep, endpoints: cfg.store.address.Endpoints, ways: w, log: log, looked: make(chan struct{}), news: make(chan struct{}, 1)}
}

// now returns what is known.
func (u *underlay) now() (addr netip.Addr, mtu int, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.addr, u.mtu, u.err
}

// run follows the address until ctx ends.
func (u *underlay) run(ctx context.Context) {
	changed, err := u.ways.WatchAddrs(ctx)
	if err != nil {
		u.log.Error("changes of this host's addresses are seen late", "error", err)
	}
	for first := true; ; first = false {
		u.look(ctx)
		if first {
			close(u.looked)
		}
		select {
		case <-ctx.Done():
			return
		case _, open := <-changed:
			if !open {
				changed = nil // ctx ended, or it can't be watched
				continue
			}
			select {
			case <-time.After(lookAfter):
			case <-ctx.Done():
			}
		case <-time.After(lookEvery):
		}
	}
}

func (u *underlay) look(ctx context.Context) {
	addr, err := u.find(ctx)
	mtu := 0
	if err == nil {
		mtu, err = u.ways.VTEPMTU(ctx, addr)
	}
	if ctx.Err() != nil {
		return
	}
	u.mu.Lock()
	news := err != nil && (u.err == nil || u.err.Error() != err.Error())
	u.err = err
	moved := err == nil && u.addr != addr
	if err == nil {
		u.addr, u.mtu = addr, mtu
	}
	u.mu.Unlock()
	if news {
		u.log.Error("this host's tunnel address is not known", "error", err)
	}
	if moved {
		u.log.Info("this host's tunnels end here", "addr", addr, "mtu", mtu)
		nudge(u.news)
	}
}

func (u *underlay) find(ctx context.Context) (netip.Addr, error) {
	if u.setting != "" {
		return u.ways.VTEP(ctx, u.setting)
	}
	var errs []error
	for _, endpoint := range u.endpoints {
		host, _, err := net.SplitHostPort(endpoint)
		if err != nil {
			return netip.Addr{}, err // the settings were checked
		}
		wait, cancel := context.WithTimeout(ctx, lookup)
		addrs, err := net.DefaultResolver.LookupNetIP(wait, "ip", host)
		cancel()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, a := range addrs {
			src, err := u.ways.SourceTo(ctx, a.Unmap())
			if err == nil {
				return src, nil
			}
			errs = append(errs, err)
		}
	}
	return netip.Addr{}, fmt.Errorf("no route to etcd tells it: %w; set DOCKSTACK_VTEP", errors.Join(errs...))
}

const ethernetMTU = 1500

// room is the largest MTU that a network between hosts can have, 0 if unknown.
func (u *underlay) room() int {
	addr, mtu, _ := u.now()
	if mtu == 0 {
		return 0
	}
	return mtu - link.Overhead(addr)
}
