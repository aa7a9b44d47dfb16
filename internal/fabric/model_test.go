package fabric

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// model is what was asked for, kept plainly, and the fabric that was asked. What
// the fabric installs by differences must be what follows from the model alone.
type model struct {
	t     *rapid.T
	sw    *fakeSwitch
	links *fakeLinks
	fab   *Fabric

	networks  map[string]Network
	endpoints map[string]Endpoint
	remotes   map[uint32]map[netip.Addr]Remote
	under     Underlay
	told      bool
	bundle    int
}

func modelMAC(a netip.Addr) net.HardwareAddr {
	b := a.AsSlice()
	return append(net.HardwareAddr{2, 0x42}, b[len(b)-4:]...)
}

// begin starts a new process on the switch and links that are there.
func (m *model) begin() {
	m.fab = New(Config{MAC: modelMAC, DeleteDelay: 1, LingerDelay: 1, bundle: m.bundle}, m.sw, m.links, slog.New(slog.DiscardHandler))
	if err := m.fab.recall(context.Background()); err != nil {
		m.t.Fatal(err)
	}
	m.told = false
}

// addr4, addr6: few, so that names meet.
func (m *model) number() byte { return byte(rapid.IntRange(2, 9).Draw(m.t, "number")) }

// gateway numbers are no endpoint's, but may be claimed elsewhere.
func (m *model) gateway() byte { return byte(rapid.IntRange(250, 251).Draw(m.t, "gateway")) }

func (m *model) claimed() byte {
	return rapid.SampledFrom([]func() byte{m.number, m.number, m.number, m.gateway}).Draw(m.t, "whose")()
}

func addr4(i byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, i}) }
func addr6(i byte) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfd, 12: 10, 15: i})
}

var modelVNIs = []uint32{7, 8}

func (m *model) putNetwork(*rapid.T) {
	vni := rapid.SampledFrom(modelVNIs).Draw(m.t, "vni")
	n := Network{ID: fmt.Sprintf("net%d", vni), VNI: vni, MTU: rapid.SampledFrom([]int{1450, 1430}).Draw(m.t, "mtu")}
	n.Alone = rapid.IntRange(0, 9).Draw(m.t, "alone") == 0
	if rapid.Bool().Draw(m.t, "gateway") {
		n.Gateways = append(n.Gateways, netip.PrefixFrom(addr4(m.gateway()), 24))
		if rapid.Bool().Draw(m.t, "gateway6") {
			n.Gateways = append(n.Gateways, netip.PrefixFrom(addr6(m.gateway()), 64))
		}
	}
	if rapid.Bool().Draw(m.t, "vip") {
		n.VIPs = []netip.Addr{addr4(100)}
	}
	if err := m.fab.PutNetwork(context.Background(), n); err != nil {
		m.t.Fatal(err)
	}
	m.networks[n.ID] = n
}

func (m *model) removeNetwork(*rapid.T) {
	id := fmt.Sprintf("net%d", rapid.SampledFrom(modelVNIs).Draw(m.t, "vni"))
	if err := m.fab.RemoveNetwork(context.Background(), id); err != nil {
		m.t.Fatal(err)
	}
	delete(m.networks, id)
	for eid, ep := range m.endpoints {
		if ep.Network == id {
			m.detachID(eid)
		}
	}
}

func (m *model) attach(*rapid.T) {
	id := fmt.Sprintf("net%d", rapid.SampledFrom(modelVNIs).Draw(m.t, "vni"))
	i := m.number()
	ep := Endpoint{ID: fmt.Sprintf("%s-ep%d", id, i), Network: id, MAC: modelMAC(addr4(i)), Addrs: []netip.Addr{addr4(i)}}
	if _, there := m.endpoints[ep.ID]; there || m.networks[id].ID == "" {
		return
	}
	if rapid.Bool().Draw(m.t, "dual") {
		ep.Addrs = append(ep.Addrs, addr6(i))
	}
	if _, err := m.fab.Attach(context.Background(), ep); err != nil {
		m.t.Fatal(err)
	}
	m.endpoints[ep.ID] = ep
}

func (m *model) detach(*rapid.T) {
	if ids := slices.Sorted(maps.Keys(m.endpoints)); len(ids) > 0 {
		m.detachID(rapid.SampledFrom(ids).Draw(m.t, "endpoint"))
	}
}

func (m *model) detachID(id string) {
	if err := m.fab.Detach(context.Background(), id); err != nil {
		m.t.Fatal(err)
	}
	delete(m.endpoints, id)
}

func (m *model) changeRemotes(*rapid.T) {
	var changes []RemoteChange
	for range rapid.IntRange(1, 4).Draw(m.t, "changes") {
		c := RemoteChange{VNI: rapid.SampledFrom(modelVNIs).Draw(m.t, "vni"), Whole: rapid.IntRange(0, 4).Draw(m.t, "whole") == 0}
		set := m.remotes[c.VNI]
		if set == nil || c.Whole {
			set = map[netip.Addr]Remote{}
			m.remotes[c.VNI] = set
		}
		for range rapid.IntRange(0, 3).Draw(m.t, "gone") {
			a := rapid.SampledFrom([]func(byte) netip.Addr{addr4, addr6}).Draw(m.t, "family")(m.claimed())
			c.Gone = append(c.Gone, a)
			delete(set, a)
		}
		for range rapid.IntRange(0, 4).Draw(m.t, "set") {
			i := m.claimed()
			r := Remote{MAC: [6]byte(modelMAC(addr4(i))), Host: m.host()}
			r.Addr = rapid.SampledFrom([]func(byte) netip.Addr{addr4, addr6}).Draw(m.t, "family")(i)
			if rapid.IntRange(0, 9).Draw(m.t, "odd MAC") == 0 {
				r.MAC = [6]byte(modelMAC(addr4(m.number())))
			}
			c.Set = append(c.Set, r)
			set[r.Addr] = r
		}
		changes = append(changes, c)
	}
	m.fab.ChangeRemotes(changes)
}

func (m *model) host() string {
	return rapid.SampledFrom([]string{"A", "B", "C", "D"}).Draw(m.t, "host")
}

func (m *model) setUnderlay(*rapid.T) {
	v4 := func(i byte) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, i}) }
	v6 := func(i byte) netip.Addr { return netip.AddrFrom16([16]byte{0: 0x20, 1: 1, 15: i}) }
	u := Underlay{}
	if rapid.IntRange(0, 9).Draw(m.t, "alone") > 0 {
		u.Port = rapid.SampledFrom([]uint16{14789, 14789, 14789, 4789}).Draw(m.t, "port")
		u.VTEP = rapid.SampledFrom([]netip.Addr{v4(1), v4(1), v4(1), v4(2), v6(1)}).Draw(m.t, "vtep")
		for _, id := range []string{"A", "B", "C", "D"} {
			if rapid.IntRange(0, 3).Draw(m.t, "peer "+id) == 0 {
				continue
			}
			i := byte(rapid.IntRange(1, 6).Draw(m.t, "place "+id))
			p := Peer{ID: id, VTEP: v4(i)}
			if rapid.IntRange(0, 3).Draw(m.t, "family "+id) == 0 {
				p.VTEP = v6(i)
			}
			u.Peers = append(u.Peers, p)
		}
	}
	m.under, m.told = u, true
	m.fab.SetUnderlay(u)
}

// forget is a restart of the switch, perhaps with another datapath.
func (m *model) forget(*rapid.T) {
	datapath := rapid.SampledFrom([]string{"userspace", "userspace", "kernel"}).Draw(m.t, "datapath")
	lostPorts := rapid.Bool().Draw(m.t, "ports are lost")
	m.sw.turn(func(s *fakeSwitch) {
		clear(s.flows)
		if lostPorts {
			clear(s.ports)
		}
		s.state.Generation++
		s.state.Datapath = datapath
	})
}

// fail lets an apply fail in one of the places where it can.
func (m *model) fail(*rapid.T) {
	err := errors.New("refused")
	what := rapid.IntRange(0, 3).Draw(m.t, "what fails")
	set := func(err error) {
		switch what {
		case 0:
			m.sw.fail = err
		case 1:
			m.links.failFDB = err
		case 2:
			m.links.failVXLAN = err
		default:
			m.links.failFilter = err
		}
	}
	set(err)
	m.changeRemotes(nil)
	if rapid.Bool().Draw(m.t, "underlay too") {
		m.setUnderlay(nil)
	}
	_ = m.apply()
	set(nil)
}

// meddle is somebody who removes things of ours by hand.
func (m *model) meddle(*rapid.T) {
	if rapid.Bool().Draw(m.t, "device") {
		again := rapid.Bool().Draw(m.t, "made again")
		for name, v := range m.links.vxlans {
			m.links.remove(name)
			if again {
				_ = m.links.PutVXLAN(context.Background(), v.spec)
			}
			break
		}
	} else {
		for k := range m.sw.flows {
			delete(m.sw.flows, k)
			break
		}
	}
	m.fab.have.audit = true
}

// replace is a new process. It's told again, in any order with the underlay
// last; what an earlier one left is there meanwhile.
func (m *model) replace(*rapid.T) {
	m.begin()
	if rapid.Bool().Draw(m.t, "applies before it knows") {
		_ = m.apply()
	}
	for _, n := range m.networks {
		if err := m.fab.PutNetwork(context.Background(), n); err != nil {
			m.t.Fatal(err)
		}
	}
	for _, ep := range m.endpoints {
		if _, err := m.fab.Attach(context.Background(), ep); err != nil {
			m.t.Fatal(err)
		}
	}
	for vni, set := range m.remotes {
		m.fab.ChangeRemotes([]RemoteChange{{VNI: vni, Whole: true, Set: slices.Collect(maps.Values(set))}})
	}
	m.told = true
	m.fab.SetUnderlay(m.under)
}

func (m *model) apply() error {
	var removals sync.WaitGroup
	defer removals.Wait()
	return m.fab.apply(context.Background(), &removals)
}

// check applies what was asked for and compares.
func (m *model) check(*rapid.T) {
	for i := 0; ; i++ {
		err := m.apply()
		if err == nil && !m.fab.overdue() && !m.fab.busy() {
			break
		}
		if i == 100 {
			m.t.Fatalf("not as wanted after %d rounds: %v", i, err)
		}
	}
	flows, devices := m.expected()
	have := map[string]bool{}
	for _, f := range m.sw.flows {
		have[fmt.Sprintf("%+v", f)] = true
	}
	for _, f := range flows {
		text := fmt.Sprintf("%+v", f)
		if strings.Contains(text, "in_port=0") || strings.Contains(text, "output:0") {
			m.t.Errorf("no port has this number: %s", text)
		}
		if !have[text] {
			m.t.Errorf("missing: %s", text)
		}
		delete(have, text)
	}
	for text := range have {
		m.t.Errorf("too much: %s", text)
	}
	if got := m.links.devices(); got != devices {
		m.t.Errorf("devices:\n%swant:\n%s", got, devices)
	}
	for name, p := range m.sw.ports {
		if p.Type == "" && m.sw.opened[name] != m.links.indexOf(name) {
			m.t.Errorf("port %s is dead: its link was made anew", name)
		}
	}
	m.counts()
}

// counts compares what the fabric believes.
func (m *model) counts() {
	near, _ := m.sw.FlowCount(context.Background(), NearFlows)
	far, _ := m.sw.FlowCount(context.Background(), FarFlows)
	if near != len(m.fab.have.flows) || m.told && far != m.fab.far.count {
		m.t.Errorf("%d and %d flows, the fabric counts %d and %d", near, far, len(m.fab.have.flows), m.fab.far.count)
	}
	sent, entries := m.sw.sent, m.links.entries
	m.fab.wake()
	if err := m.apply(); err != nil {
		m.t.Errorf("once more: %v", err)
	}
	if m.sw.sent != sent || m.links.entries != entries {
		m.t.Errorf("once more is no change, but %d flows and %d entries were sent", m.sw.sent-sent, m.links.entries-entries)
	}
}

// expected makes everything from nothing.
func (m *model) expected() (flows []Flow, devices string) {
	datapath := m.sw.state.Datapath
	var members []member
	served := map[string]bool{}
	for _, n := range m.networks {
		if len(n.Gateways) > 0 {
			var addrs []netip.Addr
			for _, g := range n.Gateways {
				addrs = append(addrs, g.Addr())
			}
			p := m.sw.ports[m.fab.cfg.gateName(n.ID)]
			mem := newMember(memberCookie(p.Number), p.Number, n, modelMAC(n.Gateways[0].Addr()), addrs)
			mem.nd, mem.reach = ndModeOf(datapath), notFar
			members = append(members, mem)
		}
	}
	for _, ep := range m.endpoints {
		n := m.networks[ep.Network]
		if m.away(ep, n) {
			continue
		}
		p := m.sw.ports[m.fab.cfg.portName(ep.ID)]
		mem := newMember(memberCookie(p.Number), p.Number, n, ep.MAC, ep.Addrs)
		mem.nd = ndModeOf(datapath)
		members = append(members, mem)
		served[n.ID] = !n.Alone
	}
	slices.SortFunc(members, func(a, b member) int { return strings.Compare(a.mac, b.mac) })
	flows = pipeline(slices.Collect(maps.Values(m.networks)), members)
	far, devices := m.expectedFar(datapath, served)
	return append(flows, far...), devices
}

func (m *model) away(ep Endpoint, n Network) bool {
	return !n.Alone && slices.ContainsFunc(ep.Addrs, func(a netip.Addr) bool { _, far := m.remotes[n.VNI][a]; return far })
}

func (m *model) expectedFar(datapath string, served map[string]bool) (flows []Flow, devices string) {
	if !m.under.VTEP.IsValid() {
		return nil, ""
	}
	g, _ := m.fab.newGround(datapath, m.under)
	names := &m.fab.far.names
	g.trunk = m.sw.ports["dstunnel"].Number
	flows = g.tunnel.shared(g)
	var b strings.Builder
	for _, vni := range modelVNIs {
		n := m.networks[fmt.Sprintf("net%d", vni)]
		if !served[n.ID] {
			continue
		}
		s := &site{ground: g, net: n, number: m.sw.ports[g.tunnel.port(vni)].Number}
		if len(n.Gateways) > 0 {
			s.gateway = mac(modelMAC(n.Gateways[0].Addr()))
		}
		vteps, known := map[netip.Addr]bool{}, map[string]netip.Addr{}
		for _, a := range slices.SortedFunc(maps.Keys(m.remotes[vni]), netip.Addr.Compare) {
			r := remote{mac: m.remotes[vni][a].MAC, host: names.ref(m.remotes[vni][a].Host)}
			if v := g.vteps[r.host]; v.IsValid() {
				vteps[v] = true
			}
			flows = append(flows, s.answers(a, r)...)
			if _, taken := known[r.mac.String()]; s.reaches(a, r) && !taken {
				known[r.mac.String()] = g.vteps[r.host]
				flows = append(flows, s.leads(r.mac, r.host)...)
			}
		}
		all := slices.SortedFunc(maps.Keys(vteps), netip.Addr.Compare)
		flows = append(flows, s.frame(all)...)
		if g.kind == TunnelKernel {
			fmt.Fprintf(&b, "dsv%d vni=%d local=%s port=%d mtu=%d\n", vni, vni, g.local, g.udp, n.MTU)
			for _, k := range slices.Sorted(maps.Keys(known)) {
				fmt.Fprintf(&b, "  %s at %s\n", k, known[k])
			}
			for _, v := range all {
				fmt.Fprintf(&b, "  all at %s\n", v)
			}
		}
	}
	return flows, b.String()
}

// After any sequence of changes, failures and restarts the switch and the kernel
// have what a fabric that knew everything at once would have given them.
func TestDifferencesAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		links := newFakeLinks()
		m := &model{
			t: t, links: links, sw: newFakeSwitch(links),
			networks: map[string]Network{}, endpoints: map[string]Endpoint{}, remotes: map[uint32]map[netip.Addr]Remote{},
		}
		m.bundle = rapid.SampledFrom([]int{2, 7, bundleLimit}).Draw(t, "bundle")
		m.begin()
		m.putNetwork(t)
		m.attach(t)
		m.setUnderlay(t)
		t.Repeat(map[string]func(*rapid.T){
			"":               m.check,
			"put network":    m.putNetwork,
			"remove network": m.removeNetwork,
			"attach":         m.attach,
			"attach another": m.attach,
			"detach":         m.detach,
			"news":           m.changeRemotes,
			"more news":      m.changeRemotes,
			"underlay":       m.setUnderlay,
			"forget":         m.forget,
			"fail":           m.fail,
			"meddle":         m.meddle,
			"new process":    m.replace,
		})
	})
}
