package doctor

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/dockstack/dockstack/dnsd"
	"github.com/dockstack/dockstack/internal/engine"
	"github.com/dockstack/dockstack/internal/fabric"
	"github.com/dockstack/dockstack/internal/heal"
	"github.com/dockstack/dockstack/internal/link"
	"github.com/dockstack/dockstack/internal/ovs"
	"github.com/dockstack/dockstack/ipam"
)

// world is a host in memory that a test spoils: one of three that share a
// store, with one container. It implements all that Host asks.
type world struct {
	root     string
	status   fabric.Status
	nets     []fabric.Network
	eps      []fabric.Endpoint
	dead     map[string]bool // endpoints whose link is in no container
	wanted   fabric.Wanted
	ports    []fabric.Port
	diff     ovs.Difference
	hostRuns bool
	links    []fabric.Link
	mtus     map[string]int
	gate     []string
	routes   map[string][]link.HostRoute

	kernel, inUse bool
	kinds         map[string]bool
	redirect      string
	tun           error

	path       map[netip.Addr]link.Path
	ways       link.Ways
	bound      map[string][]netip.Addr
	vxlans     []link.VXLANDevice
	dropped    *link.Dropped
	unfiltered string

	dns       []dnsd.Listener
	asked     []netip.Addr
	closed    error
	leases    []ipam.Lease
	pools     []PoolUse
	problems  []string
	apart     []heal.Case
	away      error
	peers     []Peer
	uses      map[string][]string
	imports   []string
	view      engine.View
	engineErr error

	looks int
	// healing is called before each look at the engine, for what ends by itself.
	healing func(*world)
	done    []string
}

var (
	vtep   = netip.MustParseAddr("192.0.2.1")
	peerB  = Peer{ID: "bbbb", Name: "host2", VTEP: netip.MustParseAddr("192.0.2.2")}
	webAt  = netip.MustParseAddr("172.16.0.2")
	subnet = netip.MustParsePrefix("172.16.0.0/16")
	gw     = netip.MustParsePrefix("172.16.0.1/16")
	local  = netip.MustParseAddr("127.0.0.1")
)

// newWorld is a host with nothing wrong.
func newWorld(t *testing.T) (*world, Host) {
	t.Helper()
	w := &world{
		root: t.TempDir(),
		nets: []fabric.Network{{ID: "n1", VNI: 7, MTU: 1450, Gateways: []netip.Prefix{gw}}},
		eps:  []fabric.Endpoint{{ID: "e1", Network: "n1", Addrs: []netip.Addr{webAt}}},
		dead: map[string]bool{},
		wanted: fabric.Wanted{
			Known:  true,
			Ports:  map[string]string{"dse00000000001": "endpoint e1", "dsg00000000001": "gateway of network n1", "dsv7": "tunnel"},
			Links:  map[string]bool{"dse00000000001": true, "dsg00000000001": true, "dsv7": true},
			Raised: map[string]int{"dse00000000001": 1450, "dsg00000000001": 1450, "o-ds1": 1450, "dsv7": 1450},
			Flows:  []fabric.Flow{}, Gateways: []fabric.GatewayAt{{Network: "n1", Inner: "o-ds1", Addrs: []netip.Prefix{gw}}},
			Filter: fabric.TunnelFilter{Port: 14789, Peers: []netip.Addr{peerB.VTEP}},
		},
		mtus: map[string]int{"dse00000000001": 1450}, kernel: true, kinds: map[string]bool{"vxlan": true},
		path:   map[netip.Addr]link.Path{peerB.VTEP: {Answers: true, Fits: true, MTU: 1500}},
		ways:   link.Ways{Out: "eth0", Home: "eth0", Strict: true},
		bound:  map[string][]netip.Addr{"udp": {netip.IPv4Unspecified()}},
		vxlans: []link.VXLANDevice{{Name: "dsv7", Alias: "dockstack:1:vxlan 7", VNI: 7, Up: true}},
		asked:  []netip.Addr{local, gw.Addr()},
		leases: []ipam.Lease{
			{Pool: "172.16.0.0/16", Name: "web", Addr: webAt, State: ipam.StateLive, Host: "aaaa", Since: time.Now().Add(-time.Hour)},
			{Pool: "172.16.0.0/16", Name: "old", Addr: webAt.Next(), State: ipam.StateParked, Host: "bbbb", Since: time.Now().Add(-time.Hour)},
		},
		pools: []PoolUse{{ID: "172.16.0.0/16", Network: "internal", NetworkID: "n1", Subnet: subnet, Live: 1, Parked: 1, Free: 65000}},
		peers: []Peer{peerB}, uses: map[string][]string{"aaaa": {"172.16.0.0/16"}, "bbbb": {"172.16.0.0/16"}},
		view: engine.View{
			Version:  "29.0.4",
			Networks: []engine.ViewNetwork{{ID: "n0", Name: "bridge", Driver: "bridge"}, {ID: "n1", Name: "internal", Driver: "dockstack", IPAM: "dockstack"}},
			Endpoints: []engine.ViewEndpoint{
				{ID: "e0", Network: "n0", NetworkName: "bridge", Container: "other", Running: true},
				{ID: "e1", Network: "n1", NetworkName: "internal", Container: "web", Running: true},
			},
			Plugins: []engine.ViewPlugin{{Name: "dockstack-plugin:latest", Enabled: true, Socket: "dockstack.sock", Mounts: []string{"/run"}}},
		},
	}
	w.status.Up, w.status.Origin, w.status.Datapath = true, "own", "kernel"
	for _, p := range []string{"dse00000000001", "dsg00000000001", "dsv7"} {
		w.ports = append(w.ports, fabric.Port{PortSpec: fabric.PortSpec{Name: p, Facts: map[string]string{"owner": "dockstack"}}})
		w.links = append(w.links, fabric.Link{Name: p, Alias: "dockstack:1:x", MTU: 1450})
	}
	w.links = append(w.links, fabric.Link{Name: "o-ds1", MTU: 1450})
	w.file(t, "/etc/resolv.conf", "nameserver 127.0.0.1\nnameserver 9.9.9.9\n")
	w.file(t, "/var/lib/dockstack/dockstack.db", "leases")
	w.file(t, "/run/x", "")
	port := serveDNS(t, "dockstack.")
	w.dns = []dnsd.Listener{{Want: netip.AddrPortFrom(local, 15053)}}
	return w, Host{
		Name: "host1", Root: w.root, State: "/var/lib/dockstack/dockstack.db", Zone: "dockstack", DNS: []netip.Addr{local}, DNSPort: port, DNSBackend: 15053,
		VTEP: vtep, Port: 14789, Settle: time.Millisecond,
		Engine: w, Fabric: w, Switch: w, Links: fakeLinks{w}, Kernel: w, Tunnels: w, Server: w, Store: fakeStore{w}, Cluster: w, Mender: w, Groups: w,
	}
}

func (w *world) file(t *testing.T, path, text string) {
	t.Helper()
	path = filepath.Join(w.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// serveDNS is a DNS server for one zone.
func serveDNS(t *testing.T, zone string) uint16 {
	t.Helper()
	pc, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		r := new(dns.Msg).SetReply(q)
		r.Authoritative = q.Question[0].Name == zone
		if !r.Authoritative {
			r.Rcode = dns.RcodeRefused
		}
		_ = w.WriteMsg(r)
	})}
	go func() { _ = s.ActivateAndServe() }()
	t.Cleanup(func() { _ = s.Shutdown() })
	return netip.MustParseAddrPort(pc.LocalAddr().String()).Port()
}

func (w *world) Look(context.Context) (engine.View, error) {
	w.looks++
	if w.healing != nil && w.looks > 1 {
		w.healing(w)
	}
	return w.view, w.engineErr
}
func (w *world) Status() fabric.Status                         { return w.status }
func (w *world) Networks() []fabric.Network                    { return w.nets }
func (w *world) Endpoints() []fabric.Endpoint                  { return w.eps }
func (w *world) Alive(id string) bool                          { return !w.dead[id] }
func (w *world) Wanted(context.Context) (fabric.Wanted, error) { return w.wanted, nil }
func (w *world) Ports(context.Context) ([]fabric.Port, error)  { return w.ports, nil }
func (w *world) Bridge() (name, socket string) {
	return "dockstack0", w.root + "/run/dockstack/ovs/db.sock"
}
func (w *world) HostRuns(context.Context) bool                     { return w.hostRuns }
func (w *world) KernelDatapath() (bool, error)                     { return w.kernel, nil }
func (w *world) KernelDatapathInUse() (bool, error)                { return w.inUse, nil }
func (w *world) Supports(kind string) (bool, error)                { return w.kinds[kind], nil }
func (w *world) RedirectMissing(link.Redirect) (string, error)     { return w.redirect, nil }
func (w *world) Tun() error                                        { return w.tun }
func (w *world) FilterMissing(fabric.TunnelFilter) (string, error) { return w.unfiltered, nil }
func (w *world) Listeners() []dnsd.Listener                        { return w.dns }
func (w *world) Asked() []netip.Addr                               { return w.asked }
func (w *world) Away() (time.Time, error)                          { return time.Unix(0, 0), w.away }
func (w *world) Peers() []Peer                                     { return w.peers }
func (w *world) Uses(context.Context) (map[string][]string, error) { return w.uses, nil }
func (w *world) Imports(context.Context) ([]string, error)         { return w.imports, nil }
func (w *world) Apart() []heal.Case                                { return w.apart }
func (w *world) Self() string                                      { return "aaaa" }
func (w *world) Compare(context.Context, []fabric.Flow) (ovs.Difference, error) {
	return ovs.Difference{Missing: append([]ovs.FlowText{}, w.diff.Missing...), Extra: append([]ovs.FlowText{}, w.diff.Extra...)}, nil
}

func (w *world) Resync(context.Context) error {
	w.done = append(w.done, "resync")
	w.diff, w.gate, w.unfiltered, w.status.LastError = ovs.Difference{}, nil, "", ""
	w.ports, w.links = w.ports[:3], w.links[:4]
	for i := range w.links {
		w.links[i].Down, w.links[i].MTU = false, 1450
	}
	return nil
}

func (w *world) ProbePath(_ context.Context, _, to netip.Addr, _ int) (link.Path, error) {
	p, ok := w.path[to]
	if !ok {
		return p, errors.New("nobody expected this probe")
	}
	return p, nil
}

func (w *world) WaysTo(context.Context, netip.Addr, netip.Addr) (link.Ways, error) {
	return w.ways, nil
}

func (w *world) Bound(protocol string, port uint16) ([]netip.Addr, error) {
	if port != 14789 && port != 4789 {
		return w.bound["dns "+protocol], nil
	}
	return w.bound[protocol], nil
}

func (w *world) VXLANs(context.Context, uint16) ([]link.VXLANDevice, error) { return w.vxlans, nil }
func (w *world) Drops(context.Context, link.Datagram) (*link.Dropped, error) {
	return w.dropped, nil
}

func (w *world) Drop(_ context.Context, id string) error {
	w.done = append(w.done, "drop "+id)
	w.eps = w.eps[:1]
	return nil
}

func (w *world) Park(_ context.Context, l ipam.Lease) error {
	w.done = append(w.done, "park "+l.Name)
	w.leases = w.leases[:2]
	return nil
}

func (w *world) ServeDNS(context.Context) error {
	w.done = append(w.done, "serve DNS")
	w.redirect = ""
	w.dns[0].Err = nil
	return nil
}

// fakeLinks and fakeStore have methods whose names the world has otherwise.
type fakeLinks struct{ w *world }

func (l fakeLinks) List(_ context.Context, prefix string) ([]fabric.Link, error) {
	return slices.DeleteFunc(slices.Clone(l.w.links), func(l fabric.Link) bool { return !strings.HasPrefix(l.Name, prefix) }), nil
}

func (l fakeLinks) PeerMTUs(context.Context, string) (map[string]int, error) { return l.w.mtus, nil }

func (l fakeLinks) GatewayMissing(context.Context, string, []netip.Prefix) ([]string, error) {
	return l.w.gate, nil
}

func (l fakeLinks) Overlaps(_ context.Context, subnet netip.Prefix, _ string) ([]link.HostRoute, error) {
	return l.w.routes[subnet.String()], nil
}

type fakeStore struct{ w *world }

func (s fakeStore) Closed() error { return s.w.closed }
func (s fakeStore) Leases(context.Context) ([]ipam.Lease, error) {
	return append([]ipam.Lease{}, s.w.leases...), nil
}
func (s fakeStore) Pools(context.Context) ([]PoolUse, error) { return s.w.pools, nil }
func (s fakeStore) Problems() []string                       { return s.w.problems }
