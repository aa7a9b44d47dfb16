package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/dockstack/dockstack/internal/fabric"
)

// fakeFabric stands where Open vSwitch would: it keeps what it is told, prints
// it as text, and refuses what a switch could not do.
type fakeFabric struct {
	mu        sync.Mutex
	down      error
	putting   func() // runs before a network is put
	networks  map[string]fabric.Network
	endpoints map[string]fabric.Endpoint
}

func newFakeFabric() *fakeFabric {
	return &fakeFabric{networks: map[string]fabric.Network{}, endpoints: map[string]fabric.Endpoint{}}
}

func (f *fakeFabric) Ready(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.down
}

func (f *fakeFabric) PutNetwork(_ context.Context, n fabric.Network) error {
	if f.putting != nil {
		f.putting()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, other := range f.networks {
		if id != n.ID && other.VNI == n.VNI {
			return fmt.Errorf("VNI %d is network %s's", n.VNI, id)
		}
	}
	f.networks[n.ID] = n
	return nil
}

func (f *fakeFabric) RemoveNetwork(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.endpoints {
		if e.Network == id {
			return fmt.Errorf("network %s has endpoint %s", id, e.ID)
		}
	}
	delete(f.networks, id)
	return nil
}

func (f *fakeFabric) Attach(_ context.Context, e fabric.Endpoint) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.networks[e.Network]; !ok {
		return "", errors.New("unknown network")
	}
	for _, other := range f.endpoints {
		if other.Network == e.Network && other.ID != e.ID && other.MAC.String() == e.MAC.String() {
			return "", fmt.Errorf("MAC %s is endpoint %s's", e.MAC, other.ID)
		}
	}
	f.endpoints[e.ID] = e
	return "ds-" + e.ID, nil
}

func (f *fakeFabric) Settle(_ context.Context, id string) error {
	if f.SrcName(id) == "" {
		return errors.New("unknown endpoint")
	}
	return nil
}

func (f *fakeFabric) Detach(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.endpoints, id)
	return nil
}

func (f *fakeFabric) Endpoints() []fabric.Endpoint {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []fabric.Endpoint
	for _, e := range f.endpoints {
		out = append(out, e)
	}
	return out
}

func (f *fakeFabric) SrcName(id string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.endpoints[id]; !ok {
		return ""
	}
	return "ds-" + id
}

// String is the whole state, a line a network and an endpoint.
func (f *fakeFabric) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var lines []string
	for _, n := range f.networks {
		lines = append(lines, fmt.Sprintf("network %s vni=%d mtu=%d gateways=%v vips=%v", n.ID, n.VNI, n.MTU, n.Gateways, n.VIPs))
	}
	for _, e := range f.endpoints {
		lines = append(lines, fmt.Sprintf("endpoint %s on %s %v %s", e.ID, e.Network, e.Addrs, e.MAC))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

var _ Fabric = (*fakeFabric)(nil)
