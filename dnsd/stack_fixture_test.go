package dnsd

import (
	"strings"

	"github.com/miekg/dns"
)

// service makes lines, with "out " before those that are unhealthy, the
// replicas of a compose service.
func (t *table) service(name string, lines ...string) {
	if t.byService == nil {
		t.byService, t.ports, t.records = map[string][]Host{}, map[string][]Port{}, map[string][]Record{}
	}
	for _, line := range lines {
		rest, out := strings.CutPrefix(line, "out ")
		h := host(rest)
		h.Out, h.Via = out, "compose service "+name
		t.byService[name] = append(t.byService[name], h)
		if label := Label(name); label != name {
			t.byService[label] = append(t.byService[label], h)
		}
	}
	t.services = append(t.services, name)
}

// declare adds an operator's record as a zone file has it.
func (t *table) declare(lines ...string) {
	if t.records == nil {
		t.records = map[string][]Record{}
	}
	for _, line := range lines {
		f := strings.SplitN(line, " ", 3)
		t.records[f[0]] = append(t.records[f[0]], Record{Name: f[0], Type: dns.StringToType[f[1]], Data: f[2]})
	}
}

// theStack is a stack as compose makes one, and an operator's records.
func theStack() *table {
	replicas := []string{
		"shop-web-1 front 10.9.0.21/24", "shop-web-2 front 10.9.0.22/24", "shop-web-1 internal 172.16.0.21/16",
		"shop-mq_x-1 internal 172.16.0.31/16", "shop-db-1 internal 172.16.0.41/16", "shop-db-1 internal fd00:16::41/64",
		"sick-1 internal 172.16.0.51/16", "sick-2 internal 172.16.0.52/16", "ill-1 internal 172.16.0.61/16",
		"db internal 172.16.0.10/16", "my-svc internal 172.16.0.71/16", "printer internal 172.16.0.81/16",
		"two_ways internal 172.16.0.91/16", "two.ways internal 172.16.0.92/16",
	}
	t := hosts(replicas...)
	t.service("web", replicas[0], replicas[1], replicas[2])
	t.service("mq_x", replicas[3])
	t.service("postgres", replicas[4], replicas[5])
	t.service("sick", replicas[6], "out "+replicas[7])
	t.service("ill", "out "+replicas[8])
	t.service("db", replicas[4])    // a container is called so
	t.service("shown", replicas[4]) // the operator declares it
	t.service("noted", replicas[4]) // he only has a note on it
	t.ports["shop-web-1"] = []Port{{80, "tcp"}, {443, "tcp"}}
	t.ports["shop-web-2"] = []Port{{80, "tcp"}, {443, "udp"}}
	t.ports["shop-mq_x-1"] = []Port{{5672, "tcp"}}
	t.ports["shop-db-1"] = []Port{{5432, "tcp"}}
	t.ports["sick-1"], t.ports["sick-2"] = []Port{{80, "tcp"}}, []Port{{80, "tcp"}}
	t.declare(
		"shown.dockstack A 192.0.2.1", "noted.dockstack TXT \"a note\"", "db.dockstack A 192.0.2.2", "db.dockstack TXT \"two\" \"parts\"",
		"nas.dockstack A 172.16.9.1", "nas.dockstack A 172.16.9.2", "nas.dockstack AAAA fd00:16::9:1",
		"files.dockstack CNAME nas.dockstack.", "www.dockstack CNAME web.dockstack.", "ext.dockstack CNAME www.example.com.",
		"dead.dockstack CNAME nobody.dockstack.", "round.dockstack CNAME about.dockstack.", "about.dockstack CNAME round.dockstack.",
		"*.apps.dockstack A 192.0.2.10", "*.apps.dockstack TXT wild", "own.apps.dockstack A 192.0.2.11", "deep.er.apps.dockstack A 192.0.2.12",
		"*.to.dockstack CNAME web.dockstack.",
		"_ldap._tcp.dockstack SRV 0 5 389 nas.dockstack.", "_5432._tcp.postgres.dockstack SRV 9 9 9 nas.dockstack.",
		"intra.corp.example A 192.0.2.20", "*.lab.example A 192.0.2.21", "below.x.lab.example A 192.0.2.22",
		"dockstack MX 10 nas.dockstack.", "1.9.17.172.in-addr.arpa PTR named.example.", "far.example A 198.51.100.7",
		"bad.dockstack CNAME not..a..name",
	)
	return t
}
