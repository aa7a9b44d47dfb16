package etcdkv_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/etcdkv"
	"github.com/dockstack/dockstack/internal/kv/etcdtest"
)

const patience = 30 * time.Second

func open(tb testing.TB, set etcdkv.Settings) *etcdkv.Store {
	tb.Helper()
	s, err := etcdkv.Open(set)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, kv.ErrClosed) {
			tb.Errorf("close: %v", err)
		}
	})
	return s
}

// until waits for a state, and returns how long it took.
func until(tb testing.TB, s *etcdkv.Store, what string, ok func(away error) bool) time.Duration {
	tb.Helper()
	start := time.Now()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		away, changed := s.State()
		if ok(away) {
			return time.Since(start)
		}
		select {
		case <-changed:
		case <-limit.C:
			tb.Fatalf("%s: not after %s, but %v", what, patience, away)
		}
	}
}

func reached(tb testing.TB, s *etcdkv.Store) time.Duration {
	tb.Helper()
	return until(tb, s, "reached", func(away error) bool { return away == nil })
}

func away(tb testing.TB, s *etcdkv.Store) time.Duration {
	tb.Helper()
	return until(tb, s, "away", func(away error) bool { return away != nil })
}

// wantAway waits until the store says why it is away, and until calls say so.
func wantAway(t *testing.T, set etcdkv.Settings, parts ...string) {
	t.Helper()
	s := open(t, set)
	has := func(err error) bool {
		for _, p := range parts {
			if err == nil || !strings.Contains(err.Error(), p) {
				return false
			}
		}
		return errors.Is(err, kv.ErrAway)
	}
	until(t, s, fmt.Sprintf("%q", parts), has)
	start := time.Now()
	if err := s.Commit(t.Context(), []kv.Op{{Key: "k"}}); !has(err) || time.Since(start) > time.Second {
		t.Errorf("commit: %v, after %s", err, time.Since(start))
	}
	if err := s.Load(t.Context(), "", func(string, []byte) error { return nil }); !has(err) {
		t.Errorf("load: %v", err)
	}
	t.Log(s.Commit(t.Context(), []kv.Op{{Key: "k"}}))
}

func address(t *testing.T, s string) etcdkv.Settings {
	t.Helper()
	a, err := etcdkv.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return etcdkv.Settings{Address: a}
}

// listen accepts connections on loopback and has serve do something with them.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return l.Addr().String()
}

func TestAwaySaysWhy(t *testing.T) {
	t.Run("nobody listens", func(t *testing.T) {
		wantAway(t, address(t, "etcd://127.0.0.1:1"), "etcd 127.0.0.1:1 refuses connections", "start etcd there, or correct address and port in DOCKSTACK_STORE")
	})
	t.Run("each member is named", func(t *testing.T) {
		wantAway(t, address(t, "etcd://127.0.0.1:1,127.0.0.1:2"), "etcd 127.0.0.1:1 refuses", "etcd 127.0.0.1:2 refuses")
	})
	t.Run("a name that is none", func(t *testing.T) {
		wantAway(t, address(t, "etcd://nothing.invalid"), "etcd nothing.invalid:2379 is a name that can't be resolved", "DOCKSTACK_STORE")
	})
	t.Run("a host that says nothing", func(t *testing.T) {
		at := listen(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 1<<20)); <-t.Context().Done(); _ = c.Close() })
		wantAway(t, address(t, "etcd://"+at), at+" does not answer", "firewalls")
	})
	t.Run("a host that hangs up", func(t *testing.T) {
		at := listen(t, func(c net.Conn) { _ = c.Close() })
		wantAway(t, address(t, "etcd://"+at), at+" hangs up", "check that it is an etcd")
	})
	t.Run("another server", func(t *testing.T) {
		at := listen(t, func(c net.Conn) {
			_, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"))
			_ = c.Close()
		})
		wantAway(t, address(t, "etcd://"+at), "etcd "+at+" fails (", "see its log")
	})
}

func TestAwaySaysWhyWithTLS(t *testing.T) {
	c := etcdtest.Start(t, etcdtest.Config{TLS: true, ClientCert: true})
	good := at(t, c)
	good.CA, good.Cert, good.Key = c.Certs().CA, c.Certs().ClientCert, c.Certs().ClientKey
	s := open(t, good)
	reached(t, s)
	if err := s.Commit(t.Context(), []kv.Op{{Key: "k"}}); err != nil {
		t.Errorf("with the right files: %v", err)
	}
	ep := good.Address.Endpoints[0]
	other := etcdtest.NewCerts(t)
	for name, test := range map[string]struct {
		set  func(*etcdkv.Settings)
		says []string
	}{
		"no authority":        {func(s *etcdkv.Settings) { s.CA = "" }, []string{ep + " shows a certificate of an authority that is not trusted", "DOCKSTACK_STORE_CA"}},
		"another authority":   {func(s *etcdkv.Settings) { s.CA = other.CA }, []string{"an authority that is not trusted"}},
		"no certificate":      {func(s *etcdkv.Settings) { s.Cert, s.Key = "", "" }, []string{ep + " does not take our certificate", "DOCKSTACK_STORE_CERT"}},
		"another certificate": {func(s *etcdkv.Settings) { s.Cert, s.Key = other.ClientCert, other.ClientKey }, []string{"does not take our certificate", "DOCKSTACK_STORE_CERT"}},
		"an expired one": {func(s *etcdkv.Settings) {
			s.Cert, s.Key = c.Certs().Issue("old", "dockstack", time.Now().Add(-time.Hour))
		}, []string{"does not take our certificate"}},
		"without TLS": {func(s *etcdkv.Settings) { *s = etcdkv.Settings{Address: s.Address}; s.Address.TLS = false }, []string{ep + " speaks nothing but TLS", "write etcds:// instead of etcd://"}},
	} {
		t.Run(name, func(t *testing.T) {
			set := good
			test.set(&set)
			wantAway(t, set, test.says...)
		})
	}
}

func TestAwaySaysWhyOfTheServersCertificate(t *testing.T) {
	certs := etcdtest.NewCerts(t)
	for name, test := range map[string]struct {
		host  string
		until time.Time
		says  []string
	}{
		"for another host": {".", time.Now().Add(time.Hour), []string{"shows a certificate for another host", "127.0.0.1"}},
		"expired":          {"localhost", time.Now().Add(-time.Hour), []string{"shows a certificate that is not valid now", "renew it, or correct the clock"}},
	} {
		t.Run(name, func(t *testing.T) {
			cert, key := certs.Issue("bad", test.host, test.until)
			c := etcdtest.Start(t, etcdtest.Config{TLS: true, Args: []string{"--cert-file", cert, "--key-file", key}})
			set := at(t, c)
			set.CA = certs.CA
			wantAway(t, set, test.says...)
		})
	}
}

func TestAwaySaysWhyOfAPlainServer(t *testing.T) {
	c := etcdtest.Start(t, etcdtest.Config{})
	set := at(t, c)
	set.Address.TLS = true
	set.CA = etcdtest.NewCerts(t).CA
	wantAway(t, set, "does not speak TLS", "write etcd:// instead of etcds://")
}

func TestUsers(t *testing.T) {
	c := etcdtest.Start(t, etcdtest.Config{Auth: true})
	file := func(content string) string {
		path := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := at(t, c)
	good.User, good.PasswordFile = etcdtest.User, file(etcdtest.Password+"\n")
	s := open(t, good)
	reached(t, s)
	if err := s.Commit(t.Context(), []kv.Op{{Key: "k"}}); err != nil {
		t.Errorf("with the right password: %v", err)
	}
	t.Run("no user", func(t *testing.T) {
		set := at(t, c)
		wantAway(t, set, "wants a user", "DOCKSTACK_STORE_USER")
	})
	t.Run("a wrong password", func(t *testing.T) {
		set := good
		set.PasswordFile = file("guess")
		wantAway(t, set, "does not take user dockstack with this password", "DOCKSTACK_STORE_PASSWORD_FILE")
	})
	t.Run("no right there", func(t *testing.T) {
		set := good
		set.Address.Prefix = "/elsewhere"
		wantAway(t, set, "does not let user dockstack read and write below /elsewhere/", "etcdctl role grant-permission ROLE --prefix=true readwrite /elsewhere/")
	})
	t.Run("a right to read alone", func(t *testing.T) {
		cl := c.Client()
		defer func() { _ = cl.Close() }()
		if _, err := cl.RoleGrantPermission(t.Context(), etcdtest.User, "/look/", clientv3.GetPrefixRangeEnd("/look/"), clientv3.PermissionType(clientv3.PermRead)); err != nil {
			t.Fatal(err)
		}
		set := good
		set.Address.Prefix = "/look"
		s := open(t, set)
		reached(t, s)
		err := s.Commit(t.Context(), []kv.Op{{Key: "k"}})
		if !errors.Is(err, kv.ErrAway) || !strings.Contains(err.Error(), "does not let user dockstack read and write below /look/") {
			t.Errorf("commit: %v", err)
		}
	})
	t.Run("tokens that etcd forgot", func(t *testing.T) {
		c.Kill(0)
		away(t, s)
		c.Restart(0)
		c.Ready()
		reached(t, s)
		if err := s.Commit(t.Context(), []kv.Op{{Key: "k2"}}); err != nil {
			t.Errorf("after a restart: %v", err)
		}
	})
}

func TestFullDatabase(t *testing.T) {
	c := etcdtest.Start(t, etcdtest.Config{Args: []string{"--quota-backend-bytes", "200000"}})
	s := open(t, at(t, c))
	var err error
	for i := range 100 {
		if err = s.Commit(t.Context(), []kv.Op{{Key: fmt.Sprint(i), Value: make([]byte, 50_000)}}); err != nil {
			break
		}
	}
	if !errors.Is(err, kv.ErrNoSpace) || !strings.Contains(err.Error(), "NOSPACE") || !strings.Contains(err.Error(), "etcdctl alarm disarm") {
		t.Errorf("got %v", err)
	}
	t.Log(err)
	if err := s.Load(t.Context(), "", func(string, []byte) error { return nil }); err != nil {
		t.Errorf("load: %v", err)
	}
}

func TestTooLarge(t *testing.T) {
	c := etcdtest.Start(t, etcdtest.Config{})
	s := open(t, at(t, c))
	for _, n := range []int{2, 5} {
		var ops []kv.Op
		for i := range n {
			ops = append(ops, kv.Op{Key: fmt.Sprint(i), Value: make([]byte, kv.MaxValue)})
		}
		if err := s.Commit(t.Context(), ops); !errors.Is(err, kv.ErrNotStorable) {
			t.Errorf("%d MiB: %v", n, err)
		}
	}
	if away, _ := s.State(); away != nil {
		t.Errorf("then it is away: %v", away)
	}
}

func TestOtherCluster(t *testing.T) {
	a, b := etcdtest.Start(t, etcdtest.Config{}), etcdtest.Start(t, etcdtest.Config{})
	set := at(t, a)
	set.Address.Endpoints = append(set.Address.Endpoints, b.Endpoints()...)
	wantAway(t, set, "is of another etcd cluster")
	// One that is found later is not used.
	b.Kill(0)
	s := open(t, set)
	reached(t, s)
	b.Restart(0)
	b.Ready()
	a.Kill(0)
	until(t, s, "both wrong", func(away error) bool {
		return away != nil && strings.Contains(away.Error(), a.Endpoints()[0]) && strings.Contains(away.Error(), b.Endpoints()[0]+" is of another etcd cluster")
	})
}

func TestBadSettings(t *testing.T) {
	certs := etcdtest.NewCerts(t)
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	plain, secure := address(t, "etcd://h").Address, address(t, "etcds://h").Address
	for says, set := range map[string]etcdkv.Settings{
		"write etcds:// in front of h:2379":                 {Address: plain, CA: certs.CA},
		"belong together":                                   {Address: secure, Cert: certs.ClientCert},
		"no such file or directory; see DOCKSTACK_STORE_CA": {Address: secure, CA: "/nowhere"},
		"has no certificate in PEM form":                    {Address: secure, CA: empty},
		"see DOCKSTACK_STORE_CERT and":                      {Address: secure, Cert: certs.ClientCert, Key: certs.ServerKey},
		"see DOCKSTACK_STORE_KEY":                           {Address: secure, Cert: certs.ClientCert, Key: "/nowhere"},
		"see DOCKSTACK_STORE_CERT":                          {Address: secure, Cert: "/nowhere", Key: certs.ClientKey},
		"DOCKSTACK_STORE_USER is not":                       {Address: plain, PasswordFile: empty},
		"set DOCKSTACK_STORE_PASSWORD_FILE":                 {Address: plain, User: "u"},
		"has not one line":                                  {Address: plain, User: "u", PasswordFile: empty},
		"see DOCKSTACK_STORE_PASSWORD_FILE":                 {Address: plain, User: "u", PasswordFile: "/nowhere"},
		"names no host":                                     {},
	} {
		if s, err := etcdkv.Open(set); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, %v, want %q", s, err, says)
		}
	}
}
