package pagetest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/events"
)

// eventsKept is how many events a world keeps.
const eventsKept = 2000

// newWorld is a daemon on so many hosts, with nothing on them.
func newWorld(hosts int) *World {
	now := time.Now()
	w := &World{ring: events.New(eventsKept)}
	w.status = admin.Status{
		Version: "1.4.0", Started: now.Add(-75 * time.Hour), Engine: "29.6.0", Alone: hosts == 1,
		Store: admin.StoreStatus{Where: "/var/lib/dockstack/dockstack.db, this host alone"},
		Switch: admin.SwitchStatus{
			Up: true, Own: true, Version: "3.1.0", Datapath: "kernel", Since: now.Add(-75 * time.Hour),
		},
		DNS: admin.DNSStatus{
			Zone: "endor.lab", Forwarders: []string{"192.0.2.53:53", "[2001:db8::53]:53", "/corp.example/10.1.1.1:53"},
			Listeners: []admin.DNSListener{{Addr: netip.MustParseAddrPort("127.0.0.153:53")}},
		},
	}
	if hosts > 1 {
		w.status.Store = admin.StoreStatus{
			Where: "etcd://10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379", Cluster: "7f9c2ba4e88f827d", Since: now.Add(-75 * time.Hour), Synced: true, Held: true,
		}
		w.status.Switch.Tunnel = admin.TunnelStatus{Kind: "flow", Peers: hosts - 1}
	}
	for i := range hosts {
		name := fmt.Sprintf("host%d", i+1)
		if hosts > 20 {
			name = fmt.Sprintf("compute-%03d", i+1)
		}
		h := admin.Host{ID: fmt.Sprintf("%016x", 0x9e3779b97f4a7c15*uint64(i+1)), Name: name, Since: now.Add(-time.Duration(75-i%70) * time.Hour), Version: "1.4.0", Self: i == 0}
		if hosts > 1 {
			h.VTEP, h.Port = netip.AddrFrom4([4]byte{192, 168, byte(1 + i/200), byte(48 + i%200)}), 14789
		}
		w.status.Hosts = append(w.status.Hosts, h)
	}
	return w
}

// Empty is a daemon that has just been installed.
func Empty() *World {
	w := newWorld(1)
	w.status.Started = time.Now().Add(-20 * time.Second)
	w.status.Engine = ""
	w.status.DNS.Forwarders = w.status.DNS.Forwarders[:1]
	return w
}

// Alone is one host with a small network of each family.
func Alone() *World {
	w := newWorld(1)
	w.status.Pools = []admin.Pool{pool("shop_default", "10.212.0.0/24", 4096), pool("shop_default", "fd0d:c5c::/64", 4096)}
	w.fill("shop_default", []string{"web", "web-2", "api", "db", "cache", "worker", "mailhog", "adminer"}, 1)
	w.hour(4)
	w.story()
	w.count()
	return w
}

// services of an OpenStack, as compose files of Contrail and kolla name them.
var services = []string{
	"galera", "rabbitmq", "memcached", "keystone", "glance-api", "glance-registry", "nova-api", "nova-conductor", "nova-scheduler", "nova-novncproxy",
	"neutron-server", "neutron-dhcp", "cinder-api", "cinder-scheduler", "horizon", "heat-api", "heat-engine", "haproxy", "keepalived", "zookeeper", "kafka",
	"cassandra-config", "cassandra-analytics", "contrail-config-api", "contrail-schema", "contrail-svc-monitor", "contrail-control", "contrail-dns",
	"contrail-collector", "contrail-alarm-gen", "contrail-query-engine", "contrail-webui", "redis", "swift-proxy", "ceilometer", "puppet", "dns",
}

// OpenStack is a platform on so many hosts.
func OpenStack(hosts int) *World {
	w := newWorld(hosts)
	internal := pool("internal", "172.16.0.0/16", 4096)
	internal.Gateway = netip.MustParseAddr("172.16.0.1")
	internal.Excluded = []netip.Addr{netip.MustParseAddr("172.16.0.254"), netip.MustParseAddr("172.16.0.253")}
	public := pool("public", "198.51.100.0/24", 4097)
	public.Range = netip.MustParsePrefix("198.51.100.128/25")
	public.Excluded = []netip.Addr{netip.MustParseAddr("198.51.100.254")}
	old := pool("staging", "10.212.4.0/24", 4098)
	old.InUse = false
	w.status.Pools = []admin.Pool{internal, pool("internal", "fd00:16::/64", 4096), public, pool("storage", "10.30.0.0/20", 4099), old}
	var names []string
	for n := 1; n <= max(3, hosts/4); n++ {
		for _, s := range services {
			names = append(names, fmt.Sprintf("%s%d", s, n))
		}
	}
	w.fill("internal", names, 7)
	w.fill("public", []string{"haproxy1", "haproxy2", "horizon1", "horizon2", "contrail-webui1"}, 3)
	var stored []string
	for i := range max(40, hosts*6) {
		stored = append(stored, fmt.Sprintf("ceph-osd%d", i+1))
	}
	w.fill("storage", stored, 5)
	w.fill("staging", names[:30], 1)
	for i := range w.leases {
		l := &w.leases[i]
		if l.Network == "staging" {
			l.State = admin.StateParked
		}
		if l.Pool == "172.16.0.0/16" && i%9 == 2 {
			l.Reserved = true
		}
		if l.Network == "public" {
			l.Fixed = true
		}
	}
	w.status.Switch.Networks, w.status.Switch.Endpoints, w.status.Switch.Ports, w.status.Switch.Flows = 3, 74, 76, 412
	w.status.Switch.Tunnel.Networks, w.status.Switch.Tunnel.Remotes, w.status.Switch.Tunnel.Flows = 3, 148, 302
	for _, gw := range []string{"172.16.0.1:53", "[fd00:16::1]:53", "198.51.100.1:53", "10.30.0.1:53"} {
		w.status.DNS.Listeners = append(w.status.DNS.Listeners, admin.DNSListener{Addr: netip.MustParseAddrPort(gw)})
	}
	w.hour(220)
	w.story()
	w.count()
	return w
}

// Broken is OpenStack(3) on a bad day.
func Broken() *World {
	w := OpenStack(3)
	now := time.Now()
	gone := w.status.Hosts[2]
	w.status.Hosts = w.status.Hosts[:2]
	w.hosts = []admin.Host{gone}
	w.status.Store.Away, w.status.Store.Since = ErrAway.Error(), now.Add(-4*time.Minute)
	w.status.Store.Held = false
	w.status.Switch.Tunnel.Faults = []string{"host2 has no way here: 192.168.1.49 is not reached (no route to host)"}
	w.status.DNS.Listeners[1].Error = "bind: address already in use"
	w.status.Problems = []string{
		"hosts host1 (9e3779b9) and host2 (3c6ef372) have clocks that differ by 47s, so times in messages mislead: have both follow NTP",
		"network internal has MTU 1500, but between hosts 1450 bytes fit: larger packets get lost; raise the MTU of the hosts' network, or remove the network on all hosts and create it with `-o com.docker.network.driver.mtu=1450`",
	}
	w.Tell(
		admin.Event{At: now.Add(-5 * time.Minute), Kind: admin.EventHost, Host: "host3", Text: "host3 is not seen any more"},
		admin.Event{At: now.Add(-4 * time.Minute), Kind: admin.EventStore, Text: "the shared store is away: " + ErrAway.Error()},
		admin.Event{At: now.Add(-3 * time.Minute), Kind: admin.EventProblem, Text: w.status.Problems[0]},
	)
	w.count()
	return w
}

// Large is OpenStack(200) where some hosts have trouble.
func Large() *World {
	w := OpenStack(200)
	w.hosts = []admin.Host{w.status.Hosts[57], w.status.Hosts[121]}
	w.status.Hosts = append(w.status.Hosts[:57:57], w.status.Hosts[58:]...)
	w.status.Hosts = append(w.status.Hosts[:120:120], w.status.Hosts[121:]...)
	w.status.Hosts[33].Port = 4789
	w.status.Problems = []string{"this host's VXLAN port is 14789 and that of compute-034 is 4789, so no tunnel joins them: set DOCKSTACK_VXLAN_PORT alike on all hosts"}
	w.count()
	return w
}

// Many is a world with so many names in one network.
func Many(names int) *World {
	w := newWorld(3)
	w.status.Pools = []admin.Pool{pool("internal", "10.0.0.0/8", 4096)}
	all := make([]string, names)
	for i := range all {
		all[i] = fmt.Sprintf("worker-%06d", i+1)
	}
	w.fill("internal", all, 11)
	w.count()
	return w
}

// fill gives names addresses in each pool of a network, one after another with a
// gap now and then; of so many one is parked.
func (w *World) fill(network string, names []string, parked int) {
	r := rand.New(rand.NewPCG(uint64(len(names)), 7)) //nolint:gosec // alike each time
	now := time.Now()
	for i := range w.status.Pools {
		p := &w.status.Pools[i]
		if p.Network != network {
			continue
		}
		a := p.Range.Addr().Next().Next()
		for n, name := range names {
			for a == p.Gateway || slices.Contains(p.Excluded, a) || r.IntN(14) == 0 {
				a = a.Next()
			}
			l := w.lease(p, name, a, w.status.Hosts[n%len(w.status.Hosts)], now.Add(-time.Duration(r.IntN(70*3600))*time.Second))
			if parked > 1 && n%parked == parked-1 {
				l.State = admin.StateParked
			}
			a = a.Next()
		}
	}
}

// hour is what DNS did in the last one, at so many queries a second.
func (w *World) hour(perSecond float64) {
	r := rand.New(rand.NewPCG(3, 9)) //nolint:gosec // alike each time
	now := time.Now()
	for i := range 360 {
		q := perSecond * (1 + 0.35*math.Sin(float64(i)/40) + 0.25*r.Float64())
		if i > 150 && i < 165 {
			q *= 2.6
		}
		s := admin.DNSSample{At: now.Add(time.Duration(i-359) * 10 * time.Second), Seconds: 10, Queries: uint64(10 * q), Answered: uint64(8 * q), Forwarded: uint64(1.9 * q)}
		if i > 150 && i < 170 {
			s.Failed = uint64(2 * q)
		}
		w.Sample(s)
	}
}

// story is what happened before somebody looked.
func (w *World) story() {
	now := time.Now()
	for i, l := range w.leases {
		if i%3 != 0 || i > 240 {
			continue
		}
		e := admin.Event{At: now.Add(-time.Duration(260-i) * 47 * time.Second), Kind: admin.EventLive, Name: l.Name, Address: l.Address, Network: l.Network, Host: l.Host}
		where := ""
		if !w.status.Alone {
			where = " on " + l.Host
		}
		e.Text = fmt.Sprintf("%s runs%s with %s in %s", l.Name, where, l.Address, l.Network)
		if l.State == admin.StateParked {
			e.Kind, e.Text = admin.EventParked, fmt.Sprintf("%s stopped%s; %s is kept for it in %s", l.Name, where, l.Address, l.Network)
		}
		w.Tell(e)
	}
	w.Tell(admin.Event{At: now.Add(-90 * time.Second), Kind: admin.EventReserved, Name: "keystone4", Text: "172.16.0.200 is reserved for keystone4 in internal, by an operator"})
}
