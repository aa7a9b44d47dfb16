package consistency

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
)

// monitor sees every revision of the store, and checks each.
type monitor struct {
	w      *world
	cancel context.CancelFunc
	all    sync.WaitGroup

	mu   sync.Mutex
	data map[string][]byte
	// revs counts revisions.
	revs int
	// deaths are the marks' comings and goings.
	deaths []event
	// looks are when a mark was last seen with its value, or missing: what is
	// seen to change it came later.
	looks map[string]look
	// dropped are leases that a host may have removed, which is not seen yet: key
	// and host.
	dropped map[string]bool
	news    chan struct{}
	fails   int
}

// look is what somebody who asked at a moment saw.
type look struct {
	value []byte
	at    int64
}

func newMonitor(w *world) *monitor {
	m := &monitor{w: w, data: map[string][]byte{}, looks: map[string]look{}, dropped: map[string]bool{}, news: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	m.cancel = cancel
	m.all.Go(func() { w.net.follow(ctx, m.learn) })
	m.all.Go(func() { m.lookAround(ctx) })
	return m
}

func (m *monitor) close() {
	m.cancel()
	m.all.Wait()
}

// lookAround looks at the marks again and again.
func (m *monitor) lookAround(ctx context.Context) {
	for wait(ctx, 30*time.Millisecond) {
		at := m.w.hist.now()
		limited, cancel := context.WithTimeout(ctx, 2*time.Second)
		data, err := m.w.net.look(limited)
		cancel()
		if err != nil {
			continue
		}
		m.mu.Lock()
		for n := range maxHosts {
			key := "host/" + hostID(n)
			m.looks[key] = look{value: data[key], at: at}
		}
		m.mu.Unlock()
	}
}

// begin returns which hosts have no mark, and forgets who died before.
func (m *monitor) begin() (dead uint8) {
	m.sync()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.deaths = nil
	for n := range maxHosts {
		if m.data["host/"+hostID(n)] == nil {
			dead |= 1 << n
		}
	}
	return dead
}

// marks are the comings and goings since began.
func (m *monitor) marks(began int64) []event {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]event, len(m.deaths))
	for i, e := range m.deaths {
		e.call = max(e.call, began)
		out[i] = e
	}
	return out
}

// sync waits until all that was written until now was seen.
func (m *monitor) sync() {
	m.w.t.Helper()
	key := fmt.Sprint("test/", m.w.hist.now())
	ctx, cancel := context.WithTimeout(m.w.t.Context(), time.Minute)
	defer cancel()
	m.w.ok(m.w.net.put(ctx, key))
	for {
		m.mu.Lock()
		_, there := m.data[key]
		news := m.news
		m.mu.Unlock()
		if there {
			return
		}
		select {
		case <-news:
		case <-ctx.Done():
			m.w.t.Fatal("the store's news don't come")
		}
	}
}

// learn takes one revision.
func (m *monitor) learn(ops []kv.Op) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.w.hist.now()
	m.revs++
	before := map[string][]byte{}
	for _, op := range ops {
		before[op.Key] = m.data[op.Key]
		m.mark(op, now)
		if op.Delete {
			delete(m.data, op.Key)
		} else {
			m.data[op.Key] = op.Value
		}
	}
	for key, was := range before {
		if err := m.right(key, was); err != nil && m.fails < 20 {
			m.fails++
			m.w.t.Errorf("revision %d, at %.3f ms: %v\n%s", m.revs, float64(now)/1e6, err, m.show(ops, before))
		}
	}
	for key := range before {
		for _, h := range m.w.hosts {
			delete(m.dropped, key+" "+h.id)
		}
	}
	close(m.news)
	m.news = make(chan struct{})
}

// show is a revision for people.
func (m *monitor) show(ops []kv.Op, before map[string][]byte) string {
	var b strings.Builder
	text := func(key string, value []byte) string {
		if l, ok := lease(kv.Op{Key: key, Value: value, Delete: value == nil}); ok {
			return fmt.Sprintf("%s live=%v reserved=%v %s", l.addr, l.live, l.reserved, l.host)
		}
		return fmt.Sprintf("%.20q", value)
	}
	for _, op := range ops {
		fmt.Fprintf(&b, "   %s: %s -> %s\n", op.Key, text(op.Key, before[op.Key]), text(op.Key, m.data[op.Key]))
	}
	return b.String()
}

// drops notes that a host may have removed leases by now, or has not after all.
func (m *monitor) drops(host string, ops []kv.Op, may bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, op := range ops {
		if op.Delete && strings.HasPrefix(op.Key, "lease/") {
			if may {
				m.dropped[op.Key+" "+host] = true
			} else {
				delete(m.dropped, op.Key+" "+host)
			}
		}
	}
}

// mark notes a mark's coming or going.
func (m *monitor) mark(op kv.Op, now int64) {
	id, is := strings.CutPrefix(op.Key, "host/")
	was := m.data[op.Key]
	if !is || (was == nil) == op.Delete {
		return
	}
	e := event{kind: returns, host: hostNumber(id), ret: now, call: 0}
	if op.Delete {
		e.kind = dies
	}
	for _, d := range m.deaths {
		if d.host == e.host {
			e.call = d.call
		}
	}
	// Who saw it as it was before asked before it changed.
	if l := m.looks[op.Key]; bytes.Equal(l.value, was) && (was != nil || l.at > m.lastOf(e.host)) {
		e.call = max(e.call, l.at)
	}
	m.deaths = append(m.deaths, e)
}

func (m *monitor) lastOf(host int) (at int64) {
	for _, d := range m.deaths {
		if d.host == host {
			at = d.ret
		}
	}
	return at
}

// right checks what a revision made of one key.
func (m *monitor) right(key string, was []byte) error {
	now := m.data[key]
	if strings.HasPrefix(key, "addr/") {
		return m.addrRight(key, string(was))
	}
	if !strings.HasPrefix(key, "lease/") {
		return nil
	}
	var old, l stored
	old, hadOld := lease(kv.Op{Key: key, Value: was, Delete: was == nil})
	l, has := lease(kv.Op{Key: key, Value: now, Delete: now == nil})
	if hadOld && (!has || l.addr != old.addr) {
		if by := m.data["addr/"+old.pool+"/"+old.addr.String()]; string(by) == old.name {
			return fmt.Errorf("%s: %s is still noted as its own, and it has it no more", key, old.addr)
		}
	}
	if has {
		if by := m.data["addr/"+l.pool+"/"+l.addr.String()]; string(by) != l.name {
			return fmt.Errorf("%s gets %s, which is noted as %q's", key, l.addr, by)
		}
		if l.live && (!hadOld || !old.live || old.host != l.host) && m.data["host/"+l.host] == nil {
			return fmt.Errorf("%s becomes live on %s, which is dead", key, l.host)
		}
	}
	if hadOld && old.live && m.data["host/"+old.host] != nil {
		switch {
		case !has && m.hostOf(old.pool, old.addr) == old.host:
			// That host parked it, and needed its address, in one go.
		case !has && m.dropped[key+" "+old.host]:
			// That host parked it, and an operator gave it up there, in one go.
		case !has:
			return fmt.Errorf("%s is given away, while it is live on %s", key, old.host)
		case l.live && l.host != old.host:
			return fmt.Errorf("%s goes from %s, which lives, to %s", key, old.host, l.host)
		}
	}
	return nil
}

// hostOf is the host where the address is live, or was last.
func (m *monitor) hostOf(pool string, addr netip.Addr) string {
	key := "lease/" + pool + "/" + string(m.data["addr/"+pool+"/"+addr.String()])
	l, has := lease(kv.Op{Key: key, Value: m.data[key], Delete: m.data[key] == nil})
	if !has || l.addr != addr {
		return ""
	}
	return l.host
}

// addrRight checks who has an address now.
func (m *monitor) addrRight(key, was string) error {
	parts := strings.SplitN(strings.TrimPrefix(key, "addr/"), "/", 3)
	pool, addr := parts[0]+"/"+parts[1], netip.MustParseAddr(parts[2])
	name := string(m.data[key])
	for k, v := range maps.All(m.data) {
		l, ok := lease(kv.Op{Key: k, Value: v})
		if !ok || l.pool != pool || l.addr != addr {
			continue
		}
		if l.name != name {
			return fmt.Errorf("%s is %q's (before: %q), and %q has it too", key, name, was, l.name)
		}
		name = ""
	}
	if name != "" {
		return fmt.Errorf("%s is %q's, who has it not", key, name)
	}
	return nil
}
