package e2e

import (
	"regexp"
	"strings"
	"testing"
)

// ofOurs is the start of a command that makes a network of ours.
func ofOurs(args ...string) []string {
	return append([]string{"network", "create", "-d", "dockstack", "--ipam-driver", "dockstack"}, args...)
}

// TestRefused is what a user is told whose command can't be done: the error
// has the thing, the cause and the way out.
func TestRefused(t *testing.T) {
	h := newHost(t)
	h.networks()
	h.create("tiny", "--subnet", "172.30.200.4/30")
	h.run("holder", "internal", "--ip", "172.16.9.9")
	h.run("only", "tiny")
	attach := func(args ...string) []string {
		return append(append([]string{"run", "--rm", "--name", "asker", "--network"}, args...), standin, "ifaces")
	}
	for _, c := range []struct {
		what  string
		args  []string
		words []string
	}{
		{"address outside the pool", attach("internal", "--ip", "172.17.0.5"), []string{"172.17.0.5", "subnet"}},
		{"taken address", attach("internal", "--ip", "172.16.9.9"), []string{"172.16.9.9", "internal", `"holder"`, `"asker"`, "choose another"}},
		{"the gateway's address", attach("internal", "--ip", "172.16.0.1"), []string{"172.16.0.1", "internal", "gateway", "choose another"}},
		{"the broadcast address", attach("internal", "--ip", "172.16.255.255"), []string{"172.16.255.255", "broadcast", "choose another"}},
		{"taken IPv6 address", attach("ext", "--ip6", "fd00:29::1"), []string{"fd00:29::1", "ext", "gateway"}},
		{"full pool", attach("tiny"), []string{"full", `"asker"`, "tiny", "172.30.200.4/30", "larger --subnet"}},
		{"a group's MAC", attach("internal", "--mac-address", "01:00:5e:00:00:01"), []string{"01:00:5e:00:00:01"}},
		{"option for one attachment", attach("name=internal,driver-opt=dockstack.vip=172.16.0.9"), []string{"unknown option", "dockstack.vip"}},
		{"overlapping subnet", ofOurs("--subnet", "172.16.5.0/24", "net"), []string{"172.16.5.0/24", "172.16.0.0/16", "internal", "choose another"}},
		{"the same subnet", ofOurs("--subnet", "172.16.0.0/16", "net"), []string{"172.16.0.0/16", "internal"}},
		{"range outside the subnet", ofOurs("--subnet", "172.30.0.0/24", "--ip-range", "172.31.0.0/28", "net"), []string{"172.31.0.0/28"}},
		{"subnet that is not for containers", ofOurs("--subnet", "127.5.0.0/16", "net"), []string{"127.5.0.0/16", "choose"}},
		{"unknown option", ofOurs("--subnet", "172.30.0.0/24", "-o", "flavour=sweet", "net"), []string{"unknown option", "-o flavour", "dockstack.vip"}},
		{"misspelt option", ofOurs("--subnet", "172.30.0.0/24", "-o", "dockstack.vpi=172.30.0.9", "net"), []string{"-o dockstack.vpi", "did you mean dockstack.vip?"}},
		{"misspelt IPAM option", ofOurs("--subnet", "172.30.0.0/24", "--ipam-opt", "dockstack.overlai=blue", "net"), []string{"--ipam-opt dockstack.overlai", "did you mean dockstack.overlay?"}},
		{"MTU that is none", ofOurs("--subnet", "172.30.0.0/24", "-o", "com.docker.network.driver.mtu=big", "net"), []string{"com.docker.network.driver.mtu=big", "576"}},
		{"VIP outside the subnet", ofOurs("--subnet", "172.30.0.0/24", "-o", "dockstack.vip=172.31.0.9", "net"), []string{"dockstack.vip", "172.31.0.9"}},
		{"overlay named once", ofOurs("--subnet", "172.30.0.0/24", "-o", "dockstack.overlay=blue", "net"), []string{"dockstack.overlay", "blue", "--ipam-opt"}},
		{"two subnets of one family", ofOurs("--subnet", "172.30.0.0/24", "--subnet", "172.31.0.0/24", "net"), []string{"172.30.0.0/24", "172.31.0.0/24"}},
	} {
		t.Run(strings.ReplaceAll(c.what, " ", "-"), func(t *testing.T) { h.in(t).refused(c.args, c.words...) })
	}
	// What was refused left nothing that is in the way.
	if got := h.docker("network", "ls", "-q", "--filter", "name=^net$"); got != "" {
		t.Errorf("a refused network is there: %s", got)
	}
	h.create("net", "--subnet", "172.30.8.0/24")
	h.run("asker", "net")
	h.docker("network", "connect", "internal", "asker")
	distinct(t, h.picture("internal", "net"))
}

// TestDockersOwnIPAM: it would give other addresses after a restart. The
// error has a command that works, and the option that allows it all the same.
func TestDockersOwnIPAM(t *testing.T) {
	h := newHost(t)
	_, err := h.try("network", "create", "-d", "dockstack", "--subnet", "172.30.0.0/24", "net")
	if err == nil {
		t.Fatal("a network with Docker's own IPAM is taken")
	}
	t.Log(err)
	said := regexp.MustCompile("`(docker network create [^`]*)`").FindStringSubmatch(err.Error())
	if said == nil {
		t.Fatalf("no command in the error: %v", err)
	}
	args := strings.Fields(strings.Replace(said[1], "NAME", "suggested", 1))
	h.docker(args[1:]...)
	h.run("web", "suggested")
	h.reachable(h.picture("suggested"))

	h.docker("network", "create", "-d", "dockstack", "-o", "dockstack.ipam=any", "--subnet", "172.31.0.0/24", "allowed")
	h.serve("one", "allowed")
	h.serve("two", "allowed")
	h.meets("two", "one", h.ipv4("one", "allowed"))
	h.meets("one", "two", h.ipv4("two", "allowed"))
}
