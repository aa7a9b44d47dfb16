package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/command"
	"github.com/dockstack/dockstack/internal/events"
	"github.com/dockstack/dockstack/internal/fabric"
	"github.com/dockstack/dockstack/internal/kv/kvtest"
	"github.com/dockstack/dockstack/internal/ovs"
	"github.com/dockstack/dockstack/ipam"
)

// office is a host whose operator has the command, over a real socket. Its leases,
// store and DNS are real; it has no switch.
type office struct {
	*node
	p *parts
}

// opens starts a host and its operator's socket.
func opens(t *testing.T, n *node) *office {
	t.Helper()
	log := slog.New(slog.NewTextHandler(n.log, nil))
	p := &parts{
		cfg: config{zone: "dockstack", hostName: n.name, hostRoot: n.dir}, log: log, started: time.Now(), ring: events.New(events.Kept),
		fabric: fabric.New(fabric.Config{MAC: ipam.MAC}, ovs.New(ovs.Config{RunDir: n.dir}, ovs.Probe{}, log), nil, log), status: newStatusFile(filepath.Join(n.dir, "status"), nil, log),
	}
	p.told.ring = p.ring
	p.store = newStore(log, func(context.Context) (*opened, error) { return n.opened, nil })
	p.changes = newChanges(p.ring, p.store.now)
	n.changed = p.changes.take
	n.start()
	if n.cluster != nil {
		p.cfg.store.address.Endpoints = []string{"memory"}
	}
	var err error
	if p.dns, err = p.buildDNS(nil); err != nil {
		t.Fatal(err)
	}
	p.upstreams, p.samples = func() []netip.AddrPort { return nil }, events.NewSamples(p.dnsStatus)
	p.buildMetrics()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { p.store.run(ctx) })
	wg.Go(func() { p.changes.run(ctx) })
	wg.Go(func() { p.serveAdmin(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	o := &office{node: n, p: p}
	n.until("the operator's socket", func() bool { return o.runs("status").code == 0 })
	return o
}

type said struct {
	out, err string
	code     int
}

// runs runs the operator's command.
func (o *office) runs(args ...string) said {
	var out, errs bytes.Buffer
	p := command.Program{
		Name: "dockstack", Version: "test", In: strings.NewReader(""), Out: &out, Err: &errs, Now: time.Now,
		Getenv: func(name string) string {
			if name == "DOCKSTACK_SOCKET" {
				return o.p.cfg.host(admin.Socket)
			}
			return ""
		},
		Terminal: func(io.Writer) (int, bool) { return 0, false },
	}
	code := p.Run(context.Background(), args)
	return said{out.String(), errs.String(), code}
}

func (o *office) does(line string) string {
	o.t.Helper()
	got := o.runs(strings.Fields(line)...)
	if got.code != 0 {
		o.t.Fatalf("%s: dockstack %s: exit code %d, %s", o.name, line, got.code, got.err)
	}
	return got.out
}

func (o *office) refuses(code int, words, line string) {
	o.t.Helper()
	if got := o.runs(strings.Fields(line)...); got.code != code || !strings.Contains(got.err, words) {
		o.t.Errorf("%s: dockstack %s: exit code %d, %q; want %d and %q", o.name, line, got.code, got.err, code, words)
	}
}

// leases are names with their addresses and states, as the operator sees them.
func (o *office) leases(args string) string {
	o.t.Helper()
	var list []admin.Lease
	if err := json.Unmarshal([]byte(o.does("ls --json "+args)), &list); err != nil {
		o.t.Fatal(err)
	}
	var out []string
	for _, l := range list {
		mark := ""
		if l.Reserved {
			mark = "!"
		}
		out = append(out, l.Name+mark+"="+l.Address.String()+" "+l.State)
	}
	return strings.Join(out, ", ")
}

func (o *office) is(args, want string) {
	o.t.Helper()
	if got := o.leases(args); got != want {
		o.t.Errorf("%s: ls %s has\n%s\nwant\n%s", o.name, args, got, want)
	}
}

// What an operator says of names holds, and is refused where a running container
// would lose its address.
func TestOperatorsWord(t *testing.T) {
	o := opens(t, newNode(t, "node1"))
	o.network()
	at := o.node.runs("db")
	o.does("reserve cache 172.16.0.50")
	o.is("", "db="+at+" live, cache!=172.16.0.50 parked")
	o.refuses(command.ExitClash, "reserved for \"cache\"", "reserve other 172.16.0.50")
	o.refuses(command.ExitClash, "which runs", "reserve other "+at)
	o.refuses(command.ExitClash, "172.16.0.60", "reserve db 172.16.0.60")
	o.refuses(command.ExitNotFound, "lies in no network's subnet", "reserve other 192.0.2.1")
	o.refuses(command.ExitClash, "stop it first", "rename cache db")
	o.is("--host node1", "db="+at+" live, cache!=172.16.0.50 parked")
	o.refuses(command.ExitNotFound, "no host `nosuch`", "ls --host nosuch")
	if got := o.does("reserve cache 172.16.0.51"); !strings.Contains(got, "before, it had 172.16.0.50") {
		t.Errorf("a reservation that moves says %q", got)
	}
	o.does("reserve cache 172.16.0.50")
	o.does("reserve db")
	o.refuses(command.ExitClash, "docker stop db", "release db")
	o.refuses(command.ExitClash, "docker rename db db2", "rename db db2")
	o.refuses(command.ExitNotFound, "did you mean `cache`?", "release cach")
	o.does("rename cache store")
	o.ends("db", at)
	o.is("", "db!="+at+" parked, store!=172.16.0.50 parked")
	o.is("--reserved --address 172.16.0.50", "store!=172.16.0.50 parked")
	o.does("release db")
	o.does("release store")
	o.does("reserve early 10.99.0.5 --subnet 10.99.0.0/24")
	o.is("", "early!=10.99.0.5 parked")
	o.refuses(command.ExitClash, "for `early2`", "reserve early2 10.99.0.5 --subnet 10.99.0.0/24")
	o.refuses(command.ExitNotFound, "--subnet", "reserve other 192.0.2.1")
	o.does("release early")
	o.is("", "")
	if got := o.node.runs("store"); got == "172.16.0.50" {
		t.Errorf("a released name got %s", got)
	}
	past := o.does("status")
	if !strings.Contains(past, "1     0       0") {
		t.Errorf("the status counts otherwise:\n%s", past)
	}
}

// A file is taken in whole or not at all, records and all; what is written out can
// be taken in again; a backup brings back what was.
func TestOperatorsFiles(t *testing.T) {
	o := opens(t, newNode(t, "node1"))
	o.network()
	db := o.node.runs("db")
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("dnsmasq.conf", "dhcp-host=02:00:00:00:00:01,a1,172.16.0.51\ndhcp-host=a2,172.16.0.52\naddress=/static.endor.lab/192.0.2.7\n")
	bad := file("dnsmasq.conf", "dhcp-host=b1,172.16.0.61\ndhcp-host=b2,"+db+"\naddress=/b.endor.lab/192.0.2.8\n")
	badRecord := file("own.yaml", "reservations:\n- {name: b1, address: 172.16.0.61}\nrecords:\n- {name: a.lab, type: A, value: 192.0.2.8}\n- {name: b.lab, type: A, value: 192.0.2.8}\n")
	o.does("record add b.lab CNAME c.lab")
	before := "db=" + db + " live"
	o.does("import --dry-run " + good)
	for _, path := range []string{bad, badRecord} {
		o.refuses(command.ExitClash, "nothing was imported: 1 clash", "import --dry-run "+path)
		o.refuses(command.ExitClash, "nothing was imported: 1 clash", "import "+path)
	}
	o.is("", before)
	if got := o.does("record ls --json"); strings.Count(got, `"name"`) != 1 {
		t.Errorf("records are %s", got)
	}
	o.does("import " + good)
	whole := before + ", a1!=172.16.0.51 parked, a2!=172.16.0.52 parked"
	o.is("", whole)
	if got := o.does("import " + good); !strings.Contains(got, "0 reserved, 2 as before") {
		t.Errorf("once more it says %s", got)
	}
	for _, want := range []string{"192.0.2.7", "record"} {
		if got := o.does("dns static.endor.lab"); !strings.Contains(got, want) {
			t.Errorf("dns says %q, without %q", got, want)
		}
	}

	dir := t.TempDir()
	backup, export := filepath.Join(dir, "backup"), filepath.Join(dir, "export.yaml")
	o.does("backup " + backup)
	o.does("export " + export)
	o.does("release a1")
	o.does("record rm static.endor.lab")
	o.does("reserve late 172.16.0.70")
	if got := o.does("restore --dry-run " + backup); !strings.Contains(got, "1 back, 0 with another address than now, 1 gone, 2 as before") {
		t.Errorf("a dry run says %s", got)
	}
	o.does("restore " + backup)
	o.is("", whole)
	if got := o.does("record ls"); !strings.Contains(got, "static.endor.lab") {
		t.Errorf("records are %s", got)
	}
	o.does("release a1")
	o.does("release a2")
	if got := o.does("import " + export); !strings.Contains(got, "left out") && !strings.Contains(got, "0 left out") {
		t.Errorf("the export comes back with %s", got)
	}
	o.is("--name a*", "a1!=172.16.0.51 parked, a2!=172.16.0.52 parked")

	// The store's own file is not what a restore takes.
	o.refuses(command.ExitUsage, "no backup of dockstack", "restore "+good)
	// Whose container runs keeps its address.
	o.ends("db", db)
	o.does("release db")
	o.does("reserve x1 " + db)
	other := o.node.runs("db")
	o.refuses(command.ExitClash, "db", "restore "+backup)
	o.is("--name db", "db="+other+" live")
}

// The operator's words on DNS.
func TestOperatorsRecords(t *testing.T) {
	o := opens(t, newNode(t, "node1"))
	o.network()
	at := o.node.runs("web")
	o.does("record add www CNAME web")
	if got := o.does("dns www.dockstack"); !strings.Contains(got, at) {
		t.Errorf("www leads to %q", got)
	}
	o.refuses(command.ExitClash, "web", "record add web A 192.0.2.1")
	o.refuses(command.ExitClash, "CNAME", "record add www A 192.0.2.1")
	o.refuses(command.ExitUsage, "192.0.2.300", "record add x1 A 192.0.2.300")
	o.refuses(command.ExitNotFound, "did you mean `www.dockstack`", "record rm wwww")
	o.does("record rm www")
	if got := o.does("dns " + at); !strings.Contains(got, "web") {
		t.Errorf("the address is %q", got)
	}
	o.refuses(command.ExitNotFound, "", "dns nobody.dockstack")
	// Whoever asks for a stopped container is told what became of it.
	o.ends("web", at)
	for _, name := range []string{"web", "web.dockstack", "web.internal.dockstack"} {
		if got := o.runs("dns", name); got.code != command.ExitNotFound || !strings.Contains(got.out, at+" is kept for web") {
			t.Errorf("dns %s: exit code %d, %q", name, got.code, got.out)
		}
	}
}

// What happens is told to who watches, in words.
func TestOperatorWatches(t *testing.T) {
	o := opens(t, newNode(t, "node1"))
	w := o.p.ring.Watch(0)
	var all []admin.Event
	told := func(kind, words string) {
		t.Helper()
		ctx := limited(t)
		for {
			for _, e := range all {
				if e.Kind == kind && strings.Contains(e.Text, words) {
					return
				}
			}
			got, err := w.Next(ctx)
			if err != nil {
				t.Fatalf("never told: %s %q; told %v", kind, words, all)
			}
			all = append(all, got...)
		}
	}
	o.network()
	at := o.node.runs("web")
	told(admin.EventNew, "web is new and runs with "+at)
	o.ends("web", at)
	told(admin.EventParked, "web has ended; "+at)
	o.node.runs("web")
	told(admin.EventLive, "web runs with "+at)
	o.does("reserve web")
	told(admin.EventReserved, at+" in 172.16.0.0/24 is reserved for web")
	o.ends("web", at)
	o.does("rename web www")
	told(admin.EventRenamed, "web is called www now, and keeps "+at)
	o.does("release www")
	told(admin.EventGone, "www has lost "+at)
	tellRecords := func() { o.p.told.tellRecords(o.about.records.Now()) }
	tellRecords()
	o.does("record add x1 A 192.0.2.1")
	tellRecords()
	told(admin.EventDNS, "the record x1.dockstack. A 192.0.2.1 is new")
	tellRecords()
	o.does("record rm x1")
	tellRecords()
	told(admin.EventDNS, "the record x1.dockstack. A 192.0.2.1 is gone")

	s := o.p.statusNow(t.Context())
	o.p.told.tell(s)
	s.Problems, s.Store.Away, s.Switch.Up = []string{"clocks differ"}, "etcd is silent", true
	s.Hosts = append([]admin.Host{{ID: "2222", Name: "node2", Version: "1"}}, s.Hosts...)
	o.p.told.tell(s)
	told(admin.EventProblem, "clocks differ")
	told(admin.EventHost, "host node2 came")
	told(admin.EventStore, "the store is away: etcd is silent")
	told(admin.EventSwitch, "the switch is up")
	s.Problems, s.Store.Away, s.Hosts = nil, "", s.Hosts[1:]
	o.p.told.tell(s)
	told(admin.EventProblem, "mended: clocks differ")
	told(admin.EventHost, "host node2 went")
	told(admin.EventStore, "the store is back")
}

// Events beyond what is read are counted, and the leases wait for nobody.
func TestChangesNeverWait(t *testing.T) {
	ring := events.New(changesWaiting*(changesTold+1) + 100) // room for all, however late they are read
	c := newChanges(ring, func() (*opened, error) { return nil, nil })
	lease := ipam.Lease{Pool: "172.16.0.0/24", Name: "web", Addr: netip.MustParseAddr("172.16.0.9"), State: ipam.StateLive}
	batch := make([]ipam.Change, 1000)
	for i := range batch {
		batch[i] = ipam.Change{Kind: ipam.ChangeParked, Old: lease, New: lease}
	}
	for range changesWaiting + 3 {
		c.take(batch) // nobody takes them
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	w := ring.Watch(admin.LatestEvent)
	go func() { defer close(done); c.run(ctx) }()
	for text := ""; !strings.Contains(text, "3000 changes of names came too fast"); {
		got, err := w.Next(limited(t))
		if err != nil {
			t.Fatalf("never told of what was missed: %v", err)
		}
		for _, e := range got {
			text += e.Text
		}
	}
	cancel()
	<-done
	c.tell(batch)
	all := ring.Since(0)
	if last := all[len(all)-1]; last.Text != "800 more names at the same time: parked" || last.Kind != admin.EventParked {
		t.Errorf("the rest of a large batch is %+v", last)
	}
}

// Hosts that share a store share the operator's words; one that is gone can be
// forgotten, and not before.
func TestOperatorOfSeveralHosts(t *testing.T) {
	mem := kvtest.NewMemory()
	one, two := newNode(t, "node1"), newNode(t, "node2")
	one.sharesMemory(mem)
	two.sharesMemory(mem)
	a, b := opens(t, one), opens(t, two)
	a.mustBeReady()
	b.mustBeReady()
	a.network()
	a.until("node2 is there", func() bool { return strings.Contains(a.does("host ls"), "node2") })
	at := a.node.runs("web")
	b.until("web is known", func() bool { return strings.Contains(b.leases("--host node1"), "web="+at+" live") })
	b.refuses(command.ExitClash, "on host node1", "release web")
	b.does("reserve cache 172.16.0.50")
	a.until("cache is known", func() bool { return strings.Contains(a.leases(""), "cache!=172.16.0.50") })
	b.does("record add static A 192.0.2.9")
	a.until("the record is known", func() bool { return strings.Contains(a.does("record ls"), "static") })
	if got := a.does("status"); !strings.Contains(got, "(this host)") || !strings.Contains(got, "node2") {
		t.Errorf("the status is\n%s", got)
	}
	b.refuses(command.ExitClash, "node1", "host forget node1")
	b.refuses(command.ExitNotFound, "did you mean `node1`", "host forget nod1")
	b.refuses(command.ExitClash, "it is this one", "host forget node2")
}
