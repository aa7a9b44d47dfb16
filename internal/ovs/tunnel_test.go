package ovs_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
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
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("these tests need root, for namespaces: %v\n%s", err, out)
	}
	t.Logf("%s", out)
	return false
}

// host is a fabric on a real switch and a real kernel.
type host struct {
	*testing.T
	cfg ovs.Config
	sw  *ovs.Switch
	fab *fabric.Fabric
}

func newHost(t *testing.T, tunnel string) *host {
	t.Helper()
	return newHostAuditing(t, tunnel, time.Second)
}

func newHostAuditing(t *testing.T, tunnel string, every time.Duration) *host {
	t.Helper()
	log := ovstest.Log(t)
	links, err := link.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(links.Close)
	h := &host{T: t, cfg: ovstest.Config(t)}
	h.sw = ovs.New(h.cfg, ovstest.Probe(links), log)
	h.fab = fabric.New(fabric.Config{MAC: macOf, Tunnel: tunnel, AuditEvery: every, DeleteDelay: time.Millisecond}, h.sw, links, log)
	for _, run := range []func(context.Context) error{h.sw.Run, h.fab.Run} {
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() { _ = run(ctx) })
		t.Cleanup(func() { cancel(); wg.Wait() })
	}
	h.await("the switch", func(st fabric.Status) bool { return st.Up })
	return h
}

func (h *host) await(what string, so func(fabric.Status) bool) {
	h.Helper()
	deadline := time.Now().Add(ovstest.Scale(15 * time.Second))
	for !so(h.fab.Status()) {
		if time.Now().After(deadline) {
			h.Fatalf("waited in vain for %s: %+v", what, h.fab.Status())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// trace is what would become of a frame.
func (h *host) trace(frame string, options ...string) string {
	h.Helper()
	args := append([]string{"-t", filepath.Join(h.cfg.RunDir, "ovs-vswitchd.ctl"), "ofproto/trace", "dockstack0", frame}, options...)
	out, err := h.cfg.Run(h.Context(), "ovs-appctl", args...)
	if err != nil {
		h.Fatalf("trace %s: %v", frame, err)
	}
	return string(out)
}

func (h *host) port(name string) int {
	h.Helper()
	ports, err := h.sw.Ports(h.Context())
	if err != nil {
		h.Fatal(err)
	}
	for _, p := range ports {
		if strings.HasPrefix(p.Name, name) && p.Error == "" {
			return p.Number
		}
	}
	h.Fatalf("no port %s in %+v", name, ports)
	return 0
}

func macOf(a netip.Addr) net.HardwareAddr {
	b := a.AsSlice()
	return append(net.HardwareAddr{2, 0x42}, b[len(b)-4:]...)
}

// underlay of a family with so many other hosts, and where each is.
func underlay(family string, hosts int) fabric.Underlay {
	at := func(i int) netip.Addr {
		if family == "IPv6" {
			return netip.AddrFrom16([16]byte{0: 0x20, 1: 1, 14: byte(i >> 8), 15: byte(i)})
		}
		return netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})
	}
	u := fabric.Underlay{VTEP: at(1), Port: 14789}
	for i := range hosts {
		u.Peers = append(u.Peers, fabric.Peer{ID: fmt.Sprintf("host%d", i), VTEP: at(i + 2)})
	}
	return u
}

// remotes of a network: one container on each host.
func remotes(hosts int) fabric.RemoteChange {
	c := fabric.RemoteChange{VNI: 7, Whole: true}
	for i := range hosts {
		a := netip.AddrFrom4([4]byte{10, 0, 1 + byte(i>>8), byte(i)})
		b := netip.AddrFrom16([16]byte{0: 0xfd, 13: 1, 14: byte(i >> 8), 15: byte(i)})
		for _, addr := range []netip.Addr{a, b} {
			c.Set = append(c.Set, fabric.Remote{Addr: addr, MAC: [6]byte(macOf(a)), Host: fmt.Sprintf("host%d", i)})
		}
	}
	return c
}

// begin puts a network with all that a network may have, and a container.
func (h *host) begin() {
	h.Helper()
	n := fabric.Network{
		ID: "net", VNI: 7, MTU: 1450,
		Gateways: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/16"), netip.MustParsePrefix("fd00::1/64")},
		VIPs:     []netip.Addr{netip.MustParseAddr("10.0.0.100"), netip.MustParseAddr("fd00::100")},
	}
	if err := h.fab.PutNetwork(h.Context(), n); err != nil {
		h.Fatal(err)
	}
	a := netip.MustParseAddr("10.0.0.2")
	ep := fabric.Endpoint{ID: "ep", Network: n.ID, MAC: macOf(a), Addrs: []netip.Addr{a, netip.MustParseAddr("fd00::2")}}
	if _, err := h.fab.Attach(h.Context(), ep); err != nil {
		h.Fatal(err)
	}
	if err := h.fab.Settle(h.Context(), ep.ID); err != nil {
		h.Fatal(err)
	}
}

// The switch takes every flow of both tunnels over both families, also where a
// flood goes to more hosts than one flow can have.
func TestEveryFlowIsAccepted(t *testing.T) {
	if !apart(t) {
		return
	}
	const hosts = 600
	for _, tunnel := range []string{fabric.TunnelFlow, fabric.TunnelKernel} {
		for _, family := range []string{"IPv4", "IPv6"} {
			t.Run(tunnel+" "+family, func(t *testing.T) {
				h := newHost(t, tunnel)
				h.begin()
				h.fab.ChangeRemotes([]fabric.RemoteChange{remotes(hosts)})
				h.fab.SetUnderlay(underlay(family, hosts))
				each := 5
				if tunnel == fabric.TunnelKernel && ovstest.Datapath() == ovs.DatapathKernel {
					each = 4 // no flow for a peer, nor one that answers a solicitation
				}
				h.await("the flows", func(st fabric.Status) bool { return st.Tunnel.Flows > each*hosts && st.LastError == "" })
				st := h.fab.Status()
				if n, err := h.sw.FlowCount(t.Context(), fabric.FarFlows); err != nil || n != st.Tunnel.Flows {
					t.Errorf("%d flows about other hosts, %v; the fabric counts %d", n, err, st.Tunnel.Flows)
				}
				if st.Tunnel.Kind != tunnel || st.Tunnel.Peers != hosts || st.Tunnel.Remotes != 2*hosts || len(st.Tunnel.Faults) > 0 {
					t.Errorf("status %+v", st.Tunnel)
				}
				// One address less and one host less.
				h.fab.ChangeRemotes([]fabric.RemoteChange{{VNI: 7, Gone: []netip.Addr{remotes(1).Set[1].Addr}}})
				h.fab.SetUnderlay(underlay(family, hosts-1))
				h.await("the change", func(now fabric.Status) bool {
					return now.Tunnel.Peers == hosts-1 && now.LastError == "" && now.Tunnel.Flows < st.Tunnel.Flows
				})
				n, err := h.sw.FlowCount(t.Context(), fabric.FarFlows)
				if now := h.fab.Status().Tunnel.Flows; err != nil || n != now {
					t.Errorf("%d flows about other hosts after a change, %v; the fabric counts %d", n, err, now)
				}
			})
		}
	}
}

// What the flow tunnel's flows do with frames, as the switch itself tells.
func TestFlowTunnelForwards(t *testing.T) {
	if !apart(t) {
		return
	}
	h := newHost(t, fabric.TunnelFlow)
	h.begin()
	h.fab.ChangeRemotes([]fabric.RemoteChange{remotes(2)})
	h.fab.SetUnderlay(underlay("IPv4", 3)) // the third has no container of the network
	h.await("the flows", func(st fabric.Status) bool { return st.Tunnel.Flows > 0 && st.LastError == "" })
	tun, gate, container := h.port("dstunnel"), h.port("dsg"), h.port("dse")
	for _, c := range []struct {
		name, frame string
		want, not   []string
	}{
		{"to a container elsewhere", "in_port=%[1]d,ip,dl_src=02:42:0a:00:00:02,dl_dst=02:42:0a:00:01:01,nw_src=10.0.0.2,nw_dst=10.0.1.1", []string{"set_field:198.18.0.3->tun_dst", "set_field:0x7->tun_id", "output:%[3]d"}, []string{"198.18.0.2"}},
		{"to a MAC that nobody has", "in_port=%[1]d,ip,dl_src=02:42:0a:00:00:02,dl_dst=02:42:0a:00:01:77,nw_src=10.0.0.2,nw_dst=10.0.1.77", nil, []string{"output:", "tun_dst"}},
		{"to all", "in_port=%[1]d,ip,dl_src=02:42:0a:00:00:02,dl_dst=ff:ff:ff:ff:ff:ff,nw_src=10.0.0.2,nw_dst=255.255.255.255", []string{"set_field:198.18.0.2->tun_dst", "set_field:198.18.0.3->tun_dst", "output:%[2]d"}, []string{"198.18.0.4"}},
		{"a question for an address elsewhere", "in_port=%[1]d,arp,dl_src=02:42:0a:00:00:02,dl_dst=ff:ff:ff:ff:ff:ff,arp_op=1,arp_sha=02:42:0a:00:00:02,arp_spa=10.0.0.2,arp_tpa=10.0.1.1", []string{"set_field:02:42:0a:00:01:01->eth_src", "IN_PORT"}, []string{"tun_dst"}},
		{"from the gateway to a container elsewhere", "in_port=%[2]d,ip,dl_src=02:42:0a:00:00:01,dl_dst=02:42:0a:00:01:01,nw_src=10.0.0.1,nw_dst=10.0.1.1", nil, []string{"tun_dst", "output:"}},
		{"from the gateway to all", "in_port=%[2]d,ip,dl_src=02:42:0a:00:00:01,dl_dst=ff:ff:ff:ff:ff:ff,nw_src=10.0.0.1,nw_dst=255.255.255.255", []string{"output:%[1]d"}, []string{"tun_dst"}},
		{"in, to a container here", "in_port=%[3]d,tun_src=198.18.0.2,tun_dst=198.18.0.1,tun_id=7,ip,dl_src=02:42:0a:00:01:00,dl_dst=02:42:0a:00:00:02,nw_src=10.0.1.0,nw_dst=10.0.0.2", []string{"output:%[1]d"}, nil},
		{"in, of another network", "in_port=%[3]d,tun_src=198.18.0.2,tun_dst=198.18.0.1,tun_id=8,ip,dl_src=02:42:0a:00:01:00,dl_dst=02:42:0a:00:00:02,nw_src=10.0.1.0,nw_dst=10.0.0.2", nil, []string{"output:"}},
		{"in, from a stranger", "in_port=%[3]d,tun_src=198.18.9.9,tun_dst=198.18.0.1,tun_id=7,ip,dl_src=02:42:0a:00:01:00,dl_dst=02:42:0a:00:00:02,nw_src=10.0.1.0,nw_dst=10.0.0.2", nil, []string{"output:"}},
		{"in, to all", "in_port=%[3]d,tun_src=198.18.0.2,tun_dst=198.18.0.1,tun_id=7,ip,dl_src=02:42:0a:00:01:00,dl_dst=ff:ff:ff:ff:ff:ff,nw_src=10.0.1.0,nw_dst=255.255.255.255", []string{"output:%[1]d", "output:%[2]d"}, []string{"output:%[3]d", "->tun_dst"}},
		{"in, as the gateway", "in_port=%[3]d,tun_src=198.18.0.2,tun_dst=198.18.0.1,tun_id=7,ip,dl_src=02:42:0a:00:00:01,dl_dst=02:42:0a:00:00:02,nw_src=10.0.1.0,nw_dst=10.0.0.2", nil, []string{"output:"}},
		{"in, claiming the gateway's address", "in_port=%[3]d,tun_src=198.18.0.2,tun_dst=198.18.0.1,tun_id=7,arp,dl_src=02:42:0a:00:01:00,dl_dst=ff:ff:ff:ff:ff:ff,arp_op=2,arp_spa=10.0.0.1,arp_tpa=10.0.0.2", nil, []string{"output:"}},
		{"in, to a container elsewhere", "in_port=%[3]d,tun_src=198.18.0.2,tun_dst=198.18.0.1,tun_id=7,ip,dl_src=02:42:0a:00:01:00,dl_dst=02:42:0a:00:01:01,nw_src=10.0.1.0,nw_dst=10.0.1.1", nil, []string{"output:", "->tun_dst"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := h.trace(numbered(c.frame, container, gate, tun))
			for _, w := range c.want {
				if w = numbered(w, container, gate, tun); !strings.Contains(out, w) {
					t.Errorf("no %s in\n%s", w, out)
				}
			}
			for _, w := range c.not {
				if w = numbered(w, container, gate, tun); strings.Contains(out, w) {
					t.Errorf("%s in\n%s", w, out)
				}
			}
		})
	}
}

// A virtual MAC is reached where it was seen last, also on another host.
func TestFlowTunnelLearnsVirtualMACs(t *testing.T) {
	if !apart(t) {
		return
	}
	for family, c := range map[string]struct{ src, field, to string }{
		"IPv4": {"tun_src", "198.18.0.%d", "NXM_NX_REG2[]->NXM_NX_TUN_IPV4_DST[]"},
		"IPv6": {"tun_ipv6_src", "2001::%d", "NXM_NX_XXREG1[]->NXM_NX_TUN_IPV6_DST[]"},
	} {
		t.Run(family, func(t *testing.T) {
			h := newHost(t, fabric.TunnelFlow)
			h.begin()
			h.fab.ChangeRemotes([]fabric.RemoteChange{remotes(2)})
			h.fab.SetUnderlay(underlay(family, 2))
			h.await("the flows", func(st fabric.Status) bool { return st.Tunnel.Flows > 0 && st.LastError == "" })
			tun, gate, container := h.port("dstunnel"), h.port("dsg"), h.port("dse")
			const virtual = "00:00:5e:00:01:33"
			toVirtual := func(port int, number int) string {
				return h.trace(fmt.Sprintf("in_port=%d,ip,dl_src=02:42:0a:00:00:0%d,dl_dst=%s,nw_src=10.0.0.%d,nw_dst=10.0.0.100", port, number, virtual, number))
			}
			if out := toVirtual(container, 2); strings.Contains(out, "output:") {
				t.Errorf("a virtual MAC that was never seen is reached:\n%s", out)
			}
			h.trace(fmt.Sprintf("in_port=%d,%s="+c.field+",tun_id=7,arp,dl_src=%s,dl_dst=ff:ff:ff:ff:ff:ff,arp_op=1,arp_spa=10.0.0.100,arp_tpa=10.0.0.100",
				tun, c.src, 2, virtual), "-generate")
			out := toVirtual(container, 2)
			if !strings.Contains(out, c.to) || !strings.Contains(out, fmt.Sprintf("output:%d", tun)) {
				t.Errorf("want it on the other host:\n%s", out)
			}
			if out := toVirtual(gate, 1); strings.Contains(out, "output:") {
				t.Errorf("the gateway's frames go to another host:\n%s", out)
			}
			h.trace(fmt.Sprintf("in_port=%d,arp,dl_src=%s,dl_dst=ff:ff:ff:ff:ff:ff,arp_op=1,arp_sha=%s,arp_spa=10.0.0.100,arp_tpa=10.0.0.100",
				container, virtual, virtual), "-generate")
			if out := toVirtual(gate, 1); !strings.Contains(out, "output:NXM_NX_REG1[0..15]") || strings.Contains(out, "TUN_IPV") {
				t.Errorf("want it on this host after it has moved here:\n%s", out)
			}
		})
	}
}

// numbered fills port numbers in.
func numbered(text string, ports ...int) string {
	for i, p := range ports {
		text = strings.ReplaceAll(text, fmt.Sprintf("%%[%d]d", i+1), fmt.Sprint(p))
	}
	return text
}
