package dnsd

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestResolvConf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	write := func(text string) {
		t.Helper()
		// By renaming, as resolvconf and NetworkManager do.
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	behind := filepath.Join(t.TempDir(), "resolved.conf")
	servers := resolvConfs(path, behind)
	if got := servers(); got != nil {
		t.Errorf("without a file: %v", got)
	}
	write("# comment\nsearch lab\nnameserver 192.0.2.1\n\tnameserver  fe80::1%eth0 # x\nnameserver nonsense\nnameserver\nnameserver 0.0.0.0\noptions edns0\n")
	eventually(t, servers, "192.0.2.1:53 [fe80::1%eth0]:53 127.0.0.1:53")
	write("nameserver 192.0.2.2")
	eventually(t, servers, "192.0.2.2:53")
	write("nameserver 127.0.0.53\noptions edns0 trust-ad\n")
	eventually(t, servers, "127.0.0.53:53")
	if err := os.WriteFile(behind, []byte("nameserver 127.0.0.153\nnameserver 192.0.2.3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, servers, "127.0.0.153:53 192.0.2.3:53")
	write("nameserver 192.0.2.2")
	eventually(t, servers, "192.0.2.2:53")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	time.Sleep(confEvery + 100*time.Millisecond)
	eventually(t, servers, "192.0.2.2:53")
}

func eventually(t *testing.T, servers func() []netip.AddrPort, want string) {
	t.Helper()
	got := ""
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var list []string
		for _, s := range servers() {
			list = append(list, s.String())
		}
		if got = strings.Join(list, " "); got == want {
			return
		}
	}
	t.Errorf("resolvers are %s, want %s", got, want)
}
