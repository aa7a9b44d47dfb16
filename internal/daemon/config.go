package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/miekg/dns"

	"github.com/dockstack/dockstack/dnsd"
)

// config is the daemon's settings. Each comes from an environment variable
// that `docker plugin set` changes; an engine that upgrades the plugin keeps
// the old set of variables, so every one has its default here too.
type config struct {
	logLevel  slog.Level
	zone      string
	dns       dnsSettings
	page      netip.AddrPort   // invalid: none is served
	resolvers []netip.AddrPort // none: the host's resolv.conf
	routes    []dnsd.Route     // domains that others are asked for
	supernet4 netip.Prefix
	supernet6 netip.Prefix
	datapath  string
	store     sharedStore
	vtep      string // an address or interface; "": the route to the store tells
	vxlanPort uint16
	hostName  string
	heal      bool // containers whose network namespace ended are restarted
	// passedOver are settings that can't be understood and do without, for people.
	passedOver []string
	// hostRoot is where the host's /run and /var/lib are mounted; "" outside
	// a plugin.
	hostRoot string
	// socket is where the engine expects this plugin.
	socket string
}

func (c config) host(path string) string { return filepath.Join(c.hostRoot, path) }

// resolvConf is where the host's list of resolvers is found now and later. An
// absolute link there means a path of the host.
func (c config) resolvConf() string {
	path := c.host("/etc/resolv.conf")
	if target, err := os.Readlink(path); err == nil {
		if filepath.IsAbs(target) {
			path = c.host(target)
		}
		if filepath.Base(target) == "stub-resolv.conf" {
			// systemd-resolved's; it may have been told to ask us, so the
			// resolvers behind it are taken, as Docker does.
			path = c.host("/run/systemd/resolve/resolv.conf")
		}
	}
	if _, err := os.Stat(path); err != nil {
		return "/etc/resolv.conf" // the engine binds the host's there
	}
	return path
}

// The paths of the host that the daemon uses.
const (
	stateFile       = "/var/lib/dockstack/dockstack.db"
	runDir          = "/run/dockstack"
	discoverySocket = "/run/docker/plugins/dockstack.sock"
	engineSocket    = "/run/docker.sock"
)

// env returns the variable's value, or the default where it is unset or empty.
func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

const mendSettings = "mend it with `docker plugin disable -f`, `docker plugin set` and `docker plugin enable`"

// readConfig returns every setting that can be understood, and an error that
// names every one that can't: the daemon then serves with the defaults' help
// nothing but that error.
func readConfig() (config, error) {
	c := config{
		datapath: env("DOCKSTACK_DATAPATH", "auto"),
		zone:     strings.ToLower(strings.Trim(env("DOCKSTACK_ZONE", "dockstack"), ".")),
		hostRoot: env("DOCKSTACK_HOST_ROOT", "/host"),
		socket:   env("DOCKSTACK_PLUGIN_SOCKET", "/run/docker/plugins/dockstack.sock"),
	}
	var errs []error
	bad := func(name, want string) {
		errs = append(errs, fmt.Errorf("setting %s=%q: want %s", name, os.Getenv(name), want))
	}
	if err := c.logLevel.UnmarshalText([]byte(env("DOCKSTACK_LOG", "info"))); err != nil {
		bad("DOCKSTACK_LOG", "debug, info, warn or error")
	}
	if _, ok := dns.IsDomainName(c.zone); !ok || c.zone == "" {
		bad("DOCKSTACK_ZONE", "a domain name, such as endor.lab")
	}
	var err error
	if c.supernet4, err = netip.ParsePrefix(env("DOCKSTACK_SUPERNET", "10.212.0.0/14")); err != nil || !c.supernet4.Addr().Is4() || c.supernet4.Bits() > 24 {
		bad("DOCKSTACK_SUPERNET", "an IPv4 prefix of /24 or larger, such as 10.212.0.0/14")
	}
	if c.supernet6, err = netip.ParsePrefix(env("DOCKSTACK_SUPERNET6", "fd0d:0c5c::/32")); err != nil || !c.supernet6.Addr().Is6() || c.supernet6.Bits() > 64 {
		bad("DOCKSTACK_SUPERNET6", "an IPv6 prefix of /64 or larger, such as fd0d:0c5c::/32")
	}
	switch c.datapath {
	case "auto", "kernel", "userspace":
	default:
		bad("DOCKSTACK_DATAPATH", "auto, kernel or userspace")
	}
	if c.resolvers, c.routes, err = dnsd.ParseForwarders(os.Getenv(envForwarders)); err != nil {
		bad(envForwarders, "resolvers with commas between them, such as 192.0.2.53,[2001:db8::53]:5353,/corp.example/10.1.1.1: "+err.Error())
	}
	// What only adds something is left out where it can't be understood, and keeps
	// no container from starting.
	mind := func(name, want string) {
		c.passedOver = append(c.passedOver, fmt.Sprintf("setting %s=%q is passed over: want %s; %s", name, os.Getenv(name), want, mendSettings))
	}
	c.readDNS(bad, mind)
	c.readPage(mind)
	c.readHeal(mind)
	c.readShared(bad)
	if len(errs) > 0 {
		errs = append(errs, errors.New(mendSettings))
	}
	return c, errors.Join(errs...)
}

// parseResolver reads an address with or without a port.
func parseResolver(text string) (netip.AddrPort, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return netip.AddrPortFrom(addr, 53), nil
	}
	return netip.ParseAddrPort(text)
}
