package services

import (
	"crypto/sha256"
	"slices"
	"strings"

	"github.com/dockstack/dockstack/internal/cow"
)

// Snapshot is an immutable picture of the facts. Its methods are safe for
// concurrent use and never wait.
type Snapshot struct {
	entries cow.Map[entryKey, *entry]
	// names are in lower case; labels has those whose label differs.
	names, labels cow.Map[string, []member]
	// below has what ends in a dot and the key.
	below cow.Map[string, []member]
}

// Member is a container that a service or alias leads to, on some networks.
type Member struct {
	Container, Host string
	// Pools are the ids of the pools in which the name holds.
	Pools []string
	Out   bool
	// Via says what it was found by: "compose service web", "network alias web".
	Via string
}

type entryKey struct{ host, container string }

// entry is a container with its facts.
type entry struct {
	entryKey
	facts *facts
}

// facts are shared by all containers whose facts are the same.
type facts struct {
	Facts
	sum  [sha256.Size]byte
	used int
	// pools are those of all networks.
	pools []string
	// service and aliases are Member's Via.
	service string
	aliases [][]string
}

// member is an entry under a name: on is the number of the network, in which
// alias is the number of the name; -1 for a service, which holds on all.
type member struct {
	*entry
	on, alias int16
}

func (m member) public() Member {
	f := m.facts
	out := Member{Container: m.container, Host: m.host, Pools: f.pools, Out: f.Out, Via: f.service}
	if m.on >= 0 {
		out.Pools, out.Via = f.On[m.on].Pools, f.aliases[m.on][m.alias]
	}
	return out
}

// Members are who a name leads to.
type Members []member

// At is the member with number i.
func (m Members) At(i int) Member { return m[i].public() }

// Members are who has the service name or alias, which is in lower case.
func (s *Snapshot) Members(name string) Members { return s.names.Get(name) }

// Labelled is Members for the label that Config.Label made of a name.
func (s *Snapshot) Labelled(label string) Members { return s.labels.Get(label) }

// Below are who has a service name or alias that ends in a dot and name, which
// is in lower case.
func (s *Snapshot) Below(name string) Members { return s.below.Get(name) }

// Names yields every name that Members knows, in no order, until yield returns
// false.
func (s *Snapshot) Names(yield func(string) bool) {
	for name := range s.names.All {
		if !yield(name) {
			return
		}
	}
}

// Facts are what is known of a host's container.
func (s *Snapshot) Facts(host, container string) (Facts, bool) {
	e := s.entries.Get(entryKey{host, container})
	if e == nil {
		return Facts{}, false
	}
	return e.facts.Facts, true
}

// index makes one snapshot after the other.
type index struct {
	label func(string) string
	now   *Snapshot
	// hosts are the hosts' ids, and shared the facts, each once.
	hosts  map[string]string
	shared map[[sha256.Size]byte]*facts
}

func newIndex(label func(string) string) index {
	return index{label: label, now: &Snapshot{}, hosts: map[string]string{}, shared: map[[sha256.Size]byte]*facts{}}
}

// edit is a snapshot being made.
type edit struct {
	*index
	entries              cow.Map[entryKey, *entry]
	begun                *cow.Edit[entryKey, *entry]
	names, labels, below lists
	changed              bool
}

func (x *index) edit() *edit { return &edit{index: x, entries: x.now.entries} }

// begin is put off until something differs: most news does not concern us.
func (e *edit) begin() {
	if e.changed {
		return
	}
	e.changed = true
	e.begun = e.now.entries.Edit()
	e.names, e.labels, e.below = newLists(e.now.names), newLists(e.now.labels), newLists(e.now.below)
}

func (e *edit) get(k entryKey) *entry {
	if e.changed {
		return e.begun.Get(k)
	}
	return e.entries.Get(k)
}

func (e *edit) done() *Snapshot {
	if e.changed {
		e.now = &Snapshot{entries: e.begun.Done(), names: e.names.Done(), labels: e.labels.Done(), below: e.below.Done()}
		e.changed = false
	}
	return e.now
}

// put makes value the container's facts; the memory of all three may be used
// again. Where it can't be read nothing is changed.
func (e *edit) put(host, container string, value []byte) error {
	sum := sha256.Sum256(value)
	old := e.get(entryKey{host, container})
	if old != nil && old.facts.sum == sum {
		return nil
	}
	f := e.shared[sum]
	if f == nil {
		read, err := decode(value)
		if err != nil {
			return err
		}
		f = newFacts(read)
		f.sum = sum
	}
	e.begin()
	e.remove(host, container)
	if e.hosts[host] == "" {
		host = strings.Clone(host)
		e.hosts[host] = host
	}
	e.shared[sum] = f
	f.used++
	added := &entry{entryKey: entryKey{e.hosts[host], strings.Clone(container)}, facts: f}
	e.begun.Set(added.entryKey, added)
	e.each(added, func(l *lists, name string, m member) { l.add(name, m) })
	return nil
}

func (e *edit) remove(host, container string) {
	old := e.get(entryKey{host, container})
	if old == nil {
		return
	}
	e.begin()
	e.begun.Delete(old.entryKey)
	e.each(old, func(l *lists, name string, _ member) { l.remove(name, old) })
	if old.facts.used--; old.facts.used == 0 {
		delete(e.shared, old.facts.sum)
	}
}

// each calls fn for every name that leads to the container.
func (e *edit) each(of *entry, fn func(l *lists, name string, m member)) {
	under := func(name string, m member) {
		name = strings.ToLower(name)
		fn(&e.names, name, m)
		if label := strings.ToLower(e.label(name)); label != name {
			fn(&e.labels, label, m)
		}
		for dot := range len(name) {
			if name[dot] == '.' {
				fn(&e.below, name[dot+1:], m)
			}
		}
	}
	f := of.facts
	if f.Service != "" {
		under(f.Service, member{entry: of, on: -1})
	}
	for i, on := range f.On {
		for j, alias := range on.Aliases {
			// Compose makes the service's name an alias, and the container's, under
			// which it is found anyway.
			if !strings.EqualFold(alias, f.Service) && !strings.EqualFold(alias, of.container) {
				under(alias, member{entry: of, on: int16(i), alias: int16(j)})
			}
		}
	}
}

func newFacts(f *Facts) *facts {
	out := &facts{Facts: *f, aliases: make([][]string, len(f.On))}
	if f.Service != "" {
		out.service = "compose service " + f.Service
	}
	for i, on := range f.On {
		out.pools = append(out.pools, on.Pools...)
		for _, alias := range on.Aliases {
			out.aliases[i] = append(out.aliases[i], "network alias "+alias)
		}
	}
	slices.Sort(out.pools)
	out.pools = slices.Clip(slices.Compact(out.pools))
	return out
}

// lists is an edit of lists by name. Older snapshots have the old lists; new
// ones are changed in place until Done.
type lists struct {
	*cow.Edit[string, []member]
	own map[string]struct{}
}

func newLists(m cow.Map[string, []member]) lists {
	return lists{Edit: m.Edit(), own: map[string]struct{}{}}
}

// add leaves out what the list says already: names of one container that have
// one label are added one after the other.
func (l *lists) add(name string, m member) {
	list := l.Get(name)
	for i := len(list) - 1; i >= 0 && list[i].entry == m.entry; i-- {
		if list[i].on == -1 || list[i].on == m.on {
			return
		}
	}
	if _, own := l.own[name]; !own {
		list = slices.Clip(list)
		l.own[name] = struct{}{}
	}
	l.Set(name, append(list, m))
}

func (l *lists) remove(name string, gone *entry) {
	list := l.Get(name)
	if _, own := l.own[name]; !own {
		list = slices.Clone(list)
		l.own[name] = struct{}{}
	}
	list = slices.DeleteFunc(list, func(m member) bool { return m.entry == gone })
	if len(list) == 0 {
		l.Delete(name)
		return
	}
	l.Set(name, list)
}
