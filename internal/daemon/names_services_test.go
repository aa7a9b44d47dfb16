package daemon

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/dockstack/dockstack/dnsd"
	"github.com/dockstack/dockstack/internal/engine"
	"github.com/dockstack/dockstack/internal/kv/kvtest"
	"github.com/dockstack/dockstack/internal/records"
)

// container is one of the node's, as its engine tells of it.
func (n *node) container(name, service string, aliases ...string) engine.Container {
	return engine.Container{
		ID: name, Name: name, Running: true, Project: "shop", Service: service, Known: true,
		On:    []engine.Attachment{{Network: "net-" + n.name, Endpoint: name + "-on-" + n.name, Aliases: aliases}},
		Ports: []engine.Port{{Number: 80, Proto: "tcp"}},
	}
}

func (n *node) hears(all ...engine.Container) {
	n.t.Helper()
	n.about.observe(engine.Picture{Containers: all}, n.Leases)
}

// service is what DNS has for a service, in order.
func (n *node) service(name string) string {
	var out []string
	for _, h := range n.about.pictures.now().ByService(nil, name) {
		text := h.Name + " " + h.Addr.String()
		if h.Out {
			text += " out"
		}
		out = append(out, text)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func (n *node) answers(name, want string) {
	n.t.Helper()
	n.until(fmt.Sprintf("%s is %q", name, want), func() bool { return n.service(name) == want })
}

func TestServicesOfSeveralHosts(t *testing.T) {
	m := kvtest.NewMemory()
	a, b := newNode(t, "a"), newNode(t, "b")
	a.sharesMemory(m)
	b.sharesMemory(m)
	a.start().mustBeReady()
	a.network()
	b.start().mustBeReady()
	b.network()
	one, two := a.runs("web-1"), b.runs("web-2")
	second := b.container("web-2", "web", "www", "my_web")
	second.Health, second.Labels = engine.Unhealthy, map[string]string{"dockstack.health": "on"}
	a.hears(a.container("web-1", "web"))
	b.hears(second)
	for _, n := range []*node{a, b} {
		n.answers("web", fmt.Sprintf("web-1 %s, web-2 %s out", one, two))
		n.answers("www", fmt.Sprintf("web-2 %s out", two))
		n.answers("my-web", fmt.Sprintf("web-2 %s out", two))
		n.answers("nobody", "")
	}
	found := a.about.pictures.now().ByService(nil, "www")
	if a.about.pictures.now().Machine(found[0]) != "b" || found[0].Via != "network alias www" || found[0].Pool.String() != subnet {
		t.Errorf("www is %+v", found)
	}
	if ports := a.about.pictures.now().Ports(found[0]); !slices.Equal(ports, []dnsd.Port{{Number: 80, Proto: "tcp"}}) {
		t.Errorf("its ports are %v", ports)
	}
	// The container ends: its facts are there, and answer nothing. It comes up on
	// a, which has not looked at it yet: b's word does not count there.
	b.ends("web-2", two)
	for _, n := range []*node{a, b} {
		n.answers("web", "web-1 "+one)
	}
	a.runs("web-2")
	b.answers("web", "web-1 "+one)
	a.hears(a.container("web-1", "web"), a.container("web-2", "web"))
	b.answers("web", fmt.Sprintf("web-1 %s, web-2 %s", one, two))
	// A daemon that starts anew knows all of it, also while the store is away.
	b.stop()
	b.sharesMemory(m).Cut()
	b.start()
	b.answers("web", fmt.Sprintf("web-1 %s, web-2 %s", one, two))
}

func TestSerialGrowsWithEveryPicture(t *testing.T) {
	n := newNode(t, "a").start()
	n.network()
	last := uint32(0)
	grows := func(what string) {
		t.Helper()
		got := n.about.pictures.now().Serial()
		if got <= last {
			t.Errorf("%s: %d after %d", what, got, last)
		}
		last = got
		if again := n.about.pictures.now().Serial(); again != got {
			t.Errorf("%s: %d and then %d", what, got, again)
		}
	}
	grows("at first")
	n.runs("web-1")
	grows("a lease")
	n.hears(n.container("web-1", "web"))
	grows("a service")
	if _, err := n.about.records.Add(t.Context(), records.Record{Name: "nas", Type: dns.TypeA, Data: "192.0.2.1"}); err != nil {
		t.Fatal(err)
	}
	grows("a record")
	// Faster than once a second, for longer than the clock can make up for.
	for range 3 * serialRoom {
		n.about.pictures.serial.next()
	}
	ahead := n.about.pictures.serial
	n.until("it is stored", func() bool {
		ahead.mu.Lock()
		defer ahead.mu.Unlock()
		return ahead.stored >= ahead.last
	})
	last = ahead.next()
	n.stop()
	n.start()
	grows("after a restart")
}

func TestSerialFollowsTheClock(t *testing.T) {
	s, err := openSerial(t.Context(), kvtest.NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	s.clock = func() time.Time { return now }
	for _, step := range []struct {
		pass time.Duration
		want uint32
	}{{0, 1_800_000_000}, {0, 1_800_000_001}, {0, 1_800_000_002}, {time.Second, 1_800_000_003}, {time.Minute, 1_800_000_061}} {
		now = now.Add(step.pass)
		if got := s.next(); got != step.want {
			t.Errorf("%d, want %d", got, step.want)
		}
	}
	s.last = 1<<32 - 1
	now = time.Unix(1<<32-1, 0)
	if got := s.next(); got != 0 {
		t.Errorf("after the last comes %d", got)
	}
}

func TestRecordsBesideContainers(t *testing.T) {
	n := newNode(t, "a").start()
	n.network()
	if err := n.Leases.SetNetworkName(t.Context(), "net-a", "internal"); err != nil {
		t.Fatal(err)
	}
	n.runs("db")
	for name, word := range map[string]string{"db": "container db", "db.internal.dockstack": "container db on network internal", "db.internal": "container db", "free": ""} {
		_, err := n.about.records.Add(t.Context(), records.Record{Name: name, Type: dns.TypeA, Data: "192.0.2.1"})
		if (err != nil) != (word != "") || err != nil && !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v", name, err)
		}
	}
	at := n.about.pictures.now()
	if got := at.Records("free.dockstack"); len(got) != 1 || got[0].Data != "192.0.2.1" || !at.HasRecordsBelow("dockstack") {
		t.Errorf("free is %+v", got)
	}
	if got := at.RecordsFor(netip.MustParseAddr("192.0.2.1")); len(got) != 1 || got[0].Name != "free.dockstack" {
		t.Errorf("192.0.2.1 is %+v", got)
	}
	hosts, recs := 0, 0
	at.All(func(h dnsd.Host) bool { hosts++; return h.Name == "db" })
	at.AllRecords(func(dnsd.Record) bool { recs++; return true })
	if hosts != 1 || recs != 1 {
		t.Errorf("%d hosts and %d records", hosts, recs)
	}
}

// A host's records come along when it joins others, and stay when it leaves.
func TestRecordsJoinAndLeave(t *testing.T) {
	m := kvtest.NewMemory()
	first := newNode(t, "first")
	first.sharesMemory(m)
	first.start().mustBeReady()
	add := func(n *node, name, addr string) {
		t.Helper()
		n.until("a record", func() bool {
			_, err := n.about.records.Add(t.Context(), records.Record{Name: name, Type: dns.TypeA, Data: addr})
			return err == nil
		})
	}
	add(first, "both", "192.0.2.1")
	n := newNode(t, "late").start()
	add(n, "mine", "192.0.2.2")
	add(n, "both", "192.0.2.2")
	n.stop()
	n.sharesMemory(m)
	n.start().mustBeReady()
	first.until("it came along", func() bool { return len(first.about.records.Now().At("mine.dockstack")) == 1 })
	n.until("it has joined", func() bool { return n.cluster.current().ID != "" })
	if report := strings.Join(n.cluster.problems(), "\n"); !strings.Contains(report, "both.dockstack") {
		t.Errorf("problems are %q", report)
	}
	want := []string{"both.dockstack. A 192.0.2.1", "mine.dockstack. A 192.0.2.2"}
	has := func(when string) {
		t.Helper()
		n.until(when, func() bool {
			var got []string
			for _, r := range n.about.records.List() {
				got = append(got, r.String())
			}
			return slices.Equal(got, want)
		})
	}
	has("joined")
	n.hears(n.container("web-1", "web"))
	n.stop()
	n.start().mustBeReady()
	has("after a restart")
	n.stop()
	n.shares(nil)
	n.start()
	has("alone again")
	_ = n.Store.Load(t.Context(), "about/", func(key string, _ []byte) error {
		if !strings.HasPrefix(key, "about/"+n.opened.id+"/") {
			t.Errorf("it keeps %s", key)
		}
		return nil
	})
}
