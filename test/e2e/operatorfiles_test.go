package e2e

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dockstack/dockstack/internal/admin"
)

// TestOperatorImports: names from dnsmasq's files have their addresses and MACs
// when compose brings them up, in a network that came after them.
func TestOperatorImports(t *testing.T) {
	h := newHost(t)
	h.releases("old-mariadb", "old-rabbitmq", "old-web")
	leases := h.write("dnsmasq.leases", `1700000000 02:42:ac:1f:01:15 172.31.1.21 old-mariadb 01:02:42:ac:1f:01:15
1700000000 02:42:ac:1f:01:16 172.31.1.22 old-rabbitmq *
1700000000 02:42:ac:1f:01:17 172.31.1.23 * *
`)
	args := []string{"--subnet", "172.31.1.0/24", leases}
	dry := h.operate(append([]string{"import", "--dry-run"}, args...)...)
	for _, w := range []string{"old-mariadb", "172.31.1.22", "dnsmasq.leases:3", "172.31.1.23", "dry run"} {
		if !strings.Contains(dry, w) {
			t.Errorf("the dry run lacks %q:\n%s", w, dry)
		}
	}
	if l := h.leases(); len(l) != 0 && slices.ContainsFunc(keysOf(l), func(k string) bool { return strings.HasPrefix(k, "old-") }) {
		t.Errorf("the dry run did something: %v", keysOf(l))
	}
	h.operate(append([]string{"import"}, args...)...)

	h.write("old.yml", `
services:
  web: {image: dockstack-standin, container_name: old-web, networks: [old]}
  rabbitmq: {image: dockstack-standin, container_name: old-rabbitmq, networks: [old]}
  mariadb: {image: dockstack-standin, container_name: old-mariadb, networks: [old]}
networks:
  old:
    name: old
    driver: dockstack
    ipam:
      driver: dockstack
      config:
        - subnet: 172.31.1.0/24
`)
	h.compose("old", "up", "-d")
	p := h.picture("old")
	for name, want := range map[string]attachment{
		"old-mariadb old":  {IPv4: "172.31.1.21", MAC: "02:42:ac:1f:01:15"},
		"old-rabbitmq old": {IPv4: "172.31.1.22", MAC: "02:42:ac:1f:01:16"},
	} {
		if p[name] != want {
			t.Errorf("%s is %v, want %v as dnsmasq had it", name, p[name], want)
		}
	}
	if p["old-web old"].IPv4 == "" {
		t.Error("old-web, which the file does not know, has no address")
	}

	// All or nothing: one clash with what runs, and nothing is taken.
	web := p["old-web old"].IPv4
	clash := h.write("hosts", "172.31.1.30 new-one\n"+web+" new-thief\n")
	h.cannot(exitClash, []string{"import", clash}, "hosts:2", "new-thief", "old-web", "nothing was imported")
	if l := h.leases(); slices.ContainsFunc(keysOf(l), func(k string) bool { return strings.HasPrefix(k, "new-") }) {
		t.Errorf("an import with a clash did something: %v", keysOf(l))
	}

	// What is exported can be taken in again, and is all there.
	file := filepath.Join(h.dir, "leases.yaml")
	h.operate("export", "--network", "old", file)
	var plan admin.Plan
	h.check(json.Unmarshal([]byte(h.operate("import", "--json", "--dry-run", file)), &plan))
	if len(plan.Clashes) > 0 || len(plan.Replaced) > 0 {
		t.Errorf("what was exported is not as it was: %+v", plan)
	}
	h.compose("old", "down", "-t", "1")
}

func keysOf(l map[string]admin.Lease) []string {
	var out []string
	for k := range l {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// TestOperatorRestores: a backup makes a fresh store what the old one was.
func TestOperatorRestores(t *testing.T) {
	h := newHost(t)
	h.releases("kept-db", "kept-web")
	h.create("op", "--subnet", "172.31.0.0/24")
	h.operate("reserve", "kept-db", "172.31.0.77")
	h.run("kept-web", "op", "--ip", "172.31.0.99")
	before := h.leases()
	file := filepath.Join(h.dir, "all.backup")
	h.operate("backup", file)
	h.clean()
	h.away(func() { h.check(os.Rename(h.store(), h.store()+".lost")) })
	t.Cleanup(func() { h.check(os.Remove(h.store() + ".lost")) })
	if l := h.leases(); len(l) != 0 {
		t.Fatalf("a fresh store has %v", keysOf(l))
	}
	spoilt := h.write("spoilt.backup", strings.Replace(string(h.read(file)), "kept-db", "kept-bd", 1))
	h.cannot(exitUsage, []string{"restore", spoilt}, "spoilt.backup", "checksum", "nothing was changed")
	h.operate("restore", file)
	after := h.leases()
	for k, was := range before {
		name, _, _ := strings.Cut(k, " ")
		i := slices.IndexFunc(keysOf(after), func(k string) bool { return strings.HasPrefix(k, name+" ") })
		if i < 0 {
			t.Errorf("%s is lost", k)
		} else if is := after[keysOf(after)[i]]; strings.HasPrefix(name, "kept-") && (is.Address != was.Address || is.Reserved != was.Reserved) {
			t.Errorf("%s is %+v, was %+v", k, is, was)
		}
	}
	h.create("op", "--subnet", "172.31.0.0/24")
	h.run("kept-db", "op")
	if a := h.ipv4("kept-db", "op").String(); a != "172.31.0.77" {
		t.Errorf("kept-db has %s after the restore, and 172.31.0.77 is reserved for it", a)
	}
}

// TestOperatorConverts: the ancestor's file becomes containers with the addresses
// that it names.
func TestOperatorConverts(t *testing.T) {
	h := newHost(t)
	h.releases("dns1", "mariadb1", "spare1")
	env := h.write("environment.yaml", `
common: {vip_name: vip, vip: 10.31.0.254, vip_mask: 16}
containerhosts:
  host1: &host1 {ip: 192.0.2.1, port: 3288}
containerdefault: &default
  mask: 16
  gateway: 10.31.0.100
  domain: endor.lab
  bridge: br0
  host: *host1
  image: dockstack-standin
containers:
  dns1:
    <<: *default
    ip: 10.31.0.1
    volumes: ["/var/lib/e2e-dns1:/etc/dnsmasq.d"]
    postcreation: [/srv/registerService.py add --container dns1]
    state: true
  mariadb1: {<<: *default, ip: 10.31.0.4, state: true}
  spare1: {<<: *default, ip: 10.31.0.9, state: false}
`)
	said := h.operate("convert", "--output", h.dir, env)
	for _, w := range []string{"dns1: postcreation: /srv/registerService.py add --container dns1", "spare1: state: false", "docker-compose.host1.yml"} {
		if !strings.Contains(said, w) {
			t.Errorf("convert does not say %q:\n%s", w, said)
		}
	}
	h.operate("import", env)
	file := filepath.Join(h.dir, "docker-compose.host1.yml")
	_, err := h.Compose(h.ctx(), "-f", file, "up", "-d")
	h.check(err)
	p := h.picture("internal")
	for name, want := range map[string]string{"dns1": "10.31.0.1", "mariadb1": "10.31.0.4"} {
		if got := p[name+" internal"].IPv4; got != want {
			t.Errorf("%s has %q, want %s", name, got, want)
		}
	}
	if _, runs := p["spare1 internal"]; runs {
		t.Error("spare1 did not run in the old installation, and was started")
	}
	if got := h.gateways("internal"); !slices.Equal(got, []netip.Addr{netip.MustParseAddr("10.31.0.100")}) {
		t.Errorf("gateways are %v", got)
	}
	h.operate("record", "rm", "vip")
	_, err = h.Compose(h.ctx(), "-f", file, "down", "-t", "1")
	h.check(err)
}
