package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dockstack/dockstack/internal/ovs"
)

// checks are all there are.
var checks = slices.Concat(switchChecks, tunnelChecks, containerChecks, leaseChecks, dnsChecks, engineChecks, storeChecks)

var switchChecks = []check{
	{ids: []string{"switch-down"}, twice: true, run: (*exam).switchUp},
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
	var unknown error
	for _, p := range ports {
		if want.Ports[p.Name] != "" {
			continue
		}
		if p.Facts[ownerKey] == ownerName {
			if !want.Known {
				unknown = errUnknown
				continue
			}
			x.add(Finding{ID: "stale-port", Subject: p.Name, What: fmt.Sprintf("port %s is on the bridge %s and belongs to nothing", p.Name, bridge)})
			continue
		}
		x.add(Finding{
			ID: "foreign-port", Subject: p.Name, What: fmt.Sprintf("port %s on the bridge %s is not dockstack's", p.Name, bridge),
			Command: x.atSwitch("ovs-vsctl --db=unix:", socket, fmt.Sprintf(" del-port %s %s", bridge, quote(p.Name))),
		})
	}
	return unknown
}

// errUnknown keeps what may be a network's from being said to be nobody's.
var errUnknown = errors.New("the networks are not known while the store is not open")

// atSwitch is a command of Open vSwitch's that names a socket. Our own switch's
// programs are in the plugin alone, where the host's files are elsewhere; there
// it runs.
func (x *exam) atSwitch(before, socket, after string) string {
	if x.Root == "" || x.Fabric.Status().Origin == ovs.OriginHost {
		return before + x.onHost(socket) + after
	}
	return `nsenter -t "$(pgrep -of 'dockstack daemon')" -m ` + before + socket + after
}

// onHost is a path as the host has it.
func (x *exam) onHost(path string) string {
	if x.Root == "" {
		return path
	}
	return strings.TrimPrefix(path, strings.TrimSuffix(x.Root, "/"))
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
	return setPlugin(x.plugin(), settings...)
}

func setPlugin(plugin string, settings ...string) string {
	return "docker plugin disable -f " + plugin + " && docker plugin set " + plugin + " " + strings.Join(settings, " ") + " && docker plugin enable " + plugin
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
