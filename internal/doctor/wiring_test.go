package doctor

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// How hosts' resolvers are set, and what is said of it.
func TestWiring(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		links map[string]string
		alone bool
		// want are the kinds that are found, with a part of the command.
		want map[string]string
	}{
		"first in resolv.conf": {files: map[string]string{"/etc/resolv.conf": "nameserver 127.0.0.1\nnameserver 9.9.9.9\n"}},
		"not in resolv.conf": {
			files: map[string]string{"/etc/resolv.conf": "search x\nnameserver 9.9.9.9\n"},
			want:  map[string]string{"dns-host": `printf 'nameserver %s\n%s\n' 127.0.0.1 "$(cat /etc/resolv.conf)" > /etc/resolv.conf`, "dns-containers": "restart the containers"},
		},
		"second in resolv.conf": {
			files: map[string]string{"/etc/resolv.conf": "nameserver 9.9.9.9\nnameserver 127.0.0.1\n"},
			want:  map[string]string{"dns-order": "grep -v '^nameserver 127.0.0.1$' /etc/resolv.conf"},
		},
		"no resolv.conf": {want: map[string]string{"dns-host": "printf", "dns-containers": "printf"}},
		"containers by daemon.json": {
			files: map[string]string{"/etc/resolv.conf": "nameserver 9.9.9.9\n", daemonJSON: `{"dns":["172.16.0.1"]}`},
			want:  map[string]string{"dns-host": "printf"},
		},
		"daemon.json names another": {
			files: map[string]string{"/etc/resolv.conf": "nameserver 127.0.0.1\n", daemonJSON: `{"dns":["9.9.9.9"]}`},
			want:  map[string]string{"dns-containers": `jq '.dns = ["172.16.0.1"]'`},
		},
		"daemon.json names another first": {
			files: map[string]string{"/etc/resolv.conf": "nameserver 127.0.0.1\n", daemonJSON: `{"dns":["9.9.9.9","172.16.0.1"]}`},
			want:  map[string]string{"dns-order": `jq '.dns = ["172.16.0.1"] + (.dns - ["172.16.0.1"])'`},
		},
		"systemd-resolved": {
			files: map[string]string{"/run/systemd/resolve/stub-resolv.conf": "nameserver 127.0.0.53\n", "/run/systemd/resolve/resolv.conf": "nameserver 9.9.9.9\n"},
			links: map[string]string{"/etc/resolv.conf": "../run/systemd/resolve/stub-resolv.conf"},
			want: map[string]string{
				"dns-host":       `printf '[Resolve]\nDNS=127.0.0.1\nDomains=~dockstack ~16.172.in-addr.arpa\n' > /etc/systemd/resolved.conf.d/dockstack.conf && systemctl restart systemd-resolved`,
				"dns-containers": `printf '{ "dns": ["172.16.0.1"] }\n' > /etc/docker/daemon.json && systemctl restart docker`,
			},
		},
		"systemd-resolved, told": {
			files: map[string]string{
				"/run/systemd/resolve/stub-resolv.conf": "nameserver 127.0.0.53\n", "/run/systemd/resolve/resolv.conf": "nameserver 9.9.9.9\n",
				"/etc/systemd/resolved.conf.d/dockstack.conf": "[Resolve]\nDNS=127.0.0.1#x 8.8.8.8\nDomains=~dockstack\n", daemonJSON: `{"dns":["172.16.0.1"]}`,
			},
			links: map[string]string{"/etc/resolv.conf": "/run/systemd/resolve/stub-resolv.conf"},
		},
		"daemon.json is broken": {
			files: map[string]string{"/etc/resolv.conf": "nameserver 127.0.0.1\n", daemonJSON: `{`},
			want:  map[string]string{Blind: ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, h := newWorld(t)
			if err := os.Remove(filepath.Join(w.root, "/etc/resolv.conf")); err != nil {
				t.Fatal(err)
			}
			for path, text := range c.files {
				w.file(t, path, text)
			}
			for path, target := range c.links {
				if err := os.Symlink(target, filepath.Join(w.root, path)); err != nil {
					t.Fatal(err)
				}
			}
			found := bad(Check(t.Context(), h))
			for _, f := range found {
				part, wanted := c.want[f.ID]
				if !wanted || !strings.Contains(f.Command, part) {
					t.Errorf("found %+v", f)
				}
				shell(t, f.Command)
			}
			for id := range c.want {
				if !slices.ContainsFunc(found, func(f Finding) bool { return f.ID == id }) {
					t.Errorf("%s is not found", id)
				}
			}
		})
	}
}

// The printed commands do what they say, also with a file that is empty.
func TestResolvConfCommands(t *testing.T) {
	own := netip.MustParseAddr("127.0.0.153")
	for name, c := range map[string]struct{ before, command, want string }{
		"one":         {"nameserver 9.9.9.9\n", (&exam{}).tellHost(wiring{}, own), "nameserver 127.0.0.153\nnameserver 9.9.9.9\n"},
		"none":        {"", (&exam{}).tellHost(wiring{}, own), "nameserver 127.0.0.153\n\n"},
		"ours second": {"nameserver 9.9.9.9\nnameserver 127.0.0.153\nsearch x\n", putFirst(resolvConf, own), "nameserver 127.0.0.153\nnameserver 9.9.9.9\nsearch x\n"},
	} {
		file := filepath.Join(t.TempDir(), "resolv.conf")
		if err := os.WriteFile(file, []byte(c.before), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(c.command, resolvConf, file)).CombinedOutput()
		got, rerr := os.ReadFile(file)
		if err != nil || rerr != nil || string(got) != c.want {
			t.Errorf("%s: %q, want %q (%v: %s)", name, got, c.want, err, out)
		}
	}
}

// A host alone, where containers find each other by the engine, is told less
// loudly.
func TestWiringSeverity(t *testing.T) {
	w, h := newWorld(t)
	w.file(t, "/etc/resolv.conf", "nameserver 9.9.9.9\n")
	of := func() Severity {
		for _, f := range Check(t.Context(), h) {
			if f.ID == "dns-containers" {
				return f.Severity
			}
		}
		return ""
	}
	if got := of(); got != Warning {
		t.Errorf("of several: %s", got)
	}
	h.Cluster = nil
	if got := of(); got != Note {
		t.Errorf("alone: %s", got)
	}
}

func TestReverseZone(t *testing.T) {
	for subnet, want := range map[string]string{
		"172.16.0.0/16": "16.172.in-addr.arpa", "10.0.0.0/8": "10.in-addr.arpa", "192.0.2.0/24": "2.0.192.in-addr.arpa", "172.16.0.0/12": "",
		"fd00:29::/64": "0.0.0.0.0.0.0.0.9.2.0.0.0.0.d.f.ip6.arpa", "fd00::/7": "",
	} {
		if got, ok := reverseZone(netip.MustParsePrefix(subnet)); got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v", subnet, got, ok)
		}
	}
}
