package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/etcdkv"
	"github.com/dockstack/dockstack/internal/kv/etcdtest"
)

// sharesEtcd has a host share a real etcd. What it returns is the store that it
// has open: closed behind the host's back it is a host that died.
func (n *node) sharesEtcd(settings etcdkv.Settings) func() *etcdkv.Store {
	var mu sync.Mutex
	var last *etcdkv.Store
	n.shares(func() (kv.Shared, error) {
		s, err := etcdkv.Open(settings)
		mu.Lock()
		defer mu.Unlock()
		last = s
		return s, err
	})
	return func() *etcdkv.Store {
		mu.Lock()
		defer mu.Unlock()
		return last
	}
}

func settingsOf(t *testing.T, url string) etcdkv.Settings {
	t.Helper()
	a, err := etcdkv.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	return etcdkv.Settings{Address: a}
}

// What the tests with a store in memory show, once more with a real one.
func TestHostsShareEtcd(t *testing.T) {
	etcd := etcdtest.Start(t, etcdtest.Config{})
	settings := settingsOf(t, etcd.URL())
	a, b := newNode(t, "a"), newNode(t, "b")
	store := a.sharesEtcd(settings)
	b.sharesEtcd(settings)
	a.start()
	b.start()
	a.mustBeReady()
	b.mustBeReady()
	a.network()
	b.network()
	web := a.runs("web")
	b.sees(web, a.id())
	_, err := b.ask("web")
	b.fails("a name that is alive elsewhere", err, "web", "host a")

	// etcd goes and comes back. It may have been away before, on a slow machine.
	told := func() int { return strings.Count(b.log.String(), "the shared store is away") }
	before := told()
	etcd.Kill(0)
	a.until("a knows that etcd is gone", func() bool { return strings.Contains(a.text(), "AWAY") })
	a.ends("web", web)
	if got := a.runs("web"); got != web {
		t.Errorf("web has %s, it had %s", got, web)
	}
	_, err = a.ask("new")
	a.fails("a new name", err, "new", "away")
	a.stop()
	a.start() // the copy is all it has
	if err := a.ready(); err != nil {
		t.Fatal(err)
	}
	if got := a.runs("web"); got != web {
		t.Errorf("after a restart web has %s, it had %s", got, web)
	}
	if n := told() - before; n > 1 {
		t.Errorf("that it is away is in the log %d times:\n%s", n, b.log)
	}
	etcd.Restart(0)
	a.until("the store was read", a.synced)
	a.until("its mark is there", a.cluster.peers.Holds)
	b.until("b sees it", func() bool { return b.cluster.peers.Alive(a.id()) })
	b.sees(web, a.id())

	// A host that dies hard lets go of its names within its mark's life.
	killed := store()
	a.shares(func() (kv.Shared, error) { return nil, errors.New("killed") })
	if err := killed.Close(); err != nil {
		t.Fatal(err)
	}
	b.until("a is gone", func() bool { return !b.cluster.peers.Alive(a.id()) })
	b.until("a's names are free", func() bool { _, err := b.ask("web"); return err == nil }) // a moment later
	if got := b.runs("web"); got != web {
		t.Errorf("on b web has %s, on a it had %s", got, web)
	}
}

// What keeps a host from using the etcd is in the status.
func TestEtcdIsNotOurs(t *testing.T) {
	etcd := etcdtest.Start(t, etcdtest.Config{Auth: true, TLS: true})
	other := etcdtest.NewCerts(t)
	root := settingsOf(t, strings.Replace(etcd.URL(), "/dockstack", "/calico", 1))
	root.CA, root.User, root.PasswordFile = etcd.Certs().CA, "root", password(t, etcdtest.RootPassword)
	s, err := etcdkv.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	for err = kv.ErrAway; err != nil; {
		err = s.Commit(limited(t), []kv.Op{put("ipam", "x")})
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	good := settingsOf(t, etcd.URL())
	good.CA, good.User, good.PasswordFile = etcd.Certs().CA, etcdtest.User, password(t, etcdtest.Password)
	tests := []struct {
		what   string
		change func(*etcdkv.Settings)
		words  []string
	}{
		{"another program's keys", func(s *etcdkv.Settings) { *s = root }, []string{"NOT USED", "another program", `"ipam"`}},
		{"a prefix without permission", func(s *etcdkv.Settings) { s.Address.Prefix = "/calico" }, []string{"AWAY", "grant-permission"}},
		{"another authority", func(s *etcdkv.Settings) { s.CA = other.CA }, []string{"AWAY", "DOCKSTACK_STORE_CA"}},
		{"a wrong password", func(s *etcdkv.Settings) { s.PasswordFile = password(t, "wrong") }, []string{"AWAY", "DOCKSTACK_STORE_PASSWORD_FILE"}},
		{"a file that is missing", func(s *etcdkv.Settings) { s.CA += ".gone" }, []string{"NOT USED", "DOCKSTACK_STORE_CA"}},
		{"no TLS", func(s *etcdkv.Settings) { s.Address.TLS, s.CA = false, "" }, []string{"AWAY", "hangs up", "check that it is an etcd"}},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			settings := good
			tt.change(&settings)
			n := newNode(t, "a")
			n.sharesEtcd(settings)
			n.start()
			n.until(fmt.Sprintf("the status has %q", tt.words), func() bool {
				text := n.text()
				for _, word := range tt.words {
					if !strings.Contains(text, word) {
						return false
					}
				}
				return true
			})
			n.sharesEtcd(good)
		})
	}
}

func password(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
