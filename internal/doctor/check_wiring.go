package doctor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

const resolvConf = "/etc/resolv.conf"

// wiring is how the host's resolvers are set.
type wiring struct {
	// resolvers are those of resolv.conf, in order.
	resolvers []netip.Addr
	// resolved: it is systemd-resolved's own file; asks are those that it was
	// told to ask, and behind what it asks otherwise, which is what Docker reads.
	resolved bool
	asks     []netip.Addr
	behind   []netip.Addr
	// engine are those of daemon.json.
	engine []netip.Addr
}

// wired looks whether the host and its containers ask us (docs/dns.md).
func (x *exam) wired(context.Context) error {
	if len(x.DNS) == 0 {
		return nil
	}
	w, err := x.wiring()
	if err != nil {
		return err
	}
	ours := func(a netip.Addr) bool { return slices.Contains(x.Server.Asked(), a) }
	severity := Note
	if !x.alone() {
		severity = Warning
	}
	own := x.DNS[0]
	host := slices.ContainsFunc(w.resolvers, ours) || w.resolved && slices.ContainsFunc(w.asks, ours)
	if !host {
		x.add(Finding{ID: "dns-host", What: "the host's resolvers are not dockstack's", Command: x.tellHost(w, own)})
	}
	for name, list := range map[string][]netip.Addr{resolvConf: w.resolvers, daemonJSON: w.engine} {
		if i := slices.IndexFunc(list, ours); i > 0 {
			x.add(Finding{
				ID: "dns-order", Subject: name, What: fmt.Sprintf("%s names %s only after %s", name, list[i], list[0]), Command: putFirst(name, list[i]),
			})
		}
	}
	asked := w.resolvers
	if w.resolved {
		asked = w.behind
	}
	if len(w.engine) > 0 {
		asked = w.engine
	}
	if !slices.ContainsFunc(asked, ours) {
		x.add(Finding{ID: "dns-containers", Severity: severity, What: "containers' resolvers are not dockstack's", Command: x.tellContainers(w, own)})
	}
	return nil
}

func (x *exam) wiring() (wiring, error) {
	var w wiring
	path := x.path(resolvConf)
	if target, err := os.Readlink(path); err == nil {
		w.resolved = strings.Contains(target, "systemd/resolve/stub-resolv.conf")
		if filepath.IsAbs(target) {
			path = x.path(target)
		}
	}
	var err error
	if w.resolvers, err = nameservers(path, "nameserver"); err != nil {
		return w, err
	}
	// A file that names the stub alone is its, too.
	w.resolved = w.resolved || slices.Equal(w.resolvers, []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 53})})
	if w.resolved {
		if w.behind, err = nameservers(x.path("/run/systemd/resolve/resolv.conf"), "nameserver"); err != nil {
			return w, err
		}
		files := []string{x.path("/etc/systemd/resolved.conf")}
		for _, dir := range []string{"/etc/systemd/resolved.conf.d", "/run/systemd/resolved.conf.d"} {
			more, _ := filepath.Glob(filepath.Join(x.path(dir), "*.conf"))
			files = append(files, more...)
		}
		for _, f := range files {
			asks, err := nameservers(f, "DNS=")
			if err != nil {
				return w, err
			}
			w.asks = append(w.asks, asks...)
		}
	}
	f, err := readEngineFile(x.path(daemonJSON))
	if err != nil {
		return w, err
	}
	for _, text := range f.DNS {
		if a, err := netip.ParseAddr(text); err == nil {
			w.engine = append(w.engine, a.Unmap())
		}
	}
	return w, nil
}

// nameservers are the addresses on the lines of a file that begin with a word.
// A file that isn't there names none.
func nameservers(path, word string) ([]netip.Addr, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var out []netip.Addr
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		rest, ok := strings.CutPrefix(strings.TrimSpace(lines.Text()), word)
		if !ok {
			continue
		}
		for text := range strings.FieldsSeq(rest) {
			// systemd-resolved's notation: an address, a port, an interface, a name.
			text, _, _ = strings.Cut(text, "#")
			text, _, _ = strings.Cut(text, "%")
			if a, err := netip.ParseAddr(text); err == nil {
				out = append(out, a.Unmap())
			}
		}
	}
	return out, lines.Err()
}

// putFirst has a list of resolvers begin with ours.
func putFirst(file string, own netip.Addr) string {
	if file == daemonJSON {
		return fmt.Sprintf(`cp %[1]s %[1]s.before && jq '.dns = ["%[2]s"] + (.dns - ["%[2]s"])' %[1]s.before > %[1]s && systemctl restart docker`, file, own)
	}
	return fmt.Sprintf(`printf 'nameserver %%s\n%%s\n' %[1]s "$(grep -v '^nameserver %[1]s$' %[2]s)" > %[2]s`, own, file)
}

// tellHost makes the host's programs ask us.
func (x *exam) tellHost(w wiring, own netip.Addr) string {
	if !w.resolved {
		// Into the file that is there: it may be a link or a mount, and empty.
		return fmt.Sprintf(`printf 'nameserver %%s\n%%s\n' %[1]s "$(cat %[2]s)" > %[2]s`, own, resolvConf)
	}
	domains := []string{"~" + x.Zone}
	for _, n := range x.Fabric.Networks() {
		for _, g := range n.Gateways {
			if zone, ok := reverseZone(g.Masked()); ok {
				domains = append(domains, "~"+zone)
			}
		}
	}
	return fmt.Sprintf(`mkdir -p /etc/systemd/resolved.conf.d && printf '[Resolve]\nDNS=%s\nDomains=%s\n' > /etc/systemd/resolved.conf.d/dockstack.conf && systemctl restart systemd-resolved`,
		own, strings.Join(domains, " "))
}

// reverseZone is the reverse zone of a subnet, where it begins at a label.
func reverseZone(p netip.Prefix) (string, bool) {
	name, err := dns.ReverseAddr(p.Addr().String())
	if err != nil {
		return "", false
	}
	bits := 8
	if p.Addr().Is6() {
		bits = 4
	}
	if p.Bits()%bits != 0 || p.Bits() == 0 {
		return "", false
	}
	labels := dns.SplitDomainName(name)
	return strings.Join(labels[(p.Addr().BitLen()-p.Bits())/bits:], "."), true
}

// tellContainers makes containers ask us, from their next start on.
func (x *exam) tellContainers(w wiring, own netip.Addr) string {
	if !w.resolved && len(w.engine) == 0 {
		return x.tellHost(w, own) + "   # and restart the containers"
	}
	gateway := "GATEWAY"
	for _, n := range x.Fabric.Networks() {
		if len(n.Gateways) > 0 {
			gateway = n.Gateways[0].Addr().String()
			break
		}
	}
	if _, err := os.Stat(x.path(daemonJSON)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Sprintf(`mkdir -p /etc/docker && printf '{ "dns": ["%s"] }\n' > %s && systemctl restart docker`, gateway, daemonJSON)
	}
	return fmt.Sprintf(`cp %[1]s %[1]s.before && jq '.dns = ["%[2]s"]' %[1]s.before > %[1]s && systemctl restart docker`, daemonJSON, gateway)
}
