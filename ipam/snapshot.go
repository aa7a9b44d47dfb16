package ipam

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/dockstack/dockstack/internal/cow"
)

// Host is one address of one live container.
type Host struct {
	// Name is the container's name, in its own case.
	Name string
	// Network is the name of the network, "" while it is not known; Overlay
	// that of the overlay where the user gave one.
	Network, Overlay string
	// Addr is the address, and Pool the subnet that it lies in.
	Addr netip.Addr
	Pool netip.Prefix
}

// Snapshot is an immutable picture of the names of live containers. Its
// methods are safe for concurrent use and never wait.
type Snapshot struct {
	serial uint32
	pools  map[string]*Pool
	// networks are the names of networks and overlays, in lower case.
	networks map[string]struct{}
	// up are the hosts that are alive, and ids all hosts' ids, by number.
	up    []bool
	ids   []string
	names cow.Map[string, few]
	// labels has only names whose label differs from the name itself.
	labels cow.Map[string, few]
	// below has the names that end in a dot and the key.
	below cow.Map[string, few]
	addrs cow.Map[netip.Addr, few]
	// vips are the virtual addresses that have a name, by it, in lower case. They
	// are few.
	vips map[string][]*lease
	// exclude are all virtual addresses, by pool.
	exclude map[string][]netip.Addr
}

// Names is the picture after the last commit.
func (r *Registry) Names() *Snapshot { return r.snap.Load() }

// Serial grows with every change, and across restarts.
func (s *Snapshot) Serial() uint32 { return s.serial }

// ByName returns every address of the container, compared without regard to
// case.
func (s *Snapshot) ByName(name string) []Host { return s.AppendByName(nil, name) }

// AppendByName is ByName that appends to to.
func (s *Snapshot) AppendByName(to []Host, name string) []Host {
	name = strings.ToLower(name)
	to = s.hosts(to, s.names.Get(name))
	for _, l := range s.vips[name] {
		to = append(to, s.host(l))
	}
	return to
}

// ByLabel is ByName for the label that Config.Label made of a name.
func (s *Snapshot) ByLabel(label string) []Host { return s.AppendByLabel(nil, label) }

// AppendByLabel is ByLabel that appends to to.
func (s *Snapshot) AppendByLabel(to []Host, label string) []Host {
	return s.hosts(to, s.labels.Get(strings.ToLower(label)))
}

// AppendBelow appends the addresses of containers whose names end in a dot and
// name.
func (s *Snapshot) AppendBelow(to []Host, name string) []Host {
	return s.hosts(to, s.below.Get(strings.ToLower(name)))
}

// ByAddr returns who holds addr.
func (s *Snapshot) ByAddr(addr netip.Addr) (Host, bool) {
	found := s.addrs.Get(addr)
	if found.one == nil {
		for _, leases := range s.vips {
			for _, l := range leases {
				if l.addr == addr {
					return s.host(l), true
				}
			}
		}
		return Host{}, false
	}
	return s.host(found.one), true
}

// HasNetwork tells whether network is the name of a network or overlay that
// is in use, its label, or the end of its name behind a dot, compared without
// regard to case.
func (s *Snapshot) HasNetwork(network string) bool {
	_, ok := s.networks[strings.ToLower(network)]
	return ok
}

// hosts appends the hosts that have leases.
func (s *Snapshot) hosts(to []Host, leases few) []Host {
	to = slices.Grow(to, leases.len())
	for l := range leases.all {
		to = append(to, s.host(l))
	}
	return to
}

func (s *Snapshot) host(l *lease) Host {
	p := s.pools[l.pool.id]
	if p == nil {
		return Host{Name: l.container(), Addr: l.addr}
	}
	return Host{Name: l.container(), Network: p.NetworkName, Overlay: p.Overlay, Addr: l.addr, Pool: p.Subnet}
}

// edit is a Snapshot being made.
type edit struct {
	label  func(string) string
	names  *cow.Edit[string, few]
	labels *cow.Edit[string, few]
	below  *cow.Edit[string, few]
	addrs  *cow.Edit[netip.Addr, few]
}

func (r *Registry) edit(s *Snapshot) *edit {
	return &edit{
		label: r.cfg.Label, names: s.names.Edit(), labels: s.labels.Edit(),
		below: s.below.Edit(), addrs: s.addrs.Edit(),
	}
}

// keys are where a lease is found; label is "" where it adds nothing.
func (e *edit) keys(l *lease) (name, label string) {
	name = strings.ToLower(l.container())
	if label = strings.ToLower(e.label(l.container())); label == name {
		label = ""
	}
	return name, label
}

// shown tells whether the names of a picture with these hosts have the lease.
func shown(l *lease, up []bool) bool {
	return l != nil && l.live && !l.placeholder() && int(l.host) < len(up) && up[l.host]
}

func (e *edit) add(l *lease) {
	name, label := e.keys(l)
	add(e.names, name, l)
	add(e.addrs, l.addr, l)
	if label != "" {
		add(e.labels, label, l)
	}
	eachEnd(name, func(end string) { add(e.below, end, l) })
}

func (e *edit) remove(l *lease) {
	name, label := e.keys(l)
	remove(e.names, name, l)
	remove(e.addrs, l.addr, l)
	if label != "" {
		remove(e.labels, label, l)
	}
	eachEnd(name, func(end string) { remove(e.below, end, l) })
}

// eachEnd calls fn with each end of name that stands behind a dot.
func eachEnd(name string, fn func(end string)) {
	for dot := range len(name) {
		if name[dot] == '.' {
			fn(name[dot+1:])
		}
	}
}

func (e *edit) into(s *Snapshot) {
	s.names, s.labels, s.below, s.addrs = e.names.Done(), e.labels.Done(), e.below.Done(), e.addrs.Done()
}

// firstSnapshot is the picture of what was loaded. Its serial is the time, so
// that it is beyond what was counted before the restart.
func (r *Registry) firstSnapshot() *Snapshot {
	// A serial wraps, as RFC 1982 has it.
	s := &Snapshot{serial: uint32(r.cfg.Now().Unix()), up: r.hosts.alive, ids: r.hosts.ids}
	e := r.edit(s)
	for _, p := range r.pools {
		for _, l := range p.names {
			if shown(l, s.up) {
				e.add(l)
			}
		}
	}
	e.into(s)
	r.namePools(s)
	return s
}

// looksSame tells whether a snapshot shows both leases alike: it has nothing
// of endpoints, say.
func looksSame(a, b *lease, before, after []bool) bool {
	if !shown(a, before) || !shown(b, after) {
		return shown(a, before) == shown(b, after)
	}
	return a.pool == b.pool && a.name == b.name && a.addr == b.addr
}

// after is s with what t changed, or s itself where that shows nowhere.
func (s *Snapshot) after(t *tx) *Snapshot {
	n := &Snapshot{
		serial: max(s.serial+1, uint32(t.now.Unix())),
		pools:  s.pools, networks: s.networks, names: s.names, labels: s.labels, below: s.below, addrs: s.addrs, vips: s.vips, exclude: s.exclude,
		up: t.r.hosts.alive, ids: t.r.hosts.ids,
	}
	var e *edit
	pools := false
	for _, u := range t.undo {
		if u.kind != stepLease {
			pools = pools || u.kind == stepPool || u.kind == stepRecord || u.kind == stepUse
			continue
		}
		pools = pools || slices.Contains(u.pool.rec.VIPNames, u.name)
		if looksSame(u.old, u.new, s.up, n.up) {
			continue
		}
		if e == nil {
			e = t.r.edit(s)
		}
		if shown(u.old, s.up) {
			e.remove(u.old)
		}
		if shown(u.new, n.up) {
			e.add(u.new)
		}
	}
	if e == nil && !pools {
		return s
	}
	if e != nil {
		e.into(n)
	}
	if pools {
		t.r.namePools(n)
	}
	return n
}

func (r *Registry) namePools(s *Snapshot) {
	s.pools = make(map[string]*Pool, len(r.pools))
	s.networks = map[string]struct{}{}
	s.vips, s.exclude = map[string][]*lease{}, map[string][]netip.Addr{}
	for id, p := range r.pools {
		shown := p.public()
		s.pools[id] = &shown
		if len(p.rec.Exclude) > 0 {
			s.exclude[id] = p.rec.Exclude
		}
		if p.network() == "" && len(p.others) == 0 {
			continue
		}
		for l := range p.vips {
			name := strings.ToLower(l.name)
			s.vips[name] = append(s.vips[name], l)
		}
		for _, name := range []string{p.networkName(), p.rec.Overlay} {
			if name != "" {
				name = strings.ToLower(name)
				s.networks[name], s.networks[r.cfg.Label(name)] = struct{}{}, struct{}{}
				eachEnd(name, func(end string) { s.networks[end] = struct{}{} })
			}
		}
	}
}
