package leasefile

import (
	"strings"
	"testing"
)

// TestErrorsNameTheLineAndWhatWasMeant: every wrong input says where, what, and
// the nearest right one.
func TestErrorsNameTheLineAndWhatWasMeant(t *testing.T) {
	for what, tc := range map[string]struct {
		format, text string
		words        []string
	}{
		"a format that is none":      {"dnsmasq-lease", "x", []string{`"dnsmasq-lease"`, "`dnsmasq-leases`", "environment"}},
		"a lease of three fields":    {DnsmasqLeases, "\n0 02:42:ac:10:00:02 172.16.0.2\n", []string{"f:2", "3 fields", "EXPIRY MAC ADDRESS NAME"}},
		"a lease's time":             {DnsmasqLeases, "soon 02:42:ac:10:00:02 172.16.0.2 web *", []string{"f:1", `"soon"`, "seconds since 1970"}},
		"a lease's address":          {DnsmasqLeases, "0 02:42:ac:10:00:02 172.16.0,2 web *", []string{"f:1", "did you mean 172.16.0.2?"}},
		"a lease's MAC":              {DnsmasqLeases, "0 02:42:ac:10:00 172.16.0.2 web *", []string{"f:1", "02:42:ac:10:00", "six bytes"}},
		"a lease's group MAC":        {DnsmasqLeases, "0 03:42:ac:10:00:02 172.16.0.2 web *", []string{"f:1", "group's"}},
		"IPv6 in front of duid":      {DnsmasqLeases, "0 123 fd00::2 web 00:01", []string{"f:1", "fd00::2", "duid"}},
		"IPv4 behind duid":           {DnsmasqLeases, "duid 00:01\n0 02:42:ac:10:00:02 172.16.0.2 web *", []string{"f:2", "172.16.0.2", "duid"}},
		"hosts, name first":          {Hosts, "web 172.16.0.2", []string{"f:1", "the address comes first"}},
		"hosts, no address":          {Hosts, "# x\nweb db", []string{"f:2", `"web" is no address`}},
		"hosts, number beyond":       {Hosts, "172.16.0.256 web", []string{"f:1", `"172.16.0.256"`}},
		"hosts, with a mask":         {Hosts, "172.16.0.2/16 web", []string{"f:1", "did you mean 172.16.0.2?"}},
		"dhcp-host, MAC":             {DnsmasqConf, "dhcp-host=02:42:ac:10:00,172.16.0.2,web", []string{"f:1", "dhcp-host", "six bytes"}},
		"dhcp-host, two names":       {DnsmasqConf, "dhcp-host=web,db,172.16.0.2", []string{"f:1", `"web"`, `"db"`}},
		"dhcp-host, address":         {DnsmasqConf, "dhcp-host=web,172.16.0.02", []string{"f:1", "did you mean 172.16.0.2?"}},
		"dhcp-host, no address":      {DnsmasqConf, "dhcp-host=web,172.16.0.999", []string{"f:1", "neither a name nor an address"}},
		"dhcp-host, bare IPv6":       {DnsmasqConf, "dhcp-host=web,fd00::2", []string{"f:1", "did you mean [fd00::2]?"}},
		"dhcp-host, open bracket":    {DnsmasqConf, "dhcp-host=web,[fd00::2", []string{"f:1", "bracket"}},
		"dhcp-host, IPv4 in bracket": {DnsmasqConf, "dhcp-host=web,[172.16.0.2]", []string{"f:1", "[fd00::2]"}},
		"dhcp-host, nothing":         {DnsmasqConf, "dhcp-host=", []string{"f:1", "nothing behind its ="}},
		"hostsfile":                  {DnsmasqHosts, "\n\n02:42,172.16.0.2,web", []string{"f:3", "six bytes"}},
		"host-record":                {DnsmasqConf, "host-record=we b,172.16.0.2", []string{"f:1", "host-record", `"we b"`}},
		"address":                    {DnsmasqConf, "address=/web.lab/172.16.0", []string{"f:1", "address", `"172.16.0"`}},
		"address, name":              {DnsmasqConf, "address=/we b/172.16.0.1", []string{"f:1", `"we b" is no name`}},
		"cname, one name":            {DnsmasqConf, "cname=web", []string{"f:1", "cname=ALIAS,NAME"}},
		"cname, itself":              {DnsmasqConf, "cname=web,WEB", []string{"f:1", "itself"}},
		"srv-host, port":             {DnsmasqConf, "srv-host=_a._tcp.x,web,70000", []string{"f:1", `port "70000"`, "65535"}},
		"srv-host, no service":       {DnsmasqConf, "srv-host=a.x,web,7", []string{"f:1", "_SERVICE._tcp"}},
		"srv-host, too much":         {DnsmasqConf, "srv-host=_a._tcp.x,web,7,1,1,1", []string{"f:1", "more than"}},
		"txt-record, too long":       {DnsmasqConf, "txt-record=web," + strings.Repeat("x", 256), []string{"f:1", "255"}},
		"yaml, top key":              {YAML, "reservation: []\n", []string{"f:1", "`reservations`"}},
		"yaml, key":                  {YAML, "reservations:\n- name: web\n  addr3ss: 172.16.0.2\n", []string{"f:3", `"addr3ss"`, "`address`"}},
		"yaml, no name":              {YAML, "reservations:\n- address: 172.16.0.2\n", []string{"f:2", "a name and an address"}},
		"yaml, address":              {YAML, "reservations:\n- {name: web, address: 172.16.0.2/16}\n", []string{"f:2", "web", "did you mean 172.16.0.2?"}},
		"yaml, MAC":                  {YAML, "reservations:\n- {name: web, address: 172.16.0.2, mac: x}\n", []string{"f:2", "web", "six bytes"}},
		"yaml, not a list's entry":   {YAML, "reservations: web\n", []string{"f:1", "is no mapping"}},
		"yaml, a list as a word":     {YAML, "reservations:\n- {name: [web], address: 172.16.0.2}\n", []string{"f:2", "name is a list"}},
		"yaml, record's type":        {YAML, "records:\n- {name: web, type: CNAM, value: x}\n", []string{"f:2", "`CNAME`"}},
		"yaml, record's TTL":         {YAML, "records:\n- {name: web, type: A, value: 172.16.0.2, ttl: long}\n", []string{"f:2", `ttl "long"`}},
		"yaml, record without value": {YAML, "records:\n- {name: web, type: A}\n", []string{"f:2", "a value"}},
		"yaml, subnet":               {YAML, "subnets: [172.16.0.0]\n", []string{"f:1", "172.16.0.0/16"}},
		"yaml, twice":                {YAML, "records: []\nrecords: []\n", []string{"f:2", "stands twice"}},
		"json":                       {JSON, `{"reservations": [{"name": "web", "addr3ss": "172.16.0.2"}]}`, []string{"f:1", "`address`"}},
		"json, broken":               {JSON, `{"reservations": [`, []string{"f: "}},
		"environment":                {Environment, "containers:\n  web1: {ip: 10.0.0.999}\n", []string{"f:2", "web1", "ip"}},
		"compose, no YAML":           {Compose, "services:\n\tweb: {}\n", []string{"f: line 2"}},
		"compose, mistyped key":      {Compose, "services:\n  web:\n    image: x\n    networks:\n      n:\n        ipv4_addr3ss: 10.0.0.2\nnetworks: {n: {}}\n", []string{"f:6", "ipv4_addr3ss", "`ipv4_address`"}},
		"compose, mistyped top key":  {Compose, "services: {web: {image: x}}\nnetwroks: {}\n", []string{"f:2", "`networks`"}},
		"compose, address":           {Compose, one("ipv4_address: 10.0.0.2/16"), []string{"f:6", "service web, network n: ipv4_address", "did you mean 10.0.0.2?"}},
		"compose, other family":      {Compose, one("ipv6_address: 10.0.0.2"), []string{"f:6", "did you mean ipv4_address?"}},
		"compose, outside":           {Compose, one("ipv4_address: 10.9.0.2"), []string{"f:6", "10.9.0.2", "10.0.0.0/16"}},
		"compose, MAC":               {Compose, one("ipv4_address: 10.0.0.2\n        mac_address: 01:02"), []string{"f:7", "service web", "six bytes"}},
		"compose, unset variable":    {Compose, one("ipv4_address: $NOWHERE_SET"), []string{"f:6", "$NOWHERE_SET", ".env"}},
		"compose, replicas":          {Compose, one("ipv4_address: 10.0.0.2", "    scale: 3\n"), []string{"f:2", "service web", "3 replicas"}},
		"compose, deploy.replicas":   {Compose, one("ipv4_address: 10.0.0.2", "    deploy: {replicas: 2}\n"), []string{"f:2", "2 replicas"}},
		"compose, extends a circle":  {Compose, "services:\n  web: {extends: db}\n  db: {extends: web}\n", []string{"f", "ircular"}},
		"compose, no such file":      {Compose, "services:\n  web: {extends: {file: nosuch.yml, service: web}}\n", []string{"f", "nosuch.yml"}},
	} {
		_, err := Read("f", []byte(tc.text), tc.format)
		if err == nil {
			t.Errorf("%s: no error", what)
			continue
		}
		for _, w := range tc.words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q lacks %q", what, err, w)
			}
		}
	}
}

// one is a compose file with one service in one network; its attachment stands
// on line 6.
func one(attachment string, more ...string) string {
	return "services:\n  web:\n    image: x\n    networks:\n      n:\n        " + attachment + "\n" +
		strings.Join(more, "") + "networks: {n: {ipam: {config: [{subnet: 10.0.0.0/16}]}}}\n"
}

// TestAllThatIsWrongIsSaidAtOnce, up to what a person reads at once.
func TestAllThatIsWrongIsSaidAtOnce(t *testing.T) {
	_, err := Read("f", []byte("a b\nc d\n"), Hosts)
	if err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("want two lines, got %v", err)
	}
	_, err = Read("f", []byte(strings.Repeat("a b\n", 50)), Hosts)
	if err == nil || strings.Count(err.Error(), "\n") != 20 || !strings.HasSuffix(err.Error(), "and 30 more") {
		t.Errorf("want 20 lines and a count, got %v", err)
	}
}

func TestErrorsShowNoControlCharacters(t *testing.T) {
	for _, format := range []string{DnsmasqLeases, DnsmasqConf, DnsmasqHosts, Hosts} {
		r, err := Read("f", []byte("\x1b[31m 2 3 4 5\ndhcp-host=\x1b[31m,172.16.0.2,\x07,[\x1b]\n172.16.0.3 \x1b[31m\n"), format)
		text := told(r)
		if err != nil {
			text += err.Error()
		}
		if strings.ContainsAny(text, "\x1b\x07") {
			t.Errorf("%s: %q", format, text)
		}
	}
}

func TestFormatsAreTold(t *testing.T) {
	const lease, host, conf, dhcp = "0 02:42:ac:10:00:02 172.16.0.2 web *\n", "172.16.0.2 web\n", "dhcp-host=web,172.16.0.2\n", "02:42:ac:10:00:02,172.16.0.2,web\n"
	for what, tc := range map[string]struct{ name, text, want string }{
		"leases by content":         {"x", lease, DnsmasqLeases},
		"leases with duid":          {"x", lease + "duid 00:01\n0 1 fd00::2 web 00:01\n", DnsmasqLeases},
		"leases called hosts":       {"hosts", lease, DnsmasqLeases},
		"hosts by content":          {"x", "# a comment\n" + host, Hosts},
		"hosts with a wrong line":   {"/etc/hosts", host + "web 172.16.0.2\n", Hosts},
		"conf by content":           {"x", "no-resolv\n" + conf, DnsmasqConf},
		"conf with a strange line":  {"dnsmasq.conf", conf + "???\n", DnsmasqConf},
		"dhcp-hostsfile":            {"x", dhcp, DnsmasqHosts},
		"empty leases":              {"dnsmasq.leases", "\n", DnsmasqLeases},
		"compose by content":        {"x.yml", "services: {}\n", Compose},
		"compose without a suffix":  {"x", "services:\n  web: {image: x}\n", Compose},
		"compose without services":  {"compose.yaml", "volumes: {}\n", Compose},
		"environment by content":    {"lab.yaml", "containers: {}\n", Environment},
		"environment without a dot": {"lab", "common: {}\ncontainers:\n  web1: {}\n", Environment},
		"export":                    {"lab.yml", "reservations: []\n", YAML},
		"export as JSON":            {"lab.json", `{"records": []}`, JSON},
		"export in environment.yml": {"environment.yaml", "reservations: []\n", YAML},
	} {
		got, err := detect(tc.name, []byte(tc.text))
		if err != nil || got != tc.want {
			t.Errorf("%s is %q, %v; want %s", what, got, err, tc.want)
		}
	}
	for what, tc := range map[string]struct {
		name, text string
		words      []string
	}{
		"nothing":             {"x", "# nothing\n", []string{"x: nothing is in it"}},
		"prose":               {"x", "Dear reader,\n", []string{"x:1", "Dear reader", "--format", "dnsmasq-leases"}},
		"hosts, then conf":    {"x", host + conf, []string{"x:2", "hosts", "--format hosts"}},
		"two formats of YAML": {"x.yml", "services: {}\ncontainers: {}\n", []string{"`services:`", "compose", "`containers:`", "environment", "--format"}},
		"none of the keys":    {"x.yml", "foo: 1\n", []string{"x.yml", "reservations", "services", "containers"}},
		"broken YAML":         {"x.yml", "a: [\n", []string{"x.yml", "line"}},
	} {
		got, err := Read(tc.name, []byte(tc.text), "")
		if err == nil {
			t.Errorf("%s is taken for %s", what, got.Format)
			continue
		}
		for _, w := range tc.words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q lacks %q", what, err, w)
			}
		}
	}
}
