package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/kvtest"
	"github.com/dockstack/dockstack/internal/peers"
	"github.com/dockstack/dockstack/ipam"
)

// The one network that all hosts have: what each host must know of the others
// can't be more.
const (
	Subnet    = "10.64.0.0/12"
	NetworkID = "6f1c0b5e9a3d47d28c0e5b7f1a2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e"
	Pool      = Subnet
	// ClusterID is the id of the simulated cluster.
	ClusterID = "5ca1ab1e5ca1ab1e"

	clusterKey   = "cluster"
	clusterValue = `{"id":"` + ClusterID + `","format":1}`
	// VXLANPort is that of dockstack by default.
	VXLANPort  = 14789
	networkMTU = 1450
)

// Size is how large a cluster is.
type Size struct{ Hosts, Endpoints int }

// Name is what endpoint i is called.
func Name(i int) string { return fmt.Sprintf("stack%03d-service-%d", i/100, i) }

// HostID is the id of host i, as long as real ones.
func HostID(i int) string { return fmt.Sprintf("%016x", 0xa000000+i) }

// Host is host i as its mark has it.
func Host(i int) peers.Host {
	return peers.Host{
		ID: HostID(i), Name: fmt.Sprintf("host-%04d.example.net", i), VTEP: netip.AddrFrom4([4]byte{100, 64, byte(i / 250), byte(i%250 + 1)}),
		Port: VXLANPort, Boot: fmt.Sprintf("%032x", i), Run: HostID(i), Since: time.Now().UTC().Truncate(time.Second),
		Clock: time.Now().UTC().Truncate(time.Millisecond), Version: "simulated",
	}
}

// Content is what a cluster of that size has in its store, marks included, in
// an order in which it can be written. A registry makes it with one host; then
// each record is given to the host that it is to be of.
func Content(ctx context.Context, size Size) ([]kv.Op, error) {
	made, err := oneHost(ctx, size.Endpoints)
	if err != nil {
		return nil, err
	}
	ops := []kv.Op{{Key: clusterKey, Value: []byte(clusterValue)}}
	var leases, rest []kv.Op
	use := "use/" + Pool + "/" + HostID(0)
	for _, op := range made {
		switch {
		case op.Key == use:
			for i := range size.Hosts {
				rest = append(rest, kv.Op{Key: "use/" + Pool + "/" + HostID(i), Value: op.Value})
			}
		case strings.HasPrefix(op.Key, "lease/"):
			own, ok := bytes.CutSuffix(op.Value, []byte(HostID(0)))
			if !ok {
				return nil, fmt.Errorf("the value of %s does not end with its host's id", op.Key)
			}
			leases = append(leases, kv.Op{Key: op.Key, Value: append(bytes.Clone(own), HostID(len(leases)%size.Hosts)...)})
		default:
			rest = append(rest, op)
		}
	}
	for i := range size.Hosts {
		mark, err := json.Marshal(Host(i))
		if err != nil {
			return nil, err
		}
		ops = append(ops, kv.Op{Key: peers.Prefix + HostID(i), Value: mark})
	}
	return append(append(ops, rest...), leases...), nil
}

// oneHost is what a store has in which one host runs all endpoints.
func oneHost(ctx context.Context, endpoints int) ([]kv.Op, error) {
	mem := kvtest.NewMemory()
	shared := mem.Join()
	self := Host(0)
	mark, err := json.Marshal(self)
	if err != nil {
		return nil, err
	}
	key := peers.Prefix + self.ID
	if err := mem.Commit(ctx, []kv.Op{{Key: key, Value: mark}}); err != nil {
		return nil, err
	}
	reg, err := ipam.Open(ctx, kvtest.NewMemory(), ipam.Config{Host: self.ID, Shared: shared, Hosts: alone{key: key, mark: mark}})
	if err != nil {
		return nil, err
	}
	// Once it has read that there is nothing, nobody else writes.
	follow, read := context.WithCancel(ctx)
	var failed error
	err = shared.Follow(follow, "", func(c kv.Change) {
		failed = reg.Learn(ctx, c)
		read()
	})
	if failed != nil || !errors.Is(err, context.Canceled) {
		return nil, errors.Join(failed, err)
	}
	if err := CreateNetwork(ctx, reg); err != nil {
		return nil, err
	}
	for i := range endpoints {
		if _, err := reg.RequestAddress(ctx, ipam.AddressRequest{Pool: Pool, Name: Name(i)}); err != nil {
			return nil, err
		}
	}
	if err := reg.Flush(ctx); err != nil {
		return nil, err
	}
	var ops []kv.Op
	err = mem.Load(ctx, "", func(k string, value []byte) error {
		if !strings.HasPrefix(k, peers.Prefix) {
			ops = append(ops, kv.Op{Key: strings.Clone(k), Value: bytes.Clone(value)})
		}
		return nil
	})
	return ops, err
}

// CreateNetwork does what `docker network create` leads to.
func CreateNetwork(ctx context.Context, reg *ipam.Registry) error {
	if _, err := reg.RequestPool(ctx, ipam.PoolRequest{Subnet: netip.MustParsePrefix(Subnet)}); err != nil {
		return err
	}
	if _, err := reg.RequestGateway(ctx, Pool, netip.Addr{}); err != nil {
		return err
	}
	_, err := reg.Bind(ctx, ipam.Binding{Network: NetworkID, Pools: []string{Pool}, DefaultMTU: networkMTU})
	return errors.Join(err, reg.SetNetworkName(ctx, NetworkID, "internal"))
}

// Write puts ops into the etcd, without conditions.
func Write(ctx context.Context, c *clientv3.Client, ops []kv.Op) error {
	const piece = 120 // etcd takes 128
	for len(ops) > 0 {
		n := min(piece, len(ops))
		puts := make([]clientv3.Op, n)
		for i, op := range ops[:n] {
			puts[i] = clientv3.OpPut(Prefix+"/"+op.Key, string(op.Value))
		}
		if _, err := c.Txn(ctx).Then(puts...).Commit(); err != nil {
			return fmt.Errorf("fill the store: %w", err)
		}
		ops = ops[n:]
	}
	return nil
}

// alone are the hosts of a store with one.
type alone struct {
	key  string
	mark []byte
}

// Alive implements ipam.Hosts.
func (alone) Alive(string) bool { return true }

// Name implements ipam.Hosts.
func (alone) Name(id string) string { return id }

// Mark implements ipam.Hosts.
func (a alone) Mark() (key string, value []byte) { return a.key, a.mark }

// Held implements ipam.Hosts.
func (alone) Held(context.Context) error { return nil }

// Learn implements ipam.Hosts.
func (alone) Learn(kv.Change) {}
