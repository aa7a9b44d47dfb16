package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dockstack/dockstack/internal/fabric"
	"github.com/dockstack/dockstack/internal/ovs"
)

// checks are all there are.
var checks = slices.Concat(switchChecks, tunnelChecks, containerChecks, leaseChecks, dnsChecks, engineChecks, storeChecks)

var switchChecks = []check{
	{ids: []string{"switch-down"}, run: (*exam).switchUp},
	{ids: []string{"switch-lagging"}, twice: true, run: (*exam).switchLags},
	{ids: []string{"stale-port", "foreign-port"}, twice: true, run: (*exam).ports},
	{ids: []string{"stale-flow", "missing-flow", "foreign-flow"}, twice: true, run: (*exam).flows},
	{ids: []string{"stale-link", "foreign-link"}, twice: true, run: (*exam).links},
	{ids: []string{"link-down", "link-mtu"}, twice: true, run: (*exam).raised},
	{ids: []string{"gateway-missing"}, twice: true, run: (*exam).gateways},
	{ids: []string{"two-switches", "userspace-datapath"}, run: (*exam).datapath},
	{ids: []string{"no-tun"}, run: (*exam).tun},
}

// Marks of what is ours (internal/fabric, internal/ovs).
const (
	linkPrefix  = "ds"
	aliasMark   = "dockstack:"
	innerPrefix = "o-" + linkPrefix
	ownerKey    = "owner"
	ownerName   = "dockstack"
)

func (x *exam) switchUp(context.Context) error {
	st := x.Fabric.Status()
	if st.Up {
		return nil
	}
	cmd := "docker plugin disable -f " + x.plugin() + " && docker plugin enable " + x.plugin()
	if st.Origin == ovs.OriginHost {
		cmd = "systemctl restart openvswitch-switch"
	}
	x.add(Finding{ID: "switch-down", What: fmt.Sprintf("the switch is not up: %v", st.Err), Command: cmd})
	return nil
}

func (x *exam) switchLags(context.Context) error {
	st := x.Fabric.Status()
	if st.Up && st.LastError != "" && st.LastError != st.Tunnel.LastError {
		x.add(Finding{ID: "switch-lagging", What: "the switch is not as it should be: " + st.LastError})
	}
	return nil
}

// mostFlows is how many flows are compared one by one: as text they take some
// 200 bytes each.
const mostFlows = 50_000

// up ends checks of what is on the switch where that isn't there: one finding
// says it.
func (x *exam) up() error {
	if !x.Fabric.Status().Up {
		return errors.New("the switch is not up")
	}
	return nil
}

func (x *exam) ports(ctx context.Context) error {
	if err := x.up(); err != nil {
		return err
	}
	// What there is first: what comes to be wanted meanwhile is no finding.
	ports, err := x.Switch.Ports(ctx)
	if err != nil {
		return err
	}
	want, err := x.Fabric.Wanted(ctx)
	if err != nil {
		return err
	}
	bridge, socket := x.Switch.Bridge()
	for _, p := range ports {
		if want.Ports[p.Name] != "" {
			continue
		}
		if p.Facts[ownerKey] == ownerName {
			x.add(Finding{ID: "stale-port", Subject: p.Name, What: fmt.Sprintf("port %s is on the bridge %s and belongs to nothing", p.Name, bridge)})
			continue
		}
		x.add(Finding{
			ID: "foreign-port", Subject: p.Name, What: fmt.Sprintf("port %s on the bridge %s is not dockstack's", p.Name, bridge),
			Command: fmt.Sprintf("ovs-vsctl --db=unix:%s del-port %s %s", x.onHost(socket), bridge, quote(p.Name)),
		})
	}
	return nil
}

// onHost is a path as the host has it.
func (x *exam) onHost(path string) string {
	if x.Root == "" {
		return path
	}
	return strings.TrimPrefix(path, strings.TrimSuffix(x.Root, "/"))
}

func (x *exam) flows(ctx context.Context) error {
	if err := x.up(); err != nil {
		return err
	}
	want, err := x.Fabric.Wanted(ctx)
	if err != nil {
		return err
	}
	if want.Flows == nil {
		return errors.New("the switch is just being filled")
	}
	if want.FarFlows > mostFlows {
		return fmt.Errorf("%d flows are too many to compare one by one; their number is right, or dockstack puts them back by itself", want.FarFlows)
	}
	d, err := x.Switch.Compare(ctx, want.Flows)
	if err != nil {
		return err
	}
	var stale, foreign []ovs.FlowText
	for _, f := range d.Extra {
		switch {
		case fabric.NearFlows.Has(f.Cookie):
			stale = append(stale, f)
		case fabric.FarFlows.Has(f.Cookie), f.Cookie&fabric.CookieMask == fabric.CookieLearned:
		default:
			foreign = append(foreign, f)
		}
	}
	bridge, _ := x.Switch.Bridge()
	x.addFlows("stale-flow", stale, "flow on the bridge "+bridge+" is not wanted")
	x.addFlows("missing-flow", d.Missing, "flow is missing on the bridge "+bridge)
	x.addFlows("foreign-flow", foreign, "flow on the bridge "+bridge+" is not dockstack's")
	return nil
}

// addFlows makes one finding of many flows, since one cause makes many.
func (x *exam) addFlows(id string, flows []ovs.FlowText, what string) {
	if len(flows) == 0 {
		return
	}
	text := "a " + what
	if len(flows) > 1 {
		text = fmt.Sprintf("%d times: a %s", len(flows), what)
	}
	f := Finding{ID: id, What: text + ": " + short(flows[0].Text)}
	if id == "foreign-flow" {
		bridge, socket := x.Switch.Bridge()
		management := strings.TrimSuffix(x.onHost(socket), "db.sock") + bridge + ".mgmt"
		f.Command = fmt.Sprintf("ovs-ofctl -OOpenFlow15 del-flows unix:%s cookie=%#x/-1", management, flows[0].Cookie)
	}
	x.add(f)
}

// short cuts what is too long for a line.
func short(text string) string {
	const most = 160
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + " …"
	}
	return text
}

func (x *exam) links(ctx context.Context) error {
	links, err := x.Links.List(ctx, linkPrefix)
	if err != nil {
		return err
	}
	want, err := x.Fabric.Wanted(ctx)
	if err != nil {
		return err
	}
	for _, l := range links {
		switch {
		case want.Links[l.Name]:
		case strings.HasPrefix(l.Alias, aliasMark):
			x.add(Finding{ID: "stale-link", Subject: l.Name, What: fmt.Sprintf("interface %s is dockstack's and belongs to nothing (%s)", l.Name, short(l.Alias))})
		case ourName(l.Name) && want.Ports[l.Name] == "":
			x.add(Finding{
				ID: "foreign-link", Subject: l.Name, What: fmt.Sprintf("interface %s is named like dockstack's, but is not", l.Name),
				Command: "ip link delete " + quote(l.Name),
			})
		}
	}
	return nil
}

// raised looks for links of ours that somebody set down or made smaller.
func (x *exam) raised(ctx context.Context) error {
	want, err := x.Fabric.Wanted(ctx)
	if err != nil {
		return err
	}
	ports, err := x.Links.List(ctx, linkPrefix)
	if err != nil {
		return err
	}
	inner, err := x.Links.List(ctx, innerPrefix)
	if err != nil {
		return err
	}
	for _, l := range slices.Concat(ports, inner) {
		mtu, ours := want.Raised[l.Name]
		if !ours {
			continue
		}
		whose := cmp.Or(want.Ports[l.Name], "the host's own end of a gateway")
		if l.Down {
			x.add(Finding{ID: "link-down", Subject: l.Name, What: fmt.Sprintf("interface %s (%s) is set down", l.Name, whose)})
		}
		if l.MTU > 0 && l.MTU < mtu {
			x.add(Finding{ID: "link-mtu", Subject: l.Name, What: fmt.Sprintf("interface %s (%s) has the MTU %d, and its network %d", l.Name, whose, l.MTU, mtu)})
		}
	}
	return nil
}

// ourName is whether a link is named as only dockstack's are: ds, a letter for
// what it is, and a hash or a number.
func ourName(name string) bool {
	rest, ok := strings.CutPrefix(name, linkPrefix)
	if !ok || len(rest) < 2 || !strings.Contains("egv", rest[:1]) {
		return false
	}
	hex := strings.Trim(rest[1:], "0123456789abcdef") == ""
	return hex && (rest[0] == 'v' || len(rest) == 12)
}

func (x *exam) gateways(ctx context.Context) error {
	want, err := x.Fabric.Wanted(ctx)
	if err != nil {
		return err
	}
	for _, g := range want.Gateways {
		missing, err := x.Links.GatewayMissing(ctx, g.Inner, g.Addrs)
		if err != nil {
			return err
		}
		if len(missing) > 0 {
			x.add(Finding{ID: "gateway-missing", Subject: x.network(g.Network), What: fmt.Sprintf("network %s lacks %s", x.network(g.Network), strings.Join(missing, ", "))})
		}
	}
	return nil
}

func (x *exam) datapath(ctx context.Context) error {
	st := x.Fabric.Status()
	inUse, err := x.Kernel.KernelDatapathInUse()
	if err != nil {
		return err
	}
	kernel, err := x.Kernel.KernelDatapath()
	if err != nil {
		return err
	}
	if st.Origin == ovs.OriginOwn && x.Switch.HostRuns(ctx) {
		severity := Note
		if st.Datapath == ovs.DatapathKernel {
			severity = Error
		}
		x.add(Finding{
			ID: "two-switches", Severity: severity, What: "the host's own Open vSwitch runs beside dockstack's",
			Why:     "dockstack takes the host's at its next start; on one kernel datapath the two would remove each other's ports",
			Command: x.restart(),
		})
	} else if st.Datapath == ovs.DatapathUserspace && inUse {
		x.add(Finding{
			ID: "two-switches", What: "another Open vSwitch has the kernel's datapath, and its database is not to be seen at /run/openvswitch/db.sock",
			Why:     "dockstack stays out of its way and forwards in userspace, at about half the speed",
			Command: "systemctl restart openvswitch-switch && " + x.restart(),
		})
	}
	if st.Datapath == ovs.DatapathUserspace && !inUse {
		f := Finding{ID: "userspace-datapath", What: "the kernel has no Open vSwitch datapath: frames are forwarded by a process"}
		f.Command = "modprobe openvswitch && echo openvswitch > /etc/modules-load.d/dockstack.conf && " + x.restart()
		if kernel {
			f.What, f.Command = "the kernel's Open vSwitch datapath is there, but frames are forwarded by a process, as it was set or as it was at the start", x.restart()
		}
		x.add(f)
	}
	return nil
}

func (x *exam) tun(context.Context) error {
	if x.Fabric.Status().Datapath != ovs.DatapathUserspace {
		return nil
	}
	if err := x.Kernel.Tun(); err != nil {
		x.add(Finding{ID: "no-tun", What: fmt.Sprintf("the tun device can't be opened: %v", err), Command: "modprobe tun && " + x.restart()})
	}
	return nil
}

// restart has the plugin begin anew. Containers go on.
func (x *exam) restart() string {
	return "docker plugin disable -f " + x.plugin() + " && docker plugin enable " + x.plugin()
}

// set changes the plugin's settings.
func (x *exam) set(settings ...string) string {
	return "docker plugin disable -f " + x.plugin() + " && docker plugin set " + x.plugin() + " " + strings.Join(settings, " ") +
		" && docker plugin enable " + x.plugin()
}

// quote makes one word of a text for a shell.
func quote(text string) string {
	if text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@=,+") == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// keys are a map's, in order.
func keys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
