package doctor

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dockstack/dockstack/internal/fabric"
	"github.com/dockstack/dockstack/internal/link"
	"github.com/dockstack/dockstack/internal/ovs"
	"github.com/dockstack/dockstack/internal/ovs/ovstest"
)

// insideEnv marks the process that runs in namespaces of its own.
const insideEnv = "DOCKSTACK_TEST_INSIDE"

// apart runs the calling test again in a network, mount and process namespace of
// its own, and tells whether this is that run.
func apart(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideEnv) != "" {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
			t.Fatal(err)
		}
		return true
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("these tests need root, for namespaces: %v\n%s", err, out)
	}
	t.Logf("%s", out)
	return false
}

// real is a host of a real kernel, switch and fabric. What the engine and the
// store say is the world's.
type real struct {
	*world
	*testing.T
	Host
	cfg ovs.Config
	sw  *ovs.Switch
	fab *fabric.Fabric
	m   *link.Manager
	far string // the pid of a process in the other host's namespace
}

type realKernel struct{ *real }

func (realKernel) KernelDatapath() (bool, error)        { return link.KernelDatapath() }
func (k realKernel) KernelDatapathInUse() (bool, error) { return k.m.KernelDatapathInUse() }
func (k realKernel) Supports(kind string) (bool, error) { return k.m.Supports(kind) }
func (realKernel) RedirectMissing(r link.Redirect) (string, error) {
	return link.RedirectMissing(r)
}
func (realKernel) Tun() error { return nil }

type realTunnels struct{ *link.Manager }

func (realTunnels) ProbePath(ctx context.Context, from, to netip.Addr, size int) (link.Path, error) {
	return link.ProbePath(ctx, from, to, size)
}

func (realTunnels) Bound(protocol string, port uint16) ([]netip.Addr, error) {
	return link.Bound(protocol, port)
}

type realFabric struct {
	*fabric.Fabric
	w *world
}

func (f realFabric) Networks() []fabric.Network { return f.w.nets }

// redirect is what DNS has the kernel do.
func (r *real) redirect() link.Redirect { return link.Redirect{Addrs: r.asked, From: 53, To: 15053} }

func (r *real) ServeDNS(context.Context) error { return link.PutRedirect(r.redirect()) }

func (r *real) Drop(ctx context.Context, id string) error { return r.fab.Detach(ctx, id) }

// run runs a program here.
func (r *real) run(words ...string) {
	r.Helper()
	if out, err := exec.CommandContext(r.Context(), words[0], words[1:]...).CombinedOutput(); err != nil {
		r.Fatalf("%v (make deps installs it): %v: %s", words, err, out)
	}
}

// there runs a program on the other host.
func (r *real) there(words ...string) {
	r.Helper()
	r.run(append([]string{"nsenter", "-t", r.far, "-n"}, words...)...)
}

// newReal joins two hosts by a switch. This one has a network with a container.
func newReal(t *testing.T) *real {
	t.Helper()
	w, h := newWorld(t)
	r := &real{world: w, T: t, Host: h}
	other := exec.CommandContext(t.Context(), "unshare", "-n", "sleep", "100")
	other.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Process.Kill(); _ = other.Wait() })
	r.far = fmt.Sprint(other.Process.Pid)
	self, _ := os.Readlink("/proc/self/ns/net")
	for range 500 { // until it has its own
		if there, err := os.Readlink("/proc/" + r.far + "/ns/net"); err == nil && there != self {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	for _, line := range []string{
		"ip link set lo up", "ip link add wires type bridge", "ip link add eth0 type veth peer name p0", "ip link add p1 type veth peer name eth1 netns " + r.far,
		"ip link set p0 master wires up", "ip link set p1 master wires up", "ip link set wires up", "ip addr add 192.0.2.1/24 dev eth0", "ip link set eth0 up",
	} {
		r.run(strings.Fields(line)...)
	}
	r.there("ip", "addr", "add", "192.0.2.2/24", "dev", "eth1")
	r.there("ip", "link", "set", "eth1", "up")

	log := ovstest.Log(t)
	var err error
	if r.m, err = link.Open(log); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.m.Close)
	r.cfg = ovstest.Config(t)
	r.sw = ovs.New(r.cfg, ovstest.Probe(r.m), log)
	mac := func(a netip.Addr) net.HardwareAddr { b := a.As4(); return append(net.HardwareAddr{2, 0x42}, b[:]...) }
	r.fab = fabric.New(fabric.Config{MAC: mac, Tunnel: fabric.TunnelKernel, AuditEvery: time.Hour, DeleteDelay: time.Millisecond}, r.sw, r.m, log)
	for _, run := range []func(context.Context) error{r.sw.Run, r.fab.Run} {
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() { _ = run(ctx) })
		t.Cleanup(func() { cancel(); wg.Wait() })
	}
	ctx, cancel := context.WithTimeout(t.Context(), ovstest.Scale(20*time.Second))
	defer cancel()
	r.fab.SetUnderlay(fabric.Underlay{VTEP: vtep, Port: 14789, Peers: []fabric.Peer{{ID: peerB.ID, VTEP: peerB.VTEP}}})
	ep := fabric.Endpoint{ID: "e1", Network: "n1", MAC: mac(webAt), Addrs: []netip.Addr{webAt}}
	if err := r.fab.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	if err := r.fab.PutNetwork(ctx, w.nets[0]); err != nil {
		t.Fatal(err)
	}
	peer, err := r.fab.Attach(ctx, ep)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.fab.Settle(ctx, ep.ID); err != nil {
		t.Fatal(err)
	}
	r.run("ip", "link", "set", peer, "netns", r.far) // the container is there, for all that matters
	if err := r.ServeDNS(ctx); err != nil {
		t.Fatal(err)
	}
	w.status.Datapath = ""
	r.Fabric, r.Switch, r.Links, r.Kernel, r.Tunnels, r.Mender = realFabric{r.fab, w}, r.sw, r.m, realKernel{r}, realTunnels{r.m}, r
	return r
}

// says are the IDs of what is found, but for what is so on the machine that the
// test runs on.
func (r *real) says() []string {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
	defer cancel()
	var out []string
	for _, f := range bad(Check(ctx, r.Host)) {
		if f.ID == "userspace-datapath" || f.ID == "dns-shadowed" { // the test's DNS server is no redirection's
			continue
		}
		r.Logf("%s %s: %s # %s", f.Severity, f.ID, f.What, f.Command)
		out = append(out, f.ID)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (r *real) expect(what string, ids ...string) {
	r.Helper()
	slices.Sort(ids)
	if got := r.says(); !slices.Equal(got, ids) {
		r.Errorf("%s: found %v, want %v", what, got, ids)
	}
}

// Real faults on a real switch and kernel: each is named, and mended.
func TestRealFaults(t *testing.T) {
	if !apart(t) {
		return
	}
	r := newReal(t)
	r.expect("a host as it should be")
	fix := func(what string) {
		r.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), ovstest.Scale(20*time.Second))
		defer cancel()
		for _, res := range Fix(ctx, r.Host, nil) {
			if res.Error != "" {
				t.Errorf("fix: %+v", res)
			}
		}
		r.expect(what)
	}
	ofctl := func(words ...string) {
		r.Helper()
		if out, err := r.cfg.Run(t.Context(), "ovs-ofctl", append([]string{"-OOpenFlow15"}, words...)...); err != nil {
			t.Fatalf("%v: %v: %s", words, err, out)
		}
	}

	ofctl("add-flow", "dockstack0", "cookie=0xd500000000000009,table=77,actions=drop")
	ofctl("del-flows", "dockstack0", "table=30")
	r.expect("flows changed", "missing-flow", "stale-flow")
	fix("flows put back")

	r.run("ip", "link", "add", "dse0000000dead", "type", "veth", "peer", "name", "gone")
	r.run("ip", "link", "set", "dse0000000dead", "alias", "dockstack:1:endpoint old n1 7 02:42:ac:10:00:09 172.16.0.9")
	if _, err := r.sw.ChangePorts(t.Context(), nil, []fabric.PortSpec{{Name: "dse0000000dead", Number: 99, Facts: map[string]string{"owner": "dockstack", "dockstack-endpoint": "old"}}}); err != nil {
		t.Fatal(err)
	}
	r.expect("a port and a link of nobody's", "stale-link", "stale-port")
	fix("they are gone")

	r.wantedLinks(func(name, what string) {
		if !strings.HasPrefix(what, "endpoint") {
			r.run("ip", "link", "set", name, "down")
		} else {
			r.run("ip", "link", "set", name, "mtu", "1300")
		}
	})
	r.expect("links set down and made smaller", "link-down", "link-mtu")
	fix("they are as before")

	r.run("nft", "flush", "ruleset")
	r.run("ip", "rule", "del", "pref", "4854")
	r.expect("rules flushed", "dns-redirect", "filter-missing", "gateway-missing")
	fix("rules put back")

	r.run("ip", "link", "add", "theirs", "type", "veth", "peer", "name", "theirs1")
	if out, err := r.cfg.Run(t.Context(), "ovs-vsctl", "add-port", "dockstack0", "theirs"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ofctl("add-flow", "dockstack0", "cookie=0x7,table=79,actions=NORMAL")
	ofctl("add-flow", "dockstack0", "table=0,actions=drop")
	r.expect("somebody else's things", "foreign-flow", "foreign-port")
	r.isError("foreign-flow")
	r.mendByCommands()
	r.expect("somebody else's things, by the printed commands")

	r.run("ip", "link", "set", "p1", "mtu", "1400") // what leads to the other host takes less
	r.expect("a smaller link on the way", "path-mtu")
	r.run("ip", "link", "set", "p1", "mtu", "1500")
	r.there("ip", "addr", "del", "192.0.2.2/24", "dev", "eth1")
	r.run("ip", "neigh", "flush", "dev", "eth0") // else it takes the kernel a little longer
	r.expect("nobody at its address", "path-down")
	r.there("ip", "addr", "add", "192.0.2.2/24", "dev", "eth1")
	r.run("iptables-nft", "-A", "INPUT", "-p", "udp", "--dport", "14789", "-j", "DROP")
	r.expect("a firewall", "firewall")
	r.run("sh", "-c", strings.ReplaceAll(r.command("firewall"), "iptables ", "iptables-nft "))
	r.expect("the firewall, by the printed command")

	// The tunnels are moved to a port that a program has.
	c, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "192.0.2.1:14790")
	if err != nil {
		t.Fatal(err)
	}
	r.Port = 14790
	r.fab.SetUnderlay(fabric.Underlay{VTEP: vtep, Port: 14790, Peers: []fabric.Peer{{ID: peerB.ID, VTEP: peerB.VTEP}}})
	r.awaitTunnel(func(s fabric.Status) bool { return s.Tunnel.LastError != "" })
	if got := r.says(); !slices.Contains(got, "port-clash") || !slices.Contains(got, "tunnel-fault") {
		t.Errorf("a program on the port: found %v", got)
	}
	_ = c.Close()
	fix("the port is free again")

	r.wantedLinks(func(name, what string) {
		if strings.HasPrefix(what, "endpoint") {
			r.run("ip", "link", "del", name)
		}
	})
	r.expect("a container's link removed", "cut-off")
}

// wantedLinks calls fn with the links that are to be up, and what each is for.
func (r *real) wantedLinks(fn func(name, what string)) {
	r.Helper()
	w, err := r.fab.Wanted(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	for name := range w.Raised {
		fn(name, w.Ports[name])
	}
}

func (r *real) awaitTunnel(so func(fabric.Status) bool) {
	r.Helper()
	for range 200 {
		if so(r.fab.Status()) {
			return
		}
		time.Sleep(ovstest.Scale(20 * time.Millisecond))
	}
	r.Fatalf("waited in vain: %+v", r.fab.Status().Tunnel)
}

// command is what a finding says to do.
func (r *real) command(id string) string {
	r.Helper()
	for _, f := range bad(Check(r.Context(), r.Host)) {
		if f.ID == id {
			return f.Command
		}
	}
	r.Fatalf("%s is not found", id)
	return ""
}

// mendByCommands does what the findings print, with Open vSwitch's programs where
// this machine has them.
func (r *real) mendByCommands() {
	r.Helper()
	for _, f := range bad(Check(r.Context(), r.Host)) {
		for command := range strings.SplitSeq(f.Command, " && ") {
			_, command, inside := strings.Cut(command, " -m ") // this process is the daemon
			program, rest, _ := strings.Cut(command, " ")
			if !inside || !strings.HasPrefix(program, "ovs-") {
				continue
			}
			words := strings.Fields(rest)
			if program == "ovs-vsctl" {
				words = words[1:] // the database, which Run names itself
			}
			if out, err := r.cfg.Run(r.Context(), program, words...); err != nil {
				r.Errorf("%s: %v: %s", f.Command, err, out)
			}
		}
	}
}

// isError fails the test unless a finding is one.
func (r *real) isError(id string) {
	r.Helper()
	for _, f := range bad(Check(r.Context(), r.Host)) {
		if f.ID == id && f.Severity != Error {
			r.Errorf("%s is a %s: %s", id, f.Severity, f.What)
		}
	}
}
