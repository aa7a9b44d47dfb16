package ipam

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// lease is what the registry keeps of a Lease. It is never changed once it is
// in a pool: a change puts another in its place, so that undoing is putting
// the old one back, and snapshots may hold on to what they have.
type lease struct {
	pool *pool
	name string
	addr netip.Addr
	// since is when live last changed, in milliseconds since 1970.
	since int64
	// asked is when a container last asked for it or gave its endpoint up, where
	// that is later than since. It is not stored: others rely on what is.
	asked int64
	// endpoint is the engine's id of the attached endpoint. It is not stored:
	// after a restart the switch knows better (see Sweep).
	endpoint string
	// What is small stands together: there may be 100,000 leases, and in this
	// order one takes 96 bytes.

	// host is where the container runs, or ran last.
	host hostNumber
	// mac is zero where it follows from an IPv4 addr.
	mac  mac
	live bool
	// fixed and reserved are Lease's.
	fixed, reserved bool
	// macByUser: mac is the user's choice, and not the endpoint's other family's.
	macByUser bool
	// unsure: live was read from the store, and nobody has told yet whether
	// the container is still there.
	unsure bool
}

func (l *lease) at() time.Time { return time.UnixMilli(l.since) }

// wantedAt is when somebody last wanted it.
func (l *lease) wantedAt() time.Time { return time.UnixMilli(max(l.since, l.asked)) }

// placeholder tells whether the lease stands under a name that we made for a
// container renamed while it ran.
func (l *lease) placeholder() bool { return strings.Contains(l.name, placeholderMark) }

// who names the lease's container as a person knows it.
func (l *lease) who() string {
	if was, _, made := strings.Cut(l.name, placeholderMark); made {
		return fmt.Sprintf("the container that was called %q when it started", was)
	}
	return fmt.Sprintf("container %q", l.container())
}

// container is the name without the host that it stands for.
func (l *lease) container() string {
	name, _, _ := strings.Cut(l.name, hostMark)
	return name
}

// runsHere is whether a container of this host has the lease.
func (l *lease) runsHere() bool { return l.live && l.host == me }

func (l *lease) hardware() mac {
	if l.mac != (mac{}) {
		return l.mac
	}
	return macOf(l.addr)
}

func (r *Registry) public(l *lease) Lease { return l.public(r.hosts.ids) }

// public is the lease as others see it; hosts are their ids by number.
func (l *lease) public(hosts []string) Lease {
	state := StateParked
	if l.live {
		state = StateLive
	}
	return Lease{
		Pool: l.pool.id, Name: l.container(), Addr: l.addr, MAC: l.hardware().String(), State: state,
		Fixed: l.fixed, Reserved: l.reserved, Since: l.at(), Host: hosts[l.host],
	}
}

// poolRecord is what is stored of a pool. Its slices are never changed in
// place.
type poolRecord struct {
	Subnet      netip.Prefix `json:"subnet"`
	Range       netip.Prefix `json:"range"`
	Overlay     string       `json:"overlay,omitempty"`
	Auto        bool         `json:"auto,omitempty"`
	Gateway     netip.Addr   `json:"gateway,omitzero"`
	LastGateway netip.Addr   `json:"last_gateway,omitzero"`
	Aux         []netip.Addr `json:"aux,omitempty"`
	Exclude     []netip.Addr `json:"exclude,omitempty"`
	// VIPNames are virtual addresses by name; their addresses stand in Exclude as
	// well.
	VIPNames    []string `json:"vip_names,omitempty"`
	NetworkName string   `json:"network_name,omitempty"`
	// VNI and MTU are those of the network, 0 before its first. PerHost: each
	// host has names of its own.
	VNI     uint32 `json:"vni,omitempty"`
	MTU     int    `json:"mtu,omitempty"`
	PerHost bool   `json:"per_host,omitempty"`
	// Epoch is the number that the pool got when it last came into use, in a
	// shared store.
	Epoch uint64 `json:"epoch,omitempty"`
	// RequestedAt is when an engine last asked for the pool.
	RequestedAt time.Time `json:"requested_at,omitzero"`
	// raw is the record as it was read, which a newer version may have written:
	// a shared store is asked whether it still has just that. nil once changed.
	raw []byte
	// here is what this host calls the network; it is not stored.
	here string
}

func (r *poolRecord) equal(o *poolRecord) bool {
	return r.Subnet == o.Subnet && r.Range == o.Range && r.Overlay == o.Overlay && r.Auto == o.Auto &&
		r.Gateway == o.Gateway && r.LastGateway == o.LastGateway &&
		slices.Equal(r.Aux, o.Aux) && slices.Equal(r.Exclude, o.Exclude) && slices.Equal(r.VIPNames, o.VIPNames) && r.NetworkName == o.NetworkName &&
		r.VNI == o.VNI && r.MTU == o.MTU && r.PerHost == o.PerHost && r.Epoch == o.Epoch && r.RequestedAt.Equal(o.RequestedAt)
}

// use is what one host does with a pool: it is there from the engine's asking
// for the pool to its release.
type use struct {
	// At is when the engine asked.
	At time.Time `json:"at"`
	// Asked: it has asked for the gateway or another address of the network's
	// own since.
	Asked bool `json:"asked,omitempty"`
	// Network is the engine's id of the network, "" while it is being made, and
	// Name what it is called.
	Network string `json:"network,omitempty"`
	Name    string `json:"name,omitempty"`
}

// setAside tells why a container can't have addr, or "".
func (r *poolRecord) setAside(addr netip.Addr) string {
	switch {
	case addr == r.Gateway:
		return "the gateway's"
	case slices.Contains(r.Aux, addr):
		return asAux
	case slices.Contains(r.Exclude, addr):
		return "set aside as a virtual address"
	}
	return notHost(r.Subnet, addr)
}

// String names the pool as a person knows it.
func (r *poolRecord) String() string {
	s := r.Subnet.String()
	if r.Overlay != "" {
		s += " of overlay " + r.Overlay
	}
	if name := cmp.Or(r.here, r.NetworkName); name != "" {
		return "network " + name + " (" + s + ")"
	}
	return "pool " + s
}

// network is the name of the pool's network, or its subnet.
func (r *poolRecord) network() string { return cmp.Or(r.here, r.NetworkName, r.Subnet.String()) }

// pool is a poolRecord in memory, with its leases.
type pool struct {
	id    string
	rec   poolRecord
	names map[string]*lease
	addrs map[netip.Addr]*lease
	// contested are addresses that several names have as far as is known, in a
	// shared store.
	contested map[netip.Addr]struct{}
	// mine is what this host does with the pool, nil for nothing; others is
	// what others do, by host id. A use is replaced, never changed.
	mine   *use
	others map[string]*use
	// cursor is the address that was last handed out to a new name.
	cursor netip.Addr
	// noFree: a search found every address of the range held, and none was
	// given up since.
	noFree bool
	// idle are parked leases that may give way, longest parked first, as they
	// were when somebody last needed one; nil when nobody did.
	idle []*lease
}

func newPool(id string) *pool {
	return &pool{id: id, names: map[string]*lease{}, addrs: map[netip.Addr]*lease{}, contested: map[netip.Addr]struct{}{}}
}

// contest notes that l is about to take the place of another name's lease: news
// of two keys may come in another order than they were written.
func (p *pool) contest(l *lease) {
	if other := p.addrs[l.addr]; other != nil && other.name != l.name {
		p.contested[l.addr] = struct{}{}
	}
}

// settled gives an address to the name that has it still, once another lost it.
func (p *pool) settled(addr netip.Addr) {
	if _, two := p.contested[addr]; !two {
		return
	}
	var last *lease
	n := 0
	for _, l := range p.names {
		if l.addr == addr {
			last = l
			n++
		}
	}
	if n < 2 {
		delete(p.contested, addr)
	}
	if last != nil && p.addrs[addr] == nil {
		p.addrs[addr] = last
	}
}

func (p *pool) public() Pool {
	return Pool{
		ID: p.id, Subnet: p.rec.Subnet, Range: p.rec.Range, Overlay: p.rec.Overlay, Auto: p.rec.Auto,
		Gateway: p.rec.Gateway, Network: p.network(), NetworkName: p.networkName(), VNI: p.rec.VNI, MTU: p.rec.MTU,
	}
}

// network is the id of this host's network on the pool, "" where it has none.
func (p *pool) network() string {
	if p.mine == nil {
		return ""
	}
	return p.mine.Network
}

// networkName is what this host calls the network, else what another does.
func (p *pool) networkName() string {
	if p.mine != nil && p.mine.Name != "" {
		return p.mine.Name
	}
	return p.rec.NetworkName
}

// prefix is addr with the pool's mask, as the engine programs it.
func (p *pool) prefix(addr netip.Addr) netip.Prefix {
	return netip.PrefixFrom(addr, p.rec.Subnet.Bits())
}

// notHost tells why no host may have addr in subnet, or "". Both addresses of
// a /31 and a /127 are hosts' (RFC 3021, RFC 6164), so is the one of a /32
// and a /128. In other IPv6 subnets the first is every router's (RFC 4291).
func notHost(subnet netip.Prefix, addr netip.Addr) string {
	if subnet.Bits() >= addr.BitLen()-1 {
		return ""
	}
	switch {
	case addr == subnet.Masked().Addr() && addr.Is4():
		return "the subnet's network address"
	case addr == subnet.Masked().Addr():
		return "the subnet's router anycast address"
	case addr.Is4() && addr == lastOf(subnet):
		return "the subnet's broadcast address"
	}
	return ""
}

// lastOf is the highest address of prefix.
func lastOf(prefix netip.Prefix) netip.Addr {
	raw := prefix.Masked().Addr().AsSlice()
	for bit := prefix.Bits(); bit < len(raw)*8; bit++ {
		raw[bit/8] |= 1 << (7 - bit%8)
	}
	last, _ := netip.AddrFromSlice(raw)
	return last
}

// short is the beginning of an engine's id, as Docker prints it.
func short(id string) string { return id[:min(12, len(id))] }
