package dnsd

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestSecondaryNSD lets a real secondary, Debian's NSD, fetch our zones, tells
// it of a change, and compares what it then answers with our own answers.
func TestSecondaryNSD(t *testing.T) {
	every, pause := notifyEvery, notifyPause
	notifyEvery, notifyPause = 20*time.Millisecond, 50*time.Millisecond
	t.Cleanup(func() { notifyEvery, notifyPause = every, pause })
	at := freePort(t)
	var names atomic.Pointer[table]
	names.Store(theStack())
	s, err := New(Config{
		Secondaries: []netip.AddrPort{at}, Forwarders: func() []netip.AddrPort { return nil },
		Nameservers: []Nameserver{{Name: "ns1.dockstack", Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}},
	}, func() Names { return names.Load() }, discard())
	if err != nil {
		t.Fatal(err)
	}
	s.SetServed(thePools[:1])
	if err := s.SetListeners([]netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(t.Context())
	}()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	startNSD(t, at, s.Listeners()[0].Addr, "dockstack", "16.172.in-addr.arpa")
	next := theStack()
	next.serial++
	fresh := host("fresh internal 172.16.0.200/16")
	next.byName["fresh"], next.byAddr[fresh.Addr] = []Host{fresh}, fresh
	names.Store(next)
	deadline := time.Now().Add(time.Minute)
	for len(ask(t, "udp", at, query1(t, "fresh.dockstack A")).Answer) == 0 ||
		!strings.Contains(brief(ask(t, "udp", at, query1(t, "16.172.in-addr.arpa SOA"))), " 8 60 ") {
		if time.Now().After(deadline) {
			t.Fatalf("NSD was told %d times, fetched %d zones, and does not know the new name", s.Stats().Notified, s.Stats().Transfers)
		}
		time.Sleep(20 * time.Millisecond)
	}
	for _, question := range []string{
		"db.dockstack A", "db.dockstack TXT", "db.dockstack AAAA", "web.dockstack A", "web.front.dockstack A", "mq-x.dockstack A", "mq_x.dockstack A",
		"_80._tcp.sick-1.dockstack SRV", "_tcp.sick-1.dockstack SRV", "_81._tcp.sick-1.dockstack SRV", "_ldap._tcp.dockstack SRV",
		"nas.dockstack A", "files.dockstack A", "x.apps.dockstack A", "x.apps.dockstack AAAA", "x.own.apps.dockstack A", "er.apps.dockstack A",
		"internal.dockstack A", "nobody.dockstack A", "dockstack MX", "dockstack NS", "dockstack SOA", "ns1.dockstack A",
		"10.0.16.172.in-addr.arpa PTR", "99.0.16.172.in-addr.arpa PTR", "1.9.16.172.in-addr.arpa PTR", "16.172.in-addr.arpa SOA",
	} {
		ours, theirs := ask(t, "tcp", s.Listeners()[0].Addr, query1(t, question)), ask(t, "tcp", at, query1(t, question))
		if got, want := zoneSays(theirs), zoneSays(ours); got != want {
			t.Errorf("%s: NSD says %s, we say %s", question, got, want)
		}
	}
}

// zoneSays is what an answer says of the zone, without what only we add.
func zoneSays(m *dns.Msg) string {
	var list []string
	for _, rr := range m.Answer {
		list = append(list, strings.Join(strings.Fields(rr.String()), " "))
	}
	slices.Sort(list)
	return fmt.Sprintf("%s aa=%v %q", dns.RcodeToString[m.Rcode], m.Authoritative, list)
}

// startNSD runs NSD as a secondary of zones.
func startNSD(t *testing.T, at, primary netip.AddrPort, zones ...string) {
	t.Helper()
	dir := t.TempDir()
	var conf strings.Builder
	fmt.Fprintf(&conf, `server:
	ip-address: %s
	port: %d
	username: ""
	chroot: ""
	zonesdir: %q
	database: ""
	pidfile: ""
	xfrdir: %q
	xfrdfile: %q
	zonelistfile: %q
	server-count: 1
	verbosity: 2
remote-control:
	control-enable: no
`, at.Addr(), at.Port(), dir, dir, filepath.Join(dir, "xfrd.state"), filepath.Join(dir, "zone.list"))
	for _, zone := range zones {
		fmt.Fprintf(&conf, "zone:\n\tname: %s\n\tallow-notify: 127.0.0.1 NOKEY\n\trequest-xfr: %s@%d NOKEY\n", zone, primary.Addr(), primary.Port())
	}
	file := writeFile(t, dir, "nsd.conf", []byte(conf.String()))
	program{name: "NSD", path: need(t, "nsd"), probe: "db.dockstack A", args: []string{"-d", "-c", file}}.run(t, at)
}
