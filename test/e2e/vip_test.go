package e2e

import (
	"archive/tar"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const (
	vip = "172.30.0.200"
	// keepalivedImage holds Debian's keepalived and the stand-in.
	keepalivedImage = "dockstack-keepalived"
)

// vipNetwork makes a network with a VIP.
func (h *host) vipNetwork() {
	h.t.Helper()
	h.create("net", "--subnet", "172.30.0.0/24", "-o", "dockstack.vip="+vip)
}

// TestVIPMoves: an address that a network allows to all goes from container
// to container by gratuitous ARP; one that it does not allow stays nobody's.
func TestVIPMoves(t *testing.T) {
	h := newHost(t)
	h.vipNetwork()
	for _, c := range []string{"one", "two", "client"} {
		h.serve(c, "net", "--cap-add", "NET_ADMIN")
	}
	take := func(c, addr string) (give func()) {
		dev := h.device(c, h.ipv4(c, "net")).Name
		h.does(c, "ip", "addr", "add", addr+"/24", "dev", dev)
		_, _ = h.within(c, "arping", "-U", "-c", "1", "-w", "1", "-I", dev, addr) // nobody answers: that is an error to it
		return func() { h.does(c, "ip", "addr", "del", addr+"/24", "dev", dev) }
	}
	for _, holder := range []string{"one", "two", "one"} {
		give := take(holder, vip)
		h.meets("client", holder, netip.MustParseAddr(vip))
		give()
	}
	give := take("one", "172.30.0.201")
	if got, err := h.get("client", "172.30.0.201:"+port); err == nil {
		t.Errorf("%s answers at an address that the network does not allow", got)
	}
	give()
	h.run("new", "net")
	if got := h.ipv4("new", "net").String(); got == vip {
		t.Errorf("new got the VIP %s for itself", got)
	}
}

// TestVIPByName: a virtual address that is written nowhere. Its name has it through whatever happens.
func TestVIPByName(t *testing.T) {
	h := newHost(t)
	args := []string{"--subnet", "172.30.0.0/24", "-o", "dockstack.vip=vip1"}
	h.create("net", args...)
	h.releases("vip1")
	for _, c := range []string{"one", "client"} {
		h.serve(c, "net", "--cap-add", "NET_ADMIN", "--restart", "always")
	}
	got := addresses(h.ask(hostDNS, "vip1", dns.TypeA))
	if len(got) != 1 {
		t.Fatalf("vip1 is %v", got)
	}
	addr := netip.MustParseAddr(got[0])
	holds := func(what string) {
		t.Helper()
		for _, name := range []string{"vip1", "vip1.net", "vip1.net.dockstack"} {
			h.is(name, addr.String())
		}
		dev := h.device("one", h.ipv4("one", "net")).Name
		h.does("one", "ip", "addr", "add", addr.String()+"/24", "dev", dev)
		_, _ = h.within("one", "arping", "-U", "-c", "1", "-w", "1", "-I", dev, addr.String()) // nobody answers: that is an error to it
		h.meets("client", "one", addr)
		h.does("one", "ip", "addr", "del", addr.String()+"/24", "dev", dev)
		t.Logf("%s: vip1 is %s", what, addr)
	}
	holds("at first")
	h.refused([]string{"run", "--rm", "--name", "vip1", "--network", "net", standin}, "virtual address", "another name")
	h.refused([]string{"run", "--rm", "--name", "new", "--network", "net", "--ip", addr.String(), standin}, addr.String(), "virtual address")
	h.cannot(4, []string{"release", "vip1"}, "virtual address")
	for _, storm := range []struct {
		what string
		do   func()
	}{
		{"the plugin killed", h.killPlugin},
		{"the engine restarted", func() { h.check(h.EngineRestart(h.ctx())) }},
		{"a reboot", func() { h.check(h.Reboot(h.ctx())) }},
	} {
		storm.do()
		h.dnsUp()
		h.revive()
		holds(storm.what)
	}
	h.docker("rm", "-f", "one", "client")
	h.docker("network", "rm", "net")
	h.is("vip1")
	h.create("net", args...)
	h.serve("new", "net") // it comes before who was there
	for _, c := range []string{"one", "client"} {
		h.serve(c, "net", "--cap-add", "NET_ADMIN")
	}
	holds("the network removed and made again")
}

// TestKeepalived: Debian's keepalived in two containers; when the master's is
// killed, the VIP answers from the other one within 5 s.
func TestKeepalived(t *testing.T) {
	h := newHost(t)
	h.importKeepalived()
	h.vipNetwork()
	h.serve("client", "net")
	for name, priority := range map[string]int{"main": 150, "spare": 100} {
		h.keepalived(name, priority, " version 3\n advert_int 0.5\n")
	}
	from := func(name string) func() string {
		return func() string {
			if got, err := h.get("client", vip+":"+port); got != name {
				return fmt.Sprintf("the VIP is answered by %q (%v), want %s", got, err, name)
			}
			return ""
		}
	}
	h.eventually(20*time.Second, from("main"))
	for _, way := range []struct {
		what  string
		fall  func()
		limit time.Duration
	}{
		{"killed", func() { h.docker("kill", "main") }, 5 * time.Second},
		{"stopped", func() { h.docker("stop", "main") }, 5 * time.Second},
	} {
		began := time.Now()
		way.fall()
		h.reaches("client", "spare", netip.MustParseAddr(vip), way.limit) // by short attempts: a SYN sent again comes after seconds
		t.Logf("%s: the VIP answers again after %s", way.what, time.Since(began).Round(10*time.Millisecond))
		h.docker("start", "main")
		h.docker("exec", "-d", "main", "/standin", "serve", port)
		h.eventually(20*time.Second, from("main"))
	}
}

// keepalived starts a container with it. The settings are more than its
// defaults: VRRP version 2, and a sign of life every second.
func (h *host) keepalived(name string, priority int, settings string) {
	h.t.Helper()
	conf := filepath.Join(h.dir, name+".conf")
	h.check(os.WriteFile(conf, fmt.Appendf(nil, `vrrp_instance V1 {
 state BACKUP
 interface eth0
 virtual_router_id 51
 priority %d
%s virtual_ipaddress { %s/24 }
}
`, priority, settings, vip), 0o644))
	id := h.docker("create", "--name", name, "--hostname", name, "--network", "net", "--tmpfs", "/run",
		"--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW", "--cap-add", "NET_BROADCAST", keepalivedImage)
	h.docker("cp", conf, id+":/etc/keepalived.conf")
	h.docker("start", name)
	h.docker("exec", "-d", name, "/standin", "serve", port)
}

// importKeepalived makes the image of the machine's keepalived and what it is
// linked with.
func (h *host) importKeepalived() {
	h.t.Helper()
	program, err := exec.LookPath("keepalived")
	if err != nil {
		if program = "/usr/sbin/keepalived"; !exists(program) {
			h.t.Fatal("keepalived is missing: run `make deps`")
		}
	}
	linked, err := exec.Command("ldd", program).Output()
	h.check(err)
	files := []string{program}
	for _, m := range regexp.MustCompile(`(/\S+) \(0x`).FindAllStringSubmatch(string(linked), -1) {
		files = append(files, m[1])
	}
	dir := h.t.TempDir()
	id := h.docker("create", standin)
	h.docker("cp", id+":/standin", filepath.Join(dir, "standin"))
	h.docker("rm", id)
	image := filepath.Join(dir, "keepalived.tar")
	h.check(writeImage(image, files, filepath.Join(dir, "standin")))
	h.check(h.ImportImage(h.ctx(), image, keepalivedImage,
		fmt.Sprintf(`ENTRYPOINT [%q, "--dont-fork", "--log-console", "--vrrp", "--use-file=/etc/keepalived.conf"]`, program)))
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

// writeImage writes a root file system with files where the machine has them,
// and the stand-in.
func writeImage(path string, files []string, standin string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := tar.NewWriter(f)
	for _, dir := range []string{"etc", "run", "tmp", "var", "var/run"} {
		err = errors.Join(err, w.WriteHeader(&tar.Header{Name: dir + "/", Typeflag: tar.TypeDir, Mode: 0o755}))
	}
	slices.Sort(files)
	for _, file := range append(slices.Compact(files), standin) {
		name := strings.TrimPrefix(file, "/")
		if file == standin {
			name = "standin"
		}
		body, rerr := os.ReadFile(file)
		if rerr != nil {
			err = errors.Join(err, rerr)
			continue
		}
		err = errors.Join(err, w.WriteHeader(&tar.Header{Name: name, Mode: int64(fs.FileMode(0o755)), Size: int64(len(body))}))
		_, werr := w.Write(body)
		err = errors.Join(err, werr)
	}
	return errors.Join(err, w.Close(), f.Close())
}
