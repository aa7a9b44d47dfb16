package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dockstack/dockstack/internal/engine"
	"github.com/dockstack/dockstack/internal/fabric"
	"github.com/dockstack/dockstack/internal/link"
	"github.com/dockstack/dockstack/internal/ovs"
)

var tunnelChecks = []check{
	{ids: []string{"no-vxlan"}, run: (*exam).vxlan},
	{ids: []string{"tunnel-fault"}, twice: true, run: (*exam).tunnelFaults},
	{ids: []string{"port-clash"}, twice: true, run: (*exam).portClash},
	{ids: []string{"filter-missing"}, twice: true, run: (*exam).filter},
	{ids: []string{"path-down", "path-mtu", "rp-filter", "firewall"}, run: (*exam).paths},
}

const (
	swarmPort = 4789
	// probeLimit bounds the probe of all paths together, probesAtOnce how many
	// run side by side. A silent one takes 5 s, one that answers by UDP alone 12.
	probeLimit   = 20 * time.Second
	probesAtOnce = 32
	// mostProbed is how many hosts' paths are probed: with more the next look
	// finds out about others.
	mostProbed = 500
)

func (x *exam) alone() bool { return x.Cluster == nil }

func (x *exam) vxlan(context.Context) error {
	if x.alone() || x.Fabric.Status().Datapath != ovs.DatapathUserspace {
		return nil // Open vSwitch has it itself
	}
	ok, err := x.Kernel.Supports("vxlan")
	if err == nil && !ok {
		x.add(Finding{ID: "no-vxlan", What: "the kernel has no VXLAN", Command: "modprobe vxlan && echo vxlan >> /etc/modules-load.d/dockstack.conf"})
	}
	return err
}

func (x *exam) tunnelFaults(context.Context) error {
	t := x.Fabric.Status().Tunnel
	if t.LastError != "" {
		x.add(Finding{ID: "tunnel-fault", Subject: "tunnel", What: t.LastError, Command: fmt.Sprintf("ss -lnup 'sport = :%d'", x.Port)})
	}
	for _, f := range t.Faults {
		x.add(Finding{ID: "tunnel-fault", Subject: f, What: f, Command: x.set("DOCKSTACK_VTEP=ADDRESS")})
	}
	return nil
}

// portClash looks for somebody else on the tunnels' UDP port. The kernel lets
// plain vxlan devices share a port, and nobody else.
func (x *exam) portClash(ctx context.Context) error {
	if x.alone() {
		return nil
	}
	bound, err := x.Tunnels.Bound("udp", x.Port)
	if err != nil {
		return err
	}
	devices, err := x.Tunnels.VXLANs(ctx, x.Port)
	if err != nil {
		return err
	}
	other := fmt.Sprintf("14790 on every host: %s", x.set("DOCKSTACK_VXLAN_PORT=14790"))
	who := fmt.Sprintf("ss -lnup 'sport = :%d'   # stop who has it, or set another port, such as ", x.Port) + other
	explained := false
	for _, d := range devices {
		// A device has its socket while it is up.
		explained = explained || d.Up
		switch {
		case strings.HasPrefix(d.Alias, aliasMark), x.vswitchOwns(d):
		case d.External:
			x.add(Finding{
				ID: "port-clash", Subject: d.Name, What: fmt.Sprintf("interface %s has the tunnels' UDP port %d for all networks", d.Name, x.Port),
				Command: "ip -d link show " + quote(d.Name) + "   # remove it, or set another port, such as " + other,
			})
		default:
			x.add(Finding{
				ID: "port-clash", Subject: d.Name, Severity: Note, What: fmt.Sprintf("interface %s shares the tunnels' UDP port %d, with VNI %d", d.Name, x.Port, d.VNI),
				Why: "that works as long as no network has this VNI", Command: x.set("DOCKSTACK_VXLAN_PORT=14790"),
			})
		}
	}
	if len(bound) > 0 && !explained {
		f := Finding{ID: "port-clash", Subject: "socket", What: fmt.Sprintf("a program has the tunnels' UDP port %d, on %s", x.Port, join(bound)), Command: who}
		if x.Port == swarmPort {
			f.What = fmt.Sprintf("Docker Swarm's overlay, or another program, has the tunnels' UDP port %d, on %s", x.Port, join(bound))
		}
		x.add(f)
	}
	return nil
}

// vswitchOwns is whether Open vSwitch made the device for our tunnel.
func (x *exam) vswitchOwns(d link.VXLANDevice) bool {
	return x.Fabric.Status().Tunnel.Kind == fabric.TunnelFlow && d.External && strings.HasPrefix(d.Name, "vxlan_sys_")
}

func join(addrs []netip.Addr) string {
	out := make([]string, len(addrs))
	for i, a := range addrs {
		out[i] = a.String()
	}
	return strings.Join(out, ", ")
}

func (x *exam) filter(ctx context.Context) error {
	if x.alone() {
		return nil
	}
	want, err := x.Fabric.Wanted(ctx)
	if err != nil || want.Filter.Port == 0 {
		return err
	}
	missing, err := x.Tunnels.FilterMissing(want.Filter)
	if errors.Is(err, link.ErrNoFilter) {
		return errElsewhere // a fault of the tunnel
	}
	if err == nil && missing != "" {
		x.add(Finding{ID: "filter-missing", What: missing})
	}
	return err
}

// need is the largest packet between hosts that the networks here make, and
// the network that makes it.
func (x *exam) need() (size int, network string) {
	for _, n := range x.Fabric.Networks() {
		if s := n.MTU + link.Overhead(x.VTEP); !n.Alone && n.MTU > 0 && s > size {
			size, network = s, n.ID
		}
	}
	if size == 0 {
		size = link.Overhead(x.VTEP) + ethernetMTU - 2*link.Overhead(x.VTEP)
	}
	return size, network
}

const ethernetMTU = 1500

// paths probes the way to every other host.
func (x *exam) paths(ctx context.Context) error {
	if x.alone() {
		return nil
	}
	peers := slices.DeleteFunc(x.Cluster.Peers(), func(p Peer) bool { return !p.VTEP.IsValid() || p.VTEP == x.VTEP || p.VTEP.Is4() != x.VTEP.Is4() })
	if len(peers) == 0 {
		return nil
	}
	if !x.VTEP.IsValid() {
		return errors.New("this host has no tunnel address yet")
	}
	peers = peers[:min(len(peers), mostProbed)]
	size, network := x.need()
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	found := make([][]Finding, len(peers))
	errs := make([]error, len(peers))
	var wg sync.WaitGroup
	slots := make(chan struct{}, probesAtOnce)
	for i, p := range peers {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			found[i], errs[i] = x.path1(ctx, p, probe{size, network})
		})
	}
	wg.Wait()
	for _, f := range slices.Concat(found...) {
		x.add(f)
	}
	if late := slices.DeleteFunc(slices.Clone(errs), func(err error) bool { return err == nil }); len(late) > 0 {
		return fmt.Errorf("%d of %d hosts could not be probed: %w", len(late), len(peers), late[0])
	}
	return nil
}

type probe struct {
	size    int
	network string
}

// path1 looks at the way to one host.
func (x *exam) path1(ctx context.Context, p Peer, want probe) ([]Finding, error) {
	path, err := x.Tunnels.ProbePath(ctx, x.VTEP, p.VTEP, want.size)
	if err != nil {
		return nil, err
	}
	var out []Finding
	at := fmt.Sprintf("host %s (%s)", p.Name, p.VTEP)
	switch {
	case path.Refused != "":
		out = append(out, Finding{
			ID: "path-down", Subject: p.Name, What: fmt.Sprintf("%s is out of reach: %s", at, path.Refused),
			Command: fmt.Sprintf("ip route get %s from %s; ping -c 3 -I %s %s", p.VTEP, x.VTEP, x.VTEP, p.VTEP),
		})
	case !path.Answers:
		out = append(out, Finding{
			ID: "path-silent", Subject: p.Name, What: at + " answers neither ICMP echo nor UDP",
			Command: "sysctl -w net.ipv4.icmp_echo_ignore_all=0   # on that host, or let its firewall pass ICMP echo",
		})
	case !path.Fits && want.network != "":
		out = append(out, x.tooSmall(p, path, want))
	}
	ways, err := x.Tunnels.WaysTo(ctx, x.VTEP, p.VTEP)
	if err != nil {
		return out, nil //nolint:nilerr // that there is no way is a finding already
	}
	if ways.Strict && ways.Home != ways.Out && ways.Home != "lo" {
		out = append(out, Finding{
			ID: "rp-filter", Subject: p.Name, What: fmt.Sprintf("packets to %s leave by %s, its own come to %s by %s, where rp_filter is strict", at, ways.Out, x.VTEP, ways.Home),
			Command: fmt.Sprintf("sysctl -w net.ipv4.conf.%s.rp_filter=2 && echo 'net.ipv4.conf.%s.rp_filter = 2' > /etc/sysctl.d/90-dockstack.conf", ways.Home, ways.Home),
		})
	}
	dropped, err := x.Tunnels.Drops(ctx, link.Datagram{From: p.VTEP, To: x.VTEP, Port: x.Port, In: ways.Out})
	if err == nil && dropped != nil {
		out = append(out, x.closed(p, *dropped))
	}
	if errors.Is(err, link.ErrNoFilter) {
		err = nil // then it drops nothing
	}
	return out, err
}

func (x *exam) tooSmall(p Peer, path link.Path, want probe) Finding {
	says := "no word comes back, so connections hang instead of adapting"
	if path.Limit.IsValid() {
		says = path.Limit.String() + " says so"
	}
	return Finding{
		ID: "path-mtu", Subject: p.Name,
		What: fmt.Sprintf("packets of %d bytes at most get to host %s (%s), and network %s makes such of %d (its MTU is %d): %s",
			path.MTU, p.Name, p.VTEP, x.network(want.network), want.size, want.size-link.Overhead(x.VTEP), says),
		Command: fmt.Sprintf("%s   # on every host; or raise the MTU on the way to %d", x.smaller(want.network, path.MTU-link.Overhead(x.VTEP)), want.size),
	}
}

// smaller makes a network anew with another MTU.
func (x *exam) smaller(network string, mtu int) string {
	const option = "com.docker.network.driver.mtu"
	i := slices.IndexFunc(x.eng.view.Networks, func(n engine.ViewNetwork) bool { return n.ID == network })
	if i < 0 { // the engine does not answer
		return fmt.Sprintf("docker network inspect %[1]s && docker network rm %[1]s && docker network create -d %[2]s --ipam-driver %[2]s -o %[3]s=%[4]d %[1]s", x.network(network), driver, option, mtu)
	}
	n := x.eng.view.Networks[i]
	n.Options = maps.Clone(n.Options)
	if n.Options == nil {
		n.Options = map[string]string{}
	}
	n.Options[option] = strconv.Itoa(mtu)
	return recreate(n)
}

// closed names a filter that drops packets of a host's tunnels.
func (x *exam) closed(p Peer, d link.Dropped) Finding {
	f := Finding{ID: "firewall", Subject: d.Table + " " + d.Chain}
	by := "a rule of"
	if d.Policy {
		by = "the policy of"
	}
	f.What = fmt.Sprintf("%s chain %s in nftables table %s %s drops what host %s sends to UDP port %d", by, d.Chain, d.Family, d.Table, p.Name, x.Port)
	switch {
	case strings.HasPrefix(d.Chain, "ufw"):
		f.Command = fmt.Sprintf("ufw allow from %s to any port %d proto udp", p.VTEP, x.Port)
	case d.Table == "firewalld":
		f.Command = fmt.Sprintf("firewall-cmd --permanent --add-port=%d/udp && firewall-cmd --reload", x.Port)
	case d.Table == "filter" && d.Family != "inet":
		program := map[string]string{"ip": "iptables", "ip6": "ip6tables"}[d.Family]
		f.Command = fmt.Sprintf("%s -I INPUT -p udp --dport %d -j ACCEPT", program, x.Port)
	default:
		f.Command = fmt.Sprintf("nft insert rule %s %s %s udp dport %d accept", d.Family, d.Table, d.Chain, x.Port)
	}
	return f
}
