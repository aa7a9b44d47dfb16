package e2e

import (
	"context"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dockstack/dockstack/internal/ovs"
	"github.com/dockstack/dockstack/test/lab"
)

// port is where stand-ins that serve say their container's name.
const port = "80"

// serve starts a stand-in that says its name to whoever connects.
func (h *host) serve(name, network string, args ...string) {
	h.t.Helper()
	h.run(name, network, append([]string{"--hostname", name, "-e", "PORTS=" + port}, args...)...)
}

// iface is an interface as a container sees it.
type iface struct {
	Name, MAC string
	MTU       int
	Addrs     []string
}

// ifaces are a container's interfaces, looked at from within.
func (h *host) ifaces(container string) []iface {
	h.t.Helper()
	var all []iface
	h.check(json.Unmarshal([]byte(h.exec(container, "ifaces")), &all))
	return all
}

// device is the interface in a container that has an address.
func (h *host) device(container string, addr netip.Addr) iface {
	h.t.Helper()
	for _, i := range h.ifaces(container) {
		for _, text := range i.Addrs {
			if p, err := netip.ParsePrefix(text); err == nil && p.Addr() == addr {
				return i
			}
		}
	}
	h.t.Fatalf("no interface of %s has %s: %v", container, addr, h.ifaces(container))
	return iface{}
}

// has tells whether any interface in a container has an address.
func (h *host) has(container, addr string) bool {
	h.t.Helper()
	return slices.ContainsFunc(h.ifaces(container), func(i iface) bool {
		return slices.ContainsFunc(i.Addrs, func(a string) bool { return strings.HasPrefix(a, addr+"/") })
	})
}

// ipv6 is a container's IPv6 address in a network.
func (h *host) ipv6(container, network string) netip.Addr {
	h.t.Helper()
	a, err := netip.ParseAddr(h.picture(network)[container+" "+network].IPv6)
	if err != nil {
		h.t.Fatalf("%s has no IPv6 address in %s: %v", container, network, err)
	}
	return a
}

// mac is a container's MAC in a network.
func (h *host) mac(container, network string) string {
	h.t.Helper()
	return h.picture(network)[container+" "+network].MAC
}

// at is the port of stand-ins at an address.
func at(addr netip.Addr) string {
	if addr.Is6() {
		return "[" + addr.String() + "]:" + port
	}
	return addr.String() + ":" + port
}

// meets fails unless from, connecting to addr, is told the name of to.
func (h *host) meets(from, to string, addr netip.Addr) {
	h.t.Helper()
	if got, err := h.get(from, at(addr)); err != nil || got != to {
		h.t.Errorf("%s asks %s for its name: %q, %v; want %s", from, addr, got, err, to)
	}
}

// get is what a container is told by a stand-in at host:port.
func (h *host) get(from, where string) (string, error) {
	h.t.Helper()
	return h.try("exec", from, "/standin", "get", where)
}

// within runs one of the machine's programs in a container's network.
func (h *host) within(container string, args ...string) (string, error) {
	h.t.Helper()
	pid := h.docker("inspect", "-f", "{{.State.Pid}}", container)
	out, err := h.Exec(h.ctx(), append([]string{"nsenter", "-n", "-t", pid}, args...)...)
	return strings.TrimSpace(out), err
}

// does is within where an error ends the test.
func (h *host) does(container string, args ...string) string {
	h.t.Helper()
	out, err := h.within(container, args...)
	h.check(err)
	return out
}

// onHost runs one of the machine's programs on the lab host.
func (h *host) onHost(args ...string) string {
	h.t.Helper()
	out, err := h.Exec(h.ctx(), args...)
	h.check(err)
	return out
}

// remove ends containers.
func (h *host) remove(names ...string) {
	h.t.Helper()
	h.docker(append([]string{"rm", "-fv"}, names...)...)
}

// stop ends containers that stay there.
func (h *host) stop(names ...string) {
	h.t.Helper()
	h.docker(append([]string{"stop", "-t", "1"}, names...)...)
}

// subnets are those of a network, IPv4 first.
func (h *host) subnets(network string) []netip.Prefix {
	h.t.Helper()
	var out []netip.Prefix
	for text := range strings.FieldsSeq(h.docker("network", "inspect", "-f", "{{range .IPAM.Config}}{{.Subnet}} {{end}}", network)) {
		p, err := netip.ParsePrefix(text)
		h.check(err)
		out = append(out, p)
	}
	return out
}

// gateways are those of a network, IPv4 first.
func (h *host) gateways(network string) []netip.Addr {
	h.t.Helper()
	var out []netip.Addr
	for text := range strings.FieldsSeq(h.docker("network", "inspect", "-f", "{{range .IPAM.Config}}{{.Gateway}} {{end}}", network)) {
		a, err := netip.ParseAddr(text)
		h.check(err)
		out = append(out, a)
	}
	return out
}

// mark is a place in the log of engine and plugin.
type mark int

// logged is the log's end now.
func (h *host) logged() mark {
	h.t.Helper()
	st, err := os.Stat(h.EngineLog())
	h.check(err)
	return mark(st.Size())
}

// warned waits until a line of the log since m has all the words.
func (h *host) warned(m mark, words ...string) {
	h.t.Helper()
	h.eventually(time.Minute, func() string {
		text, err := os.ReadFile(h.EngineLog())
		h.check(err)
		for line := range strings.Lines(string(text[m:])) {
			if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
				return ""
			}
		}
		return "no line of the log has all of: " + strings.Join(words, ", ")
	})
}

// vswitch runs one of Open vSwitch's programs against the host's switch.
func (h *host) vswitch(program string, args ...string) (string, error) {
	h.t.Helper()
	root, err := lab.Root()
	h.check(err)
	c := ovs.Config{Root: filepath.Join(root, "build", "plugin", "rootfs"), RunDir: h.Path("/run/dockstack/ovs")}
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	out, err := c.Run(ctx, program, args...)
	return strings.TrimSpace(string(out)), err
}
