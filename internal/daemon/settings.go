package daemon

import (
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/dockstack/dockstack/internal/kv/etcdkv"
)

// The settings of several hosts.
const (
	envStore     = "DOCKSTACK_STORE"
	envCA        = envStore + "_CA"
	envCert      = envStore + "_CERT"
	envKey       = envStore + "_KEY"
	envUser      = envStore + "_USER"
	envPassword  = envStore + "_PASSWORD_FILE"
	envVTEP      = "DOCKSTACK_VTEP"
	envVXLANPort = "DOCKSTACK_VXLAN_PORT"
	envHost      = "DOCKSTACK_HOST"
)

const (
	defaultVXLANPort = 14789
	hostNameFile     = "/etc/hostname"
	maxHostName      = 253
	maxInterface     = 15 // IFNAMSIZ less its zero
)

// sharedStore is the store that several hosts write. The zero value: this host
// is alone. Files are paths of the host.
type sharedStore struct {
	address            etcdkv.Address
	ca, cert, key      string
	user, passwordFile string
}

func (s sharedStore) is() bool { return len(s.address.Endpoints) > 0 }

// etcd returns what etcdkv takes.
func (c config) etcd() etcdkv.Settings {
	path := func(p string) string {
		if p == "" {
			return ""
		}
		return c.host(p)
	}
	s := c.store
	out := etcdkv.Settings{
		Address: s.address, CA: path(s.ca), Cert: path(s.cert), Key: path(s.key),
		User: s.user, PasswordFile: path(s.passwordFile),
	}
	if s.address.TLS && out.CA == "" {
		out.CA = c.authorities()
	}
	return out
}

// authorities is the host's own list of them, "" for the plugin's.
func (c config) authorities() string {
	for _, p := range []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"} {
		if path := c.host(p); regular(path) {
			return path
		}
	}
	return ""
}

func regular(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// readShared reads the settings of several hosts. bad notes one that can't be
// understood, with what it should be.
func (c *config) readShared(bad func(name, want string)) {
	if text := os.Getenv(envStore); text != "" {
		var err error
		if c.store.address, err = etcdkv.Parse(text); err != nil {
			bad(envStore, "where an etcd is, or nothing for this host alone: "+err.Error())
		}
	}
	c.store.user = os.Getenv(envUser)
	for _, f := range []struct {
		name string
		path *string
	}{{envCA, &c.store.ca}, {envCert, &c.store.cert}, {envKey, &c.store.key}, {envPassword, &c.store.passwordFile}} {
		if *f.path = os.Getenv(f.name); *f.path != "" && !seen(*f.path) {
			bad(f.name, "the path of a file on the host, below /etc, /var/lib or /run: the plugin sees no other directories")
		}
	}
	c.checkTogether(bad)
	if c.vtep = os.Getenv(envVTEP); !vtepSetting(c.vtep) {
		bad(envVTEP, "an address that this host has, or the name of an interface, such as 10.0.0.1 or eth0")
	}
	port, err := strconv.ParseUint(env(envVXLANPort, strconv.Itoa(defaultVXLANPort)), 10, 16)
	if err != nil || port == 0 {
		bad(envVXLANPort, "a UDP port, 1 to 65535, the same on all hosts")
	}
	c.vxlanPort = uint16(port)
	if c.hostName = os.Getenv(envHost); c.hostName == "" {
		c.hostName = c.ownName()
	} else if !hostName(c.hostName) {
		bad(envHost, "a name of letters, digits, dots, hyphens and underscores, 253 bytes at most")
	}
}

// checkTogether refuses settings that do nothing, or miss their other half.
func (c *config) checkTogether(bad func(name, want string)) {
	s := c.store
	if s.is() && !s.address.TLS {
		for _, name := range []string{envCA, envCert, envKey} {
			if os.Getenv(name) != "" {
				bad(name, "nothing, because "+envStore+" begins with etcd://; for TLS begin it with etcds://")
			}
		}
	}
	half := func(one, other string) {
		if os.Getenv(one) == "" && os.Getenv(other) != "" {
			bad(one, "a value, because "+other+" is set and the two go together")
		}
	}
	half(envCert, envKey)
	half(envKey, envCert)
	half(envUser, envPassword)
	half(envPassword, envUser)
}

// seen is whether the plugin sees the host's path through its mounts.
func seen(path string) bool {
	if path != filepath.Clean(path) {
		return false
	}
	for _, dir := range []string{"/etc/", "/var/lib/", "/run/"} {
		if strings.HasPrefix(path, dir) {
			return true
		}
	}
	return false
}

func vtepSetting(text string) bool {
	if addr, err := netip.ParseAddr(text); err == nil {
		return addr.Zone() == "" && !addr.IsUnspecified() && !addr.IsMulticast() && !addr.IsLoopback()
	}
	return len(text) <= maxInterface && !strings.ContainsAny(text, "/: \t\n")
}

func hostName(text string) bool {
	return text != "" && len(text) <= maxHostName && !strings.ContainsFunc(text, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_'
	})
}

// ownName is what this host is called: the plugin has a host name of its own.
func (c *config) ownName() string {
	if text, err := os.ReadFile(c.host(hostNameFile)); err == nil {
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); hostName(line) {
				return line
			}
		}
	}
	if name, err := os.Hostname(); err == nil && hostName(name) {
		return name
	}
	return "unnamed"
}
