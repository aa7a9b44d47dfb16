package dnsd

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// compared is what the three have in common.
type compared struct {
	containers []string
	// services are names with several containers' addresses.
	services map[string][]string
	// ports are what containers listen on.
	ports map[string][]Port
	// records are the operator's, the names below the zone.
	records []string
}

var theCompared = compared{
	containers: []string{
		"db internal 172.16.0.10/16", "web-1 internal 172.16.0.11/16", "web-1 internal fd00:16::11/64",
		"web-2 internal 172.16.0.12/16", "my_app internal 172.16.0.20/16", "six internal fd00:16::6/64",
	},
	services: map[string][]string{
		"web": {"web-1 internal 172.16.0.11/16", "web-1 internal fd00:16::11/64", "web-2 internal 172.16.0.12/16"},
	},
	ports: map[string][]Port{"db": {{5432, "tcp"}}},
	records: []string{
		"nas A 192.0.2.1", "nas AAAA 2001:db8::1",
		"files CNAME nas.dockstack.", "chain CNAME files.dockstack.", "dead CNAME nobody.dockstack.", "alias CNAME web.dockstack.",
		"*.apps A 192.0.2.10", "own.apps A 192.0.2.11", "deep.er.apps A 192.0.2.12",
		"_ldap._tcp SRV 0 5 389 nas.dockstack.", `note TXT "hello"`, "mail MX 10 nas.dockstack.",
	},
}

// ours serves c by this server.
func (c *compared) ours(tb testing.TB) netip.AddrPort {
	tb.Helper()
	names := hosts(c.containers...)
	for name, list := range c.services {
		names.service(name, list...)
	}
	maps.Copy(names.ports, c.ports)
	for _, r := range c.records {
		name, rest, _ := strings.Cut(r, " ")
		names.declare(name + ".dockstack " + rest)
	}
	s, addr := serve(tb, Config{}, names)
	s.SetServed([]netip.Prefix{netip.MustParsePrefix("172.16.0.0/16"), netip.MustParsePrefix("fd00:16::/64")})
	return addr
}

// zones are c as files of three zones, in the form that our answers have:
// CoreDNS serves them.
func (c *compared) zones(tb testing.TB) (forward, reverse4, reverse6 string) {
	tb.Helper()
	const head = "$TTL 5\n@ 1 IN SOA dockstack. hostmaster.dockstack. 7 60 10 86400 1\n@ IN NS dockstack.\n"
	forward, reverse4, reverse6 = head+"@ IN A 127.0.0.1\n", head, head
	for _, line := range c.containers {
		h := host(line)
		forward += fmt.Sprintf("%s IN %s %s\n", h.Name, familyType(h), h.Addr)
		reverse, err := dns.ReverseAddr(h.Addr.String())
		if err != nil {
			tb.Fatal(err)
		}
		ptr := fmt.Sprintf("%s IN PTR %s.dockstack.\n", reverse, Label(h.Name))
		if h.Addr.Is4() {
			reverse4 += ptr
		} else {
			reverse6 += ptr
		}
	}
	for name, list := range c.services {
		for _, line := range list {
			h := host(line)
			forward += fmt.Sprintf("%s IN %s %s\n", name, familyType(h), h.Addr)
		}
	}
	for name, list := range c.ports {
		for _, p := range list {
			forward += fmt.Sprintf("_%d._%s.%s IN SRV 0 1 %d %s.dockstack.\n", p.Number, p.Proto, name, p.Number, name)
		}
	}
	for _, r := range c.records {
		name, rest, _ := strings.Cut(r, " ")
		forward += name + " IN " + rest + "\n"
	}
	return forward, reverse4, reverse6
}

func familyType(h Host) string {
	if h.Addr.Is4() {
		return "A"
	}
	return "AAAA"
}

const (
	reverse4Zone = "16.172.in-addr.arpa"
	reverse6Zone = "0.0.0.0.0.0.0.0.6.1.0.0.0.0.d.f.ip6.arpa"
)

func (c *compared) coreDNS(tb testing.TB) peer {
	tb.Helper()
	dir := tb.TempDir()
	forward, reverse4, reverse6 := c.zones(tb)
	files := map[string]string{
		"dockstack":  writeFile(tb, dir, "forward", []byte(forward)),
		reverse4Zone: writeFile(tb, dir, "reverse4", []byte(reverse4)),
		reverse6Zone: writeFile(tb, dir, "reverse6", []byte(reverse6)),
	}
	return startCoreDNS(tb, "db.dockstack A", func(addr netip.AddrPort) string {
		conf := ""
		for zone, file := range files {
			conf += fmt.Sprintf("%s:%d {\n\tbind %s\n\tany\n\tloadbalance\n\tfile %s\n}\n", zone, addr.Port(), addr.Addr(), file)
		}
		return conf
	})
}

// dnsmasq serves c in the ways that its manual has for each.
func (c *compared) dnsmasq(tb testing.TB) peer {
	tb.Helper()
	var file strings.Builder
	for _, line := range c.containers {
		h := host(line)
		fmt.Fprintf(&file, "%s %s.dockstack\n", h.Addr, h.Name)
	}
	for name, list := range c.services {
		for _, line := range list {
			fmt.Fprintf(&file, "%s %s.dockstack\n", host(line).Addr, name)
		}
	}
	args := []string{"--local=/dockstack/", "--local=/" + reverse4Zone + "/", "--local=/" + reverse6Zone + "/"}
	for name, list := range c.ports {
		for _, p := range list {
			args = append(args, fmt.Sprintf("--srv-host=_%d._%s.%s.dockstack,%s.dockstack,%d,0,1", p.Number, p.Proto, name, name, p.Number))
		}
	}
	for _, r := range c.records {
		f := strings.SplitN(r, " ", 3)
		name, data := f[0]+".dockstack", strings.TrimSuffix(f[2], ".")
		switch below, wild := strings.CutPrefix(name, "*."); {
		case wild:
			args = append(args, "--address=/"+below+"/"+data)
		case f[1] == "A" || f[1] == "AAAA":
			fmt.Fprintf(&file, "%s %s\n", data, name)
		case f[1] == "CNAME":
			args = append(args, "--cname="+name+","+data)
		case f[1] == "TXT":
			args = append(args, "--txt-record="+name+","+strings.Trim(data, `"`))
		case f[1] == "MX":
			mx := strings.Fields(data)
			args = append(args, "--mx-host="+name+","+strings.TrimSuffix(mx[1], ".")+","+mx[0])
		case f[1] == "SRV":
			srv := strings.Fields(data)
			args = append(args, fmt.Sprintf("--srv-host=%s,%s,%s,%s,%s", name, strings.TrimSuffix(srv[3], "."), srv[2], srv[0], srv[1]))
		}
	}
	args = append(args, "--addn-hosts="+writeFile(tb, tb.TempDir(), "hosts", []byte(file.String())))
	return startDnsmasq(tb, "db.dockstack A", args...)
}

// names is every name that c has something to say about, and some that it
// must deny.
func (c *compared) names(tb testing.TB) []string {
	tb.Helper()
	list := []string{
		"dockstack", "nobody.dockstack", "a.b.nobody.dockstack", "below.db.dockstack", "DB.Dockstack", "Files.DockStack",
		"apps.dockstack", "x.apps.dockstack", "X.Y.Apps.dockstack", "er.apps.dockstack", "deep.er.apps.dockstack", "x.own.apps.dockstack",
		"_tcp.dockstack", "_tcp.db.dockstack", "_5432._tcp.db.dockstack", "_udp.db.dockstack", "my-app.dockstack",
		"99.0.16.172.in-addr.arpa", "0.16.172.in-addr.arpa", reverse4Zone, "x.10.0.16.172.in-addr.arpa", reverse6Zone,
		"7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0." + reverse6Zone, "0.0.0." + reverse6Zone,
	}
	for _, line := range c.containers {
		h := host(line)
		reverse, err := dns.ReverseAddr(h.Addr.String())
		if err != nil {
			tb.Fatal(err)
		}
		list = append(list, h.Name+".dockstack", strings.TrimSuffix(reverse, "."))
	}
	for name := range c.services {
		list = append(list, name+".dockstack")
	}
	for _, r := range c.records {
		name, _, _ := strings.Cut(r, " ")
		if !strings.HasPrefix(name, "*") {
			list = append(list, name+".dockstack")
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
