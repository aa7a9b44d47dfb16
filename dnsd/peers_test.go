package dnsd

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// peer is another DNS server, which runs until the test ends.
type peer struct {
	name string
	addr netip.AddrPort
	pid  int
}

// program is how a peer is started.
type program struct {
	name string
	path string
	args []string
	// probe is a question that it answers with a record once it is up.
	probe string
}

// run starts p, which is to listen on addr, and waits until it answers.
func (p program) run(tb testing.TB, addr netip.AddrPort) peer {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), p.path, p.args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	client := dns.Client{Timeout: 100 * time.Millisecond}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if r, _, err := client.ExchangeContext(tb.Context(), query1(tb, p.probe), addr.String()); err == nil && len(r.Answer) > 0 {
			return peer{name: p.name, addr: addr, pid: cmd.Process.Pid}
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	tb.Fatalf("%s does not answer %s: %s", p.name, p.probe, said.Bytes())
	return peer{}
}

// probeOf is a question about h.
func probeOf(h Host) string {
	if h.Addr.Is6() {
		return h.Name + ".dockstack AAAA"
	}
	return h.Name + ".dockstack A"
}

// hostsFile is names as /etc/hosts has them.
func hostsFile(names []Host) []byte {
	var file bytes.Buffer
	for _, h := range names {
		fmt.Fprintf(&file, "%s %s.dockstack\n", h.Addr, h.Name)
	}
	return file.Bytes()
}

// dnsmasqWith is Debian's dnsmasq with names.
func dnsmasqWith(tb testing.TB, names []Host) peer {
	tb.Helper()
	return startDnsmasq(tb, probeOf(names[len(names)-1]),
		"--local=/dockstack/", "--addn-hosts="+writeFile(tb, tb.TempDir(), "hosts", hostsFile(names)))
}

// startDnsmasq runs Debian's dnsmasq with more arguments.
func startDnsmasq(tb testing.TB, probe string, args ...string) peer {
	tb.Helper()
	addr := freePort(tb)
	return program{
		name: "dnsmasq", path: need(tb, "dnsmasq"), probe: probe,
		args: append([]string{
			"--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root",
			"--pid-file=", "--bind-interfaces", "--listen-address=" + addr.Addr().String(),
			"--port=" + strconv.Itoa(int(addr.Port())), "--local-ttl=5",
		}, args...),
	}.run(tb, addr)
}

// coreDNSWith is CoreDNS with names, in the fastest way that it has for them:
// its hosts plugin answers more than its file plugin, with or without a cache
// before it, and a socket for each core more than one.
func coreDNSWith(tb testing.TB, names []Host) peer {
	tb.Helper()
	hosts := writeFile(tb, tb.TempDir(), "hosts", hostsFile(names))
	return startCoreDNS(tb, probeOf(names[len(names)-1]), func(addr netip.AddrPort) string {
		return fmt.Sprintf(`.:%d {
	bind %s
	multisocket %d
	hosts %s dockstack 10.in-addr.arpa {
		ttl 5
		reload 0
	}
}
`, addr.Port(), addr.Addr(), runtime.NumCPU(), hosts)
	})
}

// startCoreDNS runs the CoreDNS that the Makefile builds, with the Corefile
// that is made for its address.
func startCoreDNS(tb testing.TB, probe string, corefile func(netip.AddrPort) string) peer {
	tb.Helper()
	path, err := filepath.Abs("../build/engine/bin/coredns")
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		tb.Fatalf("CoreDNS is missing; build it with: make coredns: %v", err)
	}
	addr := freePort(tb)
	conf := writeFile(tb, tb.TempDir(), "Corefile", []byte(corefile(addr)))
	return program{name: "CoreDNS", path: path, probe: probe, args: []string{"-conf", conf}}.run(tb, addr)
}

// need is where a program is that `make deps` installs.
func need(tb testing.TB, program string) string {
	tb.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		// Debian keeps daemons where an ordinary user's PATH does not look.
		path = filepath.Join("/usr/sbin", program)
		if _, err := os.Stat(path); err != nil {
			tb.Fatalf("%s is missing; install it with: make deps", program)
		}
	}
	return path
}

func writeFile(tb testing.TB, dir, name string, text []byte) string {
	tb.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, text, 0o644); err != nil {
		tb.Fatal(err)
	}
	return path
}

// freePort is an address of this host that nobody listens on.
func freePort(tb testing.TB) netip.AddrPort {
	tb.Helper()
	c, l := bothSockets(tb)
	defer func() { _, _ = c.Close(), l.Close() }()
	return netip.MustParseAddrPort(c.LocalAddr().String())
}
