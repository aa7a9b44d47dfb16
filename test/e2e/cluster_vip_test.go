package e2e

import (
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestKeepalivedAcrossHosts: Debian's keepalived on two hosts; when the
// holder is killed, the VIP answers to a third host's container, and again
// when it is back.
func TestKeepalivedAcrossHosts(t *testing.T) {
	c := newCluster(t)
	c.create("net", "--subnet", "172.30.0.0/24", "-o", "dockstack.vip="+vip)
	for _, h := range c.hosts[:2] {
		h.importKeepalived()
	}
	c.h3.serve("client", "net")
	c.h1.keepalived("main", 150, "")
	c.h2.keepalived("spare", 100, "")
	addr := netip.MustParseAddr(vip)
	c.h3.reaches("client", "main", addr, 20*time.Second)
	for _, way := range []struct {
		what string
		fall func()
	}{
		{"its container was killed", func() { c.h1.docker("kill", "main") }},
		{"its container was stopped", func() { c.h1.stop("main") }},
		{"its host was cut off", func() { c.check(c.h1.Cut(c.h1.ctx())) }},
	} {
		way.fall()
		// keepalived itself needs 3 of its signs of life, of a second each, and
		// its priority's skew: 3.6 s.
		gap := c.h3.reaches("client", "spare", addr, 8*time.Second)
		t.Logf("%s: the VIP answers on h3 after %.2f s", way.what, gap.Seconds())
		c.check(c.h1.Mend(c.h1.ctx()))
		c.h1.docker("start", "main")
		c.h1.docker("exec", "-d", "main", "/standin", "serve", port)
		t.Logf("and from its first holder again after %.2f s", c.h3.reaches("client", "main", addr, 20*time.Second).Seconds())
	}
}

// TestVIPByNameAcrossHosts: hosts that make the network at the same moment have one address for a name, and a host that
// removes the network and makes it again, or was off, has the same.
func TestVIPByNameAcrossHosts(t *testing.T) {
	c := newCluster(t)
	args := []string{"network", "create", "-d", "dockstack", "--ipam-driver", "dockstack", "--subnet", "172.30.0.0/24", "-o", "dockstack.vip=vip1", "net"}
	t.Cleanup(func() {
		c.clean()
		_, _ = c.h1.Exec(c.h1.ctx(), operatorCommand, "release", "vip1") // it may be gone
	})
	c.atOnce(func(h *host) error { _, err := h.Docker(h.ctx(), args...); return err })
	got := addresses(c.h1.ask(hostDNS, "vip1", dns.TypeA))
	if len(got) != 1 {
		t.Fatalf("vip1 is %v", got)
	}
	same := func(what string) {
		t.Helper()
		c.each(func(h *host) { h.is("vip1.net.dockstack", got...) })
		t.Logf("%s: vip1 is %s on all hosts", what, got[0])
	}
	same("at first")
	for _, h := range c.hosts {
		h.serve("on-"+h.Name, "net", "--cap-add", "NET_ADMIN")
	}
	for _, h := range []*host{c.h1, c.h2} {
		name := "on-" + h.Name
		dev := h.device(name, h.ipv4(name, "net")).Name
		h.does(name, "ip", "addr", "add", got[0]+"/24", "dev", dev)
		_, _ = h.within(name, "arping", "-U", "-c", "1", "-w", "1", "-I", dev, got[0]) // nobody answers: that is an error to it
		c.h3.reaches("on-h3", name, netip.MustParseAddr(got[0]), 5*time.Second)
		h.does(name, "ip", "addr", "del", got[0]+"/24", "dev", dev)
	}
	c.h2.refused([]string{"run", "--rm", "--name", "vip1", "--network", "net", standin}, "virtual address")
	c.h1.docker("rm", "-f", "on-h1")
	c.h1.docker("network", "rm", "net")
	same("removed on one host")
	c.h1.docker(args...)
	c.check(c.h2.Reboot(c.h2.ctx()))
	c.h2.dnsUp()
	same("made again on one host, and another rebooted")
}

// TestVIPMovesAcrossHosts: an address that a network allows to all goes from
// host to host by gratuitous ARP, at once.
func TestVIPMovesAcrossHosts(t *testing.T) {
	c := newCluster(t)
	c.create("net", "--subnet", "172.30.0.0/24", "-o", "dockstack.vip="+vip)
	for _, h := range c.hosts {
		h.serve("on-"+h.Name, "net", "--cap-add", "NET_ADMIN")
	}
	for _, h := range []*host{c.h1, c.h2, c.h1} {
		name := "on-" + h.Name
		dev := h.device(name, h.ipv4(name, "net")).Name
		pid := h.docker("inspect", "-f", "{{.State.Pid}}", name)
		h.does(name, "ip", "addr", "add", vip+"/24", "dev", dev)
		announced := make(chan struct{})
		go func() {
			defer close(announced)
			// It waits for a while for answers, which nobody gives: that is an error to it.
			_, _ = h.Exec(t.Context(), "nsenter", "-n", "-t", pid, "arping", "-U", "-c", "1", "-w", "1", "-I", dev, vip)
		}()
		t.Logf("h3 reaches the VIP on %s %s after its announcement began", h.Name,
			c.h3.reaches("on-h3", name, netip.MustParseAddr(vip), 5*time.Second).Round(time.Millisecond))
		<-announced
		h.does(name, "ip", "addr", "del", vip+"/24", "dev", dev)
	}
}
