package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dockstack/dockstack/dnsd"
	"github.com/dockstack/dockstack/internal/engine"
	"github.com/dockstack/dockstack/internal/fabric"
	"github.com/dockstack/dockstack/internal/heal"
	"github.com/dockstack/dockstack/internal/link"
	"github.com/dockstack/dockstack/internal/ovs"
	"github.com/dockstack/dockstack/ipam"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bad are the findings that are not "fine".
func bad(all []Finding) []Finding {
	return slices.DeleteFunc(slices.Clone(all), func(f Finding) bool { return f.Severity == OK })
}

func TestAHealthyHost(t *testing.T) {
	w, h := newWorld(t)
	all := Check(t.Context(), h)
	if b := bad(all); len(b) > 0 {
		t.Errorf("found %+v", b)
	}
	if len(all) < 30 {
		t.Errorf("only %d things were looked at", len(all))
	}
	h.Cluster = nil
	w.status.Tunnel = fabric.TunnelStatus{}
	if b := bad(Check(t.Context(), h)); len(b) > 0 {
		t.Errorf("alone: found %+v", b)
	}
}

// fault is one thing that goes wrong, and what is said of it.
type fault struct {
	spoil    func(*testing.T, *world, *Host)
	id       string
	severity Severity
	// says is in what is wrong, command in what mends it.
	says, command string
	// fixed: Fix mends it, by this.
	fixed string
}

var nearFlow, foreignFlow = ovs.FlowText{Cookie: 0xd500000000000007, Text: "table=7 cookie=0xd500000000000007 actions=drop"}, ovs.FlowText{Cookie: 1, Text: "table=7 cookie=0x1 actions=NORMAL"}

var faults = map[string]fault{
	"switch away": {func(_ *testing.T, w *world, _ *Host) { w.status.Up, w.status.Err = false, errors.New("gone") }, "switch-down", Error, "not up: gone", "docker plugin disable -f dockstack-plugin && docker plugin enable dockstack-plugin", ""},
	"the host's switch away": {func(_ *testing.T, w *world, _ *Host) {
		w.status.Up, w.status.Err, w.status.Origin = false, errors.New("gone"), "host"
	}, "switch-down", Error, "gone", "systemctl restart openvswitch-switch", ""},
	"switch lags": {func(_ *testing.T, w *world, _ *Host) { w.status.LastError = "port x" }, "switch-lagging", Error, "port x", "dockstack doctor --fix", "resync"},
	"stale port": {func(_ *testing.T, w *world, _ *Host) {
		w.ports = append(w.ports, fabric.Port{PortSpec: fabric.PortSpec{Name: "dse0000000dead", Facts: map[string]string{"owner": "dockstack"}}})
	}, "stale-port", Warning, "dse0000000dead", "dockstack doctor --fix", "resync"},
	"foreign port": {func(_ *testing.T, w *world, _ *Host) {
		w.ports = append(w.ports, fabric.Port{PortSpec: fabric.PortSpec{Name: "eth9"}})
	}, "foreign-port", Warning, "eth9", "/run/dockstack/ovs/db.sock del-port dockstack0 eth9", ""},
	"stale flow":   {func(_ *testing.T, w *world, _ *Host) { w.diff.Extra = []ovs.FlowText{nearFlow, nearFlow} }, "stale-flow", Warning, "2 times", "dockstack doctor --fix", "resync"},
	"missing flow": {func(_ *testing.T, w *world, _ *Host) { w.diff.Missing = []ovs.FlowText{nearFlow} }, "missing-flow", Error, "missing on the bridge dockstack0", "dockstack doctor --fix", "resync"},
	"foreign flow": {func(_ *testing.T, w *world, _ *Host) { w.diff.Extra = []ovs.FlowText{foreignFlow} }, "foreign-flow", Warning, "not dockstack's", "/run/dockstack/ovs/dockstack0.mgmt cookie=0x1/-1", ""},
	"foreign flow above ours": {func(_ *testing.T, w *world, _ *Host) {
		w.wanted.Flows = []fabric.Flow{{Table: 0, Priority: 100}, {Table: 0, Priority: 5}, {Table: 7, Priority: 90}}
		w.diff.Extra = []ovs.FlowText{{Cookie: 1, Table: 7, Priority: 80, Text: "table=7"}, {Cookie: 2, Table: 9, Priority: 65000, Text: "table=9"}, {Cookie: 0, Table: 0, Priority: 65000, Text: "priority=65000 actions=drop"}}
	}, "foreign-flow", Error, "3 times: a flow on the bridge dockstack0 is not dockstack's: priority=65000 actions=drop", "dockstack0.mgmt cookie=0x0/-1 && nsenter", ""},
	"stale link": {func(_ *testing.T, w *world, _ *Host) {
		w.links = append(w.links, fabric.Link{Name: "dse0000000dead", Alias: "dockstack:1:endpoint x"})
	}, "stale-link", Warning, "dse0000000dead", "dockstack doctor --fix", "resync"},
	"foreign link":               {func(_ *testing.T, w *world, _ *Host) { w.links = append(w.links, fabric.Link{Name: "dse0000000dead"}) }, "foreign-link", Warning, "named like", "ip link delete dse0000000dead", ""},
	"a container's link down":    {func(_ *testing.T, w *world, _ *Host) { w.links[0].Down = true }, "link-down", Error, "dse00000000001 (endpoint e1) is set down", "dockstack doctor --fix", "resync"},
	"a gateway's own end down":   {func(_ *testing.T, w *world, _ *Host) { w.links[3].Down = true }, "link-down", Error, "o-ds1 (the host's own end of a gateway) is set down", "dockstack doctor --fix", "resync"},
	"a link made smaller":        {func(_ *testing.T, w *world, _ *Host) { w.links[0].MTU = 1300 }, "link-mtu", Error, "has the MTU 1300, and its network 1450", "dockstack doctor --fix", "resync"},
	"gateway rules":              {func(_ *testing.T, w *world, _ *Host) { w.gate = []string{"ip rule pref 4854"} }, "gateway-missing", Error, "network internal lacks ip rule pref 4854", "dockstack doctor --fix", "resync"},
	"two switches on the kernel": {func(_ *testing.T, w *world, _ *Host) { w.hostRuns = true }, "two-switches", Error, "beside", "docker plugin disable", ""},
	"two switches":               {func(_ *testing.T, w *world, _ *Host) { w.hostRuns, w.status.Datapath = true, "userspace" }, "two-switches", Note, "beside", "docker plugin disable", ""},
	"a hidden switch":            {func(_ *testing.T, w *world, _ *Host) { w.inUse, w.status.Datapath = true, "userspace" }, "two-switches", Warning, "not to be seen", "systemctl restart openvswitch-switch", ""},
	"no kernel datapath":         {func(_ *testing.T, w *world, _ *Host) { w.kernel, w.status.Datapath = false, "userspace" }, "userspace-datapath", Note, "by a process", "modprobe openvswitch", ""},
	"no tun":                     {func(_ *testing.T, w *world, _ *Host) { w.status.Datapath, w.tun = "userspace", os.ErrNotExist }, "no-tun", Error, "tun", "modprobe tun", ""},
	"no vxlan":                   {func(_ *testing.T, w *world, _ *Host) { w.status.Datapath, w.kinds = "userspace", nil }, "no-vxlan", Error, "no VXLAN", "modprobe vxlan", ""},
	"tunnel fault": {func(_ *testing.T, w *world, _ *Host) {
		w.status.Tunnel.Faults = []string{"hosts a and b have one tunnel address"}
	}, "tunnel-fault", Error, "one tunnel address", "docker plugin set dockstack-plugin DOCKSTACK_VTEP=", ""},
	"tunnel broken":         {func(_ *testing.T, w *world, _ *Host) { w.status.LastError, w.status.Tunnel.LastError = "x", "x" }, "tunnel-fault", Error, "x", "ss -lnup 'sport = :14789'", ""},
	"a program on the port": {func(_ *testing.T, w *world, _ *Host) { w.vxlans = nil }, "port-clash", Error, "a program has the tunnels' UDP port 14789", "ss -lnup 'sport = :14789'", ""},
	"swarm on the port":     {func(_ *testing.T, w *world, h *Host) { w.vxlans, h.Port = nil, 4789 }, "port-clash", Error, "Swarm's overlay", "DOCKSTACK_VXLAN_PORT=14790", ""},
	"a device for all on it": {func(_ *testing.T, w *world, _ *Host) {
		w.vxlans = append(w.vxlans, link.VXLANDevice{Name: "cni0", External: true})
	}, "port-clash", Error, "interface cni0", "ip -d link show cni0", ""},
	"a device beside ours": {func(_ *testing.T, w *world, _ *Host) {
		w.vxlans = append(w.vxlans, link.VXLANDevice{Name: "vx9", VNI: 9})
	}, "port-clash", Note, "with VNI 9", "DOCKSTACK_VXLAN_PORT", ""},
	"filter gone": {func(_ *testing.T, w *world, _ *Host) {
		w.unfiltered = "nftables table inet dockstack_tunnels is not there"
	}, "filter-missing", Error, "dockstack_tunnels", "dockstack doctor --fix", "resync"},
	"peer unreachable": {func(_ *testing.T, w *world, _ *Host) {
		w.path[peerB.VTEP] = link.Path{Refused: "host unreachable, says 192.0.2.1"}
	}, "path-down", Error, "host host2 (192.0.2.2) is out of reach: host unreachable", "ip route get 192.0.2.2", ""},
	"peer silent": {func(_ *testing.T, w *world, _ *Host) { w.path[peerB.VTEP] = link.Path{} }, "path-silent", Note, "neither ICMP echo nor UDP", "icmp_echo_ignore_all", ""},
	"small path":  {func(_ *testing.T, w *world, _ *Host) { w.path[peerB.VTEP] = link.Path{Answers: true, MTU: 1400} }, "path-mtu", Error, "packets of 1400 bytes at most get to host host2 (192.0.2.2), and network internal makes such of 1500 (its MTU is 1450): no word", "docker network rm internal && docker network create -d dockstack --ipam-driver dockstack -o com.docker.network.driver.mtu=1350 internal", ""},
	"small path, told": {func(_ *testing.T, w *world, _ *Host) {
		w.path[peerB.VTEP] = link.Path{Answers: true, MTU: 1400, Limit: vtep.Next()}
	}, "path-mtu", Error, "192.0.2.2 says so", "mtu=1350 internal", ""},
	"other way back": {func(_ *testing.T, w *world, _ *Host) { w.ways.Out = "eth1" }, "rp-filter", Warning, "leave by eth1", "sysctl -w net.ipv4.conf.eth0.rp_filter=2", ""},
	"firewall, iptables": {func(_ *testing.T, w *world, _ *Host) {
		w.dropped = &link.Dropped{Family: "ip", Table: "filter", Chain: "INPUT", Policy: true}
	}, "firewall", Error, "the policy of chain INPUT", "iptables -I INPUT -p udp --dport 14789 -j ACCEPT", ""},
	"firewall, nftables": {func(_ *testing.T, w *world, _ *Host) {
		w.dropped = &link.Dropped{Family: "inet", Table: "fw", Chain: "in"}
	}, "firewall", Error, "a rule of chain in", "nft insert rule inet fw in udp dport 14789 accept", ""},
	"firewall, ufw": {func(_ *testing.T, w *world, _ *Host) {
		w.dropped = &link.Dropped{Family: "ip", Table: "filter", Chain: "ufw-user-input"}
	}, "firewall", Error, "ufw-user-input", "ufw allow from 192.0.2.2 to any port 14789 proto udp", ""},
	"firewall, firewalld": {func(_ *testing.T, w *world, _ *Host) {
		w.dropped = &link.Dropped{Family: "inet", Table: "firewalld", Chain: "filter_INPUT"}
	}, "firewall", Error, "firewalld", "firewall-cmd --permanent --add-port=14789/udp", ""},
	"cut off":      {func(_ *testing.T, w *world, _ *Host) { w.eps = nil; w.leases[0].State = ipam.StateParked }, "cut-off", Error, "container web is cut off from network internal", "docker restart web", ""},
	"link removed": {func(_ *testing.T, w *world, _ *Host) { w.dead["e1"] = true }, "cut-off", Error, "container web is cut off from network internal", "docker restart web", ""},
	"a namespace of the past": {func(_ *testing.T, w *world, _ *Host) {
		w.apart = []heal.Case{{Member: "nova-api", Owner: "nova", Kind: heal.Unkept}}
	}, "dead-namespace", Error, "container nova-api has no network: it shares the namespace of nova, which restarted; it has no restart policy", "docker restart nova-api", ""},
	"a namespace of the past, as wished": {func(_ *testing.T, w *world, _ *Host) {
		w.apart = []heal.Case{{Member: "nova-api", Owner: "nova", Kind: heal.Declined}}
	}, "dead-namespace", Warning, "the label dockstack.heal", "docker restart nova-api", ""},
	"a start that was not answered": {func(_ *testing.T, w *world, _ *Host) {
		w.apart = []heal.Case{{Member: "web", Kind: heal.Failed, Down: true, Error: "no space left"}}
	}, "start-failed", Error, "container web is down: it could not start, because dockstack did not answer the engine; that could not be mended yet: no space left", "docker start web", ""},
	"a start that was not answered, as wished": {func(_ *testing.T, w *world, _ *Host) {
		w.apart = []heal.Case{{Member: "web", Kind: heal.Off, Down: true}}
	}, "start-failed", Warning, "DOCKSTACK_HEAL is off", "docker start web", ""},
	"a start that cost a network": {func(_ *testing.T, w *world, _ *Host) {
		w.apart = []heal.Case{{Member: "web", Kind: heal.Lost, Down: true}}
	}, "start-failed", Error, "the engine took one of its networks from it", "docker network connect NETWORK web && docker start web", ""},
	"stale endpoint": {func(_ *testing.T, w *world, _ *Host) {
		w.eps = append(w.eps, fabric.Endpoint{ID: "e9", Network: "n1", Addrs: []netip.Addr{webAt.Next()}})
		w.dead["e9"] = true
	}, "stale-endpoint", Warning, "endpoint e9 of network internal, which has 172.16.0.3", "dockstack doctor --fix", "drop e9"},
	"displaced": {func(_ *testing.T, w *world, _ *Host) {
		w.status.Displaced = []fabric.Displaced{{Endpoint: "e1", Network: "n1", Addr: webAt, Host: "bbbb"}}
	}, "displaced", Error, "container web is kept off network internal: its address 172.16.0.2 is in use on host host2", "docker stop web", ""},
	"unknown network": {func(_ *testing.T, w *world, _ *Host) {
		w.view.Networks = append(w.view.Networks, engine.ViewNetwork{
			ID: "n9", Name: "my net", Driver: "dockstack", IPAM: "dockstack", Internal: true, Options: map[string]string{"dockstack.vni": "9"},
			Subnets: []engine.ViewSubnet{{Subnet: netip.MustParsePrefix("10.9.0.0/24"), Range: netip.MustParsePrefix("10.9.0.128/25"), Gateway: netip.MustParseAddr("10.9.0.254")}},
		})
	}, "unknown-network", Error, "network my net", "docker network rm 'my net' && docker network create -d dockstack --ipam-driver dockstack --internal --subnet 10.9.0.0/24 --ip-range 10.9.0.128/25 --gateway 10.9.0.254 -o dockstack.vni=9 'my net'", ""},
	"network gone":  {func(_ *testing.T, w *world, _ *Host) { w.nets = append(w.nets, fabric.Network{ID: "n9"}) }, "stale-network", Note, "network n9", "docker plugin disable", ""},
	"container MTU": {func(_ *testing.T, w *world, _ *Host) { w.mtus["dse00000000001"] = 1500 }, "container-mtu", Warning, "container web has the MTU 1500 on network internal, which has 1450", "docker restart web", ""},
	"stale lease": {func(_ *testing.T, w *world, _ *Host) {
		w.leases = append(w.leases, ipam.Lease{Pool: "172.16.0.0/16", Name: "ghost", Addr: webAt.Next(), State: ipam.StateLive, Host: "aaaa", Since: time.Now().Add(-time.Hour)})
	}, "stale-lease", Warning, "ghost counts as live with 172.16.0.3", "dockstack doctor --fix", "park ghost"},
	"host gone, networks": {func(_ *testing.T, w *world, _ *Host) { w.uses["cccc"] = []string{"172.16.0.0/16"} }, "lost-host", Warning, "host cccc is not alive, and left 1 networks in use and 0 live names", "dockstack host forget cccc", ""},
	"host gone, names":    {func(_ *testing.T, w *world, _ *Host) { w.leases[0].Host, w.eps = "cccc", nil; w.view.Endpoints = nil }, "lost-host", Warning, "0 networks in use and 1 live names", "dockstack host forget cccc", ""},
	"import left":         {func(_ *testing.T, w *world, _ *Host) { w.imports = []string{"cccc"} }, "import-left", Warning, "import of host cccc", "dockstack host forget cccc", ""},
	"own import left":     {func(_ *testing.T, w *world, _ *Host) { w.imports = []string{"aaaa"} }, "import-left", Warning, "import of this host", "docker plugin disable", ""},
	"pool nearly full":    {func(_ *testing.T, w *world, _ *Host) { w.pools[0].Live, w.pools[0].Free = 240, 5 }, "pool-full", Warning, "network internal has 5 addresses free", "dockstack ls --reserved --network internal", ""},
	"pool full":           {func(_ *testing.T, w *world, _ *Host) { w.pools[0].Live, w.pools[0].Free, w.pools[0].Parked = 250, 0, 0 }, "pool-full", Error, "0 addresses free", "dockstack release", ""},
	"pool of parked": {func(_ *testing.T, w *world, _ *Host) {
		w.pools[0].Live, w.pools[0].Free, w.pools[0].Parked = 10, 0, 240
	}, "pool-full", Note, "240 parked", "dockstack release", ""},
	"overlapping route": {func(_ *testing.T, w *world, _ *Host) {
		w.routes = map[string][]link.HostRoute{"172.16.0.0/16": {{To: netip.MustParsePrefix("172.16.5.0/24"), Link: "tun0"}}}
	}, "pool-overlap", Warning, "the route to 172.16.5.0/24 by tun0", "ip route delete 172.16.5.0/24 dev tun0", ""},
	"DNS address taken": {func(_ *testing.T, w *world, _ *Host) { w.dns[0].Err = errors.New("address in use") }, "dns-listener", Error, "127.0.0.1:15053: address in use", "ss -lnptu 'sport = :15053'", "serve DNS"},
	"redirect gone":     {func(_ *testing.T, w *world, _ *Host) { w.redirect = "nftables table ip dockstack is not there" }, "dns-redirect", Error, "is not there", "dockstack doctor --fix", "serve DNS"},
	"no NAT": {func(_ *testing.T, w *world, h *Host) {
		w.dns = append(w.dns, dnsd.Listener{Want: netip.AddrPortFrom(gw.Addr(), h.DNSPort)})
	}, "no-nat", Warning, "can't redirect", "modprobe nft_nat", ""},
	"DNS silent":       {func(_ *testing.T, _ *world, h *Host) { h.DNSPort = nobodys }, "dns-silent", Error, "does not answer", "ss -lnptu", ""},
	"DNS is another's": {func(t *testing.T, _ *world, h *Host) { t.Helper(); h.DNSPort = serveDNS(t, "example.") }, "dns-silent", Error, "somebody else's: it answers REFUSED", "ss -lnptu", ""},
	"DNS shadowed":     {func(_ *testing.T, w *world, _ *Host) { w.bound["dns tcp"] = []netip.Addr{gw.Addr()} }, "dns-shadowed", Note, "172.16.0.1 (tcp)", "ss -lnpt 'sport", ""},
	"engine away":      {func(_ *testing.T, w *world, _ *Host) { w.engineErr = errors.New("refused") }, "engine-away", Warning, "refused", "systemctl start docker", ""},
	"engine too old": {func(t *testing.T, w *world, _ *Host) {
		t.Helper()
		w.view.Version = "29.0.2"
		w.file(t, "/etc/os-release", "NAME=x\nID=ubuntu\nID_LIKE=debian\n")
	}, "engine-old", Error, "29.0.2; dockstack needs 29.0.3", "apt-get install --only-upgrade docker-ce", ""},
	"engine a little old": {func(t *testing.T, w *world, _ *Host) {
		t.Helper()
		w.view.Version = "29.0.3"
		w.file(t, "/etc/os-release", `ID="rhel"`)
	}, "engine-old", Warning, "29.0.3", "dnf upgrade docker-ce", ""},
	"engine of yore": {func(_ *testing.T, w *world, _ *Host) { w.view.Version = "20.10.24+dfsg1" }, "engine-old", Error, "20.10.24", "docker-ce", ""},
	"rootless":       {func(_ *testing.T, w *world, _ *Host) { w.view.Rootless = true }, "engine-rootless", Error, "rootless", "docker context use default", ""},
	"plugin twice": {func(_ *testing.T, w *world, _ *Host) {
		w.view.Plugins = append([]engine.ViewPlugin{{Name: "dockstack/dockstack-plugin:1.0", Socket: "dockstack.sock"}}, w.view.Plugins...)
	}, "plugin-twice", Error, "as dockstack-plugin and dockstack/dockstack-plugin:1.0", "docker plugin disable -f dockstack/dockstack-plugin:1.0; docker plugin rm dockstack/dockstack-plugin:1.0", ""},
	"a resolver of each container's own": {func(t *testing.T, w *world, _ *Host) { t.Helper(); w.file(t, daemonJSON, `{"dns":["127.0.0.1"]}`) }, "engine-settings", Error, "127.0.0.1", "jq 'del", ""},
	"no iptables":                        {func(t *testing.T, w *world, _ *Host) { t.Helper(); w.file(t, daemonJSON, `{"iptables":false}`) }, "engine-settings", Warning, `"iptables" off`, "systemctl restart docker", ""},
	"store closed":                       {func(_ *testing.T, w *world, _ *Host) { w.closed = errors.New("store is damaged\nx") }, "store-closed", Error, "store is damaged; x", "cat /run/dockstack/status", ""},
	"a bad setting": {func(_ *testing.T, w *world, _ *Host) {
		w.closed = errors.New(`setting DOCKSTACK_VTEP="x": want an address`)
		w.wanted.Known, w.wanted.Ports, w.wanted.Links = false, nil, nil // the gateways are somebody's, and nobody says whose
	}, "store-closed", Error, "DOCKSTACK_VTEP", "docker plugin disable -f dockstack-plugin && docker plugin set dockstack-plugin DOCKSTACK_VTEP=VALUE && docker plugin enable dockstack-plugin", ""},
	"a frozen engine": {func(_ *testing.T, w *world, _ *Host) { w.engineErr = fmt.Errorf("ask: %w", context.DeadlineExceeded) }, "engine-away", Error, "does not answer", "journalctl -u docker", ""},
	"the store's folder open to all": {func(t *testing.T, w *world, _ *Host) {
		t.Helper()
		if err := os.Chmod(filepath.Join(w.root, filepath.Dir(stateFile)), 0o777); err != nil {
			t.Fatal(err)
		}
	}, "store-mode", Warning, "0777", "chmod go-w /var/lib/dockstack", "chmod"},
	"etcd away": {func(_ *testing.T, w *world, _ *Host) { w.away = errors.New("etcd refuses connections") }, "store-away", Error, "etcd refuses connections", "etcdctl endpoint health", ""},
	"store open to all": {func(t *testing.T, w *world, _ *Host) {
		t.Helper()
		if err := os.Chmod(filepath.Join(w.root, stateFile), 0o644); err != nil {
			t.Fatal(err)
		}
	}, "store-mode", Warning, "0644", "chmod 600 /var/lib/dockstack/dockstack.db", "chmod"},
	"clocks":  {func(_ *testing.T, w *world, _ *Host) { w.problems = []string{"clocks differ: x"} }, "clock-skew", Warning, "clocks differ", "timedatectl set-ntp true", ""},
	"problem": {func(_ *testing.T, w *world, _ *Host) { w.problems = []string{"hosts a and b have one name"} }, "problem", Warning, "one name", "", ""},
}

func TestEveryFaultIsFoundAndMended(t *testing.T) {
	for name, c := range faults {
		t.Run(name, func(t *testing.T) {
			w, h := newWorld(t)
			c.spoil(t, w, &h)
			found := bad(Check(t.Context(), h))
			i := slices.IndexFunc(found, func(f Finding) bool { return f.ID == c.id })
			if i < 0 {
				t.Fatalf("not found; there are %+v", found)
			}
			f := found[i]
			if f.Severity != c.severity || !strings.Contains(f.What, c.says) || !strings.Contains(f.Command, c.command) || f.Why == "" {
				t.Errorf("got %+v", f)
			}
			for _, o := range found {
				// One cause, one finding: all else can't be looked at, or is a note.
				if o.ID != c.id && o.ID != Blind && o.Severity.rank() < Note.rank() {
					t.Errorf("also found %+v", o)
				}
				shell(t, o.Command)
			}
			results := Fix(t.Context(), h, []string{c.id})
			if len(results) != 1 {
				t.Fatalf("results %+v", results)
			}
			if f.Fix != (c.fixed != "") || (results[0].Error == "") != f.Fix {
				t.Fatalf("fixable %v, and fixing it said %+v", f.Fix, results)
			}
			if c.fixed == "" {
				if len(w.done) > 0 {
					t.Errorf("what can't be fixed was: %v", w.done)
				}
				return
			}
			if b := bad(Check(t.Context(), h)); len(b) > 0 {
				t.Errorf("after the fix: %+v", b)
			}
			if c.fixed != "chmod" && !slices.Equal(w.done, []string{c.fixed}) {
				t.Errorf("done: %v, want %s alone", w.done, c.fixed)
			}
		})
	}
}

// shell fails the test unless a shell could read the command.
func shell(t *testing.T, command string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "bash", "-n", "-c", command).CombinedOutput(); err != nil {
		t.Errorf("no shell reads %q: %v: %s", command, err, out)
	}
}

// The switch's commands run where its programs are: in the plugin for its own
// switch, whose paths are those that the plugin sees.
func TestWhereSwitchCommandsRun(t *testing.T) {
	w, h := newWorld(t)
	w.diff.Extra = []ovs.FlowText{foreignFlow}
	w.ports = append(w.ports, fabric.Port{PortSpec: fabric.PortSpec{Name: "eth9"}})
	inside := `nsenter -t "$(pgrep -of 'dockstack daemon')" -m `
	ofctl, vsctl := "ovs-ofctl -OOpenFlow15 del-flows unix:%s/run/dockstack/ovs/dockstack0.mgmt cookie=0x1/-1", "ovs-vsctl --db=unix:%s/run/dockstack/ovs/db.sock del-port dockstack0 eth9"
	is := func(where, before, root string) {
		t.Helper()
		commands := map[string]string{}
		for _, f := range bad(Check(t.Context(), h)) {
			commands[f.ID] = f.Command
		}
		for id, form := range map[string]string{"foreign-flow": ofctl, "foreign-port": vsctl} {
			if want := before + fmt.Sprintf(form, root); commands[id] != want {
				t.Errorf("%s: %s, want %s", where, commands[id], want)
			}
		}
	}
	is("its own, in the plugin", inside, w.root)
	w.status.Origin = ovs.OriginHost
	is("the host's", "", "")
	w.status.Origin, h.Root = ovs.OriginOwn, ""
	is("its own, on the host", "", w.root)
}

// Every kind that the daemon finds has a fault above that is found as one.
func TestEveryKindHasAFault(t *testing.T) {
	tested := map[string]bool{
		Blind: true, "disk-full": true, // TestRoom
		"dns-host": true, "dns-containers": true, "dns-order": true, // TestWiring
	}
	for _, f := range faults {
		tested[f.id] = true
	}
	for _, k := range Kinds {
		if !k.Local && !tested[k.ID] {
			t.Errorf("no test makes %s", k.ID)
		}
		if k.Means == "" || k.Mend == "" {
			t.Errorf("%s says too little", k.ID)
		}
	}
}

// nobodys is a port that no DNS server has.
const nobodys = 1

// What is over at the second look was on its way.
func TestWhatEndsByItselfIsNoFinding(t *testing.T) {
	w, h := newWorld(t)
	w.eps = append(w.eps, fabric.Endpoint{ID: "e9", Network: "n1"})
	w.dead["e9"] = true
	w.ports = append(w.ports, fabric.Port{PortSpec: fabric.PortSpec{Name: "dse0000000dead", Facts: map[string]string{"owner": "dockstack"}}})
	w.healing = func(w *world) { w.eps, w.ports = w.eps[:1], w.ports[:3] }
	if b := bad(Check(t.Context(), h)); len(b) > 0 {
		t.Errorf("found %+v", b)
	}
}

// A container that is just starting, and an address that is just asked for, are
// nobody's fault.
func TestWhatIsStartingIsNoFinding(t *testing.T) {
	w, h := newWorld(t)
	w.eps = append(w.eps, fabric.Endpoint{ID: "e9", Network: "n1"}) // in a container, and not yet with the engine
	w.eps = append(w.eps, fabric.Endpoint{ID: "e7", Network: "n1", Addrs: []netip.Addr{webAt.Next().Next()}})
	w.dead["e7"] = true // nor yet in a container
	w.view.Endpoints = append(w.view.Endpoints, engine.ViewEndpoint{ID: "e8", Network: "n1", NetworkName: "internal", Container: "stopped"})
	w.leases = append(w.leases, ipam.Lease{Name: "new", Addr: webAt.Next().Next(), State: ipam.StateLive, Host: "aaaa", Since: time.Now()})
	if b := bad(Check(t.Context(), h)); len(b) > 0 {
		t.Errorf("found %+v", b)
	}
	Fix(t.Context(), h, []string{"stale-endpoint", "stale-lease"})
	if len(w.done) > 0 {
		t.Errorf("--fix did %q", w.done)
	}
}

// A switch comes up a moment after its daemon answers: who asks right after
// `docker plugin enable` is not told that it is down.
func TestASwitchThatComesUpIsNoFinding(t *testing.T) {
	w, h := newWorld(t)
	w.status.Up = false
	w.healing = func(w *world) { w.status.Up = w.looks > 2 } // the first look, and all that is looked at once
	if b := bad(Check(t.Context(), h)); len(b) > 0 {
		t.Errorf("found %+v", b)
	}
}

// What can't be looked at is not said to be fine.
func TestBlindness(t *testing.T) {
	w, h := newWorld(t)
	w.engineErr = errors.New("refused")
	all := Check(t.Context(), h)
	for _, f := range all {
		if f.Severity == OK && slices.Contains([]string{"cut-off", "unknown-network", "engine-old", "engine-away"}, f.ID) {
			t.Errorf("said to be fine without a look: %+v", f)
		}
	}
	if !slices.ContainsFunc(all, func(f Finding) bool {
		return f.ID == Blind && f.Subject == "cut-off" && strings.Contains(f.What, "refused")
	}) {
		t.Errorf("nothing says what could not be looked at: %+v", bad(all))
	}
}

func TestRoom(t *testing.T) {
	const gib = 1 << 30
	for name, c := range map[string]struct {
		space space
		want  Severity
		says  string
	}{
		"plenty":                  {space{100 * gib, 200 * gib, 1e6, 2e6}, "", ""},
		"full":                    {space{1 << 20, 200 * gib, 1e6, 2e6}, Error, "is full: 1 MiB"},
		"nearly full":             {space{gib, 200 * gib, 1e6, 2e6}, Warning, "nearly full"},
		"little, but half":        {space{64 << 20, 128 << 20, 1e6, 2e6}, "", ""},
		"a tmpfs of some size":    {space{390 << 20, 400 << 20, 1e5, 1e5}, "", ""},
		"no inodes":               {space{100 * gib, 200 * gib, 3, 2e6}, Error, "3 inodes are left"},
		"few inodes":              {space{100 * gib, 200 * gib, 2e4, 2e6}, Warning, "few more files"},
		"a file system without":   {space{100 * gib, 200 * gib, 0, 0}, "", ""},
		"large, and much is left": {space{90 * gib, 4000 * gib, 1e6, 2e6}, "", ""},
	} {
		f := judge(c.space, "/var/lib/dockstack")
		switch {
		case f == nil && c.want == "":
		case f == nil || c.want == "":
			t.Errorf("%s: got %+v, want %s", name, f, c.want)
		default:
			got := complete(*f)
			if got.Severity != c.want || !strings.Contains(got.What, c.says) {
				t.Errorf("%s: got %+v", name, got)
			}
		}
	}
	if f, err := room(t.TempDir(), "x"); err != nil || f != nil && f.Severity == "" {
		t.Errorf("this disk: %+v, %v", f, err)
	}
}

func TestAtLeast(t *testing.T) {
	for version, want := range map[string]bool{
		"29.0.3": true, "29.0.2": false, "29.0.10": true, "29.1": true, "28.5.1": false, "30.0.0": true, "29.0.3-rc.1": true, "29": true,
		"dev": true, "": true, "20.10.24+dfsg1": false, "2.0.0-beta.24": false,
	} {
		if got := atLeast(version, 29, 0, 3); got != want {
			t.Errorf("%q: %v", version, got)
		}
	}
}

func ExampleFinding() {
	fmt.Println(complete(Finding{ID: "stale-port"}).Command)
	// Output: dockstack doctor --fix
}
