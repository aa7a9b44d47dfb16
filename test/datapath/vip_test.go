package datapath

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dockstack/dockstack/internal/fabric"
)

const vip = "10.0.0.100"

func TestVIPMovesByGratuitousARP(t *testing.T) {
	w := newWorld(t)
	n := w.network(7, withVIPs(vip))
	a, b, c := w.container(n, "10.0.0.2"), w.container(n, "10.0.0.3"), w.container(n, "10.0.0.4")
	addr := netip.MustParseAddr(vip)
	for _, holder := range []*box{a, b, a} {
		holder.addAddr("eth0", netip.PrefixFrom(addr, 24))
		holder.wire().send(eth(broadcast, holder.ep.MAC, typeARP, arp{op: 1, sha: holder.ep.MAC, spa: vip, tpa: vip}.bytes()))
		if err := exchange(c, holder, addr, 1<<16); err != nil {
			t.Errorf("the VIP at %s: %v", holder.ep.Addrs[0], err)
		}
		if got := c.neighbour(addr); got.String() != holder.ep.MAC.String() {
			t.Errorf("the VIP is believed at %s, want %s", got, holder.ep.MAC)
		}
		holder.delAddr("eth0", netip.PrefixFrom(addr, 24))
	}
}

// A virtual MAC is learned from whoever uses it last, and only where VIPs are.
func TestVirtualMACMoves(t *testing.T) {
	w := newWorld(t)
	n := w.network(7, withVIPs(vip))
	a, b, c := w.container(n, "10.0.0.2"), w.container(n, "10.0.0.3"), w.container(n, "10.0.0.4")
	virtual := net.HardwareAddr{0, 0, 0x5e, 0, 1, 51}
	out := c.wire()
	for i, holder := range []*box{a, b} {
		holder.wire().send(eth(broadcast, virtual, typeARP, arp{op: 1, sha: virtual, spa: vip, tpa: vip}.bytes()))
		mark := fmt.Sprintf("to the virtual MAC %d", i)
		in, other := holder.wire(), []*box{b, a}[i].wire()
		w.await("the virtual MAC to be learned", func() bool {
			out.send(eth(virtual, c.ep.MAC, typeIPv4, ip4("10.0.0.4", vip, mark)))
			return in.sees(50*time.Millisecond, bears(mark)) != nil
		})
		for other.sees(50*time.Millisecond, bears(mark)) != nil {
			// Those sent before the move was learned.
		}
		out.send(eth(virtual, c.ep.MAC, typeIPv4, ip4("10.0.0.4", vip, "after "+mark)))
		if in.sees(patience, bears("after "+mark)) == nil || other.sees(silence, bears("after "+mark)) != nil {
			t.Errorf("%s: the frame didn't go to the holder alone", mark)
		}
	}
	// Learned flows outlive a resync.
	if err := w.sw.ChangeFlows(t.Context(), fabric.FlowChange{Reset: true}); err != nil {
		t.Fatal(err)
	}
	in := b.wire()
	w.await("the flows to be put back", func() bool {
		out.send(eth(virtual, c.ep.MAC, typeIPv4, ip4("10.0.0.4", vip, "after the resync")))
		return in.sees(50*time.Millisecond, bears("after the resync")) != nil
	})
}

// Debian's keepalived, with its own MAC and with the virtual one.
func TestKeepalivedFailsOver(t *testing.T) {
	keepalived, err := exec.LookPath("keepalived")
	if err != nil {
		if keepalived = "/usr/sbin/keepalived"; !exists(keepalived) {
			t.Fatal("keepalived is missing: run `make deps`")
		}
	}
	for _, mode := range []string{"", "use_vmac vrrp51"} {
		t.Run("mode "+mode, func(t *testing.T) {
			w := newWorld(t)
			n := w.network(7, withVIPs(vip))
			a, b, c := w.container(n, "10.0.0.2"), w.container(n, "10.0.0.3"), w.container(n, "10.0.0.4")
			stopA := a.keepalived(keepalived, mode, 100)
			b.keepalived(keepalived, mode, 90)
			addr := netip.MustParseAddr(vip)
			w.await("the first to take the VIP", func() bool { return a.holds(addr) && !b.holds(addr) })
			w.await("the VIP to be reached", func() bool { return exchange(c, a, addr, 1000) == nil })
			stopA()
			a.dropVIP(addr)
			began := time.Now()
			w.await("the second to take the VIP", func() bool { return b.holds(addr) })
			w.await("the VIP to be reached again", func() bool { return exchange(c, b, addr, 1000) == nil })
			t.Logf("reached again %s after the first was killed", time.Since(began).Round(10*time.Millisecond))
		})
	}
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

// keepalived starts it in the box and returns what kills it.
func (b *box) keepalived(path, mode string, priority int) (kill func()) {
	b.tb.Helper()
	dir := b.tb.TempDir()
	conf := filepath.Join(dir, "keepalived.conf")
	text := fmt.Sprintf(`vrrp_instance V1 {
 state BACKUP
 interface eth0
 %s
 virtual_router_id 51
 priority %d
 advert_int 1
 virtual_ipaddress { %s/24 }
}
`, mode, priority, vip)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		b.tb.Fatal(err)
	}
	var said strings.Builder
	cmd := exec.CommandContext(b.tb.Context(), path, "-n", "-l", "-P", "-f", conf,
		"-p", filepath.Join(dir, "pid"), "-r", filepath.Join(dir, "vrrp.pid"))
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	b.must(cmd.Start)
	var dead bool
	kill = func() {
		if dead {
			return
		}
		dead = true
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		_ = cmd.Wait()
		if b.tb.Failed() {
			b.tb.Logf("keepalived said:\n%s", said.String())
		}
	}
	b.tb.Cleanup(kill)
	return kill
}

// holds is whether the box has an address on any of its interfaces.
func (b *box) holds(a netip.Addr) bool {
	return len(b.links(a)) > 0
}

// links are the interfaces of a box that have an address.
func (b *box) links(a netip.Addr) []string {
	b.tb.Helper()
	all, err := b.nl.LinkList()
	if err != nil {
		b.tb.Fatal(err)
	}
	var out []string
	for _, l := range all {
		addrs, err := b.nl.AddrList(l, unix.AF_INET)
		if err != nil {
			b.tb.Fatal(err)
		}
		for _, have := range addrs {
			if got, _ := netip.AddrFromSlice(have.IP); got.Unmap() == a {
				out = append(out, l.Attrs().Name)
			}
		}
	}
	return out
}

// dropVIP does what the end of a container would: the address goes.
func (b *box) dropVIP(a netip.Addr) {
	for _, dev := range b.links(a) {
		b.delAddr(dev, netip.PrefixFrom(a, 24))
	}
}
