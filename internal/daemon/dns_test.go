package daemon

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// We may stand in the host's list of resolvers, and must not ask ourselves:
// the question would come back to us for ever.
func TestForwardersAreOthers(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "etc"), 0o700); err != nil {
		t.Fatal(err)
	}
	text := "nameserver 127.0.0.153\nnameserver 172.16.0.1\nnameserver 192.0.2.53\nnameserver 127.0.0.1\n"
	if err := os.WriteFile(filepath.Join(root, "etc", "resolv.conf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &parts{cfg: config{hostRoot: root}}
	forwarders := p.forwarders()
	own := []netip.Addr{netip.MustParseAddr("127.0.0.153"), netip.MustParseAddr("172.16.0.1")}
	p.dnsAddrs.Store(&own)
	want := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53"), netip.MustParseAddrPort("127.0.0.1:53")}
	if got := forwarders(); !slices.Equal(got, want) {
		t.Errorf("forwards to %v, want %v", got, want)
	}
}

// The host's resolv.conf is a link more often than not, and an absolute one
// means a path of the host, not of the plugin.
func TestResolvConf(t *testing.T) {
	tests := []struct{ what, target, want string }{
		{"a file", "", "etc/resolv.conf"},
		{"an absolute link", "/run/resolvconf/resolv.conf", "run/resolvconf/resolv.conf"},
		{"systemd-resolved's", "../run/systemd/resolve/stub-resolv.conf", "run/systemd/resolve/resolv.conf"},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			root := t.TempDir()
			for _, dir := range []string{"etc", "run/resolvconf", "run/systemd/resolve"} {
				if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			want := filepath.Join(root, tt.want)
			if err := os.WriteFile(want, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if tt.target != "" {
				if err := os.Symlink(tt.target, filepath.Join(root, "etc", "resolv.conf")); err != nil {
					t.Fatal(err)
				}
			}
			if got := (config{hostRoot: root}).resolvConf(); got != want {
				t.Errorf("reads %s, want %s", got, want)
			}
		})
	}
}
