package ipam_test

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/ipam"
)

// The model knows the promises and not how they are kept: which lease each
// name has, and when an address may change hands.
type model struct {
	*world
	names map[string]*entry
	// subnet are all addresses of the pool's.
	subnet []netip.Addr
	// dump is a backup, and dumped what it has.
	dump   []kv.Op
	dumped map[string]entry
}

type entry struct {
	addr     string
	live     bool
	fixed    bool
	reserved bool
	parked   int
}

// TestModel runs random steps, with crashes and failing commits between them,
// on a pool that is full soon.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		subnet := rapid.SampledFrom([]string{"10.0.0.0/29", "10.0.0.0/28", "10.0.0.0/31", "fd00:1::/125", "fd00:1::/127", "10.0.0.0/27"}).Draw(t, "subnet")
		m := &model{world: inNetwork(t, subnet), names: map[string]*entry{}}
		for a := m.pool.Subnet.Addr(); m.pool.Subnet.Contains(a); a = a.Next() {
			m.subnet = append(m.subnet, a)
		}
		t.Repeat(map[string]func(*rapid.T){
			"ask":          m.stepAsk,
			"ask again":    m.stepAsk,
			"fix":          m.stepFix,
			"release":      m.stepRelease,
			"reserve":      m.stepReserve,
			"unreserve":    m.stepUnreserve,
			"give up":      m.stepGiveUp,
			"rename":       m.stepRename,
			"import":       m.stepImport,
			"back up":      func(*rapid.T) { m.dump, m.dumped = m.backUp() },
			"restore":      m.stepRestore,
			"crash":        m.stepCrash,
			"flush":        func(*rapid.T) { m.ok(m.reg.Flush(m.ctx)) },
			"fail":         m.stepFail,
			"down and up":  m.stepDownUp,
			"network only": func(*rapid.T) { m.ok(m.bind("net", []string{m.pool.ID}, nil)) },
			"":             m.check,
		})
	})
}

func (m *model) name(t *rapid.T) string {
	return fmt.Sprint("n", rapid.IntRange(0, 12).Draw(t, "name"))
}

func (m *model) addr(t *rapid.T) netip.Addr { return rapid.SampledFrom(m.subnet).Draw(t, "addr") }

// holder is who has addr, "" for nobody.
func (m *model) holder(addr string) string {
	for name, e := range m.names {
		if e.addr == addr {
			return name
		}
	}
	return ""
}

func (m *model) tick() int {
	m.later(time.Millisecond)
	return int(m.now.UnixMilli())
}

func (m *model) stepAsk(t *rapid.T) {
	m.tick()
	name := m.name(t)
	got, err := m.ask(name)
	e := m.names[name]
	if e != nil {
		if err != nil || got != e.addr {
			t.Fatalf("%s gets %s (%v), had %s", name, got, err, e.addr)
		}
		e.live, e.fixed = true, false
		return
	}
	free, oldest := m.free()
	switch {
	case errors.Is(err, ipam.ErrPoolFull):
		if len(free) > 0 || oldest != "" {
			t.Fatalf("full, but %v are free and %q is parked", free, oldest)
		}
		return
	case err != nil:
		t.Fatalf("%v", err)
	case len(free) > 0:
		if !slices.Contains(free, got) {
			t.Fatalf("new name %s gets %s, held by %q, while %v are free", name, got, m.holder(got), free)
		}
	default:
		if oldest == "" || m.names[oldest].addr != got {
			t.Fatalf("new name %s gets %s, held by %q, and %q is parked longest", name, got, m.holder(got), oldest)
		}
		delete(m.names, oldest)
	}
	m.names[name] = &entry{addr: got, live: true}
}

// free are the addresses that nobody holds, and the name that has to give way
// next.
func (m *model) free() (free []string, oldest string) {
	for _, a := range m.subnet {
		if m.set(a) && m.holder(a.String()) == "" {
			free = append(free, a.String())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.names)) {
		e := m.names[name]
		if !e.live && !e.fixed && !e.reserved && (oldest == "" || e.before(m.names[oldest])) {
			oldest = name
		}
	}
	return free, oldest
}

// before tells which of two parked leases gives way first.
func (e *entry) before(o *entry) bool {
	if e.parked != o.parked {
		return e.parked < o.parked
	}
	return netip.MustParseAddr(e.addr).Less(netip.MustParseAddr(o.addr))
}

// set tells whether a container may have the address at all.
func (m *model) set(a netip.Addr) bool {
	if a == m.pool.Gateway {
		return false
	}
	p := m.pool.Subnet
	if p.Bits() >= a.BitLen()-1 {
		return true
	}
	return a != m.subnet[0] && (a.Is6() || a != m.subnet[len(m.subnet)-1])
}

func (m *model) stepFix(t *rapid.T) {
	m.tick()
	name, addr := m.name(t), m.addr(t)
	_, err := m.fix(name, addr.String())
	holder := m.holder(addr.String())
	h := m.names[holder]
	allowed := m.set(addr) && (h == nil || holder == name || !h.live && !h.reserved)
	if allowed != (err == nil) {
		t.Fatalf("%s asks for %s, held by %q %+v: %v", name, addr, holder, h, err)
	}
	if err != nil {
		return
	}
	if h != nil && holder != name {
		delete(m.names, holder)
	}
	e := m.names[name]
	if e == nil {
		e = &entry{}
		m.names[name] = e
	}
	e.addr, e.live, e.fixed = addr.String(), true, true
}

func (m *model) stepRelease(t *rapid.T) {
	at := m.tick()
	addr := m.addr(t)
	if addr == m.pool.Gateway {
		return
	}
	m.release(addr.String())
	if e := m.names[m.holder(addr.String())]; e != nil && e.live {
		e.live, e.parked = false, at
	}
}

func (m *model) stepReserve(t *rapid.T) {
	at := m.tick()
	name, addr := m.name(t), m.addr(t)
	_, err := m.reg.Reserve(m.ctx, m.pool.ID, name, addr)
	e, holder := m.names[name], m.holder(addr.String())
	h := m.names[holder]
	allowed := holder == name || m.set(addr) && (e == nil || !e.live) && (h == nil || !h.live && !h.reserved && !h.fixed)
	if allowed != (err == nil) {
		t.Fatalf("reserve %s for %s %+v, held by %q %+v: %v", addr, name, e, holder, h, err)
	}
	if err != nil {
		return
	}
	if holder == name {
		e.reserved = true
		return
	}
	if h != nil {
		delete(m.names, holder)
	}
	m.names[name] = &entry{addr: addr.String(), reserved: true, parked: at}
}

func (m *model) stepUnreserve(t *rapid.T) {
	name := m.name(t)
	m.ok(m.reg.Unreserve(m.ctx, m.pool.ID, name))
	if e := m.names[name]; e != nil {
		e.reserved = false
	}
}

// stepCrash loses what the store may lack: that a parked lease became live.
func (m *model) stepCrash(*rapid.T) {
	m.open()
	for _, l := range m.all() {
		if e := m.names[l.Name]; e != nil && l.State == ipam.StateParked {
			e.live = false
		}
	}
}

// stepFail has a step's commit fail, with or without reaching the store:
// nothing changes either way, now or after a restart that follows a commit.
func (m *model) stepFail(t *rapid.T) {
	m.tick()
	before := m.all()
	bad := errors.New("injected")
	if rapid.Bool().Draw(t, "applied") {
		m.store.LoseNext(bad)
	} else {
		m.store.FailNext(bad)
	}
	name := m.name(t)
	var err error
	if rapid.Bool().Draw(t, "fixed") {
		_, err = m.fix(name, m.addr(t).String())
	} else {
		_, err = m.ask(name)
	}
	if errors.Is(err, bad) {
		if got := m.all(); !slices.Equal(got, before) {
			t.Fatalf("a failed commit changed\n%v to\n%v", before, got)
		}
		// The next commit brings the store back to what was answered.
		m.ok(m.reg.SetNetworkName(m.ctx, "net", fmt.Sprint("internal", m.store.Commits())))
		return
	}
	// Nothing was to be written, or it was refused before: the injected error
	// is still there for this one.
	if e := m.reg.SetNetworkName(m.ctx, "net", fmt.Sprint("internal-", m.store.Commits())); !errors.Is(e, bad) {
		t.Fatalf("the injected error came neither with %v nor with %v", err, e)
	}
	m.ok(m.reg.SetNetworkName(m.ctx, "net", fmt.Sprint("internal", m.store.Commits())))
	e := m.names[name]
	if err == nil && e == nil {
		t.Fatalf("a new name got an address without a commit")
	}
	if err == nil {
		e.live = true
	}
}

func (m *model) stepDownUp(*rapid.T) {
	at := m.tick()
	m.removeNetwork("net", m.pool)
	m.network("net", "internal", ipam.PoolRequest{Subnet: m.pool.Subnet})
	for _, e := range m.names {
		if e.live {
			e.live, e.parked = false, at
		}
	}
}

func (m *model) all() []ipam.Lease {
	all, err := m.reg.Leases(m.ctx, ipam.LeaseFilter{})
	m.ok(err)
	// When a live lease became live is nobody's concern.
	for i := range all {
		all[i].Since = time.Time{}
	}
	return all
}

// check compares everything after each step: registry, its snapshot, and
// what a restart would read.
func (m *model) check(t *rapid.T) {
	for _, l := range m.all() {
		e := m.names[l.Name]
		if e == nil || e.addr != l.Addr.String() || e.live != (l.State == ipam.StateLive) || e.fixed != l.Fixed || e.reserved != l.Reserved {
			t.Fatalf("%+v, want %+v", l, e)
		}
		host, shown := m.reg.Names().ByAddr(l.Addr)
		if shown != e.live || shown && host.Name != l.Name {
			t.Fatalf("DNS has %v %v for %+v", host, shown, e)
		}
	}
	if got := len(m.all()); got != len(m.names) {
		t.Fatalf("%d leases, want %d", got, len(m.names))
	}
	again, err := ipam.Open(m.ctx, m.store.Reopen(), m.cfg)
	if err != nil {
		t.Fatalf("a restart: %v", err)
	}
	stored, err := again.Leases(m.ctx, ipam.LeaseFilter{})
	now := m.all()
	for i := range stored {
		stored[i].Since = time.Time{}
		if i < len(now) && now[i].State == ipam.StateLive {
			stored[i].State = ipam.StateLive // it may be written later
		}
	}
	if err != nil || !slices.Equal(stored, now) {
		t.Fatalf("after a restart there is\n%v (%v), want\n%v", stored, err, now)
	}
}
