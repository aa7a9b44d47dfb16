package admin

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write what the tests compare with")

func TestStatusText(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	up := SwitchStatus{Up: true, Own: true, Version: "3.5.0", Datapath: "userspace", Since: at.Add(-time.Hour), Networks: 2, Endpoints: 13, Ports: 15, Flows: 212}
	far := up
	far.Tunnel = TunnelStatus{Kind: "kernel", Peers: 2, Networks: 1, Remotes: 40, Flows: 81}
	host := func(n int, name string) Host {
		id := strings.Repeat(fmt.Sprint(n), 16)
		return Host{ID: id, Name: name, VTEP: netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}), Port: 14789, Since: at.Add(-time.Duration(n) * time.Minute), Version: "1.0"}
	}
	self, other := host(1, "h1"), host(2, "database-2.example")
	self.Self = true
	bare := host(3, "h3")
	bare.VTEP = netip.Addr{}
	bareSelf := bare
	bareSelf.Self = true
	const where = "etcd://10.0.0.1:2379/dockstack"
	etcd := StoreStatus{Where: where, Cluster: "c0ffee", Since: at.Add(-time.Minute), Synced: true, Held: true}
	dns := DNSStatus{
		Zone: "endor.lab", Forwarders: []string{"192.0.2.53:53"},
		Listeners: []DNSListener{
			{Addr: netip.MustParseAddrPort("127.0.0.153:53")},
			{Addr: netip.MustParseAddrPort("172.16.0.1:53")},
			{Addr: netip.MustParseAddrPort("10.9.0.1:53"), Error: "address is in use"},
		},
		Queries: 1200, Answered: 1000, Forwarded: 150, Cached: 40, Failed: 1, Refused: 9,
	}
	var pools []Pool
	for i := range 22 {
		pools = append(pools, Pool{Network: fmt.Sprintf("net%d", i), Subnet: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 16), Live: i, Parked: 1, Free: 65000})
	}
	pools[1].Free, pools[1].Network = MaxFree, ""
	tests := []struct {
		name string
		Status
	}{
		{"alone", Status{At: at, Alone: true, Store: StoreStatus{Where: "/var/lib/dockstack/dockstack.db, this host alone"}, Hosts: []Host{self}, Switch: up}},
		{"full", Status{
			At: at, Started: at.Add(-time.Hour), Alone: true, Store: StoreStatus{Where: "/var/lib/dockstack/dockstack.db, this host alone"},
			Switch: up, DNS: dns, Engine: "29.6.0", Pools: pools, Problems: []string{"network \x1b[31mred\u202e is odd"},
		}},
		{"member", Status{
			At: at, Store: etcd, Hosts: []Host{other, self, bare}, Switch: far,
			Problems: []string{"clocks differ: that of host h3 is 1m35s behind this host's", "two\nlines"},
		}},
		{"away", Status{
			At: at, Store: StoreStatus{Where: where, Cluster: "c0ffee", Since: at.Add(-time.Minute), Away: "the store is away: etcd 10.0.0.1:2379 is silent"},
			Hosts: []Host{bareSelf}, Switch: SwitchStatus{Error: "ovs-vswitchd ended"},
		}},
		{"refused", Status{At: at, Store: StoreStatus{Where: where, Closed: where + " holds another program's keys"}, Hosts: []Host{self}, Switch: up}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.Version = "dev"
			path := filepath.Join("testdata", "status-"+tt.name+".txt")
			got := tt.Text()
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("the status is\n%s\nwant\n%s", got, want)
			}
		})
	}
}
