package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeWays is a host with routes and addresses.
type fakeWays struct {
	mu      sync.Mutex
	sources map[string]string // by destination
	vteps   map[string]string // by setting
	mtu     int
	changed chan struct{}
}

func (f *fakeWays) set(change func()) {
	f.mu.Lock()
	change()
	f.mu.Unlock()
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

func lookUp(m map[string]string, key string) (netip.Addr, error) {
	if text, ok := m[key]; ok {
		return netip.MustParseAddr(text), nil
	}
	return netip.Addr{}, fmt.Errorf("nothing for %s", key)
}

func (f *fakeWays) SourceTo(_ context.Context, dst netip.Addr) (netip.Addr, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return lookUp(f.sources, dst.String())
}

func (f *fakeWays) VTEP(_ context.Context, setting string) (netip.Addr, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return lookUp(f.vteps, setting)
}

func (f *fakeWays) VTEPMTU(context.Context, netip.Addr) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mtu == 0 {
		return 0, errors.New("no such address")
	}
	return f.mtu, nil
}

func (f *fakeWays) WatchAddrs(context.Context) (<-chan struct{}, error) { return f.changed, nil }

func runUnderlay(t *testing.T, setting string, w *fakeWays, endpoints ...string) *underlay {
	t.Helper()
	w.changed = make(chan struct{}, 1)
	c := config{vtep: setting}
	c.store.address.Endpoints = endpoints
	u := newUnderlay(c, w, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); u.run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	<-u.looked
	return u
}

func TestTunnelAddress(t *testing.T) {
	tests := []struct {
		what, setting string
		ways          *fakeWays
		endpoints     []string
		want          string
		room          int
		err           []string
	}{
		{"the way to etcd", "", &fakeWays{sources: map[string]string{"10.0.0.1": "10.0.0.9"}, mtu: 1500}, []string{"10.0.0.1:2379"}, "10.0.0.9", 1450, nil},
		{"the way to the second etcd", "", &fakeWays{sources: map[string]string{"10.0.0.2": "10.0.0.9"}, mtu: 9000}, []string{"10.0.0.1:2379", "10.0.0.2:2379"}, "10.0.0.9", 8950, nil},
		{"IPv6", "", &fakeWays{sources: map[string]string{"fd00::1": "fd00::9"}, mtu: 1500}, []string{"[fd00::1]:2379"}, "fd00::9", 1430, nil},
		{"the setting", "eth1", &fakeWays{vteps: map[string]string{"eth1": "10.1.0.9"}, mtu: 1500}, []string{"10.0.0.1:2379"}, "10.1.0.9", 1450, nil},
		{"a setting that nothing has", "eth1", &fakeWays{mtu: 1500}, []string{"10.0.0.1:2379"}, "", 0, []string{"eth1"}},
		{"no way", "", &fakeWays{mtu: 1500}, []string{"10.0.0.1:2379"}, "", 0, []string{"10.0.0.1", "DOCKSTACK_VTEP"}},
		{"no MTU", "", &fakeWays{sources: map[string]string{"10.0.0.1": "10.0.0.9"}}, []string{"10.0.0.1:2379"}, "", 0, []string{"no such address"}},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			u := runUnderlay(t, tt.setting, tt.ways, tt.endpoints...)
			addr, _, err := u.now()
			if tt.want == "" {
				if err == nil || u.room() != 0 {
					t.Fatalf("it is %s with room for %d, %v", addr, u.room(), err)
				}
				for _, word := range tt.err {
					if !strings.Contains(err.Error(), word) {
						t.Errorf("%q lacks %q", err, word)
					}
				}
				return
			}
			if err != nil || addr.String() != tt.want || u.room() != tt.room {
				t.Errorf("it is %s with room for %d, %v; want %s with %d", addr, u.room(), err, tt.want, tt.room)
			}
		})
	}
}

// A host whose address changes is followed; while there is none, the last is
// kept.
func TestTunnelAddressMoves(t *testing.T) {
	w := &fakeWays{sources: map[string]string{"10.0.0.1": "10.0.0.9"}, mtu: 1500}
	u := runUnderlay(t, "", w, "10.0.0.1:2379")
	wait := func() {
		t.Helper()
		select {
		case <-u.news:
		case <-time.After(time.Minute):
			t.Fatal("nobody was told")
		}
	}
	wait()
	w.set(func() { w.sources["10.0.0.1"] = "10.0.0.10" })
	wait()
	if addr, _, err := u.now(); addr.String() != "10.0.0.10" || err != nil {
		t.Errorf("now it is %s, %v", addr, err)
	}
	w.set(func() { clear(w.sources) })
	for limit := time.Now().Add(time.Minute); ; {
		addr, _, err := u.now()
		if addr.String() != "10.0.0.10" {
			t.Fatalf("without a way it is %s", addr)
		}
		if err != nil {
			break
		}
		if time.Now().After(limit) {
			t.Fatal("that there is no way is not told")
		}
		time.Sleep(5 * time.Millisecond)
	}
}
