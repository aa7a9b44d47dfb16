package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/dockstack/dockstack/internal/kv/etcdkv"
)

func TestSettings(t *testing.T) {
	tests := []struct {
		what, name, value string
		want              []string // in the error; none: it is taken
	}{
		{"a zone", "DOCKSTACK_ZONE", "Endor.Lab.", nil},
		{"no zone", "DOCKSTACK_ZONE", "a..b", []string{`DOCKSTACK_ZONE="a..b"`, "endor.lab"}},
		{"another loopback address", "DOCKSTACK_DNS", "127.0.0.54", nil},
		{"an address that others reach", "DOCKSTACK_DNS", "127.0.0.153, 192.0.2.1", nil},
		{"all addresses", "DOCKSTACK_DNS", "0.0.0.0", []string{"DOCKSTACK_DNS", "127.0.0.153"}},
		{"a host for DNS", "DOCKSTACK_DNS", "localhost", []string{`DOCKSTACK_DNS="localhost"`}},
		{"clients", "DOCKSTACK_DNS_CLIENTS", "192.0.2.0/24 2001:db8::/64,192.0.2.9", nil},
		{"clients of IPv4 as IPv6", "DOCKSTACK_DNS_CLIENTS", "::ffff:192.0.2.0/120", []string{"DOCKSTACK_DNS_CLIENTS"}},
		{"no clients", "DOCKSTACK_DNS_CLIENTS", "lan", []string{"DOCKSTACK_DNS_CLIENTS", "192.0.2.0/24"}},
		{"secondaries", "DOCKSTACK_DNS_SECONDARIES", "192.0.2.53,[2001:db8::53]:5353", nil},
		{"a secondary's name", "DOCKSTACK_DNS_SECONDARIES", "ns2.example", []string{"DOCKSTACK_DNS_SECONDARIES"}},
		{"name servers", "DOCKSTACK_DNS_NAMESERVERS", "ns1.endor.lab=192.0.2.1,ns1.endor.lab=2001:db8::1", nil},
		{"a name server without an address", "DOCKSTACK_DNS_NAMESERVERS", "ns1.endor.lab", []string{"DOCKSTACK_DNS_NAMESERVERS", "ns1.endor.lab=192.0.2.10"}},
		{"no cache", "DOCKSTACK_DNS_CACHE", "0", nil},
		{"too large a cache", "DOCKSTACK_DNS_CACHE", "100000000", []string{"DOCKSTACK_DNS_CACHE", "1000000"}},
		{"a limit", "DOCKSTACK_DNS_LIMIT", "500", nil},
		{"no limit", "DOCKSTACK_DNS_LIMIT", "many", []string{"DOCKSTACK_DNS_LIMIT", "queries"}},
		{"health", "DOCKSTACK_DNS_HEALTH", "on", nil},
		{"no health", "DOCKSTACK_DNS_HEALTH", "good", []string{"DOCKSTACK_DNS_HEALTH", "on or off"}},
		{"no healing", "DOCKSTACK_HEAL", "off", nil},
		{"some healing", "DOCKSTACK_HEAL", "some", []string{"DOCKSTACK_HEAL", "on or off"}},
		{"a page", "DOCKSTACK_PAGE", "127.0.0.1:8053", nil},
		{"a page's port", "DOCKSTACK_PAGE", "8053", nil},
		{"a page without a port", "DOCKSTACK_PAGE", "127.0.0.1", []string{"DOCKSTACK_PAGE", "127.0.0.1:8053"}},
		{"resolvers", "DOCKSTACK_FORWARDERS", "192.0.2.53, [2001:db8::53]:5353", nil},
		{"a domain's resolver", "DOCKSTACK_FORWARDERS", "192.0.2.53,/corp.example/10.1.1.1", nil},
		{"a domain's resolver that is none", "DOCKSTACK_FORWARDERS", "/corp.example/dc1", []string{"DOCKSTACK_FORWARDERS", "dc1"}},
		{"a domain that comes back", "DOCKSTACK_FORWARDERS", "/corp.example/127.0.0.153", []string{"DOCKSTACK_FORWARDERS", "corp.example", "itself"}},
		{"no resolver", "DOCKSTACK_FORWARDERS", "dns.example", []string{`DOCKSTACK_FORWARDERS="dns.example"`}},
		{"a small supernet", "DOCKSTACK_SUPERNET", "10.0.0.0/28", []string{"DOCKSTACK_SUPERNET", "/24 or larger"}},
		{"a supernet of the other family", "DOCKSTACK_SUPERNET6", "10.0.0.0/8", []string{"DOCKSTACK_SUPERNET6"}},
		{"a datapath", "DOCKSTACK_DATAPATH", "kernel", nil},
		{"no datapath", "DOCKSTACK_DATAPATH", "fast", []string{"auto, kernel or userspace"}},
		{"a shared store", "DOCKSTACK_STORE", "etcd://10.0.0.1:2379,10.0.0.2/elsewhere", nil},
		{"a shared store with TLS", "DOCKSTACK_STORE", "etcds://etcd.example", nil},
		{"another kind of store", "DOCKSTACK_STORE", "consul://10.0.0.1", []string{"DOCKSTACK_STORE", "etcd"}},
		{"a shared store as etcdctl has it", "DOCKSTACK_STORE", "http://10.0.0.1:2379", []string{"DOCKSTACK_STORE", "etcd://"}},
		{"an authority that the plugin does not see", "DOCKSTACK_STORE_CA", "/root/ca.pem", []string{"DOCKSTACK_STORE_CA", "/etc, /var/lib or /run"}},
		{"an authority outside by a detour", "DOCKSTACK_STORE_CA", "/etc/../root/ca.pem", []string{"DOCKSTACK_STORE_CA"}},
		{"a certificate without its key", "DOCKSTACK_STORE_CERT", "/etc/dockstack/h1.pem", []string{"DOCKSTACK_STORE_KEY", "DOCKSTACK_STORE_CERT is set"}},
		{"a user without a password", "DOCKSTACK_STORE_USER", "dockstack", []string{"DOCKSTACK_STORE_PASSWORD_FILE", "DOCKSTACK_STORE_USER is set"}},
		{"a tunnel address", "DOCKSTACK_VTEP", "192.0.2.1", nil},
		{"a tunnel interface", "DOCKSTACK_VTEP", "bond0.100", nil},
		{"a tunnel address that nobody reaches", "DOCKSTACK_VTEP", "127.0.0.1", []string{"DOCKSTACK_VTEP", "eth0"}},
		{"a tunnel network", "DOCKSTACK_VTEP", "192.0.2.0/24", []string{"DOCKSTACK_VTEP", "10.0.0.1"}},
		{"a port", "DOCKSTACK_VXLAN_PORT", "4789", nil},
		{"no port", "DOCKSTACK_VXLAN_PORT", "0", []string{"DOCKSTACK_VXLAN_PORT", "1 to 65535"}},
		{"too high a port", "DOCKSTACK_VXLAN_PORT", "70000", []string{"DOCKSTACK_VXLAN_PORT", "1 to 65535"}},
		{"a host's name", "DOCKSTACK_HOST", "node-1.example", nil},
		{"no host's name", "DOCKSTACK_HOST", "node 1", []string{"DOCKSTACK_HOST", "letters"}},
		{"no level", "DOCKSTACK_LOG", "loud", []string{"debug, info, warn or error"}},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			t.Setenv(tt.name, tt.value)
			c, err := readConfig()
			if len(c.passedOver) > 0 && err == nil {
				err = errors.New(c.passedOver[0]) // status tells, and the rest goes on
			}
			if (err != nil) != (tt.want != nil) {
				t.Fatalf("error %v, want one with %q", err, tt.want)
			}
			for _, w := range append(tt.want, map[bool][]string{true: {"docker plugin set"}}[err != nil]...) {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q lacks %q", err, w)
				}
			}
		})
	}
}

// A page that can't be had is no reason for containers not to start.
func TestSettingsThatOnlyAdd(t *testing.T) {
	for _, name := range []string{envPage, envClients, envSecondaries, envNameservers, envCache, envLimit, envHealth} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, "nonsense")
			c, err := readConfig()
			if err != nil || len(c.passedOver) != 1 || !strings.Contains(c.passedOver[0], name) {
				t.Errorf("error %v, passed over %q", err, c.passedOver)
			}
			if c.page.IsValid() || c.dns.cache != defaultCache || c.dns.limit != 0 || c.dns.health {
				t.Errorf("it is %+v, %v", c.dns, c.page)
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	c, err := readConfig()
	if err != nil {
		t.Fatal(err)
	}
	if c.zone != "dockstack" || fmt.Sprint(c.dns.addrs) != "[127.0.0.153]" || c.page.IsValid() || c.datapath != "auto" || len(c.resolvers) != 0 {
		t.Errorf("defaults are %+v", c)
	}
	if c.store.is() || c.vxlanPort != 14789 || c.vtep != "" || c.hostName == "" {
		t.Errorf("defaults are %+v", c)
	}
	if got := c.host(stateFile); got != "/host/var/lib/dockstack/dockstack.db" {
		t.Errorf("state at %s", got)
	}
}

// Files are the host's, and the plugin sees them below its mounts.
func TestStoreSettings(t *testing.T) {
	root := t.TempDir()
	bundle := filepath.Join(root, "etc/ssl/certs/ca-certificates.crt")
	if err := os.MkdirAll(filepath.Dir(bundle), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bundle, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKSTACK_HOST_ROOT", root)
	t.Setenv(envStore, "etcds://10.0.0.1,10.0.0.2:2390/lab")
	t.Setenv(envCert, "/etc/dockstack/h1.pem")
	t.Setenv(envKey, "/var/lib/dockstack/h1.key")
	t.Setenv(envUser, "dockstack")
	t.Setenv(envPassword, "/run/secrets/etcd")
	c, err := readConfig()
	if err != nil {
		t.Fatal(err)
	}
	want := etcdkv.Settings{
		Address: etcdkv.Address{Endpoints: []string{"10.0.0.1:2379", "10.0.0.2:2390"}, TLS: true, Prefix: "/lab"},
		CA:      bundle, Cert: root + "/etc/dockstack/h1.pem", Key: root + "/var/lib/dockstack/h1.key",
		User: "dockstack", PasswordFile: root + "/run/secrets/etcd",
	}
	if got := c.etcd(); !reflect.DeepEqual(got, want) {
		t.Errorf("etcd is asked with %+v, want %+v", got, want)
	}
	t.Setenv(envCA, "/etc/dockstack/ca.pem")
	if c, err = readConfig(); err != nil || c.etcd().CA != root+"/etc/dockstack/ca.pem" {
		t.Errorf("the authority is %s, %v", c.etcd().CA, err)
	}
	t.Setenv(envStore, "etcd://10.0.0.1")
	if _, err = readConfig(); err == nil || !strings.Contains(err.Error(), "etcds://") {
		t.Errorf("TLS files without TLS: %v", err)
	}
}

func TestHostName(t *testing.T) {
	tests := []struct{ what, setting, file, want string }{
		{"the setting", "chosen", "node-1\n", "chosen"},
		{"the host's", "", "node-1\n", "node-1"},
		{"the host's, below a comment", "", "# static\n\n  node-1.example \n", "node-1.example"},
		{"this namespace's, where the host has none", "", "", hostname(t)},
		{"this namespace's, where the host's is none", "", "node 1\n", hostname(t)},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			root := t.TempDir()
			if err := os.Mkdir(filepath.Join(root, "etc"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(root, hostNameFile), []byte(tt.file), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("DOCKSTACK_HOST_ROOT", root)
			t.Setenv(envHost, tt.setting)
			c, err := readConfig()
			if err != nil || c.hostName != tt.want {
				t.Errorf("the host is called %q, want %q; %v", c.hostName, tt.want, err)
			}
		})
	}
}

func hostname(t *testing.T) string {
	t.Helper()
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// `docker plugin set` takes only what config.json lists, and the README tells
// of each.
func TestSettingsAreListed(t *testing.T) {
	text, err := os.ReadFile("../../config.json")
	if err != nil {
		t.Fatal(err)
	}
	var listed struct {
		Env []struct {
			Name, Description, Value string
			Settable                 []string
		}
	}
	if err := json.Unmarshal(text, &listed); err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	has := map[string]bool{}
	for _, e := range listed.Env {
		has[e.Name] = true
		if !slices.Equal(e.Settable, []string{"value"}) || e.Description == "" {
			t.Errorf("%s can't be set, or is not described", e.Name)
		}
		if !strings.Contains(string(readme), "`"+e.Name+"`") {
			t.Errorf("README.md lacks %s", e.Name)
		}
		t.Setenv(e.Name, e.Value)
	}
	for _, name := range []string{
		envStore, envCA, envCert, envKey, envUser, envPassword, envVTEP, envVXLANPort, envHost,
		envDNS, envClients, envSecondaries, envNameservers, envCache, envLimit, envHealth, envForwarders, envPage,
	} {
		if !has[name] {
			t.Errorf("config.json lacks %s", name)
		}
	}
	if _, err := readConfig(); err != nil {
		t.Errorf("what config.json sets is not taken: %v", err)
	}
}
