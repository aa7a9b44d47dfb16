package lab_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/test/lab"
)

// asks runs etcdctl on a host, against one member.
func asks(t *testing.T, h *lab.Host, m *lab.Member, args ...string) (string, error) {
	t.Helper()
	endpoint := "--endpoints=http://" + m.Addr + ":2379"
	out, err := h.Exec(t.Context(), append([]string{"env", "ETCDCTL_API=3", "etcdctl", "--command-timeout=2s", "--dial-timeout=1s", endpoint}, args...)...)
	return strings.TrimSpace(out), err
}

// kept fails unless a member tells a host the value of the key. The first answer counts.
func kept(t *testing.T, h *lab.Host, m *lab.Member, value string) {
	t.Helper()
	var got string
	eventually(t, h.Name+" is told the key by "+m.Name, func() bool {
		var err error
		if got, err = asks(t, h, m, "get", "--print-value-only", "key"); err != nil {
			t.Log(err)
		}
		return err == nil
	})
	if got != value {
		t.Errorf("%s asks %s for the key: %q, want %s", h.Name, m.Name, got, value)
	}
}

// refused fails if a member answers a host.
func refused(t *testing.T, h *lab.Host, m *lab.Member) {
	t.Helper()
	if got, err := asks(t, h, m, "get", "--print-value-only", "key"); err == nil {
		t.Errorf("%s asks %s for the key, and is told %q", h.Name, m.Name, got)
	}
}

func TestEtcdOnTheUnderlay(t *testing.T) {
	l := lab.ForTest(t, lab.Options{Hosts: 2, Etcd: 3})
	if want := "etcd://192.0.2.201:2379,192.0.2.202:2379,192.0.2.203:2379"; l.EtcdURL() != want {
		t.Errorf("the store is at %s, want %s", l.EtcdURL(), want)
	}
	ctx := t.Context()
	h1, h2 := l.Host(1), l.Host(2)
	put := func(value string) {
		t.Helper()
		_, err := l.Etcdctl(ctx, "put", "key", value)
		must(t, err)
	}
	put("first")
	for _, m := range l.Etcd {
		kept(t, h1, m, "first")
		kept(t, h2, m, "first")
	}
	for _, c := range []struct {
		name     string
		down, up func(context.Context) error
	}{
		{"a member stops", l.Member(2).Stop, l.Member(2).Start},
		{"the leader is killed", func(ctx context.Context) error {
			m, err := l.EtcdLeader(ctx)
			if err != nil {
				return err
			}
			return m.Kill9(ctx)
		}, l.EtcdStart},
		{"a member is paused", func(context.Context) error { return l.Member(3).Pause() }, func(context.Context) error { return l.Member(3).Resume() }},
		{"a member is cut from the others", l.Member(1).Cut, l.Member(1).Mend},
	} {
		t.Run(c.name, func(t *testing.T) {
			must(t, c.down(t.Context()))
			eventually(t, "two members agree", func() bool {
				_, err := l.Etcdctl(t.Context(), "put", "key", c.name)
				return err == nil
			})
			must(t, c.up(t.Context()))
			must(t, l.EtcdReady(t.Context()))
			for _, m := range l.Etcd {
				kept(t, h1, m, c.name)
			}
		})
	}
	for _, down := range []func(context.Context) error{l.EtcdStop, l.EtcdKill9} {
		value := fmt.Sprint("before ", time.Now())
		put(value)
		kept(t, h1, l.Member(1), value)
		must(t, down(ctx))
		refused(t, h1, l.Member(1))
		must(t, l.EtcdStart(ctx))
		kept(t, h1, l.Member(3), value)
	}
}

func TestCutHosts(t *testing.T) {
	l := lab.ForTest(t, lab.Options{Hosts: 2, Etcd: 1})
	ctx := t.Context()
	h1, h2, m := l.Host(1), l.Host(2), l.Member(1)
	_, err := l.Etcdctl(ctx, "put", "key", "value")
	must(t, err)
	reaches := func(from *lab.Host, addr string) error {
		_, err := from.Exec(ctx, "ping", "-c", "1", "-W", "1", addr)
		return err
	}
	comesThrough := func(what string, from *lab.Host, addr string) {
		t.Helper()
		eventually(t, what+": "+from.Name+" reaches "+addr, func() bool { return reaches(from, addr) == nil })
	}
	check := func(what string, hosts, etcd bool) {
		t.Helper()
		// What must work is waited for. Then what must not is tried once.
		kept(t, h2, m, "value") // h2 is never concerned
		if hosts {
			comesThrough(what, h1, h2.Addr)
		}
		if etcd {
			kept(t, h1, m, "value")
		}
		if !hosts && reaches(h1, h2.Addr) == nil {
			t.Errorf("%s: h1 reaches h2", what)
		}
		if !etcd {
			refused(t, h1, m)
		}
	}
	check("at first", true, true)
	must(t, h1.CutEtcd(ctx))
	must(t, h1.CutEtcd(ctx)) // twice is once
	check("cut from etcd", true, false)
	must(t, h1.MendEtcd(ctx))
	must(t, h1.MendEtcd(ctx))
	check("etcd mended", true, true)
	must(t, h1.Cut(ctx))
	check("cut wholly", false, false)
	must(t, h1.Mend(ctx))
	check("mended", true, true)

	must(t, h1.Readdress(ctx, "192.0.2.77"))
	check("with another address", true, true)
	comesThrough("with another address", h2, "192.0.2.77")
	comesThrough("with another address", h1, l.UnderlayAddr())
	if reaches(h2, "192.0.2.1") == nil {
		t.Error("h1's old address still answers")
	}
	must(t, h1.SetMTU(ctx, 1300))
	check("with a small MTU", true, true)
	if _, err := h1.Exec(ctx, "ping", "-c", "1", "-W", "1", "-M", "do", "-s", "1280", h2.Addr); err == nil {
		t.Error("1308 bytes fit into an MTU of 1300")
	}
	must(t, h1.Reboot(ctx))
	if h1.Addr != "192.0.2.1" {
		t.Errorf("after a reboot h1 is at %s", h1.Addr)
	}
	check("after a reboot", true, true)
}

func TestEtcdWithCertificates(t *testing.T) {
	l := lab.ForTest(t, lab.Options{Etcd: 1, EtcdTLS: true})
	ctx := t.Context()
	h := l.Host(1)
	_, err := l.Etcdctl(ctx, "put", "key", "value")
	must(t, err)
	settings, err := h.StoreSettings(ctx)
	must(t, err)
	want := "DOCKSTACK_STORE=etcds://192.0.2.201:2379 DOCKSTACK_STORE_CA=/etc/dockstack/ca.pem " +
		"DOCKSTACK_STORE_CERT=/etc/dockstack/client.pem DOCKSTACK_STORE_KEY=/etc/dockstack/client-key.pem"
	if got := strings.Join(settings, " "); got != want {
		t.Errorf("settings %s, want %s", got, want)
	}
	base := []string{"env", "ETCDCTL_API=3", "etcdctl", "--command-timeout=2s", "--endpoints=https://192.0.2.201:2379", "--cacert=/etc/dockstack/ca.pem"}
	withCert := append(slices.Clip(base), "--cert=/etc/dockstack/client.pem", "--key=/etc/dockstack/client-key.pem", "get", "key")
	var out string
	eventually(t, "etcd answers who has the client's certificate", func() bool {
		out, err = h.Exec(ctx, withCert...)
		return err == nil
	})
	if !strings.Contains(out, "value") {
		t.Errorf("with the client's certificate: %q", out)
	}
	if out, err := h.Exec(ctx, append(base, "get", "key")...); err == nil {
		t.Errorf("without a certificate etcd says %q", out)
	}
}

func TestRefusedOptions(t *testing.T) {
	for _, c := range []struct {
		opts lab.Options
		word string
	}{
		{lab.Options{Hosts: 201}, "1 to 200"},
		{lab.Options{Etcd: 2}, "1, 3 or 5"},
		{lab.Options{Etcd: 1, Network: lab.Machine}, "underlay"},
	} {
		l, err := lab.Start(t.Context(), c.opts)
		if err == nil {
			must(t, l.Stop(t.Context()))
		}
		if err == nil || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%+v: %v, want an error with %q", c.opts, err, c.word)
		}
	}
}
