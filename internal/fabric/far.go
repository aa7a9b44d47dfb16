package fabric

import (
	"net"
	"net/netip"
	"slices"
)

// What other hosts have. 100,000 addresses of them is what a big network has, so
// nothing here is made anew when one changes, and no flow of theirs is kept: it
// can be made again from the remote. What is installed is what should be, less
// the journals of what has changed since.

type mac [6]byte

func (m mac) String() string { return net.HardwareAddr(m[:]).String() }

// hostRef is a short name for a host's id; 0 is none.
type hostRef uint32

// hostNames gives hosts their short names. They are few and stay.
type hostNames struct {
	ids  []string
	refs map[string]hostRef
}

func (h *hostNames) ref(id string) hostRef {
	if r, known := h.refs[id]; known {
		return r
	}
	if h.refs == nil {
		h.refs = map[string]hostRef{}
	}
	h.ids = append(h.ids, id)
	h.refs[id] = hostRef(len(h.ids))
	return hostRef(len(h.ids))
}

func (h *hostNames) id(r hostRef) string { return h.ids[r-1] }

// remote is an address on another host; the zero value is none.
type remote struct {
	mac  mac
	host hostRef
}

// far is all that is known of other hosts. It belongs to the loop.
type far struct {
	names hostNames
	nets  map[uint32]*farNet
	// total is how many addresses there are.
	total int
	// count is how many flows are installed.
	count int
	// on is the ground on which the flows stand, nil while that's unknown.
	on *ground
}

// farNet is a network on other hosts.
type farNet struct {
	vni uint32
	set map[netip.Addr]remote
	// macs are the addresses of each MAC, in order: one, or one a family.
	macs map[mac][]netip.Addr
	// hosts are how many addresses each has.
	hosts map[hostRef]int

	// in is what the installed flows were made from, nil when there are none.
	in *site
	// wasAddr, wasMAC are what is installed of what has changed since: each
	// address's remote, and each MAC's host.
	wasAddr map[netip.Addr]remote
	wasMAC  map[mac]hostRef
	// frame are the installed flows of the network as a whole, and flood the hosts
	// that they flood to.
	frame []Flow
	flood []netip.Addr
	// spread is whether the hosts have changed since.
	spread bool
	// count is how many flows of the network are installed.
	count int
	// told is whether the device's FDB is as the journals say.
	told bool
}

func (f *far) net(vni uint32) *farNet {
	n := f.nets[vni]
	if n == nil {
		n = &farNet{
			vni: vni, set: map[netip.Addr]remote{}, macs: map[mac][]netip.Addr{}, hosts: map[hostRef]int{},
			wasAddr: map[netip.Addr]remote{}, wasMAC: map[mac]hostRef{},
		}
		if f.nets == nil {
			f.nets = map[uint32]*farNet{}
		}
		f.nets[vni] = n
	}
	return n
}

// change takes news in and calls touched with every address that came or went.
func (f *far) change(c RemoteChange, touched func(netip.Addr)) {
	n := f.net(c.VNI)
	f.total -= len(n.set)
	if c.Whole {
		keep := make(map[netip.Addr]struct{}, len(c.Set))
		for _, r := range c.Set {
			keep[r.Addr.Unmap()] = struct{}{}
		}
		for a := range n.set {
			if _, kept := keep[a]; !kept {
				n.put(a, remote{})
				touched(a)
			}
		}
	}
	for _, a := range c.Gone {
		if a = a.Unmap(); n.set[a].host != 0 {
			n.put(a, remote{})
			touched(a)
		}
	}
	for _, r := range c.Set {
		a, now := r.Addr.Unmap(), remote{mac: r.MAC, host: f.names.ref(r.Host)}
		if n.set[a] != now {
			n.put(a, now)
			touched(a)
		}
	}
	f.total += len(n.set)
	f.forget(n)
}

// forget drops a network of which nothing is left.
func (f *far) forget(n *farNet) {
	if len(n.set) == 0 && n.in == nil {
		delete(f.nets, n.vni)
	}
}

// put makes an address another's, or nobody's.
func (n *farNet) put(a netip.Addr, now remote) {
	was := n.set[a]
	n.touch(a, was, now)
	if was.host != 0 {
		rest := slices.DeleteFunc(n.macs[was.mac], func(b netip.Addr) bool { return b == a })
		if len(rest) > 0 {
			n.macs[was.mac] = rest
		} else {
			delete(n.macs, was.mac)
		}
		if n.hosts[was.host]--; n.hosts[was.host] == 0 {
			delete(n.hosts, was.host)
			n.spread = true
		}
		delete(n.set, a)
	}
	if now.host != 0 {
		n.set[a] = now
		all := n.macs[now.mac]
		i, _ := slices.BinarySearchFunc(all, a, netip.Addr.Compare)
		n.macs[now.mac] = slices.Insert(all, i, a)
		if n.hosts[now.host]++; n.hosts[now.host] == 1 {
			n.spread = true
		}
	}
}

// touch notes what is installed, before an address becomes another's.
func (n *farNet) touch(a netip.Addr, was, now remote) {
	if n.in == nil {
		return
	}
	if _, noted := n.wasAddr[a]; !noted {
		n.wasAddr[a] = was
	}
	for _, r := range []remote{was, now} {
		if r.host != 0 {
			n.touchMAC(r.mac)
		}
	}
}

func (n *farNet) touchMAC(m mac) {
	if _, noted := n.wasMAC[m]; !noted {
		n.wasMAC[m] = n.homeOf(m, n.in)
	}
}

// homeOf is the host of a MAC. One with two addresses may be between two hosts;
// the first address says where it is.
func (n *farNet) homeOf(m mac, s *site) hostRef {
	for _, a := range n.macs[m] {
		if r := n.set[a]; s.reaches(a, r) {
			return r.host
		}
	}
	return 0
}

// touchMoved notes what is installed of hosts whose tunnel address changed.
func (n *farNet) touchMoved(g *ground) {
	moved := map[hostRef]bool{}
	for h := range n.hosts {
		if n.in.vteps[h] != g.vteps[h] {
			moved[h] = true
		}
	}
	if len(moved) == 0 {
		return
	}
	n.spread = true
	for a, r := range n.set {
		if moved[r.host] {
			n.touch(a, r, remote{})
		}
	}
}

// vteps are where the network's frames to all are to go.
func (n *farNet) vteps(g *ground) []netip.Addr {
	var out []netip.Addr
	for h := range n.hosts {
		if v := g.vteps[h]; v.IsValid() {
			out = append(out, v)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

// lost notes that no flow is installed, or that it's unknown which.
func (n *farNet) lost() {
	n.in, n.frame, n.flood, n.count = nil, nil, nil, 0
	n.wasAddr, n.wasMAC = map[netip.Addr]remote{}, map[mac]hostRef{}
}
