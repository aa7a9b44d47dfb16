package leasefile

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/dockstack/dockstack/internal/nearest"
)

// confComment cuts a line of dnsmasq's configuration where a comment begins: at
// a # that stands first or behind a space, outside quotes.
func confComment(line string) string {
	quoted := false
	for i := range len(line) {
		switch c := line[i]; {
		case c == '\\' && quoted:
			continue
		case c == '"':
			quoted = !quoted
		case c == '#' && !quoted && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t'):
			return line[:i]
		}
	}
	return line
}

// taken are the options that are read.
var taken = map[string]func(*builder, textLine, string){
	"dhcp-host":   (*builder).dhcpHost,
	"host-record": (*builder).hostRecord,
	"address":     (*builder).address,
	"cname":       (*builder).cname,
	"ptr-record":  (*builder).ptrRecord,
	"srv-host":    (*builder).srvHost,
	"txt-record":  (*builder).txtRecord,
	"dhcp-range":  (*builder).dhcpRange,
}

// elsewhere are options that name other files, or that have a setting of
// dockstack's in their place.
var elsewhere = map[string]string{
	"addn-hosts":       "names another file; import it with --format hosts",
	"hostsdir":         "names a folder; import its files with --format hosts",
	"dhcp-hostsfile":   "names another file; import it with --format dnsmasq-hosts",
	"dhcp-hostsdir":    "names a folder; import its files with --format dnsmasq-hosts",
	"dhcp-leasefile":   "names another file; import it with --format dnsmasq-leases",
	"conf-file":        "names another file; import it with --format dnsmasq-conf",
	"conf-dir":         "names a folder; import its files with --format dnsmasq-conf",
	"conf-script":      "runs a program; import what it prints with --format dnsmasq-conf",
	"servers-file":     "names another file; its servers go into DOCKSTACK_FORWARDERS",
	"resolv-file":      "names another file; its servers go into DOCKSTACK_FORWARDERS",
	"server":           "is where other names are asked; DOCKSTACK_FORWARDERS takes the same notation",
	"rev-server":       "is where other names are asked; DOCKSTACK_FORWARDERS takes it as /DOMAIN/ADDRESS",
	"local":            "keeps a domain from being asked elsewhere; dockstack does that for its own zone",
	"domain":           "is the zone; set DOCKSTACK_ZONE",
	"auth-zone":        "is a zone; set DOCKSTACK_ZONE",
	"auth-server":      "delegates a zone; set DOCKSTACK_DNS_NAMESERVERS",
	"auth-sec-servers": "names secondaries; set DOCKSTACK_DNS_SECONDARIES",
	"cache-size":       "is the cache's; set DOCKSTACK_DNS_CACHE",
	"listen-address":   "is where DNS is asked; set DOCKSTACK_DNS",
	"mx-host":          "makes MX records, which dockstack has not",
	"naptr-record":     "makes NAPTR records, which dockstack has not",
	"caa-record":       "makes CAA records, which dockstack has not",
	"dns-rr":           "makes records of any type, which dockstack has not",
	"interface-name":   "names an interface's address; write a record with the address itself",
	"dynamic-host":     "names an interface's address; write a record with the address itself",
	"synth-domain":     "makes names from addresses, which dockstack does not",
	"dhcp-option":      "is for DHCP clients; containers get address, gateway and DNS from the engine",
	"dhcp-boot":        "is for machines that boot by network",
}

// others are the options that say nothing of names; they are listed as such, and
// a mistyped one is told from them.
var others = strings.Fields(`
	add-cpe-id add-mac add-subnet alias all-servers auth-peer auth-soa auth-ttl bind-dynamic bind-interfaces bogus-nxdomain bogus-priv
	bootp-dynamic bridge-interface cache-rr clear-on-reload connmark-allowlist connmark-allowlist-enable conntrack dhcp-alternate-port
	dhcp-authoritative dhcp-broadcast dhcp-circuitid dhcp-client-update dhcp-duid dhcp-fqdn dhcp-generate-names dhcp-ignore dhcp-ignore-clid
	dhcp-ignore-names dhcp-lease-max dhcp-luascript dhcp-mac dhcp-match dhcp-name-match dhcp-no-override dhcp-option-force dhcp-optsdir
	dhcp-optsfile dhcp-proxy dhcp-pxe-vendor dhcp-rapid-commit dhcp-relay dhcp-remoteid dhcp-reply-delay dhcp-script dhcp-scriptuser
	dhcp-sequential-ip dhcp-split-relay dhcp-subscrid dhcp-ttl dhcp-userclass dhcp-vendorclass dns-forward-max dns-loop-detect dnssec
	dnssec-check-unsigned dnssec-debug dnssec-limits dnssec-no-timecheck dnssec-timestamp do-0x20-encode domain-needed dumpfile dumpmask
	edns-packet-max enable-dbus enable-ra enable-tftp enable-ubus except-interface expand-hosts fast-dns-retry filter-A filter-AAAA filter-rr
	filterwin2k group ignore-address interface ipset keep-in-foreground leasefile-ro leasequery local-service local-ttl localise-queries
	localmx log-async log-debug log-dhcp log-facility log-malloc log-queries max-cache-ttl max-port max-tcp-connections max-ttl min-cache-ttl
	min-port mx-target neg-ttl nftset no-0x20-encode no-daemon no-dhcp-interface no-dhcpv4-interface no-dhcpv6-interface no-hosts no-ident
	no-negcache no-ping no-poll no-resolv no-round-robin pid-file port port-limit proxy-dnssec pxe-prompt pxe-service query-port quiet-dhcp
	quiet-dhcp6 quiet-ra quiet-tftp ra-param read-ethers rebind-domain-ok rebind-localhost-ok script-arp script-on-renewal selfmx
	shared-network stop-dns-rebind strict-order strip-mac strip-subnet tag-if test tftp-lowercase tftp-max tftp-mtu tftp-no-blocksize
	tftp-no-fail tftp-port-range tftp-root tftp-secure tftp-single-port tftp-unique-root trust-anchor umbrella use-stale-cache user`)

// readConf reads dnsmasq's configuration.
func (s source) readConf(b *builder) error {
	all := lines(s.data, confComment)
	for _, l := range all {
		if option, value := cutOption(l.text); option == "domain" && b.domain == "" && dnsName(value) {
			b.domain = strings.ToLower(value)
			b.domains[b.domain]++
		}
	}
	for _, l := range all {
		option, value := cutOption(l.text)
		if read, ok := taken[option]; ok {
			if value == "" {
				b.wrong.Add(b.at(l.n), "%s has nothing behind its =", option)
				continue
			}
			read(b, l, value)
			continue
		}
		if reason, ok := elsewhere[option]; ok {
			b.leave(l.n, l.text, "%s", reason)
			continue
		}
		if slices.Contains(others, option) {
			b.leave(l.n, l.text, "is a setting of dnsmasq's own, and says nothing of names")
			continue
		}
		b.leave(l.n, l.text, "is no option of dnsmasq that dockstack knows%s", nearest.Hint(option, allOptions()))
	}
	return nil
}

// cutOption is an option's name and what stands behind its =.
func cutOption(line string) (option, value string) {
	option, value, _ = strings.Cut(line, "=")
	return strings.TrimPrefix(strings.TrimSpace(option), "--"), strings.TrimSpace(value)
}

func allOptions() []string {
	all := slices.Clone(others)
	for option := range taken {
		all = append(all, option)
	}
	for option := range elsewhere {
		all = append(all, option)
	}
	return all
}

// dhcpRange notes the subnet of addresses that dnsmasq hands out. Those are
// handed out by dockstack from now on.
func (b *builder) dhcpRange(l textLine, value string) {
	var first netip.Addr
	for part := range strings.SplitSeq(value, ",") {
		part = strings.TrimSpace(part)
		a, err := netip.ParseAddr(part)
		bits, isNumber := strconv.Atoi(part)
		switch {
		case err == nil && !first.IsValid():
			first = a
		case err == nil && a.Is4() && first.Is4() && maskBits(a) > 0:
			b.subnet(netip.PrefixFrom(first, maskBits(a)))
		case isNumber == nil && first.Is6() && bits > 0 && bits <= 128:
			b.subnet(netip.PrefixFrom(first, bits))
		}
	}
	b.leave(l.n, l.text, "is what dnsmasq hands out; dockstack hands out from the network's --ip-range")
}

// maskBits is the length of a netmask, 0 where it is none.
func maskBits(a netip.Addr) int {
	b := a.As4()
	ones := 0
	for ones < 32 && b[ones/8]&(0x80>>(ones%8)) != 0 {
		ones++
	}
	if netip.PrefixFrom(netip.AddrFrom4([4]byte{255, 255, 255, 255}), ones).Masked().Addr() != a {
		return 0
	}
	return ones
}
