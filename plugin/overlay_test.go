package plugin

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/dockstack/dockstack/ipam"
)

func TestOverlaysNumber(t *testing.T) {
	e := newEngine(t)
	e.createNetwork("n1", "172.16.0.0/16", object{"dockstack.vni": "77"})
	e.createNetwork("n2", "172.20.0.0/16", nil)
	e.must("/NetworkDriver.CreateNetwork", object{
		"NetworkID": "n3", "Options": object{"com.docker.network.generic": object{"dockstack.ipam": "any"}},
		"IPv4Data": []object{{"AddressSpace": "LocalDefault", "Pool": "10.9.0.0/16", "Gateway": "10.9.0.1/16"}},
	})
	want := "network n1 vni=77 mtu=1450 gateways=[172.16.0.1/16] vips=[]\n" +
		"network n2 vni=1 mtu=1450 gateways=[172.20.0.1/16] vips=[]\n" +
		"network n3 vni=15728640 mtu=1450 gateways=[10.9.0.1/16] vips=[]"
	if got := e.fabric.String(); got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
	for id, alone := range map[string]bool{"n1": false, "n2": false, "n3": true} {
		if e.fabric.networks[id].Alone != alone {
			t.Errorf("%s alone: %v, want %v", id, !alone, alone)
		}
	}
}

// A host that joins others may have to take another number.
func TestNetworkFollowsItsOverlaysNumber(t *testing.T) {
	e := newEngine(t)
	a := e.createNetwork("n1", "172.16.0.0/16", nil)
	b := e.createNetwork("n2", "172.20.0.0/16", nil)
	st, err := e.driver.state(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// They swap, by way of a third.
	for _, s := range []struct {
		network, pool string
		vni           uint32
	}{{"n1", a, 9}, {"n2", b, 1}, {"n1", a, 2}} {
		if _, err := st.Leases.Bind(t.Context(), ipam.Binding{Network: s.network, Pools: []string{s.pool}, VNI: s.vni, DefaultMTU: 1450}); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.driver.Refresh(t.Context(), st); err != nil {
		t.Fatal(err)
	}
	want := "network n1 vni=2 mtu=1450 gateways=[172.16.0.1/16] vips=[]\n" +
		"network n2 vni=1 mtu=1450 gateways=[172.20.0.1/16] vips=[]"
	if got := e.fabric.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	e.restart()
	if _, err := e.driver.state(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := e.fabric.String(); got != want {
		t.Errorf("after a restart\n%s\nwant\n%s", got, want)
	}
}

func TestTooSmallAnUnderlay(t *testing.T) {
	e := newEngine(t)
	e.driver.cfg.MaxMTU = func() int { return 1350 }
	pool := "172.16.0.0/16"
	e.must("/IpamDriver.RequestPool", object{"AddressSpace": "dockstack", "Pool": pool})
	_, text := e.call("/NetworkDriver.CreateNetwork", object{
		"NetworkID": "n1", "IPv4Data": []object{{"AddressSpace": "dockstack", "Pool": pool, "Gateway": "172.16.0.1/16"}},
	})
	for _, want := range []string{"MTU is 1450", "only 1350 get through", "by 100", "mtu=1350"} {
		if !strings.Contains(text, want) {
			t.Errorf("error %q lacks %q", text, want)
		}
	}
	st, err := e.driver.state(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if p, _ := st.Leases.PoolFor(netip.MustParsePrefix(pool), ""); p.Network != "" {
		t.Errorf("half made: %+v", p)
	}
}
