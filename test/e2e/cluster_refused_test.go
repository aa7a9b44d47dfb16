package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/test/lab"
)

// TestBadStoreSettings: each is said in the answer to a command and in the
// status, and leaves nothing.
func TestBadStoreSettings(t *testing.T) {
	c := newCluster(t)
	url := c.lab.EtcdURL()
	_, err := c.lab.Etcdctl(c.h1.ctx(), "put", "/foreign/registry/pods", "kubernetes")
	c.check(err)
	for _, bad := range []struct {
		what     string
		settings []string
		words    []string
	}{
		{"nobody there", []string{"DOCKSTACK_STORE=etcd://192.0.2.99:2379"}, []string{"192.0.2.99:2379"}},
		{"another scheme", []string{"DOCKSTACK_STORE=consul://192.0.2.201:8500"}, []string{"DOCKSTACK_STORE", "etcd://"}},
		{"no port that is one", []string{"DOCKSTACK_STORE=etcd://192.0.2.201:port"}, []string{"DOCKSTACK_STORE", "port"}},
		{"TLS where there is none", []string{"DOCKSTACK_STORE=" + strings.Replace(url, "etcd://", "etcds://", 1)}, []string{"192.0.2.201:2379", "TLS"}},
		{"another program's keys", []string{"DOCKSTACK_STORE=" + url + "/foreign"}, []string{"/foreign", "registry/pods"}},
		{"a password file that is missing", []string{"DOCKSTACK_STORE_USER=root", "DOCKSTACK_STORE_PASSWORD_FILE=/etc/dockstack/none"}, []string{"/etc/dockstack/none"}},
		{"a port that is none", []string{"DOCKSTACK_VXLAN_PORT=99999"}, []string{"DOCKSTACK_VXLAN_PORT", "99999"}},
	} {
		t.Run(strings.ReplaceAll(bad.what, " ", "-"), func(t *testing.T) {
			h := c.in(t).h1
			if bad.what == "another program's keys" {
				h.set("DOCKSTACK_STORE=") // a host stays in the cluster that it is in
			}
			h.set(bad.settings...)
			// At first, on a busy machine, it may only know that nobody answers.
			h.says(20*time.Second, bad.words...)
			began := time.Now()
			h.refusedSoon(ofOurs("--subnet", "172.30.0.0/24", "net"), bad.words...)
			t.Logf("refused after %.1f s", time.Since(began).Seconds())
			if got := h.docker("network", "ls", "-q", "--filter", "name=^net$"); got != "" {
				t.Errorf("a refused network is there: %s", got)
				h.docker("network", "rm", "net")
			}
		})
	}
	c.create("net", "--subnet", "172.30.0.0/24")
	c.h1.run("web", "net")
	c.answers(c.picture("net"))
}

// TestBadTunnelEnd: an address that no interface has may come later, so what
// needs no other host works; the status says what is wrong.
func TestBadTunnelEnd(t *testing.T) {
	c := newCluster(t)
	c.create("net", "--subnet", "172.30.0.0/24")
	c.h2.serve("web", "net")
	for setting, words := range map[string][]string{
		"DOCKSTACK_VTEP=192.0.2.250": {"DOCKSTACK_VTEP", "192.0.2.250", "tunnels end nowhere"},
		"DOCKSTACK_VTEP=eth7":        {"DOCKSTACK_VTEP", "eth7", "tunnels end nowhere"},
	} {
		t.Run(setting, func(t *testing.T) {
			h := c.h1.in(t)
			h.set(setting)
			h.says(20*time.Second, words...)
			h.serve("near", "net")
			h.reachable(h.picture("net"))
			h.remove("near")
		})
	}
	// It comes while the plugin runs.
	c.h1.set("DOCKSTACK_VTEP=192.0.2.101")
	c.h1.says(20*time.Second, "DOCKSTACK_VTEP", "192.0.2.101")
	c.h1.onHost("ip", "addr", "add", "192.0.2.101/24", "dev", "eth0")
	t.Cleanup(func() { c.h1.onHost("ip", "addr", "del", "192.0.2.101/24", "dev", "eth0") })
	c.h1.serve("client", "net")
	c.h1.reaches("client", "web", c.h2.ipv4("web", "net"), 20*time.Second)
	if c.h2.floods("192.0.2.101") == "" {
		t.Errorf("h2 sends not to 192.0.2.101: %s", c.h2.onHost("bridge", "fdb", "show"))
	}
	// Or an interface's name says it.
	c.h1.set("DOCKSTACK_VTEP=eth0")
	c.h1.reaches("client", "web", c.h2.ipv4("web", "net"), 20*time.Second)
}

// TestNetworkMadeOtherwise: the same subnet on another host is the same
// overlay, so it can't have another range, gateway or VNI there.
func TestNetworkMadeOtherwise(t *testing.T) {
	c := newCluster(t)
	c.h1.create("net", "--subnet", "172.30.40.0/24", "--ip-range", "172.30.40.128/25", "--gateway", "172.30.40.254",
		"-o", "dockstack.vni=4040")
	c.h1.serve("web", "net")
	for _, bad := range []struct {
		what  string
		args  []string
		words []string
	}{
		{"another range", []string{"--subnet", "172.30.40.0/24", "--ip-range", "172.30.40.0/25", "--gateway", "172.30.40.254"}, []string{"172.30.40.0/24", "172.30.40.128/25", "172.30.40.0/25"}},
		{"another gateway", []string{"--subnet", "172.30.40.0/24", "--ip-range", "172.30.40.128/25", "--gateway", "172.30.40.1"}, []string{"172.30.40.0/24", "172.30.40.254", "172.30.40.1"}},
		{"another VNI", []string{
			"--subnet", "172.30.40.0/24", "--ip-range", "172.30.40.128/25", "--gateway", "172.30.40.254", "-o", "dockstack.vni=4041",
		}, []string{"4040", "4041"}},
		{"another overlay's VNI", []string{"--subnet", "172.30.41.0/24", "-o", "dockstack.vni=4040"}, []string{"4040", "172.30.40.0/24"}},
		{"an overlapping subnet", []string{"--subnet", "172.30.40.0/25"}, []string{"172.30.40.0/25", "172.30.40.0/24", "h1"}},
		{"a VNI that is none", []string{"--subnet", "172.30.42.0/24", "-o", "dockstack.vni=16777216"}, []string{"dockstack.vni", "16777216"}},
	} {
		t.Run(strings.ReplaceAll(bad.what, " ", "-"), func(t *testing.T) {
			c.in(t).h2.refused(ofOurs(append(bad.args, "other")...), bad.words...)
		})
	}
	// What was refused left nothing that is in the way.
	c.h2.create("net", "--subnet", "172.30.40.0/24", "--ip-range", "172.30.40.128/25", "--gateway", "172.30.40.254", "-o", "dockstack.vni=4040")
	c.h2.serve("client", "net")
	c.h2.reaches("client", "web", c.h1.ipv4("web", "net"), 5*time.Second)
	c.h3.create("other", "--subnet", "172.30.41.0/24", "-o", "dockstack.vni=4041")
}

// TestSmallUnderlay: a network whose packets don't fit the tunnels of this
// host is refused, with the MTU that would do.
func TestSmallUnderlay(t *testing.T) {
	c := newCluster(t)
	c.h1.create("net", "--subnet", "172.30.43.0/24", "-o", "com.docker.network.driver.mtu=1450")
	c.check(c.h2.SetMTU(c.h2.ctx(), 1300)) // which is seen within half a minute
	t.Cleanup(func() { c.check(c.h2.SetMTU(c.h2.ctx(), 1500)) })
	create := ofOurs("--subnet", "172.30.43.0/24", "-o", "com.docker.network.driver.mtu=1450", "net")
	c.h2.eventually(time.Minute, func() string {
		if _, err := c.h2.try(create...); err != nil {
			return ""
		}
		c.h2.docker("network", "rm", "net")
		return "a network of 1450 bytes is made on an underlay of 1300"
	})
	c.h2.refused(create, "1450", "1250", "com.docker.network.driver.mtu")
	// Where it is there already, the status says it.
	c.check(c.h1.SetMTU(c.h1.ctx(), 1300))
	t.Cleanup(func() { c.check(c.h1.SetMTU(c.h1.ctx(), 1500)) })
	c.h1.says(time.Minute, "1450", "1250")
}

// TestOtherCluster: a host that is in one cluster is not joined to another by
// being pointed there, nor to an etcd that lost its data; its names stay.
func TestOtherCluster(t *testing.T) {
	c := newCluster(t)
	url := c.lab.EtcdURL()
	c.h2.set("DOCKSTACK_STORE=") // by way of which it may begin another
	c.h2.set("DOCKSTACK_STORE=" + url + "/second")
	c.h2.create("net", "--subnet", "172.30.44.0/24")
	t.Cleanup(c.h2.clean)
	c.h2.serve("theirs", "net")
	c.h1.create("net", "--subnet", "172.30.44.0/24")
	c.h1.serve("web", "net")
	before := c.h1.picture("net")
	for _, bad := range []struct{ prefix, word string }{
		{"second", "is cluster"},
		{"empty", "has no cluster"},
	} {
		t.Run(bad.prefix, func(t *testing.T) {
			h := c.h1.in(t)
			h.set("DOCKSTACK_STORE=" + url + "/" + bad.prefix)
			h.says(20*time.Second, "/"+bad.prefix, bad.word)
			h.refusedSoon(ofOurs("--subnet", "172.30.45.0/24", "other"), "/"+bad.prefix, bad.word)
		})
		c.h1.docker("restart", "-t", "1", "web")
		for _, line := range before.Changed(c.h1.picture("net")) {
			t.Error(line)
		}
	}
	if got, err := c.h1.get("web", at(c.h2.ipv4("theirs", "net"))); err == nil && got != "web" {
		t.Errorf("web of one cluster reaches %s of the other", got)
	}
}

// TestEtcdWithCertificates: TLS files and users, right and wrong.
func TestEtcdWithCertificates(t *testing.T) {
	l := lab.ForTest(t, lab.Options{Etcd: 1, EtcdTLS: true, EtcdUnsynced: true})
	ctx := t.Context()
	h := &host{Host: l.Host(1), t: t, dir: t.TempDir()}
	h.check(prepare(ctx, l))
	h.create("net", "--subnet", "172.30.0.0/24")
	h.run("web", "net")
	before := h.picture("net")
	h.check(h.WriteFile("/etc/dockstack/garbage.pem", "no certificate\n"))
	plain := strings.Replace(l.EtcdURL(), "etcds://", "etcd://", 1)
	for _, bad := range []struct {
		what     string
		settings []string
		words    []string
	}{
		{"no certificate shown", []string{"DOCKSTACK_STORE_CERT=", "DOCKSTACK_STORE_KEY="}, []string{"192.0.2.201:2379", "certificate"}},
		{"signed by nobody known", []string{"DOCKSTACK_STORE_CA="}, []string{"192.0.2.201:2379", "certificate"}},
		{"a file that is no certificate", []string{"DOCKSTACK_STORE_CA=/etc/dockstack/garbage.pem"}, []string{"/etc/dockstack/garbage.pem"}},
		{"a file that is missing", []string{"DOCKSTACK_STORE_KEY=/etc/dockstack/none.pem"}, []string{"/etc/dockstack/none.pem"}},
		{"a certificate without its key", []string{"DOCKSTACK_STORE_KEY="}, []string{"DOCKSTACK_STORE_KEY"}},
		{"no TLS", []string{
			"DOCKSTACK_STORE=" + plain, "DOCKSTACK_STORE_CA=", "DOCKSTACK_STORE_CERT=", "DOCKSTACK_STORE_KEY=",
		}, []string{"192.0.2.201:2379", "TLS"}},
		{"no TLS, but its files", []string{"DOCKSTACK_STORE=" + plain}, []string{"DOCKSTACK_STORE_CA", "etcds://"}},
	} {
		t.Run(strings.ReplaceAll(bad.what, " ", "-"), func(t *testing.T) {
			h := h.in(t)
			h.set(bad.settings...)
			// At first, on a busy machine, it may only know that nobody answers.
			h.says(20*time.Second, bad.words...)
			h.refusedSoon(ofOurs("--subnet", "172.30.1.0/24", "other"), bad.words...)
		})
	}
	t.Run("users", func(t *testing.T) { h.in(t).users(l) })
	h.docker("restart", "-t", "1", "web")
	for _, line := range before.Changed(h.picture("net")) {
		t.Error(line)
	}
}

// users turns etcd's authentication on, with a user who may write below the
// prefix and one who may not.
func (h *host) users(l *lab.Lab) {
	h.t.Helper()
	for _, args := range [][]string{
		{"user", "add", "root:secret"},
		{"user", "grant-role", "root", "root"},
		{"user", "add", "dockstack:mine"},
		{"role", "add", "names"},
		{"role", "grant-permission", "names", "--prefix=true", "readwrite", "/dockstack"},
		{"user", "grant-role", "dockstack", "names"},
		{"user", "add", "guest:none"},
	} {
		_, err := l.Etcdctl(h.ctx(), args...)
		h.check(err)
	}
	h.check(h.WriteFile("/etc/dockstack/password", "mine\n"))
	h.check(h.WriteFile("/etc/dockstack/wrong", "none\n"))
	_, err := l.Etcdctl(h.ctx(), "auth", "enable")
	h.check(err)
	h.t.Cleanup(func() {
		_, err := l.Etcdctl(h.ctx(), "--user", "root:secret", "auth", "disable")
		h.check(err)
	})
	for _, c := range []struct {
		what, user, file string
		words            []string
	}{
		{"a wrong password", "dockstack", "/etc/dockstack/wrong", []string{"dockstack", "password"}},
		{"a user without permission", "guest", "/etc/dockstack/wrong", []string{"guest", "permission"}},
		{"the right one", "dockstack", "/etc/dockstack/password", nil},
	} {
		h.t.Run(strings.ReplaceAll(c.what, " ", "-"), func(t *testing.T) {
			h := h.in(t)
			// The certificate's own name would be a user too.
			h.set("DOCKSTACK_STORE_USER="+c.user, "DOCKSTACK_STORE_PASSWORD_FILE="+c.file)
			if c.words != nil {
				h.says(20*time.Second, c.words...)
				h.refusedSoon(ofOurs("--subnet", "172.30.1.0/24", "other"), c.words...)
				return
			}
			h.create("other", "--subnet", "172.30.1.0/24")
			h.run("second", "other")
			h.answers(h.picture("other"))
			h.remove("second")
			h.docker("network", "rm", "other")
		})
	}
}
