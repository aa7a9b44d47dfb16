package ipam_test

import (
	"net/netip"
	"testing"

	"github.com/dockstack/dockstack/internal/kv/kvtest"
	"github.com/dockstack/dockstack/ipam"
)

func TestSmoke(t *testing.T) {
	store := kvtest.NewMemory()
	ctx := t.Context()
	r, err := ipam.Open(ctx, store, ipam.Config{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.RequestPool(ctx, ipam.PoolRequest{Subnet: netip.MustParsePrefix("172.16.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r.RequestGateway(ctx, p.ID, netip.Addr{}))
	t.Log(r.Bind(ctx, "net1", []string{p.ID}, nil))
	t.Log(r.RequestAddress(ctx, ipam.AddressRequest{Pool: p.ID, Name: "web"}))
	t.Log(r.RequestAddress(ctx, ipam.AddressRequest{Pool: p.ID, Name: "db"}))
	t.Log(r.Attach(ctx, ipam.Endpoint{ID: "e1", Network: "net1", Addrs: []netip.Addr{netip.MustParseAddr("172.16.0.2")}}))
	t.Log(r.Names().ByName("WEB"))
	r2, err := ipam.Open(ctx, store, ipam.Config{})
	t.Log(err, r2.Pools())
	t.Log(r2.Leases(ctx, ipam.LeaseFilter{}))
}
