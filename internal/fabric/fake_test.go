package fabric

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// fakeSwitch keeps ports and flows in memory and rejects what a real switch
// would: a port without a link, a removal of what isn't there, a flow twice in
// one bundle.
type fakeSwitch struct {
	links *fakeLinks

	mu      sync.Mutex // guards below
	state   SwitchState
	changed chan struct{}
	ports   map[string]Port
	flows   map[flowKey]Flow
	// opened are the indexes that links had when their ports were made: a port
	// whose link was made anew since is dead.
	opened map[string]int
	drops  map[uint64]uint64
	// fail is what the next changes return.
	fail error
	// portError is what ports of type vxlan say.
	portError string
	// shift is added to the numbers that ports are asked to have.
	shift int
	// bundles, transactions and sent count changes: sent those of single flows.
	bundles, transactions, sent int
}

var _ Switch = (*fakeSwitch)(nil)

func newFakeSwitch(links *fakeLinks) *fakeSwitch {
	return &fakeSwitch{
		links: links, changed: make(chan struct{}), ports: map[string]Port{}, flows: map[flowKey]Flow{}, opened: map[string]int{},
		state: SwitchState{
			Up: true, Generation: 1, Offloads: OffloadTCP, Datapath: "userspace", Origin: "own", Version: "3.5.0",
		},
	}
}

func (s *fakeSwitch) State() (SwitchState, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state, s.changed
}

// turn changes the state, as a restart or an outage would.
func (s *fakeSwitch) turn(change func(*fakeSwitch)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *fakeSwitch) Ports(context.Context) ([]Port, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.state.Up {
		return nil, errors.New("the fake switch is away")
	}
	return slices.SortedFunc(maps.Values(s.ports), func(a, b Port) int { return cmp.Compare(a.Name, b.Name) }), nil
}

func (s *fakeSwitch) ChangePorts(_ context.Context, del []string, add []PortSpec) ([]Port, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return nil, s.fail
	}
	s.transactions++
	for _, name := range del {
		if _, there := s.ports[name]; !there {
			return nil, fmt.Errorf("port %s is not there", name)
		}
		delete(s.ports, name)
	}
	var made []Port
	for _, spec := range add {
		if _, there := s.ports[spec.Name]; there || len(spec.Name) > 15 || spec.Number <= 0 {
			return nil, fmt.Errorf("port %+v can't be made", spec)
		}
		p := Port{PortSpec: spec}
		p.Number += s.shift
		if spec.Type == "vxlan" && s.portError != "" {
			p.Number, p.Error = 0, s.portError
		} else if spec.Type == "" && !s.links.has(spec.Name) {
			p.Number, p.Error = 0, "could not open network device "+spec.Name
		}
		s.ports[p.Name], s.opened[p.Name] = p, s.links.indexOf(p.Name)
		made = append(made, p)
	}
	return made, nil
}

func (s *fakeSwitch) ChangeFlows(_ context.Context, change FlowChange) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	s.bundles++
	if n := len(change.Add) + len(change.Del); n > bundleLimit+1000 {
		return fmt.Errorf("%d flows in a bundle", n)
	}
	s.sent += len(change.Add) + len(change.Del)
	if change.Reset {
		clear(s.flows)
	}
	for _, w := range change.Wipe {
		maps.DeleteFunc(s.flows, func(_ flowKey, f Flow) bool { return w.Has(f.Cookie) })
	}
	for _, f := range change.Del {
		if _, there := s.flows[f.key()]; !there {
			return fmt.Errorf("flow %+v is not there", f)
		}
		delete(s.flows, f.key())
	}
	added := map[flowKey]bool{}
	for _, f := range change.Add {
		if added[f.key()] || f.Cookie&CookieMask != CookieOwner {
			return fmt.Errorf("flow %+v is twice in a bundle, or not the fabric's", f)
		}
		added[f.key()] = true
		s.flows[f.key()] = f
	}
	return nil
}

func (s *fakeSwitch) Drops(context.Context, int) (map[uint64]uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.drops), nil
}

func (s *fakeSwitch) FlowCount(_ context.Context, which Cookies) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, f := range s.flows {
		if which.Has(f.Cookie) {
			n++
		}
	}
	return n, nil
}

// openedAt is the index that a link had when its port was made.
func (s *fakeSwitch) openedAt(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened[name]
}

// String shows the ports but the tunnels', and how many flows each has.
func (s *fakeSwitch) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s.ports)) {
		p := s.ports[name]
		if _, tunnel := p.Facts[factTunnel]; tunnel {
			continue
		}
		n := 0
		for _, f := range s.flows {
			if f.Cookie == memberCookie(p.Number) {
				n++
			}
		}
		fmt.Fprintf(&b, "%s flows=%d endpoint=%s", p.Facts[factNetwork], n, p.Facts[factEndpoint])
		if p.Error != "" {
			b.WriteString(" error")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// fakeLinks keeps links in memory.
type fakeLinks struct {
	mu    sync.Mutex // guards below
	links map[string]Link
	gates map[string]GatewaySpec
	// vxlans are devices of that kind, also among links.
	vxlans map[string]*fakeVXLAN
	filter TunnelFilter
	// entries counts changes of single FDB entries.
	entries int
	index   int
	fail    error
	// listed is called after each listing, before it is handed out.
	listed func()

	failVXLAN, failFDB, failFilter error
}

var _ Links = (*fakeLinks)(nil)

func newFakeLinks() *fakeLinks {
	return &fakeLinks{links: map[string]Link{}, gates: map[string]GatewaySpec{}, vxlans: map[string]*fakeVXLAN{}}
}

func (l *fakeLinks) add(link Link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.index++
	link.Index = l.index
	l.links[link.Name] = link
}

func (l *fakeLinks) has(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, there := l.links[name]
	return there
}

func (l *fakeLinks) indexOf(name string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.links[name].Index
}

// remove does what the end of a container's namespace does.
func (l *fakeLinks) remove(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.links, name)
	delete(l.vxlans, name)
}

func (l *fakeLinks) AddVeth(_ context.Context, spec VethSpec) error {
	if l.fail != nil {
		return l.fail
	}
	if len(spec.Host) > 15 || len(spec.Peer) > 15 || len(spec.Alias) > 255 || spec.MTU == 0 || spec.Offloads == "" {
		return fmt.Errorf("veth %+v can't be made", spec)
	}
	if !l.has(spec.Host) {
		l.add(Link{Name: spec.Host, Alias: spec.Alias, MTU: spec.MTU})
	}
	return nil
}

func (l *fakeLinks) Raise(_ context.Context, name string, mtu int) error {
	l.change(name, func(link *Link) { link.Down, link.MTU = false, max(link.MTU, mtu) })
	return nil
}

// change does to a link what somebody on the host would.
func (l *fakeLinks) change(name string, do func(*Link)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if link, there := l.links[name]; there {
		do(&link)
		l.links[name] = link
	}
}

func (l *fakeLinks) DeleteVeth(_ context.Context, hosts ...string) error {
	for _, h := range hosts {
		l.remove(h)
	}
	return nil
}

func (l *fakeLinks) List(_ context.Context, prefix string) ([]Link, error) {
	l.mu.Lock()
	var out []Link
	for _, name := range slices.Sorted(maps.Keys(l.links)) {
		if strings.HasPrefix(name, prefix) {
			out = append(out, l.links[name])
		}
	}
	listed := l.listed
	l.mu.Unlock()
	if listed != nil {
		listed()
	}
	return out, nil
}

func (l *fakeLinks) Find(name string) (Link, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	found, ok := l.links[name]
	return found, ok, nil
}

func (l *fakeLinks) PutGateway(_ context.Context, spec GatewaySpec) error {
	if len(spec.Host) > 15 || len(spec.Inner) > 15 || len(spec.Addrs) == 0 || len(spec.MAC) != 6 {
		return fmt.Errorf("gateway %+v can't be made", spec)
	}
	for name, alias := range map[string]string{spec.Host: spec.Alias, spec.Inner: ""} {
		if !l.has(name) {
			l.add(Link{Name: name, Alias: alias, MTU: spec.MTU})
		}
		l.change(name, func(link *Link) { link.Down, link.MTU = false, spec.MTU })
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gates[spec.Host] = spec
	return nil
}

func (l *fakeLinks) RemoveGateway(_ context.Context, host string) error {
	l.mu.Lock()
	inner := l.gates[host].Inner
	delete(l.gates, host)
	l.mu.Unlock()
	l.remove(host)
	l.remove(inner)
	return nil
}
